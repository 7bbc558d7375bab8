//! repair: what time and vanished workers leave behind is put right.
//!
//! One repair at a time: another returns at once, having done nothing. Rows are locked with SKIP LOCKED, and
//! the children of jobs that end with NOWAIT, so that it waits for nobody who has one of them. It is one
//! transaction, so it ends when its time does, and what it has done by then stays; and what can't be done with a
//! row, because of a trigger or a foreign key of the user's, keeps it from no other row.

mod abandoned;
mod anywhere;
mod budget;
mod call;
mod ended;
mod parked;
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

/// One after the other; each but the last has half of the time that is left.
const STEPS: [Step; 12] = [
    // Before any that touches a job, as dispatch_schedules does.
    mend_schedules,
    workers::mend_ahead,
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
    Session::with(|session| {
        let mut did = Did::default();
        // Two of them would wait for each other's rows by way of parents and children.
        if !try_lock_repair() {
            return Ok(did);
        }
        lock_to_write(c"jobs");
        lock_to_write(c"workers");
        let spent = Cell::new(false);
        let budget = Budget::of_call(&spent);
        let call = Call { session, now: clock(), has_done: Cell::new(false) };
        let (last, others) = STEPS.split_last().expect("there are steps");
        without_waiting(|| {
            for step in others {
                step(&call, &budget.half(), &mut did)?;
            }
            last(&call, &budget, &mut did)
        })?;
        // A call that got nothing done in its time would do no better the next time.
        did.more = spent.get() && call.has_done.get();
        Ok(did)
    })
}

/// Removes workers that are silent for minion.missing_after; fails, or retries, the active jobs of workers
/// that are gone, and those that are active for longer than their time limit; removes expired jobs; fails jobs that nobody claimed for minion.stuck_after, unless their
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
