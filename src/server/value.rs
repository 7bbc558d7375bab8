//! Values that pass through from an argument to a statement, or from a row to a result, as they are:
//! no parsing, no copy in between, and JSON keeps every digit.

use crate::error::Error;
use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Interval;
use pgrx::nullable::Nullable;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlArrayMappingRef, SqlMappingRef, SqlTranslatable,
    TypeOrigin,
};
use pgrx::{FromDatum, IntoDatum, pg_sys};

macro_rules! passed {
    ($(#[$doc:meta])* $name:ident, $oid:ident, $mapping:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name(pg_sys::Datum);

        // SAFETY: the mapping names the type whose datums the conversions below take and give.
        unsafe impl SqlTranslatable for $name {
            const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!($name);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok($mapping);
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One($mapping));
        }

        // SAFETY: the datum is only handed on, and lives as long as the call it is an argument of.
        unsafe impl<'fcx> ArgAbi<'fcx> for $name {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: the caller vouches for a non-null argument of this type.
                Self(unsafe { arg.unbox_arg_using_from_datum::<Self>() }.map_or(
                    pg_sys::Datum::null(),
                    |value| value.0,
                ))
            }

            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                // SAFETY: as above, and NULL becomes None.
                unsafe { arg.unbox_arg_using_from_datum() }.into()
            }
        }

        // SAFETY: a datum of the declared type is returned as it is.
        unsafe impl BoxRet for $name {
            unsafe fn box_into<'fcx>(
                self,
                fcinfo: &mut FcInfo<'fcx>,
            ) -> pgrx::datum::Datum<'fcx> {
                // SAFETY: see above.
                unsafe { fcinfo.return_raw_datum(self.0) }
            }
        }

        impl FromDatum for $name {
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                _: pg_sys::Oid,
            ) -> Option<Self> {
                (!is_null).then_some(Self(datum))
            }
        }

        impl IntoDatum for $name {
            fn into_datum(self) -> Option<pg_sys::Datum> {
                Some(self.0)
            }

            fn type_oid() -> pg_sys::Oid {
                pg_sys::$oid
            }
        }
    };
}

passed!(
    /// A `jsonb` that nobody here looks into.
    Jsonb,
    JSONBOID,
    SqlMappingRef::literal("jsonb")
);
passed!(
    /// A row of a function that returns a table.
    Record,
    RECORDOID,
    SqlMappingRef::literal("record")
);
passed!(
    /// A `bigint[]`.
    BigintArray,
    INT8ARRAYOID,
    SqlMappingRef::Array(SqlArrayMappingRef::As("bigint"))
);
passed!(
    /// An `int[]`.
    IntArray,
    INT4ARRAYOID,
    SqlMappingRef::Array(SqlArrayMappingRef::As("INT"))
);
passed!(
    /// A `text[]`.
    TextArray,
    TEXTARRAYOID,
    SqlMappingRef::Array(SqlArrayMappingRef::As("TEXT"))
);
passed!(
    /// A `jsonb[]`.
    JsonbArray,
    JSONBARRAYOID,
    SqlMappingRef::Array(SqlArrayMappingRef::As("jsonb"))
);

passed!(
    /// A `minion.job_state[]`. The oid of its type differs from database to database.
    StateArray,
    ANYARRAYOID,
    SqlMappingRef::literal("minion.job_state[]")
);

/// What the outermost value of a `jsonb` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Array,
    Object,
    Scalar,
}

impl Jsonb {
    /// Tells arrays from objects from single values, without parsing.
    pub fn shape(self) -> Shape {
        // SAFETY: the datum is a jsonb, whose container header follows the varlena header at offset
        // VARHDRSZ once it is detoasted unpacked; scalars are arrays with a flag of their own.
        let header = unsafe {
            let plain = pg_sys::pg_detoast_datum(self.0.cast_mut_ptr());
            plain.cast::<u8>().add(pg_sys::VARHDRSZ).cast::<u32>().read_unaligned()
        };
        if header & pg_sys::JB_FSCALAR != 0 {
            Shape::Scalar
        } else if header & pg_sys::JB_FARRAY != 0 {
            Shape::Array
        } else {
            Shape::Object
        }
    }

    /// The value as JSON text.
    pub fn text(self) -> String {
        spelled(self, pg_sys::F_JSONB_OUT)
    }
}

/// An interval as PostgreSQL writes it.
pub fn interval_text(value: Interval) -> String {
    spelled(value, pg_sys::F_INTERVAL_OUT)
}

fn spelled(value: impl IntoDatum, output_function: u32) -> String {
    let datum = value.into_datum().expect("the value is not NULL");
    // SAFETY: the output function is the one of the value's type, and returns a palloc'ed C string.
    unsafe {
        let text = pg_sys::OidOutputFunctionCall(output_function.into(), datum);
        let copy = std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned();
        pg_sys::pfree(text.cast());
        copy
    }
}

/// What can be asked of an array without taking it apart.
pub trait Array: IntoDatum + Copy {
    fn plain(self) -> *mut pg_sys::ArrayType {
        let datum = self.into_datum().expect("a passed value is never NULL");
        // SAFETY: the datum is an array of the declared type; detoasting gives it whole.
        unsafe { pg_sys::pg_detoast_datum(datum.cast_mut_ptr()) }.cast()
    }

    /// The number of elements over all dimensions.
    fn len(self) -> usize {
        let array = self.plain();
        // SAFETY: the dimensions follow the fixed header, ndim of them.
        let count = unsafe { pg_sys::ArrayGetNItems((*array).ndim, array.add(1).cast::<i32>()) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The array itself, or the error for an array with a NULL in it.
    fn without_nulls(self, argument: &'static str) -> Result<Self, Error> {
        // SAFETY: a detoasted array is what the function takes.
        match unsafe { pg_sys::array_contains_nulls(self.plain()) } {
            false => Ok(self),
            true => Err(Error::NullElement { argument }),
        }
    }
}

impl TextArray {
    /// The elements, each once; there are no NULLs in it.
    pub fn distinct(self) -> Vec<String> {
        // SAFETY: the datum is a text[], see above.
        let elements = unsafe { Vec::<Option<String>>::from_datum(self.0, false) };
        let mut elements: Vec<_> = elements.into_iter().flatten().flatten().collect();
        elements.sort_unstable();
        elements.dedup();
        elements
    }
}

impl StateArray {
    /// The names of the states; there are no NULLs in it.
    pub fn texts(self) -> TextArray {
        let text = spelled(self, pg_sys::F_ARRAY_OUT);
        let names = text.trim_matches(['{', '}']).split(',').filter(|name| !name.is_empty());
        TextArray::from(names.map(str::to_owned).collect::<Vec<_>>())
    }
}

impl From<Vec<i64>> for BigintArray {
    fn from(elements: Vec<i64>) -> Self {
        Self(elements.into_datum().expect("an array is never NULL itself"))
    }
}

impl From<Vec<String>> for TextArray {
    fn from(elements: Vec<String>) -> Self {
        Self(elements.into_datum().expect("an array is never NULL itself"))
    }
}

impl Array for BigintArray {}
impl Array for IntArray {}
impl Array for TextArray {}
impl Array for StateArray {}
impl Array for JsonbArray {}
