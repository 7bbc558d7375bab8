//! Where the slots of lanes are found and added, and, when there is no room for more, those that are empty
//! or belong to what was dropped are taken away.

use super::area::{Area, Mode};
use super::counts::forget_unknown;
use super::heads::Heads;
use super::slot::{Key, Slot, State, Table, hash};
use crate::statement::clock;
use pgrx::pg_sys;
use std::sync::atomic::Ordering;

/// A table full of busy lanes is not searched more often than this.
const PAUSE_MICROS: i64 = 1_000_000;

impl Heads {
    pub fn find(&self, queue: &str, task: &str) -> Option<u32> {
        let mut at = self
            .area()
            .buckets
            .of(hash(self.table, queue.as_bytes(), task.as_bytes()))
            .load(Ordering::Relaxed);
        while at > 0 {
            let slot = self.slot(at - 1);
            if slot.key().is(self.table, queue, task) {
                return Some(at - 1);
            }
            at = slot.next.load(Ordering::Relaxed);
        }
        None
    }

    /// The slot of a lane, added if need be, with `pin` done before it can be taken away again. None if
    /// there is no room for it.
    pub fn find_or_add(&self, queue: &str, task: &str, pin: impl Fn(&Slot)) -> Option<u32> {
        {
            let _held = self.area().lanes(Mode::Shared);
            if let Some(at) = self.find(queue, task) {
                pin(self.slot(at));
                return Some(at);
            }
        }
        self.make_room();
        let _held = self.area().lanes(Mode::Exclusive);
        let at = match self.find(queue, task) {
            Some(at) => at,
            None => self.add(queue, task)?,
        };
        pin(self.slot(at));
        Some(at)
    }

    /// Under the exclusive lock.
    fn add(&self, queue: &str, task: &str) -> Option<u32> {
        // A lane is found from its queue too.
        let of_queue = match task {
            "" => None,
            _ => Some(match self.find(queue, "") {
                Some(at) => at,
                None => self.add(queue, "")?,
            }),
        };
        let area = self.area();
        let key = Key::new(area, self.table, queue, task)?;
        let free = area.free.load(Ordering::Relaxed);
        let used = area.used.load(Ordering::Relaxed);
        let at = if free > 0 {
            area.free.store(self.slot(free - 1).next.load(Ordering::Relaxed), Ordering::Relaxed);
            free - 1
        } else if (used as usize) < area.slots().len() {
            area.used.store(used + 1, Ordering::Relaxed);
            used
        } else {
            key.give_back();
            return None;
        };
        let slot = self.slot(at);
        let bucket = area.buckets.of(key.hash());
        slot.set_key(key);
        slot.state(|state| *state = State::unknown(area.next_version()));
        slot.pins.store(0, Ordering::Relaxed);
        slot.hits.store(0, Ordering::Relaxed);
        slot.heals.store(0, Ordering::Relaxed);
        slot.counts.set_zero();
        slot.keeper.store(0, Ordering::Relaxed);
        slot.in_use.store(true, Ordering::Relaxed);
        slot.next_lane.store(0, Ordering::Relaxed);
        slot.next.store(bucket.swap(at + 1, Ordering::Relaxed), Ordering::Relaxed);
        if let Some(of_queue) = of_queue {
            let first = &self.slot(of_queue).next_lane;
            slot.next_lane.store(first.swap(at + 1, Ordering::Relaxed), Ordering::Relaxed);
        }
        Some(at)
    }

    /// Takes away the slots that are empty or of one of these tables. Under the exclusive lock.
    fn clear(&self, dropped: &[Table]) {
        forget_unknown(self.area());
        // Lanes before queues, which are empty only then.
        for queues in [false, true] {
            for slot in self.area().used_slots() {
                let gone = slot.is_in_use()
                    && slot.is_of_queue() == queues
                    && (slot.is_empty()
                        || (slot.is_unpinned()
                            && slot.has_no_lanes()
                            && dropped.contains(&slot.table())));
                if gone {
                    slot.in_use.store(false, Ordering::Relaxed);
                    slot.key().give_back();
                    slot.state(|state| *state = State::unknown(self.area().next_version()));
                }
            }
            self.link_all();
        }
    }

    /// Makes all lists anew. Under the exclusive lock.
    fn link_all(&self) {
        let area = self.area();
        let used = area.used.load(Ordering::Relaxed) as usize;
        let slots = || (1..).zip(&area.slots()[..used]);
        area.buckets.empty();
        area.free.store(0, Ordering::Relaxed);
        for (number, slot) in slots() {
            let first = match slot.is_in_use() {
                true => area.buckets.of(slot.key().hash()),
                false => &area.free,
            };
            slot.next.store(first.swap(number, Ordering::Relaxed), Ordering::Relaxed);
            slot.next_lane.store(0, Ordering::Relaxed);
        }
        for (number, slot) in slots().filter(|(_, slot)| slot.is_in_use() && !slot.is_of_queue()) {
            let heads = Heads { table: slot.table(), ..*self };
            if let Some(of_queue) = heads.find(&slot.lane().queue, "") {
                let first = &self.slot(of_queue).next_lane;
                slot.next_lane.store(first.swap(number, Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    /// Sees to it that a slot is free, if that can be.
    fn make_room(&self) {
        let area = self.area();
        // A lane takes two slots when its queue is new.
        let full = area.used.load(Ordering::Relaxed) as usize + 2 > area.slots().len();
        if !full || area.free.load(Ordering::Relaxed) > 0 {
            return;
        }
        let now = clock().0;
        let before = area.cleared.load(Ordering::Relaxed);
        let elapsed = now.abs_diff(before) > PAUSE_MICROS as u64;
        if elapsed
            && area
                .cleared
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let dropped: Vec<Table> = tables(area).into_iter().filter(is_dropped).collect();
            let _held = area.lanes(Mode::Exclusive);
            self.clear(&dropped);
        }
    }
}

fn tables(area: &Area) -> Vec<Table> {
    let mut tables = Vec::new();
    let _held = area.lanes(Mode::Shared);
    for slot in area.used_slots() {
        if slot.is_in_use() && !tables.contains(&slot.table()) {
            tables.push(slot.table());
        }
    }
    tables
}

pub fn is_dropped(table: &Table) -> bool {
    let exists = |cache, oid: u32| {
        let oid = pg_sys::Datum::from(oid);
        let none = pg_sys::Datum::null();
        // SAFETY: a look-up by oid, in a transaction.
        unsafe { pg_sys::SearchSysCacheExists(cache as i32, oid, none, none, none) }
    };
    // SAFETY: a variable of this backend.
    let here = u32::from(unsafe { pg_sys::MyDatabaseId }) == table.database;
    match here {
        true => !exists(pg_sys::SysCacheIdentifier::RELOID, table.relation),
        false => !exists(pg_sys::SysCacheIdentifier::DATABASEOID, table.database),
    }
}
