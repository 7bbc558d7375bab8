//! What an index is searched for.

use pgrx::{IntoDatum, pg_sys};

pub(super) fn is_bigint(value: i64) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let equal = pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber;
    // SAFETY: a key for a bigint in the first column of an index.
    unsafe { pg_sys::ScanKeyInit(&mut key, 1, equal, pg_sys::F_INT8EQ.into(), value.into()) };
    key
}

/// For an int column of an index.
pub(super) fn is_from(column: i16, value: i32) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let from = pg_sys::BTGreaterEqualStrategyNumber as pg_sys::StrategyNumber;
    // SAFETY: the operator's function is that of an int, as is the value.
    unsafe { pg_sys::ScanKeyInit(&mut key, column, from, pg_sys::F_INT4GE.into(), value.into()) };
    key
}

/// For a bigint column of an index, or one of a type that is stored and ordered as one.
pub(super) fn is_from_bigint(column: i16, value: i64, at_least: u32) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let from = pg_sys::BTGreaterEqualStrategyNumber as pg_sys::StrategyNumber;
    // SAFETY: the caller says which operator's function is that of the column.
    unsafe { pg_sys::ScanKeyInit(&mut key, column, from, at_least.into(), value.into()) };
    key
}

pub(super) fn is_name(column: i16, value: &str) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let value = value.into_datum().expect("a text is never NULL itself");
    // SAFETY: a key for a text column of an index with COLLATE "C".
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &mut key,
            0,
            column,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::InvalidOid,
            pg_sys::C_COLLATION_OID,
            pg_sys::F_TEXTEQ.into(),
            value,
        );
    }
    key
}

/// One column of a row comparison.
pub(super) fn at_least(
    column: i16,
    compare: u32,
    value: pg_sys::Datum,
    last: bool,
) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let end = if last { pg_sys::SK_ROW_END } else { 0 };
    // SAFETY: the comparison function is that of the column's type.
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &mut key,
            (pg_sys::SK_ROW_MEMBER | end) as i32,
            column,
            pg_sys::BTGreaterEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            compare.into(),
            value,
        );
    }
    key
}
