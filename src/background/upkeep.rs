//! What nobody else sees to: schedules, jobs whose parents are not done, and what time and vanished workers leave behind.
//! Each transaction is short, so that whoever wants the tables gets his turn.

use super::turn::Turn;
use crate::error::Error;
use crate::failure::Failure;
use crate::repair;
use crate::repair::time_limit::next_end;
use crate::schedule::dispatch::{dispatch, next_dispatch};
use crate::server::by_itself::transaction_as_owner;
use crate::server::session::Session;
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::check_constraints_at_once;
use crate::settings;
use crate::shared::database::{Database, task};
use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long a transaction is to take, about.
const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_millis(100);

/// Looks for what is blocked take such a part of the time at most.
const PART: u32 = 20;

/// At the earliest after a look for blocked jobs, and after somebody else's repair.
const SOON: Duration = Duration::from_secs(1);

/// How far a repair has got that was begun: it goes through its steps one after the other, in a transaction for each
/// batch, and once more through all of them if some had to be left, for none is to wait for the others' backlog.
#[derive(Clone, Copy, Default)]
struct Pass {
    step: usize,
    batches: usize,
    is_left: bool,
}

/// As many batches of a step before the next one has its turn.
const BATCHES: usize = 50;

impl Pass {
    /// After a batch; None if it is through.
    fn next(mut self, more: bool) -> Option<Self> {
        self.batches += 1;
        if more && self.batches < BATCHES {
            return Some(self);
        }
        (self.step, self.batches) = (self.step + 1, 0);
        self.is_left |= more;
        match self.step < repair::STEP_COUNT {
            true => Some(self),
            false => self.is_left.then(Self::default),
        }
    }
}

thread_local! {
    /// Whether all attached workers are to be looked at, as at first and after a failure, or those that are known to be gone.
    static ENDS_ALL: Cell<bool> = const { Cell::new(true) };
    static PASS: Cell<Option<Pass>> = const { Cell::new(None) };
}

pub fn dispatch_schedules(database: &Database) -> Result<Turn, Failure> {
    // What comes due from here on is not overdue.
    let now = clock();
    carefully(c"minion: dispatches schedules", dispatch)?;
    // That was ourselves, and what others have changed is seen by the look that follows.
    database.begin(task::SCHEDULES);
    // Of what is committed: another dispatcher may have been at it.
    let next = || next_dispatch(now);
    let (next, overdue) = transaction_as_owner(c"minion: looks for schedules", next)?;
    Ok(if overdue { Turn::at(next).undone() } else { Turn::at(next) })
}

/// Where a deferred trigger refuses one of many things, it refuses all of them. Then they are tried once more, and each is
/// looked at by such triggers, too, before the next one.
fn carefully<T>(what: &CStr, mut work: impl FnMut() -> Result<T, Error>) -> Result<T, Failure> {
    match transaction_as_owner(what, &mut work) {
        Err(failure) if !failure.is_of_others() => transaction_as_owner(what, || {
            check_constraints_at_once();
            work()
        }),
        done => done,
    }
}

/// Workers whose session has ended that they were attached to are removed, and their jobs are others'.
pub fn end_attached(database: &Database) -> Result<Turn, Failure> {
    let all = ENDS_ALL.replace(true);
    let end = || repair::remove_attached(all, LONG);
    let Some(did) = carefully(c"minion: ends attached workers", end)? else {
        return Ok(Turn::busy());
    };
    ENDS_ALL.set(did.workers_skipped);
    // Somebody may have had one of their jobs locked.
    if did.workers_removed > 0 {
        database.touch(clock());
    }
    if did.more {
        // Their other jobs are no different from those of workers that were not attached.
        database.is_to_repair();
    }
    Ok(match did.workers_skipped {
        true => Turn::busy(),
        // What has ended is kept in mind until its row is seen to have gone.
        false if did.workers_removed > 0 => Turn::at(clock()),
        false => Turn::never(),
    })
}

/// Attempts that are under way for longer than their time limit are failed.
pub fn end_attempts(_: &Database) -> Result<Turn, Failure> {
    let next = |after| {
        transaction_as_owner(c"minion: looks for time limits", || {
            Session::with(|session| next_end(session, after))
        })
    };
    let now = clock();
    let first = next(Timestamp::BEFORE_ALL)?;
    if first > now {
        return Ok(Turn::at(first));
    }
    let end = || repair::end_attempts(LONG);
    match carefully(c"minion: ends attempts", end)? {
        None => return Ok(Turn::busy()),
        Some(did) if did.more => return Ok(Turn::at(clock())),
        Some(_) => {}
    }
    let first = next(Timestamp::BEFORE_ALL)?;
    Ok(match first > now {
        true => Turn::at(first),
        // Somebody has one of them locked, or a trigger is in the way.
        false => Turn::at(next(now)?).undone(),
    })
}

/// Jobs that were due before their parents were done are put where no claim looks at them.
pub fn place_blocked(_: &Database) -> Result<Turn, Failure> {
    let begin = Instant::now();
    let place = || repair::place_blocked(SHORT);
    let did = carefully(c"minion: places blocked jobs", place)?;
    Ok(match did {
        None => Turn::busy(),
        Some(did) if did.more => Turn::at(clock()),
        Some(_) => Turn::never().not_before(clock().after((begin.elapsed() * PART).max(SOON))),
    })
}

/// A part of what repair() does. What is known of it is kept beyond the life of this process.
pub fn repair(database: &Database) -> Result<Turn, Failure> {
    let (begin, now) = (Instant::now(), clock());
    if database.repaired.load(SeqCst) == 0 {
        // Not at once: a dump may be being restored, jobs before workers. What was begun with other tables is over.
        PASS.set(None);
        find_next(database, now, false)?;
        return Ok(Turn::never());
    }
    let pass = PASS.get().unwrap_or_else(|| {
        database.touched.store(0, SeqCst);
        // For the next process, should this one end before it is through.
        database.repair_at.store(now.0, SeqCst);
        Pass::default()
    });
    PASS.set(Some(pass));
    let step = || repair::do_step(pass.step, SHORT);
    let more = match carefully(c"minion: repairs", step) {
        Ok(Some(did)) => did.more,
        // Somebody has called it.
        Ok(None) => return Ok(Turn::never().not_before(clock().after(SOON))),
        Err(failure) if failure.is_of_others() => return Err(failure),
        Err(failure) => {
            // The other steps have their turn all the same.
            PASS.set(pass.next(false));
            return Err(failure);
        }
    };
    PASS.set(pass.next(more));
    if PASS.get().is_some() {
        // Half of the time is everybody else's.
        return Ok(Turn::never().not_before(clock().after(begin.elapsed())));
    }
    find_next(database, now, true)?;
    // Schedules that were written without their trigger.
    database.ask(task::SCHEDULES);
    Ok(Turn::never())
}

/// Writes down when there will be something for the next repair, unless something happens before.
fn find_next(database: &Database, now: Timestamp, has_repaired: bool) -> Result<(), Failure> {
    let next = || repair::next::next(now, has_repaired);
    let next = transaction_as_owner(c"minion: looks what repair will have to do", next)?;
    database.repaired.store(now.0, SeqCst);
    database.repair_at.store(next.0, SeqCst);
    Ok(())
}

/// When repair has its turn.
pub fn time_of_repair(database: &Database) -> Timestamp {
    let repaired = database.repaired.load(SeqCst);
    if database.must_repair() {
        return Timestamp::BEFORE_ALL;
    }
    let Some(interval) = settings::repair_interval() else { return Timestamp::INFINITY };
    if repaired == 0 || PASS.get().is_some() {
        return Timestamp::BEFORE_ALL;
    }
    // Unless the clock was wrong.
    let now = clock();
    let soonest = Timestamp(repaired).min(now).after(interval);
    match Timestamp(database.touched.load(SeqCst)) {
        Timestamp(0) => soonest.max(Timestamp(database.repair_at.load(SeqCst))),
        touched => soonest.max(touched.min(now).after(interval)),
    }
}
