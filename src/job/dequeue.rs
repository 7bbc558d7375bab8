//! dequeue: claims jobs for a worker, and waits for one if asked to.

use super::argument::{given, positive_span};
use super::around::PassedOver;
use super::claim::{MayLock, Wanted, claim};
use super::limits::Rules;
use super::look::Lanes;
use super::take::Claimed;
use crate::error::Error;
use crate::shared::waiters::Waiting;
use crate::shared::wake::Pauses;
use crate::statement::call::{in_transaction_block, is_whole_transaction};
use crate::statement::lock::{lock_to_write, lock_waiting_worker};
use crate::statement::value::{Array, Jsonb, TextArray};
use crate::statement::{
    Session, attempt, clock, doubt_version, has_changed_anything, must_be_writable,
    snapshot_is_fixed,
};
use crate::worker;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::time::{Duration, Instant};

/// Claims the best jobs that are ready for a worker: they become active and are this worker's.
///
/// `worker`: an id of register_worker; `wait`: how long to wait for a job if there is none; `id`: only this
/// job; `min_priority`: none below; `queues`, `tasks`: only of these (`tasks` NULL: any); `max_jobs`: at
/// most so many. Returns them best first (priority DESC, id ASC), or no row. A job that a trigger or a constraint of
/// a user's keeps from starting is passed over with a WARNING.
///
/// Raises 42704 for a worker that is not registered, 22004 for a NULL other than `id`, `min_priority` and
/// `tasks`, 22023 for a bad number, 0A000 for a wait under a fixed snapshot, 25006 where nothing may be written.
/// While it waits, the caller's transaction and snapshot stay open. Semantics: Minion's `dequeue`.
#[pg_extern]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn dequeue(
    worker: Option<i64>,
    wait: default!(Option<Interval>, "'0'"),
    id: default!(Option<i64>, "NULL"),
    min_priority: default!(Option<i32>, "NULL"),
    queues: default!(Option<TextArray>, "'{default}'"),
    tasks: default!(Option<TextArray>, "NULL"),
    max_jobs: default!(Option<i32>, "1"),
    call: pg_sys::FunctionCallInfo,
) -> Result<
    TableIterator<
        'static,
        (name!(id, i64), name!(args, Jsonb), name!(retries, i32), name!(task, String)),
    >,
    ErrorReport,
> {
    let worker = given("worker", worker)?;
    let wait = positive_span("wait", given("wait", wait)?)?;
    let queues = given("queues", queues)?.without_nulls("queues")?;
    let tasks = tasks.map(|tasks| tasks.without_nulls("tasks")).transpose()?;
    let max_jobs = given("max_jobs", max_jobs)?;
    let wanted = Wanted {
        worker,
        lanes: Lanes::new(queues, tasks),
        worst: min_priority.map_or(i32::MAX, |least| !least),
        id,
        max_jobs: usize::try_from(max_jobs).ok().filter(|&most| most > 0).ok_or(Error::value(
            "max_jobs",
            max_jobs,
            "must be at least 1",
            "Ask for 1 job, or for more to claim them in one go.",
        ))?,
    };
    let wait = Duration::from_micros(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
    if !wait.is_zero() && snapshot_is_fixed() {
        return Err(Error::WaitNeedsReadCommitted { function: "dequeue" }.into());
    }
    must_be_writable(c"minion.dequeue()");
    let may_lock = match in_transaction_block() {
        true => MayLock::Nothing,
        false if is_whole_transaction(call) => MayLock::Many,
        false => MayLock::Few,
    };
    let passed = PassedOver::default();
    let jobs = claim_within(&wanted, wait, may_lock, &passed)?;
    passed.tell_others();
    Ok(TableIterator::new(jobs.into_iter().map(|job| (job.id, job.args, job.retries, job.task))))
}

/// How long at most a call sleeps that a limit keeps from a job.
const LIMITED: Duration = Duration::from_millis(100);

/// Claims at once if it can, else whenever a job comes within `wait`.
fn claim_within(
    wanted: &Wanted,
    wait: Duration,
    may_lock: MayLock,
    passed: &PassedOver,
) -> Result<Vec<Claimed>, Error> {
    let had_changed = has_changed_anything();
    let begin = Instant::now();
    let mut pauses = Pauses::new();
    let mut waiting = None;
    // For repair: a heartbeat could not be seen before the transaction ends.
    let mut said_so = false;
    loop {
        let woken = waiting.as_ref().is_some_and(Waiting::listen);
        if woken {
            Rules::doubt();
        }
        if said_so {
            doubt_version();
        }
        let looked = clock();
        // What an attempt locks that may be followed by a wait would stay locked all that time.
        let last = begin.elapsed() >= wait;
        let may_lock_now = if last { may_lock } else { MayLock::Nothing };
        let mut was_limited = false;
        // Without a job, it has written at most what a guard has undone.
        let may_leave = had_changed || may_lock_now != MayLock::Nothing;
        let claimed = attempt(may_leave, || {
            lock_to_write(c"jobs");
            let outcome = Session::with(|session| {
                worker::must_be_registered(session, wanted.worker)?;
                let outcome = claim(session, wanted, clock(), may_lock_now, passed)?;
                if !outcome.jobs.is_empty() && !last && may_lock == MayLock::Many {
                    wanted.lanes.free_due(session, clock(), passed)?;
                }
                Ok(outcome)
            })?;
            was_limited = outcome.was_limited;
            Ok((!outcome.jobs.is_empty()).then_some(outcome.jobs))
        })?;
        if last || claimed.is_some() {
            return Ok(claimed.unwrap_or_default());
        }
        if !said_so {
            lock_waiting_worker(wanted.worker);
            said_so = true;
        }
        let left = wait.saturating_sub(begin.elapsed());
        match (&waiting, &wanted.lanes.tracked) {
            (Some(waiting), _) => {
                // The job that we were woken for is somebody's, or still there: not for us, or held by
                // somebody who may yet give it back without a word.
                let busy = wanted.lanes.may_have_jobs(looked);
                if woken && busy {
                    waiting.pass_on();
                }
                match busy {
                    // Time alone may lift a limit, and nobody tells of it.
                    true if was_limited => waiting.sleep(left.min(LIMITED), looked),
                    true => waiting.sleep(pauses.next(left), looked),
                    false => {
                        pauses = Pauses::seldom();
                        waiting.sleep(left, looked);
                    }
                }
            }
            // A job that has come between the look and this is seen by another look.
            (None, Some(tracked)) => match tracked.wait() {
                Some(place) => {
                    waiting = Some(place);
                    pauses = Pauses::seldom();
                }
                None => pauses.pause(left),
            },
            (None, None) => pauses.pause(left),
        }
    }
}
