//! Room in a full table of lanes: what is empty, or belongs to what was dropped, is taken away.

use super::area::{Area, Mode};
use super::heads::{Heads, Table};
use pgrx::pg_sys;
use std::sync::atomic::Ordering;

/// A table full of busy lanes is not searched more often than this.
const PAUSE_MICROS: i64 = 1_000_000;

impl Heads {
    /// Sees to it that a slot is free, if that can be.
    pub fn make_room(&self) {
        let area = self.area();
        // A lane takes two slots when its queue is new.
        let full = area.used.load(Ordering::Relaxed) as usize + 2 > area.slots().len();
        if !full || area.free.load(Ordering::Relaxed) > 0 {
            return;
        }
        // SAFETY: reads the clock.
        let now = unsafe { pg_sys::GetCurrentTimestamp() };
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
    for slot in area.slots() {
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
