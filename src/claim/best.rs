//! A claim: the best jobs that a worker may have now, in order, and nobody else's.
//!
//! Peek at the first ready job of every lane; in the lane of the best, take jobs up to where the second
//! lane begins, skipping what others hold; go on with the next best lane until there are enough.

use super::around::PassedOver;
use super::by_id::take_id;
use super::lane::{Front, Head, Source, read_lane};
use super::limits::{self, Full, Places};
use super::look::{Due, Eligible, Look, Tracked};
use super::rules::{Rule, Rules};
use super::take::Taken;
use super::under_way::{UnderLimits, is_counted_later};
use super::wanted::{MayLock, Outcome, Wanted};
use crate::error::Error;
use crate::server::latch::Pauses;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::check_for_interrupts;
use crate::shared::heads::Reading;
use crate::shared::lane::{Lane, Position};
use pgrx::pg_sys;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::{Duration, Instant};

static LANE_OF_ID: Statement =
    Statement::new("SELECT queue, task FROM minion.jobs WHERE id = $1", &[pg_sys::INT8OID]);

/// Claims up to `max_jobs` jobs, best first. `again`: the call waits, and will look again: it need not look at what
/// somebody has just seen to be in vain, and has time to see whether shared memory is right.
pub fn claim(
    session: &Session,
    wanted: &Wanted,
    now: Timestamp,
    may_lock: MayLock,
    again: bool,
    passed: &PassedOver,
) -> Result<Outcome, Error> {
    let rules = Rules::now(session)?;
    let unpaused = match rules.paused.is_empty() {
        true => None,
        false => wanted.eligible.without(&rules.paused),
    };
    let claim = Claim {
        session,
        wanted,
        eligible: unpaused.as_ref().unwrap_or(&wanted.eligible),
        rules: &rules,
        now,
        batch: may_lock.due(wanted.max_jobs),
        again,
        passed,
    };
    if let Some(id) = wanted.id {
        return claim.one(id);
    }
    // Others may have taken, or be freeing, all that the first look saw: that is no empty queue yet.
    let mut pauses = Pauses::new();
    for attempt in 1.. {
        let outcome = claim.best()?;
        if !outcome.jobs.is_empty() || !outcome.saw_jobs || again || attempt == TRIES {
            return Ok(outcome);
        }
        pauses.pause(PATIENCE);
    }
    unreachable!("the loop returns")
}

/// How many batches of misplaced jobs one claim takes out of the way, so that none pays for a whole backlog
/// that has expired.
const SWEEPS: usize = 2;

/// How often, and how long at most in between, a claim looks again that saw jobs and got none.
const TRIES: usize = 6;
const PATIENCE: Duration = Duration::from_millis(2);

/// One claim, and what it goes by.
struct Claim<'a> {
    session: &'a Session,
    wanted: &'a Wanted,
    /// Those of the wanted ones whose queues are not paused.
    eligible: &'a Eligible,
    rules: &'a Rules,
    now: Timestamp,
    /// How many jobs one statement may lock besides those that are returned.
    batch: usize,
    again: bool,
    passed: &'a PassedOver,
}

impl Claim<'_> {
    /// A certain job, if it can run.
    fn one(&self, id: i64) -> Result<Outcome, Error> {
        let Claim { session, wanted, .. } = *self;
        let mut outcome = Outcome::default();
        if self.passed.any() && self.passed.has(id) {
            return Ok(outcome);
        }
        let mut lane = self.lane_of(id)?;
        for _ in 0..TRIES {
            let rules = lane.as_ref().map(|lane| self.rules.of(lane)).unwrap_or_default();
            let (worker, worst) = (wanted.worker, wanted.worst);
            let take = || {
                let lane = lane.as_ref();
                let jobs = take_id(session, worker, id, self.eligible, worst, lane, self.passed)?;
                Ok(Taken { jobs, rest: Position::END })
            };
            match self.within(&rules, take)? {
                Ok(taken) => outcome.jobs = taken.jobs,
                Err(reached) => outcome.limit(reached.until),
            }
            if !outcome.jobs.is_empty() || lane.is_none() {
                break;
            }
            // Another lane has other limits.
            let is = self.lane_of(id)?;
            if is == lane {
                break;
            }
            (lane, outcome) = (is, Outcome::default());
        }
        Ok(outcome)
    }

    /// Where a job is, if there are limits that it may be under.
    fn lane_of(&self, id: i64) -> Result<Option<Lane>, Error> {
        if !self.rules.has_limits() {
            return Ok(None);
        }
        let rows = self.session.run(&LANE_OF_ID, params![id])?;
        Ok((rows.count() > 0).then(|| read_lane(&rows, 0)))
    }

    /// Takes jobs: if there are limits one, as far as they allow that, or says which one does not.
    fn within(
        &self,
        rules: &[Rc<Rule>],
        take: impl FnOnce() -> Result<Taken, Error>,
    ) -> Result<Result<Taken, Full>, Error> {
        let taken = match rules.is_empty() {
            true => take()?,
            false => {
                let places = match Places::lock(rules, clock()) {
                    Ok(places) => places,
                    Err(reached) => return Ok(Err(reached)),
                };
                let under_limits = UnderLimits::begin();
                let taken = take()?;
                match taken.jobs.first() {
                    Some(job) if job.elsewhere.is_none() => {
                        places.take(self.session, job.id, clock())?;
                    }
                    // These places are not the job's.
                    _ => drop(places),
                }
                under_limits.end(self.session)?;
                taken
            }
        };
        for job in &taken.jobs {
            if let Some(lane) = &job.elsewhere {
                limits::count_start(self.session, lane, clock())?;
                if !is_counted_later(job.id) {
                    limits::count(self.session, lane, job.id)?;
                }
            }
        }
        Ok(Ok(taken))
    }

    /// The lanes' heads, and due jobs among them.
    fn heads(&self, outcome: &mut Outcome) -> Result<BinaryHeap<Head>, Error> {
        let Claim { session, wanted, eligible, now, .. } = *self;
        let look_now = || eligible.look(session, now, wanted.worst, self.again);
        let mut look = look_now()?;
        outcome.saw_due = look.skipped || !look.due.is_empty();
        outcome.is_unsettled = look.unsettled;
        // Those that nobody can run are seen again soon: see `first_due`.
        outcome.saw_jobs = !look.due.is_empty() && !self.again;
        let verify = look.verify.take();
        if outcome.saw_jobs && self.batch > 0 {
            // One that can't be freed hides others, which are claimed where they are.
            let mut due = Vec::new();
            outcome.saw_jobs = false;
            for one in look.due {
                let (batch, enough) = (self.batch, wanted.max_jobs);
                let freed = one.lane.free_due(session, now, batch, enough, self.passed)?;
                outcome.saw_jobs |= freed.all && !freed.is_exhausted;
                due.extend((!freed.all).then_some(one));
            }
            look = Look { due, ..look_now()? };
        }
        if let (Some(verify), Some(tracked)) = (verify, &eligible.tracked)
            && self.verify(tracked, verify)?
        {
            look = look_now()?;
        }
        outcome.next_due = look.next_due;
        let mut heads = look.heads;
        for due in look.due {
            heads.extend(self.first_due(due)?);
        }
        Ok(heads)
    }

    /// Sees whether shared memory is right about a lane, and, if there is time, about others. True if it was not.
    fn verify(&self, tracked: &Tracked, first: (Lane, Reading)) -> Result<bool, Error> {
        const LONGEST: Duration = Duration::from_millis(10);
        let Claim { session, wanted, eligible, now, .. } = *self;
        let begin = Instant::now();
        let mut healed = false;
        let mut next = Some(first);
        while let Some(one) = next {
            healed |= tracked.verify(session, one, now)?;
            next = match self.again && begin.elapsed() < LONGEST {
                true => eligible.look(session, now, wanted.worst, true)?.verify,
                false => None,
            };
        }
        Ok(healed)
    }

    /// The first due job of a lane that can run.
    fn first_due(&self, due: Due) -> Result<Option<Head>, Error> {
        let Claim { session, now, .. } = *self;
        let begin = Instant::now();
        let lane = due.lane.clone();
        let front = Front::Job { misplaced: false };
        let head = Head { position: Position::FIRST, lane, source: Source::Due, front };
        // For one who waits, also of those that are not wanted here: that there are none is worth knowing to others.
        let to = if self.again { Position::END } else { self.end() };
        let first = head.next(session, now, Position::FIRST, to)?;
        // Also of one who does not wait, for somebody makes them watch their parents then.
        if first.is_none()
            && to == Position::END
            && let (Some(reading), Some(tracked)) = (due.reading, &self.eligible.tracked)
        {
            let next = due.lane.next_by_time(session, now)?;
            tracked.heads.looked_in_vain(&reading, next, begin.elapsed());
        }
        Ok(first.filter(|head| head.position < self.end()))
    }

    fn end(&self) -> Position {
        Position::after(self.wanted.worst)
    }

    /// The best jobs of all lanes.
    fn best(&self) -> Result<Outcome, Error> {
        let Claim { session, wanted, now, .. } = *self;
        let end = self.end();
        let mut outcome = Outcome::default();
        let mut heads = self.heads(&mut outcome)?;
        let mut full: Vec<Rc<Rule>> = Vec::new();
        let mut sweeps = SWEEPS;
        let any_passed = self.passed.any();
        while outcome.jobs.len() < wanted.max_jobs {
            check_for_interrupts();
            let Some(best) = heads.pop() else { break };
            match best.front {
                Front::Unseen(reading) => {
                    let seen = best.lane.ready(session, now, best.position, Position::END)?;
                    if let Some(tracked) = &self.eligible.tracked {
                        let first = seen.as_ref().map_or(Position::END, |head| head.position);
                        tracked.heads.raise(&reading, first);
                    }
                    heads.extend(seen.filter(|head| head.position < end));
                    continue;
                }
                Front::Job { misplaced: true } => {
                    outcome.saw_jobs = true;
                    if sweeps > 0 && self.batch > 0 {
                        sweeps -= 1;
                        let (from, passed) = (best.position, self.passed);
                        best.lane.sweep(session, now, from, end, self.batch, passed)?;
                    }
                    heads.extend(best.claimable(session, now, best.position, end)?);
                    continue;
                }
                Front::Job { misplaced: false } => {}
            }
            if any_passed && self.passed.has(best.position.id) {
                heads.extend(best.next(session, now, best.position.next(), end)?);
                continue;
            }
            let rules = self.rules.of(&best.lane);
            if rules.iter().any(|rule| full.iter().any(|full| Rc::ptr_eq(full, rule))) {
                outcome.was_limited = true;
                continue;
            }
            // Two heads stand at one place when a job was moved between two looks; each step must get on.
            let second = heads.peek().map_or(end, |head| head.position);
            let to = second.max(best.position.next()).min(end).min(best.position.end_of_rank());
            let missing = match rules.is_empty() {
                true => wanted.max_jobs - outcome.jobs.len(),
                false => 1,
            };
            let take = || best.take(session, wanted.worker, to, missing, self.passed);
            let taken = match self.within(&rules, take)? {
                Ok(taken) => taken,
                Err(reached) => {
                    // The lane is left alone, and others under the same limit.
                    outcome.limit(reached.until);
                    full.push(reached.rule);
                    outcome.saw_jobs |= reached.is_busy;
                    continue;
                }
            };
            outcome.saw_jobs = true;
            if self.again && !taken.jobs.is_empty() {
                outcome.lanes.push(best.lane.clone());
            }
            outcome.jobs.extend(taken.jobs);
            if outcome.jobs.len() < wanted.max_jobs && taken.rest < end {
                heads.extend(best.next(session, now, taken.rest, end)?);
            }
        }
        Ok(outcome)
    }
}
