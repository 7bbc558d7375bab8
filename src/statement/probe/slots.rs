//! Looks for the slots of limits.

use super::{Latest, Opened, is_bigint, is_from, is_less, is_name};
use crate::statement::{Timestamp, invalidation};
use pgrx::pg_sys;

/// What a look for a free slot came to.
pub enum Slot {
    /// It is locked for us, and has this number.
    Locked(i32),
    /// There are free ones, but others are at them, who may yet leave them free.
    Busy,
    None,
}

/// Locks a free slot of a limit on active jobs. Unlike FOR UPDATE SKIP LOCKED it leaves alone one that somebody
/// has taken since the snapshot: who ends that job must not wait for us.
pub fn lock_active_slot(queue: &str, task: &str, most: i32) -> Slot {
    let Some(slots) = Opened::new(c"active_slots", c"active_slots_free") else { return Slot::None };
    let mut keys = [is_name(1, queue), is_name(2, task), is_less(3, most)];
    let mut busy = false;
    let latest = Latest::new();
    let locked = slots.first(latest.0, &mut keys, |slot| {
        let locked = slot.lock();
        busy |= !locked;
        locked.then(|| slot.get(NUMBER)).flatten()
    });
    found(locked, busy)
}

fn found(locked: Option<i32>, busy: bool) -> Slot {
    match locked {
        Some(number) => Slot::Locked(number),
        None if busy => Slot::Busy,
        None => Slot::None,
    }
}

/// Whether a job has a slot of a limit, or had, or is about to: false is certain.
pub fn may_have_slot(job: i64) -> bool {
    let Some(slots) = Opened::new(c"active_slots", c"active_slots_job") else {
        return invalidation::exist();
    };
    let any = &raw mut pg_sys::SnapshotAnyData;
    slots.first(any, &mut [is_bigint(job)], |_| Some(())).is_some()
}

/// Whether a limit on active jobs has slots from a number on, whoever has them.
pub fn has_active_slots(queue: &str, task: &str, from: i32) -> bool {
    let Some(slots) = Opened::new(c"active_slots", c"active_slots_pkey") else { return true };
    let mut keys = [is_name(1, queue), is_name(2, task), is_from(3, from)];
    let latest = Latest::new();
    slots.first(latest.0, &mut keys, |_| Some(())).is_some()
}

/// Locks the free ones of these, and returns their numbers.
pub fn lock_surplus_slots(queue: &str, task: &str, from: i32) -> Vec<i32> {
    let Some(slots) = Opened::new(c"active_slots", c"active_slots_free") else { return Vec::new() };
    let mut keys = [is_name(1, queue), is_name(2, task), is_from(3, from)];
    let mut numbers = Vec::new();
    let latest = Latest::new();
    let all: Option<()> = slots.first(latest.0, &mut keys, |slot| {
        if slot.lock() {
            numbers.extend(slot.get::<i32>(NUMBER));
        }
        None
    });
    debug_assert!(all.is_none());
    numbers
}

/// Locks the slot of a limit on starts that has been free for longest.
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
        let locked = slot.lock();
        busy |= !locked;
        locked.then_some(Some(number))
    });
    found(locked.flatten(), busy)
}

/// Columns of both tables of slots, by their place in `sql/tables.sql`.
const NUMBER: i32 = 3;
const FREE_AT: i32 = 4;
