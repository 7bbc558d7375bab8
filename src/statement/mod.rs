//! A constant SQL text kept as a generic plan per backend: the only home of raw SPI.
//!
//! pgrx's own `Spi` takes a transaction id for anything that could write, which would make an empty poll
//! write WAL. A plan kept here takes one only when a row really changes.

mod attempt;
pub mod backtrace;
pub mod call;
pub mod client;
mod guard;
pub mod invalidation;
pub mod lock;
mod meanwhile;
pub mod probe;
mod qualify;
pub mod row;
mod rows;
pub mod sequence;
pub mod sizes;
pub mod steer;
mod time;
pub mod trigger;
pub mod users;
pub mod value;
pub mod version;
pub mod zone;

use crate::error::Error;
use pgrx::{FromDatum, IntoDatum, PgTrigger, pg_sys};
use std::cell::Cell;
use std::ffi::{CStr, CString};

pub use attempt::attempt;
pub use guard::{Chance, guarded, is_in_guard, spare};
pub use meanwhile::Meanwhile;
pub use rows::Rows;
pub use time::{Timestamp, clock, statement_ends};

/// Which of the database's states a statement sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sees {
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
    sees: Sees,
    order_from_index: bool,
    gin_index: bool,
    whole_table: bool,
    plan: Cell<pg_sys::SPIPlanPtr>,
}

// SAFETY: a backend has one thread, and the plan belongs to the backend.
unsafe impl Sync for Statement {}

impl Statement {
    /// `sql` is plain SQL with `$1`… of `types`; see [`qualify`] for how it may be written.
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

    fn plan(&self) -> Result<pg_sys::SPIPlanPtr, Error> {
        if self.plan.get().is_null() {
            let sql = CString::new(qualify::qualify(self.sql)).expect("our SQL has no NUL");
            // SAFETY: SPI is connected (we are called from `Session::run`), the type array is as long as
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

    fn error(&self, call: &'static str, code: i32) -> Error {
        Error::Statement { call, code, sql: self.sql }
    }
}

/// A parameter of a statement.
#[derive(Clone, Copy)]
pub struct Param(Option<pg_sys::Datum>);

impl<T: IntoDatum> From<T> for Param {
    fn from(value: T) -> Self {
        Self(value.into_datum())
    }
}

/// The parameter list of a statement: `params![now, id]`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::statement::Param::from($value)),*] };
}
pub(crate) use params;

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

    /// Before anything else is run, unless it is known to be so still.
    fn check_version(&self) -> Result<(), Error> {
        if !CHECKED.get() {
            version::check(self)?;
            CHECKED.set(true);
        }
        Ok(())
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
        debug_assert_eq!(params.len(), statement.types.len());
        let plan = statement.plan()?;
        let mut values: Vec<_> =
            params.iter().map(|param| param.0.unwrap_or(pg_sys::Datum::null())).collect();
        let nulls: Vec<std::ffi::c_char> = params
            .iter()
            .map(|param| if param.0.is_some() { b' ' } else { b'n' } as std::ffi::c_char)
            .collect();
        // SAFETY: values and nulls are as long as the statement has parameters; the snapshot of
        // GetLatestSnapshot is copied and registered by SPI before anything else can replace it.
        let code = unsafe {
            if statement.sees == Sees::Latest && pg_sys::XactIsoLevel >= REPEATABLE_READ {
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
        Rows::of_last(statement, code)
    }

    /// Runs a statement without parameters that only reads, with a new snapshot that is told about first:
    /// the first transaction that it does not see any more, and those before it that were under way. None
    /// if whoever was told does not want it.
    pub fn run_with_snapshot(
        &self,
        statement: &Statement,
        tell: impl FnOnce(u32, &[u32]) -> bool,
    ) -> Result<Option<Rows>, Error> {
        debug_assert!(statement.types.is_empty());
        let plan = statement.plan()?;
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
        code.map(|code| Rows::of_last(statement, code)).transpose()
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
    pub fn keep(&self, value: value::Jsonb) -> value::Jsonb {
        let datum = value.into_datum().expect("a jsonb is never NULL itself");
        // SAFETY: a jsonb is a varlena (length -1, by reference); the copy is made in the memory context
        // that was current when the session was opened.
        let copy = unsafe { pg_sys::SPI_datumTransfer(datum, false, -1) };
        // SAFETY: a copy of a jsonb is a jsonb.
        unsafe { value::Jsonb::from_datum(copy, false) }.expect("not NULL, see above")
    }
}

/// Runs `work` with the rights of the owner of a trigger's table, as the server's own foreign keys do: what
/// keeps the queue right must reach every row, whatever the caller may see or change.
pub fn as_owner_of_table<T>(trigger: &PgTrigger, work: impl FnOnce() -> T) -> T {
    // SAFETY: the relation of a trigger call is open.
    let owner = unsafe { (*(*trigger.trigger_data().tg_relation).rd_rel).relowner };
    as_user(owner, work)
}

/// The same for what a function has to know or keep that its caller has no business with: who holds a
/// unique key, and what limits say.
pub fn as_owner_of_jobs<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: look-ups in the catalogue caches; the row is used before it is given back.
    let owner = unsafe {
        let row = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(oid_of(c"jobs")),
        );
        if row.is_null() {
            return work();
        }
        let owner = (*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_class>(row)).relowner;
        pg_sys::ReleaseSysCache(row);
        owner
    };
    as_user(owner, work)
}

fn as_user<T>(user: pg_sys::Oid, work: impl FnOnce() -> T) -> T {
    struct Restore(pg_sys::Oid, i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: puts back what was there.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) }
        }
    }
    let mut caller = Restore(pg_sys::InvalidOid, 0);
    // SAFETY: the identity is restored when `caller` is dropped, and by the server itself should the
    // transaction end first.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut caller.0, &mut caller.1);
        pg_sys::SetUserIdAndSecContext(
            user,
            // The owner sees all rows of his tables, FORCE ROW LEVEL SECURITY or not.
            caller.1 | (pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS) as i32,
        );
    }
    work()
}

const REPEATABLE_READ: i32 = pg_sys::XACT_REPEATABLE_READ as i32;

/// Raises cancel, termination and the like, if there are any.
pub fn check_for_interrupts() {
    pgrx::check_for_interrupts!();
}

/// The server's own error where nothing may be written: in a read-only transaction, and on a standby.
pub fn must_be_writable(call: &CStr) {
    // SAFETY: takes a C string, and reads the transaction's state.
    unsafe { pg_sys::PreventCommandIfReadOnly(call.as_ptr()) };
}

/// Whether the transaction keeps one snapshot from its first statement on.
pub fn snapshot_is_fixed() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::XactIsoLevel >= REPEATABLE_READ }
}

/// Whether this transaction has written anything.
pub fn has_changed_anything() -> bool {
    // SAFETY: reads the backend's transaction state.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}

/// Whether the caller sees some rows of a table only.
pub fn has_row_security(relation: u32) -> bool {
    const ENABLED: i32 = pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32;
    // SAFETY: look-ups in the catalogue caches; true: no error is raised.
    unsafe { pg_sys::check_enable_rls(relation.into(), pg_sys::InvalidOid, true) == ENABLED }
}

/// A table or an index of the extension; InvalidOid if there is none of this name.
pub fn oid_of(relation: &CStr) -> pg_sys::Oid {
    // SAFETY: look-ups in the catalogue caches.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"minion".as_ptr(), true);
        pg_sys::get_relname_relid(relation.as_ptr(), schema)
    }
}

/// The name of a database of the cluster, unless it was dropped.
pub fn database_name(oid: u32) -> Option<String> {
    // SAFETY: a look-up in the catalogue caches; the name is a copy of the server's.
    unsafe {
        let name = pg_sys::get_database_name(oid.into());
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}
