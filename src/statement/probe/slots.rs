//! Looks for the places of limits.
//!
//! A place is taken under its own lock, for as long as that takes: no row is locked, so that a claim that comes
//! to nothing leaves no trace, and none waits for another. What others have not committed yet shows in the row.
//!
//! Places beyond a limit that are taken, as after it was lowered, count against the free ones below it. There
//! come to be no more of them while a claim has the limit's lock, so it counts them first.

use super::{Found, Latest, Opened, dirty_snapshot, is_bigint, is_from, is_from_bigint, is_name};
use crate::statement::lock::{PlaceLock, Places, lock_to_write};
use crate::statement::{Timestamp, invalidation, oid_of};
use pgrx::pg_sys;
use std::collections::HashSet;
use std::ffi::CStr;

/// What a look for a free place came to.
pub enum Slot {
    /// It is ours to take as long as we have these locks, and its row is there.
    Locked(Vec<PlaceLock>, pg_sys::ItemPointerData),
    /// There are free ones, but others are at them, who may yet leave them free.
    Busy,
    /// And when there may be one, if time alone will free it.
    None(Option<Timestamp>),
}

/// Columns of both tables of places, by their place in `sql/tables.sql`.
const NUMBER: i32 = 3;
const JOB: i32 = 4;
const FREE_AT: i32 = 4;
const FREED: i32 = 5;

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

/// Whether free places are in the order in which they were given back, as they are from 0.4.0 on.
pub fn have_order() -> bool {
    oid_of(c"active_slots_freed") != pg_sys::InvalidOid
}

/// Whether a limit is what a claim takes it for: how many jobs may be active, and start.
pub fn is_limit(queue: &str, task: &str, active: Option<i32>, starts: Option<i32>) -> bool {
    const MAX_ACTIVE: i32 = 3;
    const MAX_STARTS: i32 = 4;
    let Some(rules) = Opened::new(c"limit_rules", c"limit_rules_pkey") else { return false };
    let latest = Latest::new();
    let found = rules.first(latest.0, &mut [is_name(1, queue), is_name(2, task)], |rule| {
        Some((rule.get(MAX_ACTIVE), rule.get(MAX_STARTS)))
    });
    found == Some((active, starts))
}

/// The places of a limit, of one kind.
pub struct Limited<'a> {
    pub places: Places,
    pub queue: &'a str,
    pub task: &'a str,
    pub most: i32,
    pub now: Timestamp,
}

impl Limited<'_> {
    /// A free place, if there are more below the limit than are taken beyond it. It is the one that has been free for
    /// longest. `from` is asked for where in the index the first may be, with the oid of the table, before there is a
    /// snapshot. Also where the first is that is committed, if there is any, and the xmin of the look.
    pub fn lock(
        &self,
        from: &mut dyn FnMut(pg_sys::Oid) -> i64,
    ) -> (Slot, Option<(Option<i64>, pg_sys::TransactionId)>) {
        let Some((beyond, mut busy)) = self.taken_beyond() else { return (Slot::None(None), None) };
        let none = |busy, until| if busy { Slot::Busy } else { Slot::None(until) };
        if beyond >= self.most {
            return (none(busy, None), None);
        }
        let mut locks = Vec::new();
        if beyond > 0 {
            // Two must not count on the same free places.
            let Some(lock) = PlaceLock::of_all(self.places, self.queue, self.task) else {
                return (Slot::Busy, None);
            };
            locks.push(lock);
        }
        let Some((slots, in_order)) = self.free_ones() else { return (Slot::None(None), None) };
        // SAFETY: the relation is open.
        let from = from(unsafe { (*slots.table).rd_id });
        let [queue, task] = self.keys();
        let mut keys = [queue, task, is_from_bigint(3, from, pg_sys::F_TIMESTAMPTZ_GE)];
        let count = if in_order { 3 } else { 2 };
        let latest = Latest::new();
        let mut first = None;
        let mut until = None;
        let mut to_spare = beyond;
        let found = slots.first(latest.0, &mut keys[..count], |slot| {
            if in_order && first.is_none() {
                first = slot.get(self.free_since());
            }
            if !self.is_free(slot) {
                until = slot.get(FREE_AT);
                return Some(None);
            }
            let number = slot.get(NUMBER).filter(|number| *number < self.most)?;
            let lock = self.lock_free(slot, number);
            busy |= lock.is_none();
            let lock = lock?;
            to_spare -= 1;
            (to_spare < 0).then_some(Some((lock, slot.place())))
        });
        // SAFETY: the snapshot is registered.
        let seen = in_order.then(|| (first, unsafe { (*latest.0).xmin }));
        let Some((lock, place)) = found.flatten() else { return (none(busy, until), seen) };
        locks.push(lock);
        (Slot::Locked(locks, place), seen)
    }

    /// The index of the free places, those that have been free for longest first. False if it is not in that order, as
    /// before 0.4.0.
    fn free_ones(&self) -> Option<(Opened, bool)> {
        match self.places {
            Places::Active => match Opened::new(self.table(), c"active_slots_freed") {
                Some(slots) => Some((slots, true)),
                None => Some((Opened::new(self.table(), c"active_slots_free")?, false)),
            },
            Places::Start => Some((Opened::new(self.table(), c"start_slots_free_at")?, true)),
        }
    }

    /// The index of all places; before 0.4.0 it was that of the primary key.
    fn all_ones(&self) -> Option<Opened> {
        let (index, before) = match self.places {
            Places::Active => (c"active_slots_number", c"active_slots_pkey"),
            Places::Start => (c"start_slots_number", c"start_slots_pkey"),
        };
        Opened::new(self.table(), index).or_else(|| Opened::new(self.table(), before))
    }

    fn free_since(&self) -> i32 {
        match self.places {
            Places::Active => FREED,
            Places::Start => FREE_AT,
        }
    }

    /// How many places beyond the limit are taken, or may be, up to as many as there are below it. And whether
    /// others are at free ones, who may yet leave them free.
    fn taken_beyond(&self) -> Option<(i32, bool)> {
        let slots = self.all_ones()?;
        let [queue, task] = self.keys();
        let mut keys = [queue, task, is_from(3, self.most)];
        let mut taken = HashSet::new();
        let mut busy = false;
        let mut count = |slot: &Found, is_taken: bool| {
            taken.extend(slot.get::<i32>(NUMBER).filter(|_| is_taken));
            (taken.len() >= self.most as usize).then_some(())
        };
        // What others have added, or changed, without having committed.
        let mut dirty = dirty_snapshot();
        let dirty = &raw mut dirty;
        // And what is committed. In this order nothing is missed that is committed in between.
        let is_in_doubt = |slot: &Found| slot.is_in_doubt() && !self.is_free(slot);
        slots.first(dirty, &mut keys, |slot| count(slot, is_in_doubt(slot))).or_else(|| {
            let latest = Latest::new();
            slots.first(latest.0, &mut keys, |slot| {
                let is_free = self.is_free(slot);
                let number = slot.get(NUMBER)?;
                let is_in_use = is_free && self.is_being_taken(&slots, slot, number);
                busy |= is_in_use;
                count(slot, !is_free || is_in_use)
            })
        });
        Some((taken.len() as i32, busy))
    }

    /// Whether somebody is putting a job into a free place: one who adds or removes it, as limit_task and
    /// repair do until they commit, takes none.
    fn is_being_taken(&self, slots: &Opened, slot: &Found, number: i32) -> bool {
        // With this lock, what was done to the place stands in the index.
        let Some(_lock) = PlaceLock::at_once(self.places, self.queue, self.task, number) else {
            return true;
        };
        if slot.is_untouched() {
            return false;
        }
        let [queue, task] = self.keys();
        let mut dirty = dirty_snapshot();
        let taken = slots.first(&raw mut dirty, &mut [queue, task, is_from(3, number)], |slot| {
            match slot.get(NUMBER) == Some(number) {
                true => (!self.is_free(slot)).then_some(true),
                false => Some(false),
            }
        });
        taken == Some(true)
    }

    fn lock_free(&self, slot: &Found, number: i32) -> Option<PlaceLock> {
        let lock = PlaceLock::at_once(self.places, self.queue, self.task, number)?;
        slot.is_untouched().then_some(lock)
    }

    fn is_free(&self, slot: &Found) -> bool {
        match self.places {
            Places::Active => slot.get::<i64>(JOB).is_none(),
            Places::Start => slot.get::<Timestamp>(FREE_AT).is_some_and(|at| at <= self.now),
        }
    }

    fn table(&self) -> &'static CStr {
        match self.places {
            Places::Active => c"active_slots",
            Places::Start => c"start_slots",
        }
    }

    fn keys(&self) -> [pg_sys::ScanKeyData; 2] {
        [is_name(1, self.queue), is_name(2, self.task)]
    }
}
