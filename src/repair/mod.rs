//! repair: what time and vanished workers leave behind is put right.
//!
//! One repair at a time: another returns at once, having done nothing. Rows are locked with SKIP LOCKED, and
//! the children of jobs that end with NOWAIT, so that it waits for nobody who has one of them. It is one
//! transaction, so it ends when its time does, and what it has done by then stays; and what can't be done with a
//! row, because of a trigger or a foreign key of the user's, keeps it from no other row.

mod abandoned;
mod anywhere;
mod attached;
mod budget;
mod call;
mod ended;
pub mod next;
pub mod parked;
mod spare;
pub mod time_limit;
mod waiting;
mod walk;
mod workers;

use crate::error::Error;
use crate::server::advisory::try_lock_repair;
use crate::server::guard::guarded;
use crate::server::identity::as_owner_of_jobs;
use crate::server::relation::lock_to_write;
use crate::server::session::Session;
use crate::server::time::clock;
use crate::server::transaction::must_be_writable;
use crate::upkeep::placing::without_waiting;
use crate::{limit, schedule};
use budget::Budget;
use call::{Call, Did, Step};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::cell::Cell;
use std::time::Duration;

/// One after the other; each but the last has half of the time that is left.
const STEPS: [Step; 13] = [
    // Before any that touches a job, as dispatch_schedules does.
    mend_schedules,
    workers::mend_ahead,
    attached::remove,
    workers::remove_silent,
    abandoned::fail,
    time_limit::fail,
    parked::place_due,
    recount_limits,
    waiting::remove_expired,
    waiting::fail_stuck,
    parked::check_places,
    ended::date,
    // Last, for there may be millions of them, and nothing waits for that.
    ended::remove_old,
];

fn mend_schedules(call: &Call, _: &Budget, _: &mut Did) -> Result<(), Error> {
    call.has_done(schedule::mend::mend(call.session, call.now)?);
    Ok(())
}

fn recount_limits(call: &Call, budget: &Budget, _: &mut Did) -> Result<(), Error> {
    let recount = || limit::places::recount(call.session, || budget.goes_on());
    if let Err(failure) = guarded(|| as_owner_of_jobs(recount)) {
        failure.pass_over("what is active under limits");
    }
    Ok(())
}

/// What repair() does, and its row says.
pub fn do_all() -> Result<Did, Error> {
    must_be_writable(c"minion.repair()");
    Ok(do_alone(None, all_steps)?.unwrap_or_default())
}

/// How many steps it has.
pub const STEP_COUNT: usize = STEPS.len();

/// One of them, which nobody has called: in a transaction of its own that is to take so long, and not much longer. None as
/// below.
pub fn do_step(number: usize, most: Duration) -> Result<Option<Did>, Error> {
    do_alone(Some(most), |call, budget, did| STEPS[number](call, budget, did))
}

fn all_steps(call: &Call, budget: &Budget, did: &mut Did) -> Result<(), Error> {
    let (last, others) = STEPS.split_last().expect("there are steps");
    for step in others {
        step(call, &budget.half(), did)?;
    }
    last(call, budget, did)
}

/// The same, but only jobs are put where they belong that were due before their parents were done.
pub fn place_blocked(most: Duration) -> Result<Option<Did>, Error> {
    do_alone(Some(most), parked::place_blocked)
}

/// Removes workers that were attached to a session that is gone, and fails, or retries, their jobs: of `all` workers, or
/// of those that are known to have ended. To be called for all at first, and after a call that has failed; again soon if it
/// has skipped some, and where it returns None, for somebody else repairs. If there is more, jobs may be left to
/// [`do_all`], as those are that somebody has locked.
pub fn remove_attached(all: bool, most: Duration) -> Result<Option<Did>, Error> {
    do_alone(Some(most), |call, budget, did| {
        attached::remove_those(call, budget, did, attached::whose(all))
    })
}

/// Fails, or retries, jobs that are active for longer than their time limit. None as below.
pub fn end_attempts(most: Duration) -> Result<Option<Did>, Error> {
    do_alone(Some(most), time_limit::fail)
}

/// None if somebody else does something of the kind.
fn do_alone(
    most: Option<Duration>,
    work: impl FnOnce(&Call, &Budget, &mut Did) -> Result<(), Error>,
) -> Result<Option<Did>, Error> {
    Session::with(|session| {
        // Two of them would wait for each other's rows by way of parents and children.
        if !try_lock_repair() {
            return Ok(None);
        }
        let mut did = Did::default();
        lock_to_write(c"jobs");
        lock_to_write(c"workers");
        let spent = Cell::new(false);
        let budget = match most {
            None => Budget::of_call(&spent),
            Some(most) => Budget::of(most, &spent),
        };
        let by_itself = most.is_some();
        let call = Call { session, now: clock(), by_itself, has_done: Cell::new(false) };
        without_waiting(|| work(&call, &budget, &mut did))?;
        // A call that got nothing done in its time would do no better the next time.
        did.more = spent.get() && call.has_done.get();
        Ok(Some(did))
    })
}

/// Removes workers that are silent for minion.missing_after, or whose session has ended that they were attached to; fails,
/// or retries, the active jobs of workers that are gone, and those that are active for longer than their time limit; removes
/// expired jobs; fails jobs that nobody claimed for minion.stuck_after, unless their
/// queue is paused or a limit of 0 holds them; and removes finished jobs older than minion.remove_after. Call
/// it now and then from one of the workers.
///
/// Returns how many of each it found, and whether its time, minion.repair_limit or half of what statement_timeout
/// has left, has ended before it was through: then call it again. What it can't do with a row is passed over
/// with a WARNING. Failed jobs are never removed. Semantics: Minion's `repair`.
#[pg_extern(name = "repair")]
#[allow(clippy::type_complexity)]
fn repair_within_limit() -> Result<
    TableIterator<
        'static,
        (
            name!(workers_removed, i64),
            name!(jobs_removed, i64),
            name!(jobs_expired, i64),
            name!(jobs_abandoned, i64),
            name!(jobs_stuck, i64),
            name!(more, bool),
        ),
    >,
    ErrorReport,
> {
    let did = do_all()?;
    Ok(TableIterator::once((
        did.workers_removed,
        did.jobs_removed,
        did.jobs_expired,
        did.jobs_abandoned,
        did.jobs_stuck,
        did.more,
    )))
}
