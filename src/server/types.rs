//! What a value is in SQL: its type and its datum come from one trait, for parameters and results alike, so that
//! neither is ever taken for what it is not.

use pgrx::{FromDatum, IntoDatum, pg_sys};

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
    // SAFETY: a description of rows; the function knows what columns it has.
    let column_type = unsafe { pg_sys::SPI_gettypeid(shape, column) };
    assert!(
        T::is_compatible_with(column_type),
        "column {column} has type {}, not {}",
        column_type.to_u32(),
        T::type_oid().to_u32()
    );
    // SAFETY: it is a datum of that type.
    unsafe { T::from_datum(datum, is_null) }
}
