//! What nobody else sees to: schedules, jobs whose parents are not done, and what time and vanished workers leave behind.
//! Each transaction is short, so that whoever wants the tables gets his turn.

use super::turn::Turn;
use crate::failure::Failure;
use crate::repair;
use crate::schedule::dispatch::{dispatch, next_dispatch};
use crate::server::by_itself::transaction_as_owner;
use crate::server::time::{Timestamp, clock};
use crate::settings;
use crate::shared::databases::Database;
use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long a transaction is to take, about.
const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_millis(100);

/// When to try again what somebody else is at.
const BUSY: Duration = Duration::from_millis(50);

/// How long a schedule that can't be dispatched is left alone, and at last.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(60);

thread_local! {
    /// The pause after the last try of schedules that can't be dispatched.
    static PAUSE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// Whether all attached workers are to be looked at, as at first and after a failure, or those that are known to be gone.
    static ENDS_ALL: Cell<bool> = const { Cell::new(true) };
    /// Whether there is more of the repair that was begun.
    static IN_PASS: Cell<bool> = const { Cell::new(false) };
}

pub fn dispatch_schedules(_: &Database) -> Result<Turn, Failure> {
    transaction_as_owner(c"minion: dispatches schedules", dispatch)?;
    // Of what is committed: another dispatcher may have been at it.
    let next = || next_dispatch(clock());
    let (next, overdue) = transaction_as_owner(c"minion: looks for schedules", next)?;
    let pause = match overdue {
        true => (PAUSE.get() * 2).clamp(SOON, LATER),
        false => Duration::ZERO,
    };
    PAUSE.set(pause);
    Ok(Turn::at(if overdue { next.min(clock().after(pause)) } else { next }))
}

/// Workers whose session has ended that they were attached to are removed, and their jobs are others'.
pub fn end_attached(database: &Database) -> Result<Turn, Failure> {
    let all = ENDS_ALL.replace(true);
    let end = || repair::remove_attached(all, LONG);
    let Some(did) = transaction_as_owner(c"minion: ends attached workers", end)? else {
        return Ok(Turn::at(clock().after(BUSY)));
    };
    ENDS_ALL.set(all && did.workers_skipped);
    if did.more {
        // Their other jobs are no different from those of workers that were not attached.
        database.is_to_repair();
    }
    Ok(match did.workers_skipped {
        true => Turn::at(clock().after(BUSY)),
        // What has ended is kept in mind until its row is seen to have gone.
        false if did.workers_removed > 0 => Turn::at(clock()),
        false => Turn::never(),
    })
}

/// Jobs that were due before their parents were done are put where no claim looks at them.
pub fn place_blocked(_: &Database) -> Result<Turn, Failure> {
    let begin = Instant::now();
    let did =
        transaction_as_owner(c"minion: places blocked jobs", || repair::place_blocked(SHORT))?;
    let pause = (begin.elapsed() * 4).max(SOON);
    Ok(if did.more { Turn::at(clock()) } else { Turn::never().not_before(clock().after(pause)) })
}

/// A part of what repair() does. What is known of it is kept beyond the life of this process.
pub fn repair(database: &Database) -> Result<Turn, Failure> {
    let (begin, now) = (Instant::now(), clock());
    if database.repaired.load(SeqCst) == 0 {
        // Not at once: a dump may be being restored, jobs before workers.
        find_next(database, now)?;
        return Ok(Turn::never());
    }
    if !IN_PASS.replace(true) {
        database.touched.store(false, SeqCst);
    }
    let did = transaction_as_owner(c"minion: repairs", || repair::do_some(SHORT))?;
    if did.more {
        // Half of the time is everybody else's.
        return Ok(Turn::never().not_before(clock().after(begin.elapsed())));
    }
    IN_PASS.set(false);
    find_next(database, now)?;
    Ok(Turn::never())
}

/// Writes down when there will be something for the next repair, unless something happens before.
fn find_next(database: &Database, now: Timestamp) -> Result<(), Failure> {
    let next = || repair::next::next(now);
    let next = transaction_as_owner(c"minion: looks what repair will have to do", next)?;
    database.repaired.store(now.0, SeqCst);
    database.repair_at.store(next.0, SeqCst);
    Ok(())
}

/// When repair has its turn.
pub fn time_of_repair(database: &Database) -> Timestamp {
    let Some(interval) = settings::repair_interval() else { return Timestamp::INFINITY };
    let repaired = database.repaired.load(SeqCst);
    if repaired == 0 || IN_PASS.get() {
        return Timestamp::BEFORE_ALL;
    }
    // Unless the clock was wrong.
    let soonest = Timestamp(repaired).min(clock()).after(interval);
    match database.touched.load(SeqCst) {
        true => soonest,
        false => soonest.max(Timestamp(database.repair_at.load(SeqCst))),
    }
}
