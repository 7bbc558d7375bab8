//! Work that may fail without taking all else with it.

use super::meanwhile::Meanwhile;
use crate::error::Error;
use crate::failure::Failure;
use pgrx::PgTryBuilder;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use std::cell::Cell;
use std::panic::AssertUnwindSafe;

/// What a piece of work came to.
enum Outcome<T> {
    Done(T),
    Refused(Error),
    Caught(CaughtError),
}

thread_local!(static UNDOING: Cell<bool> = const { Cell::new(false) });

/// Whether the subtransaction that is being undone is one of a guard.
pub fn is_in_guard() -> bool {
    UNDOING.get()
}

/// Runs `work` in a subtransaction of its own. If it fails, what it has done is undone, and the caller goes
/// on with the reason; an error that is not about the work, such as a cancel, goes on its way. Nothing that a
/// statement in it gave may outlive it.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Failure> {
    // SAFETY: as the server's own languages do it. Each way out of here ends the subtransaction, and puts back
    // what it has changed: memory context and resource owner.
    let (context, owner) = unsafe {
        let before = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(before.0);
        before
    };
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| match work() {
        Ok(done) => Outcome::Done(done),
        Err(error) => Outcome::Refused(error),
    }))
    .catch_others(Outcome::Caught)
    .execute();
    // SAFETY: see above.
    unsafe {
        match outcome {
            Outcome::Done(_) => pg_sys::ReleaseCurrentSubTransaction(),
            _ => {
                let _undoing = Meanwhile::set(&UNDOING, true);
                pg_sys::RollbackAndReleaseCurrentSubTransaction();
            }
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
    }
    match outcome {
        Outcome::Done(done) => Ok(done),
        Outcome::Refused(error) => Err(error.into()),
        Outcome::Caught(caught) => {
            let failure = Failure::from(&caught);
            match failure.is_of_the_work() {
                true => Err(failure),
                false => caught.rethrow(),
            }
        }
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use super::guarded;
    use crate::error::Error;
    use crate::server::transaction::nest_level;
    use pgrx::prelude::*;

    #[pg_test]
    fn what_fails_in_a_guard_is_undone_and_nothing_stays_open() {
        let before = nest_level();
        Spi::run("CREATE TEMPORARY TABLE t (n int)").expect("SQL");
        let insert = |sql| guarded(|| Spi::run(sql).map_err(|_| Error::NoFilter));
        assert!(insert("INSERT INTO t VALUES (1)").is_ok());
        assert!(insert("INSERT INTO t VALUES (2), (1 / 0)").is_err());
        let refused = guarded(|| {
            Spi::run("INSERT INTO t VALUES (3)").expect("SQL");
            Err::<(), _>(Error::NoFilter)
        });
        assert!(refused.is_err());
        assert_eq!(nest_level(), before);
        assert_eq!(Spi::get_one::<i64>("SELECT sum(n) FROM t"), Ok(Some(1)));
    }

    #[pg_test(error = "canceling statement due to user request")]
    fn a_cancel_goes_through_a_guard() {
        let cancel = "DO $$ BEGIN RAISE query_canceled USING MESSAGE = 'canceling statement due to user request'; END $$";
        let before = nest_level();
        let caught = PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
            guarded(|| Spi::run(cancel).map_err(|_| Error::NoFilter)).is_ok()
        }))
        .catch_others(|caught| {
            assert_eq!(nest_level(), before);
            caught.rethrow()
        })
        .execute();
        assert!(!caught);
    }
}
