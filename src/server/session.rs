//! A connection to SPI, and what is run over it.

use super::rows::Rows;
use super::statement::{Param, Sees, Statement};
use super::transaction::snapshot_is_fixed;
use super::value::Jsonb;
use super::version::{self, LIBRARY};
use crate::error::Error;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::cell::Cell;

thread_local!(static CHECKED: Cell<bool> = const { Cell::new(false) });

/// The extension may have been updated meanwhile: for a call that has slept without a lock.
pub fn doubt_version() {
    CHECKED.set(false);
}

/// A connection to SPI. What statements return lives until it ends.
pub struct Session(());

impl Session {
    /// Runs `work` with SPI connected.
    pub fn with<T>(work: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, Error> {
        // SAFETY: connect and finish are paired here; when the server raises an error in between, its
        // abort of the (sub)transaction finishes the connection.
        unsafe { pg_sys::SPI_connect() };
        let session = Session(());
        let result = session.check_version().and_then(|()| work(&session));
        // SAFETY: see above.
        unsafe { pg_sys::SPI_finish() };
        result
    }

    /// A library that is older than the extension's SQL must not run it: a function's arguments may have changed. It
    /// was loaded before ALTER EXTENSION UPDATE. An older extension is fine: its functions stay in the library until
    /// it is updated too.
    fn check_version(&self) -> Result<(), Error> {
        if !CHECKED.get() {
            match self.installed_version()? {
                Some(extension) if !version::has_reached(LIBRARY, &extension) => {
                    return Err(Error::OldLibrary { library: LIBRARY, extension });
                }
                _ => CHECKED.set(true),
            }
        }
        Ok(())
    }

    /// Whether the extension's SQL is of a version, or of a later one.
    pub fn has_reached(&self, version: &str) -> Result<bool, Error> {
        let installed = self.installed_version()?;
        Ok(installed.is_none_or(|extension| version::has_reached(&extension, version)))
    }

    /// Whether jobs and schedules have time limits: those of an older version have not.
    pub fn has_time_limits(&self) -> Result<bool, Error> {
        self.has_reached("0.5.0")
    }

    fn installed_version(&self) -> Result<Option<String>, Error> {
        static INSTALLED: Statement = Statement::new(
            "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'minion'",
            &[],
        );
        let rows = self.run(&INSTALLED, &[])?;
        // An old snapshot does not show one that was created since.
        Ok(rows.column(1).pop())
    }

    /// Runs a statement to its end.
    pub fn run(&self, statement: &Statement, params: &[Param]) -> Result<Rows, Error> {
        self.run_at_most(statement, params, 0)
    }

    /// Runs a statement until it has given `most` rows (0 = all). For a SELECT that locks rows this is the
    /// LIMIT of the call, without one in the text that would spoil the generic plan's estimate.
    pub fn run_at_most(
        &self,
        statement: &Statement,
        params: &[Param],
        most: usize,
    ) -> Result<Rows, Error> {
        let plan = statement.plan_for(params)?;
        let mut values: Vec<_> =
            params.iter().map(|param| param.datum.unwrap_or(pg_sys::Datum::null())).collect();
        let nulls: Vec<std::ffi::c_char> = params
            .iter()
            .map(|param| if param.datum.is_some() { b' ' } else { b'n' } as std::ffi::c_char)
            .collect();
        // SAFETY: values and nulls are as long as the statement has parameters, and of its types; the snapshot of
        // GetLatestSnapshot is copied and registered by SPI before anything else can replace it.
        let code = unsafe {
            if statement.sees == Sees::Latest && snapshot_is_fixed() {
                pg_sys::CommandCounterIncrement();
                pg_sys::SPI_execute_snapshot(
                    plan,
                    values.as_mut_ptr(),
                    nulls.as_ptr(),
                    pg_sys::GetLatestSnapshot(),
                    std::ptr::null_mut(),
                    false,
                    true,
                    most as std::ffi::c_long,
                )
            } else {
                pg_sys::SPI_execute_plan(
                    plan,
                    values.as_mut_ptr(),
                    nulls.as_ptr(),
                    false,
                    most as std::ffi::c_long,
                )
            }
        };
        rows_of_last(statement, code)
    }

    /// Runs a statement without parameters that only reads, with a new snapshot that is told about first:
    /// the first transaction that it does not see any more, and those before it that were under way. None
    /// if whoever was told does not want it.
    pub fn run_with_snapshot(
        &self,
        statement: &Statement,
        tell: impl FnOnce(u32, &[u32]) -> bool,
    ) -> Result<Option<Rows>, Error> {
        let plan = statement.plan_for(&[])?;
        // SAFETY: the snapshot is registered as long as it is used, by the server itself should there be an
        // error; xip has xcnt elements.
        let code = unsafe {
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
            let running: &[u32] = match (*snapshot).xcnt {
                0 => &[],
                count => std::slice::from_raw_parts((*snapshot).xip.cast(), count as usize),
            };
            let code = tell((*snapshot).xmax.into(), running).then(|| {
                pg_sys::SPI_execute_snapshot(
                    plan,
                    std::ptr::null_mut(),
                    std::ptr::null(),
                    snapshot,
                    std::ptr::null_mut(),
                    true,
                    false,
                    0,
                )
            });
            pg_sys::UnregisterSnapshot(snapshot);
            code
        };
        code.map(|code| rows_of_last(statement, code)).transpose()
    }

    /// Whether this database has transactions that are prepared, and of whose end nobody will tell us.
    pub fn has_prepared_transactions(&self) -> Result<bool, Error> {
        static PREPARED: Statement = Statement::new(
            "SELECT
            FROM pg_catalog.pg_prepared_xacts
            WHERE database = pg_catalog.current_database()
            LIMIT 1",
            &[],
        );
        Ok(self.run(&PREPARED, &[])?.count() > 0)
    }

    /// A copy of a value that outlives this session, for the function's caller.
    pub fn keep(&self, value: Jsonb) -> Jsonb {
        let datum = value.into_datum().expect("a jsonb is never NULL itself");
        // SAFETY: a jsonb is a varlena (length -1, by reference); the copy is made in the memory context
        // that was current when the session was opened.
        let copy = unsafe { pg_sys::SPI_datumTransfer(datum, false, -1) };
        // SAFETY: a copy of a jsonb is a jsonb.
        unsafe { Jsonb::from_datum(copy, false) }.expect("not NULL, see above")
    }
}

/// Those of the statement that SPI has just run.
fn rows_of_last(statement: &Statement, code: i32) -> Result<Rows, Error> {
    match code {
        0.. => Ok(Rows::of_last()),
        _ => Err(statement.error("SPI_execute", code)),
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use super::Session;
    use crate::error::Error;
    use crate::server::statement::{Statement, params};
    use crate::server::value::{Jsonb, TextArray};
    use pgrx::prelude::*;

    static BIGINT: Statement = Statement::new("SELECT $1", &[pg_sys::INT8OID]);

    #[pg_test]
    fn a_parameter_of_another_type_is_an_error() {
        let run = |params: &[_]| Session::with(|session| session.run(&BIGINT, params).map(drop));
        let refuses = |params: &[_]| matches!(run(params), Err(Error::ParameterTypes { .. }));
        assert!(run(params![1_i64]).is_ok());
        assert!(run(params![None::<i64>]).is_ok());
        // One that would be taken for a pointer, one that is a pointer, a NULL of another type, too few, too many.
        assert!(refuses(params![1_i32]));
        assert!(refuses(params!["one"]));
        assert!(refuses(params![None::<&str>]));
        assert!(refuses(params![]));
        assert!(refuses(params![1_i64, 2_i64]));
    }

    fn column_of<T: crate::server::types::Typed>() -> Option<T> {
        let first = |session: &Session| Ok(session.run(&BIGINT, params![1_i64])?.get(0, 1));
        Session::with(first).expect("the statement runs")
    }

    #[pg_test]
    fn a_column_is_what_it_is() {
        assert_eq!(column_of::<i64>(), Some(1));
    }

    #[pg_test(error = "column 1 has type 20, not 25")]
    fn a_number_is_not_taken_for_a_text() {
        column_of::<String>();
    }

    #[pg_test(error = "column 1 has type 20, not 3802")]
    fn a_number_is_not_taken_for_a_jsonb() {
        column_of::<Jsonb>();
    }

    #[pg_test(error = "column 1 has type 20, not 1009")]
    fn a_number_is_not_taken_for_an_array() {
        column_of::<TextArray>();
    }
}
