//! A constant SQL text, kept as a generic plan per backend.
//!
//! pgrx's own `Spi` takes a transaction id for anything that could write, which would make an empty poll
//! write WAL. A plan kept here takes one only when a row really changes.

use super::qualify::qualify;
use super::steer;
use crate::error::Error;
use pgrx::{IntoDatum, pg_sys};
use std::cell::Cell;
use std::ffi::CString;

/// Which of the database's states a statement sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// What the transaction's isolation level says.
    Transaction,
    /// What is committed now, under REPEATABLE READ too, as the server's own foreign keys do.
    Latest,
}

/// One statement of the extension. Each backend plans it once, at first use, and the plan is generic:
/// none of them gains from knowing the values, and planning again costs more than running.
pub struct Statement {
    sql: &'static str,
    types: &'static [pg_sys::Oid],
    pub(super) sees: Sees,
    order_from_index: bool,
    gin_index: bool,
    whole_table: bool,
    plan: Cell<pg_sys::SPIPlanPtr>,
}

// SAFETY: a backend has one thread, and the plan belongs to the backend.
unsafe impl Sync for Statement {}

impl Statement {
    /// `sql` is plain SQL with `$1`… of `types`; see [`super::qualify`] for how it may be written.
    pub const fn new(sql: &'static str, types: &'static [pg_sys::Oid]) -> Self {
        Self {
            sql,
            types,
            sees: Sees::Transaction,
            order_from_index: false,
            gin_index: false,
            whole_table: false,
            plan: Cell::new(std::ptr::null_mut()),
        }
    }

    /// The same, seeing what is committed now whatever the isolation level.
    pub const fn latest(sql: &'static str, types: &'static [pg_sys::Oid]) -> Self {
        let mut statement = Self::new(sql, types);
        statement.sees = Sees::Latest;
        statement
    }

    /// For an ORDER BY that an index gives: never read a whole backlog to sort it.
    pub const fn in_index_order(mut self) -> Self {
        self.order_from_index = true;
        self
    }

    /// For one that looks up an array in a GIN index.
    pub const fn by_gin_index(mut self) -> Self {
        self.gin_index = true;
        self
    }

    /// For one that has to read the whole table anyway.
    pub const fn of_whole_table(mut self) -> Self {
        self.whole_table = true;
        self
    }

    fn options(&self) -> i32 {
        let generic = pg_sys::CURSOR_OPT_GENERIC_PLAN as i32;
        match self.whole_table {
            true => generic,
            false => generic | steer::mark(self.order_from_index, self.gin_index),
        }
    }

    /// The plan, for parameters of the types that the statement has; nothing else in it tells one datum from another.
    pub(super) fn plan_for(&self, params: &[Param]) -> Result<pg_sys::SPIPlanPtr, Error> {
        if !params.iter().map(|param| param.type_oid).eq(self.types.iter().copied()) {
            let types = params.iter().map(|param| param.type_oid.to_u32()).collect();
            return Err(Error::ParameterTypes { types, sql: self.sql });
        }
        self.plan()
    }

    /// SPI is connected.
    fn plan(&self) -> Result<pg_sys::SPIPlanPtr, Error> {
        if self.plan.get().is_null() {
            let sql = CString::new(qualify(self.sql)).expect("our SQL has no NUL");
            // SAFETY: SPI is connected (see above), the type array is as long as
            // said, and SPI_keepplan moves the plan to memory that lives as long as the backend.
            unsafe {
                let plan = pg_sys::SPI_prepare_cursor(
                    sql.as_ptr(),
                    self.types.len() as i32,
                    self.types.as_ptr().cast_mut(),
                    self.options(),
                );
                if plan.is_null() {
                    return Err(self.error("SPI_prepare", pg_sys::SPI_result));
                }
                let kept = pg_sys::SPI_keepplan(plan);
                if kept != 0 {
                    return Err(self.error("SPI_keepplan", kept));
                }
                self.plan.set(plan);
            }
        }
        Ok(self.plan.get())
    }

    pub(super) fn error(&self, call: &'static str, code: i32) -> Error {
        Error::Statement { call, code, sql: self.sql }
    }
}

/// A parameter of a statement: a value, and the type that it has in SQL.
#[derive(Clone, Copy)]
pub struct Param {
    pub(super) datum: Option<pg_sys::Datum>,
    type_oid: pg_sys::Oid,
}

impl<T: IntoDatum> From<T> for Param {
    fn from(value: T) -> Self {
        Self { datum: value.into_datum(), type_oid: T::type_oid() }
    }
}

/// The parameter list of a statement: `params![now, id]`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::server::statement::Param::from($value)),*] };
}
pub(crate) use params;
