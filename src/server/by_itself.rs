//! Transactions of a process that serves no client.

use super::bgworker;
use super::identity::as_owner_until_commit;
use crate::error::Error;
use crate::failure::Failure;
use pgrx::prelude::*;
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;

/// What a transaction came to.
enum Outcome<T> {
    Done(T),
    Failed(Failure),
}

/// Does `work` in a transaction, and commits it; after an error it is undone. `what` is shown meanwhile in
/// pg_stat_activity.
pub fn transaction<T, E: Into<Failure>>(
    what: &CStr,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, Failure> {
    show(pg_sys::BackendState::STATE_RUNNING, what);
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| {
        begin();
        match work() {
            Ok(done) => {
                commit();
                Outcome::Done(done)
            }
            Err(error) => {
                abort();
                Outcome::Failed(error.into())
            }
        }
    }))
    .catch_others(|caught| {
        abort();
        Outcome::Failed(Failure::from(&caught))
    })
    .execute();
    show(pg_sys::BackendState::STATE_IDLE, c"");
    // SAFETY: outside of a transaction, as the server's own processes do it.
    unsafe { pg_sys::pgstat_report_stat(false) };
    match outcome {
        Outcome::Done(done) => Ok(done),
        Outcome::Failed(failure) => Err(failure),
    }
}

/// The same with the rights of the owner of minion.jobs, to the very end of the transaction: whatever it has others' triggers
/// do, also when it commits, has no more rights than he. (A security-restricted operation would refuse deferred triggers; the
/// whole transaction is the owner's instead, and roles can't be changed in it.)
pub fn transaction_as_owner<T>(
    what: &CStr,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Failure> {
    // What others' triggers set is for the transaction that they run in.
    bgworker::settle();
    let mut as_owner = None;
    let done = transaction(what, || {
        as_owner = as_owner_until_commit();
        match as_owner {
            Some(_) => work().map_err(Failure::from),
            // Nobody else's rights will do.
            None => Err(Failure::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                "the table minion.jobs is missing".into(),
            )),
        }
    });
    // After an error the server has done it.
    drop(as_owner);
    done
}

fn begin() {
    // SAFETY: outside of a transaction, as the server's main loop does it. Functions expect an active snapshot.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
}

fn commit() {
    // SAFETY: ends what `begin` has begun.
    unsafe {
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
    }
}

fn abort() {
    // SAFETY: for the outermost level, whatever there is within.
    unsafe { pg_sys::AbortOutOfAnyTransaction() };
}

fn show(state: pg_sys::BackendState::Type, what: &CStr) {
    // SAFETY: a C string.
    unsafe { pg_sys::pgstat_report_activity(state, what.as_ptr()) };
}

/// The name that pg_stat_activity shows.
pub fn name(name: &CStr) {
    // SAFETY: a C string.
    unsafe { pg_sys::pgstat_report_appname(name.as_ptr()) };
}
