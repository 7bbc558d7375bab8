//! What a statement gave.

use super::types::{Typed, column_as};
use super::value::Record;
use crate::error::Error;
use pgrx::{FromDatum, pg_sys};

/// The rows that a statement gave. Columns are counted from 1, as in SQL.
pub struct Rows {
    count: usize,
    table: *mut pg_sys::SPITupleTable,
}

impl Rows {
    /// Those of the statement that SPI has just run.
    pub(super) fn of_last() -> Self {
        // SAFETY: SPI has just set both.
        unsafe { Rows { count: pg_sys::SPI_processed as usize, table: pg_sys::SPI_tuptable } }
    }

    /// Fails if nothing was written where there is always something to write.
    pub fn written(self, table: &'static str) -> Result<Self, Error> {
        match self.count {
            0 => Err(Error::Refused { table }),
            _ => Ok(self),
        }
    }

    /// How many rows were returned or, without RETURNING, changed.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Column `column` of row `row`, which has to have the type `T` in SQL.
    pub fn get<T: Typed>(&self, row: usize, column: i32) -> Option<T> {
        assert!(row < self.count && !self.table.is_null(), "the statement returned no such row");
        // SAFETY: the row exists, the table lives as long as the session, and SPI_getbinval gives a NULL
        // for a column that does not, whose type is refused.
        unsafe {
            let mut null = false;
            let shape = (*self.table).tupdesc;
            let datum =
                pg_sys::SPI_getbinval(*(*self.table).vals.add(row), shape, column, &mut null);
            column_as(shape, column, (datum, null))
        }
    }

    /// A whole row, if it is there: a copy that outlives the session, for the function's caller.
    pub fn record(&self, row: usize) -> Option<Record> {
        (row < self.count && !self.table.is_null()).then(|| {
            // SAFETY: the row exists; the copy is made in the memory context that was current when the session was
            // opened, and is a composite value.
            unsafe {
                let tuple = *(*self.table).vals.add(row);
                let copy = pg_sys::SPI_returntuple(tuple, (*self.table).tupdesc);
                Record::from_datum(pg_sys::Datum::from(copy), false)
            }
        })?
    }

    /// Column `column` of every row; NULLs are left out.
    pub fn column<T: Typed>(&self, column: i32) -> Vec<T> {
        (0..self.count).filter_map(|row| self.get(row, column)).collect()
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // SAFETY: each table is freed once, by its only owner; SPI ignores one that it has freed itself.
        // Without this, a loop of statements in one session would grow until the session ends.
        unsafe {
            // An error on its way through has had SPI free its tables already.
            if !self.table.is_null() && !std::thread::panicking() {
                pg_sys::SPI_freetuptable(self.table);
            }
        }
    }
}
