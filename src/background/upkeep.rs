//! What nobody else sees to: schedules, jobs whose parents are not done, and what time and vanished workers leave behind.
//! Each transaction is short, so that whoever wants the tables gets his turn.

use super::turn::Turn;
use crate::error::Failure;
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

/// How long a schedule that can't be dispatched is left alone, and at last.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(60);

thread_local! {
    /// The pause after the last try of schedules that can't be dispatched.
    static PAUSE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
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

/// Jobs that were due before their parents were done are put where no claim looks at them.
pub fn place_blocked(_: &Database) -> Result<Turn, Failure> {
    let begin = Instant::now();
    let did =
        transaction_as_owner(c"minion: places blocked jobs", || repair::place_blocked(SHORT))?;
    let pause = (begin.elapsed() * 4).max(SOON);
    Ok(if did.more { Turn::at(clock()) } else { Turn::never().not_before(clock().after(pause)) })
}

/// A part of what repair() does, if it is time for that. What is known of it is kept beyond the life of this process.
pub fn repair(database: &Database) -> Result<Turn, Failure> {
    let Some(interval) = settings::repair_interval() else { return Ok(Turn::never()) };
    let (begin, now) = (Instant::now(), clock());
    let find_next = || {
        let next = transaction_as_owner(c"minion: looks what repair will have to do", || {
            repair::next::next(now)
        })?;
        database.repaired.store(now.0, SeqCst);
        database.repair_at.store(next.0, SeqCst);
        Ok::<_, Failure>(())
    };
    if database.repaired.load(SeqCst) == 0 {
        // Not at once: a dump may be being restored, jobs before workers.
        find_next()?;
    }
    if !IN_PASS.get() && now < time_of_repair(database, now, interval) {
        return Ok(Turn::at(time_of_repair(database, now, interval)));
    }
    if !IN_PASS.replace(true) {
        database.touched.store(false, SeqCst);
    }
    let did = transaction_as_owner(c"minion: repairs", || repair::do_some(SHORT))?;
    if did.more {
        // Half of the time is everybody else's.
        return Ok(Turn::at(clock().after(begin.elapsed())));
    }
    IN_PASS.set(false);
    find_next()?;
    Ok(Turn::at(time_of_repair(database, now, interval)))
}

fn time_of_repair(database: &Database, now: Timestamp, interval: Duration) -> Timestamp {
    // Unless the clock was wrong.
    let repaired = Timestamp(database.repaired.load(SeqCst)).min(now);
    let soonest = repaired.after(interval);
    match database.touched.load(SeqCst) {
        true => soonest,
        false => soonest.max(Timestamp(database.repair_at.load(SeqCst))),
    }
}
