//! What a value is in SQL: its type and its datum come from one trait, for parameters and results alike, so that
//! neither is ever taken for what it is not.

use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ffi::CStr;

/// A value that a statement gives.
pub trait Typed: FromDatum + IntoDatum {}

impl<T: FromDatum + IntoDatum> Typed for T {}

/// A column as `T`, which it has to be: to take one by-value datum for another would give nonsense, and a number for
/// a pointer a crash.
///
/// # Safety
///
/// The datum is one of the column's.
pub unsafe fn column_as<T: Typed>(
    shape: pg_sys::TupleDesc,
    column: i32,
    (datum, is_null): (pg_sys::Datum, bool),
) -> Option<T> {
    // SAFETY: a description of rows.
    let column_type = unsafe { type_of(shape, column) };
    assert!(
        T::is_compatible_with(column_type),
        "column {column} has type {}, not {}",
        column_type.to_u32(),
        T::type_oid().to_u32()
    );
    // SAFETY: it is a datum of that type.
    unsafe { T::from_datum(datum, is_null) }
}

/// InvalidOid if there is no such column.
///
/// # Safety
///
/// It is a description of rows.
unsafe fn type_of(shape: pg_sys::TupleDesc, column: i32) -> pg_sys::Oid {
    // SAFETY: see above.
    unsafe {
        attribute(shape, column).map_or(pg_sys::InvalidOid, |attribute| (*attribute).atttypid)
    }
}

/// Whether there is a column at this place that has the name and the type.
///
/// # Safety
///
/// It is a description of rows.
pub unsafe fn is_column<T: Typed>(shape: pg_sys::TupleDesc, column: i32, name: &CStr) -> bool {
    // SAFETY: see above; a name ends with a zero. One that was dropped has another.
    unsafe {
        attribute(shape, column).is_some_and(|attribute| {
            CStr::from_ptr((*attribute).attname.data.as_ptr()) == name
                && T::is_compatible_with((*attribute).atttypid)
        })
    }
}

/// # Safety
///
/// It is a description of rows.
unsafe fn attribute(
    shape: pg_sys::TupleDesc,
    column: i32,
) -> Option<*const pg_sys::FormData_pg_attribute> {
    // SAFETY: see above; it has as many columns as it says.
    unsafe {
        let count = (*shape).natts;
        if !(1..=count).contains(&column) {
            return None;
        }
        #[cfg(not(feature = "pg18"))]
        return Some(&raw const (*shape).attrs.as_slice(count as usize)[column as usize - 1]);
        #[cfg(feature = "pg18")]
        return Some(pg_sys::TupleDescAttr(shape, column - 1));
    }
}
