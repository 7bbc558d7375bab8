//! Looks for the places of limits.
//!
//! A place is taken under its own lock, for as long as that takes: no row is locked, so that a claim that comes
//! to nothing leaves no trace, and none waits for another. What others have not committed yet shows in the row.

use super::{Found, Latest, Opened, is_bigint, is_from, is_less, is_name};
use crate::statement::lock::{PlaceLock, Places, lock_to_write};
use crate::statement::{Timestamp, invalidation};
use pgrx::pg_sys;

/// What a look for a free place came to.
pub enum Slot {
    /// It is ours to take, and has this number.
    Locked(PlaceLock, i32),
    /// There are free ones, but others are at them, who may yet leave them free.
    Busy,
    None,
}

/// A free place of a limit on active jobs.
pub fn lock_active_slot(queue: &str, task: &str, most: i32) -> Slot {
    let Some(slots) = Opened::new(c"active_slots", c"active_slots_free") else { return Slot::None };
    let mut keys = [is_name(1, queue), is_name(2, task), is_less(3, most)];
    let mut busy = false;
    let latest = Latest::new();
    let locked = slots.first(latest.0, &mut keys, |slot| {
        let locked = lock(slot, Places::Active, queue, task);
        busy |= locked.is_none();
        locked
    });
    found(locked, busy)
}

fn lock(slot: &Found, places: Places, queue: &str, task: &str) -> Option<(PlaceLock, i32)> {
    let number = slot.get(NUMBER)?;
    let locked = PlaceLock::at_once(places, queue, task, number)?;
    slot.is_untouched().then_some((locked, number))
}

fn found(locked: Option<(PlaceLock, i32)>, busy: bool) -> Slot {
    match locked {
        Some((locked, number)) => Slot::Locked(locked, number),
        None if busy => Slot::Busy,
        None => Slot::None,
    }
}

/// Whether a job has a place of a limit, or had, or is about to: false is certain.
pub fn may_have_slot(job: i64) -> bool {
    // Who has one gives it back.
    lock_to_write(c"active_slots");
    let Some(slots) = Opened::new(c"active_slots", c"active_slots_job") else {
        return invalidation::exist();
    };
    let any = &raw mut pg_sys::SnapshotAnyData;
    slots.first(any, &mut [is_bigint(job)], |_| Some(())).is_some()
}

/// Whether a place from a number on is taken, or about to be.
pub fn is_any_taken(queue: &str, task: &str, from: i32) -> bool {
    let Some(slots) = Opened::new(c"active_slots", c"active_slots_pkey") else { return true };
    let mut keys = [is_name(1, queue), is_name(2, task), is_from(3, from)];
    let latest = Latest::new();
    let taken = slots.first(latest.0, &mut keys, |slot| {
        let free = slot.get::<i64>(JOB).is_none();
        (!free || lock(slot, Places::Active, queue, task).is_none()).then_some(())
    });
    taken.is_some()
}

/// The place of a limit on starts that has been free for longest.
pub fn lock_start_slot(queue: &str, task: &str, now: Timestamp, most: i32) -> Slot {
    let Some(slots) = Opened::new(c"start_slots", c"start_slots_free_at") else {
        return Slot::None;
    };
    let mut keys = [is_name(1, queue), is_name(2, task)];
    let mut busy = false;
    let latest = Latest::new();
    let locked = slots.first(latest.0, &mut keys, |slot| {
        let number = slot.get::<i32>(NUMBER)?;
        if slot.get::<Timestamp>(FREE_AT).is_none_or(|at| at > now) {
            return Some(None);
        }
        if number >= most {
            return None;
        }
        let locked = lock(slot, Places::Start, queue, task);
        busy |= locked.is_none();
        locked.map(Some)
    });
    found(locked.flatten(), busy)
}

/// Columns of both tables of places, by their place in `sql/tables.sql`.
const NUMBER: i32 = 3;
const JOB: i32 = 4;
const FREE_AT: i32 = 4;
