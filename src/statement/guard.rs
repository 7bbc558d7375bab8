//! Work that may fail without taking all else with it.

use super::{Meanwhile, check_for_interrupts, clock};
use crate::error::{Error, Failure};
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

/// How many rows are named one by one when they are passed over.
const NAMED: usize = 10;

/// Does `work` with batches of rows, each in a guard, and adds up what it says that it has done. A batch that
/// fails is tried again in halves, down to the rows that it can't be done with: those are passed over with a
/// WARNING. `what` is such as "job"; `goes_on` is asked before each further try. As there may never be time for
/// all of them, chance says which is next: each call gets at others.
pub fn spare(
    what: &str,
    mut batches: Vec<Vec<i64>>,
    mut goes_on: impl FnMut() -> bool,
    mut work: impl FnMut(Vec<i64>) -> Result<usize, Error>,
) -> usize {
    let mut chance = Chance::new();
    let (mut done, mut named, mut others) = (0, 0, 0);
    let mut last_failure = None;
    // One half of what has just failed.
    let mut next: Option<Vec<i64>> = None;
    loop {
        let mut batch = match next.take() {
            Some(batch) => batch,
            None if batches.is_empty() => break,
            None => batches.swap_remove(chance.below(batches.len())),
        };
        match guarded(|| work(batch.clone())) {
            Ok(count) => done += count,
            Err(failure) if batch.len() > 1 => {
                let mut half = batch.split_off(batch.len() / 2);
                if chance.below(2) == 0 {
                    std::mem::swap(&mut half, &mut batch);
                }
                batches.push(batch);
                next = Some(half);
                last_failure = Some(failure);
            }
            // As with rows that are locked themselves: they have their turn the next time.
            Err(failure) if failure.is_of_a_lock() => {}
            Err(failure) if named < NAMED => {
                named += 1;
                let id = batch.first().map_or_else(String::new, i64::to_string);
                Error::PassedOver { what: format!("{what} {id}"), failure }.warn();
            }
            Err(failure) => {
                others += batch.len();
                last_failure = Some(failure);
            }
        }
        if (next.is_some() || !batches.is_empty()) && !goes_on() {
            break;
        }
        check_for_interrupts();
    }
    let untried: usize = batches.iter().chain(&next).map(Vec::len).sum();
    if let Some(failure) = last_failure.filter(|_| others + untried > 0) {
        let which = if untried > 0 { "at least one" } else { "each" };
        let what = format!("{which} of {} other {what}s", others + untried);
        Error::PassedOver { what, failure }.warn();
    }
    done
}

/// Numbers that nobody has to be unable to guess.
pub struct Chance(u64);

impl Chance {
    pub fn new() -> Self {
        Self(clock().0.unsigned_abs() | 1)
    }

    /// From 0 to below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % end as u64) as usize
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use super::{guarded, spare};
    use crate::error::Error;
    use pgrx::prelude::*;

    fn nest_level() -> i32 {
        // SAFETY: reads the backend's transaction state.
        unsafe { pg_sys::GetCurrentTransactionNestLevel() }
    }

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

    #[pg_test]
    fn what_can_not_be_done_with_some_rows_is_done_with_all_others() {
        let before = nest_level();
        Spi::run("CREATE TEMPORARY TABLE t (n bigint CHECK (n % 400 <> 7))").expect("SQL");
        let insert = |ids: Vec<i64>| {
            let count = ids.len();
            Spi::run_with_args("INSERT INTO t SELECT unnest($1)", &[ids.into()]).expect("SQL");
            Ok(count)
        };
        let batches = || vec![(1..=500).collect(), (501..=1_000).collect(), vec![7], vec![]];
        assert_eq!(spare("row", batches(), || true, insert), 997);
        let sum = Spi::get_one::<i64>("SELECT sum(n)::bigint FROM t");
        assert_eq!(sum, Ok(Some(500_500 - 7 - 407 - 807)));
        // It ends when it is told to.
        Spi::run("TRUNCATE t").expect("SQL");
        let mut asked = 0;
        let once = || {
            asked += 1;
            false
        };
        spare("row", batches(), once, insert);
        assert_eq!(asked, 1);
        assert_eq!(nest_level(), before);
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
