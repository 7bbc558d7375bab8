//! dequeue: claims jobs for a worker, and waits for one if asked to.

use crate::argument::{given, positive_span};
use crate::claim::around::PassedOver;
use crate::claim::best::claim;
use crate::claim::look::{Eligible, Tracked};
use crate::claim::rules::Rules;
use crate::claim::take::Claimed;
use crate::claim::wanted::{MayLock, Outcome, Wanted};
use crate::error::Error;
use crate::server::advisory::lock_waiting_worker;
use crate::server::attempt::attempt;
use crate::server::call::is_whole_transaction;
use crate::server::client;
use crate::server::latch::{self, Pauses};
use crate::server::probe::worker::is_registered;
use crate::server::relation::lock_to_write;
use crate::server::session::{Session, doubt_version};
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::{
    has_changed_anything, in_transaction_block, must_be_writable, snapshot_is_fixed,
};
use crate::server::value::{Array, Jsonb, TextArray};
use crate::shared::waiting::Waiting;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::time::{Duration, Instant};

static EXISTS: Statement =
    Statement::new("SELECT FROM minion.workers WHERE id = $1", &[pg_sys::INT8OID]);

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
        eligible: Eligible::new(queues, tasks),
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

/// The error for a worker that is not there.
fn must_be_registered(session: &Session, worker: i64) -> Result<(), Error> {
    let registered = match is_registered(worker) {
        Some(registered) => registered,
        None => has_worker(session, worker)?,
    };
    match registered {
        true => Ok(()),
        false => Err(Error::NotRegistered { worker }),
    }
}

/// What a statement sees of it.
pub fn has_worker(session: &Session, worker: i64) -> Result<bool, Error> {
    Ok(session.run(&EXISTS, params![worker])?.count() > 0)
}

/// Claims at once if it can, else whenever a job comes within `wait`.
fn claim_within(
    wanted: &Wanted,
    wait: Duration,
    may_lock: MayLock,
    passed: &PassedOver,
) -> Result<Vec<Claimed>, Error> {
    let had_changed = has_changed_anything();
    let begin = Instant::now();
    let mut sleeper = Sleeper::new(&wanted.eligible);
    // For repair: a heartbeat could not be seen before the transaction ends.
    let mut said_so = false;
    loop {
        let looked = clock();
        // What an attempt locks that may be followed by a wait would stay locked all that time.
        let last = begin.elapsed() >= wait;
        let may_lock_now = if last { may_lock } else { MayLock::Nothing };
        let mut outcome = Outcome::default();
        // Else, without a job, it has written at most what a guard has undone.
        let may_leave = || had_changed || may_lock_now != MayLock::Nothing || passed.has_changed();
        let claimed = attempt(may_leave, || {
            lock_to_write(c"jobs");
            outcome = Session::with(|session| {
                must_be_registered(session, wanted.worker)?;
                let outcome = claim(session, wanted, clock(), may_lock_now, !last, passed)?;
                if !outcome.jobs.is_empty() && !last && may_lock == MayLock::Many {
                    wanted.eligible.free_due(session, clock(), passed)?;
                }
                Ok(outcome)
            })?;
            let jobs = std::mem::take(&mut outcome.jobs);
            Ok((!jobs.is_empty()).then_some(jobs))
        })?;
        if let Some(waiting) = &sleeper.waiting
            && claimed.is_some()
        {
            waiting.has_taken(&outcome.lanes);
        }
        if last || claimed.is_some() {
            return Ok(claimed.unwrap_or_default());
        }
        if !said_so {
            lock_waiting_worker(wanted.worker);
            said_so = true;
        }
        sleeper.sleep(&outcome, looked, wait.saturating_sub(begin.elapsed()));
    }
}

/// How a call waits from one look to the next.
struct Sleeper<'a> {
    eligible: &'a Eligible,
    waiting: Option<Waiting>,
    pauses: Pauses,
}

impl<'a> Sleeper<'a> {
    fn new(eligible: &'a Eligible) -> Self {
        Self { eligible, waiting: None, pauses: Pauses::new() }
    }

    /// Sleeps until there may be a job, at most for `left`, after a look that began at `looked` and found none.
    fn sleep(&mut self, outcome: &Outcome, looked: Timestamp, left: Duration) {
        let took = Duration::from_micros(u64::try_from(clock().0 - looked.0).unwrap_or(0));
        if self.waiting.is_none() {
            self.waiting = self.eligible.tracked.as_ref().and_then(Tracked::wait);
            // A job that has come between the look and this is seen by another look.
            if let Some(waiting) = &self.waiting {
                waiting.listen();
                return;
            }
        }
        match self.waiting.take() {
            Some(waiting) => {
                self.sleep_until_woken(&waiting, outcome, looked, left, took);
                // What is paused or limited may have changed.
                if waiting.listen() {
                    Rules::doubt();
                }
                self.waiting = Some(waiting);
            }
            None => {
                let pause = self.pauses.next(left, took);
                latch::sleep(outcome.next_due.map_or(pause, |due| pause.min(due.since(clock()))));
            }
        }
        client::must_be_there();
        // And so may the extension itself.
        doubt_version();
    }

    fn sleep_until_woken(
        &mut self,
        waiting: &Waiting,
        outcome: &Outcome,
        looked: Timestamp,
        left: Duration,
        took: Duration,
    ) {
        /// When to look for what nobody has told us of, though all is known, and though not all that is there is
        /// for us now.
        const SELDOM: Duration = Duration::from_secs(10);
        const NOW_AND_THEN: Duration = Duration::from_secs(1);
        // How soon those hear of it whose parents are done that nobody has placed.
        let blocked = |took: Duration| (10 * took).clamp(Duration::from_millis(100), NOW_AND_THEN);
        waiting.set_limited(outcome.was_limited);
        // What we were woken for is somebody's, or not for us.
        waiting.pass_on();
        let have_jobs = self.eligible.have_jobs(looked);
        let longest = if outcome.saw_jobs || outcome.is_unsettled || have_jobs.is_none() {
            // One who is at a job may give it back without a word.
            self.pauses.next(left, took)
        } else if let Some(Timestamp(until)) = outcome.limited_until {
            // All who wait for a start look at that time, and those who are too late the less often.
            let until = u64::try_from(until.saturating_sub(clock().0)).unwrap_or(0);
            Duration::from_micros(until).max(self.pauses.next(left, took)).min(NOW_AND_THEN)
        } else {
            self.pauses = Pauses::new();
            if have_jobs == Some(true) { NOW_AND_THEN } else { SELDOM }
        };
        waiting.sleep(longest.min(left), outcome.saw_due.then(|| blocked(took)), looked);
    }
}
