//! By how much a transaction changes the counts of jobs, as far as it has not been rolled back to a savepoint.

use super::counters::{self, COUNTERS};
use super::names::Table;
use super::slots::Slots;
use super::tally::{self, Counts, INACTIVE, KINDS};
use crate::server::database;
use pgrx::pg_sys;
use std::cell::RefCell;

/// More changes of lanes and subtransactions than this, and the counts are taken anew.
const MOST: usize = 512;

#[derive(Clone, Copy)]
struct Change {
    subtransaction: u32,
    slot: u32,
    counts: Counts,
}

/// Allocated once: the callbacks that use it must not be able to fail.
struct Changes {
    changes: [Change; MOST],
    count: usize,
    lost: bool,
}

thread_local!(static CHANGES: RefCell<Changes> = const {
    RefCell::new(Changes {
        changes: [Change { subtransaction: 0, slot: 0, counts: [0; KINDS] }; MOST],
        count: 0,
        lost: false,
    })
});

impl Changes {
    fn all(&self) -> &[Change] {
        self.changes.get(..self.count).unwrap_or_default()
    }

    fn add(&mut self, change: Change) {
        let same = |other: &&mut Change| {
            other.subtransaction == change.subtransaction && other.slot == change.slot
        };
        // The last lane is mostly the next one, too.
        let known = self.changes.iter_mut().take(self.count).rev().find(same);
        if let Some(known) = known {
            tally::add(&mut known.counts, &change.counts);
        } else if let Some(free) = self.changes.get_mut(self.count) {
            *free = change;
            self.count += 1;
        } else {
            self.lost = true;
        }
    }

    /// Keeps those that `keep` says, which may change them first.
    fn retain(&mut self, mut keep: impl FnMut(&mut Change) -> bool) {
        let before = std::mem::take(&mut self.count);
        for at in 0..before {
            if let Some(mut change) = self.changes.get(at).copied()
                && keep(&mut change)
            {
                self.add(change);
            }
        }
    }
}

/// A lane of this transaction has more or fewer jobs. Its slot is pinned.
pub fn changed(slot: u32, counts: Counts) {
    // SAFETY: reads the backend's transaction state.
    let subtransaction = unsafe { pg_sys::GetCurrentSubTransactionId() };
    CHANGES.with_borrow_mut(|changes| changes.add(Change { subtransaction, slot, counts }));
}

/// This transaction has changed what it can't say.
pub fn lose() {
    CHANGES.with_borrow_mut(|changes| changes.lost = true);
}

pub fn are_lost() -> bool {
    CHANGES.with_borrow(|changes| changes.lost)
}

/// This transaction's own changes in those of a table's lanes that are wanted.
pub fn own(slots: &Slots, wanted: impl Fn(u32, Table) -> bool) -> Counts {
    let mut sum = [0; KINDS];
    CHANGES.with_borrow(|changes| {
        for change in changes.all() {
            if wanted(change.slot, slots.all()[change.slot as usize].table()) {
                tally::add(&mut sum, &change.counts);
            }
        }
    });
    sum
}

/// A subtransaction is undone. `taken` is called for each lane that has got ready or parked jobs back, with how
/// many. Can't fail.
pub fn undo(own: pg_sys::SubTransactionId, mut taken: impl FnMut(u32, u32)) {
    CHANGES.with(|changes| {
        let Ok(mut changes) = changes.try_borrow_mut() else { return };
        changes.retain(|change| {
            let is_own = change.subtransaction == own;
            let back = -change.counts[INACTIVE];
            if is_own && back > 0 {
                taken(change.slot, back.try_into().unwrap_or(u32::MAX));
            }
            !is_own
        });
    });
}

/// What a subtransaction has changed is its parent's now. Can't fail.
pub fn hand_over(own: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    CHANGES.with(|changes| {
        let Ok(mut changes) = changes.try_borrow_mut() else { return };
        changes.retain(|change| {
            if change.subtransaction == own {
                change.subtransaction = parent;
            }
            true
        });
    });
}

/// The transaction ends. Called while its slots are still pinned. Can't fail.
pub fn end(slots: &Slots, event: pg_sys::XactEvent::Type) {
    use pg_sys::XactEvent::*;
    CHANGES.with(|changes| {
        let (Some(counters), Ok(mut changes)) = (COUNTERS.get(), changes.try_borrow_mut()) else {
            return;
        };
        let table = |change: &Change| {
            let slot = slots.all().get(change.slot as usize);
            slot.map(|slot| slot.table())
        };
        let first = changes.all().first().and_then(table);
        let of_one = changes.all().iter().all(|change| table(change) == first);
        let prepared = event == XACT_EVENT_PREPARE;
        if event == XACT_EVENT_COMMIT || prepared {
            let any = changes.lost || changes.count > 0;
            if any && (changes.lost || !of_one || prepared) {
                counters::lost(counters, database::own(), prepared);
            } else if let Some(table) = first {
                let all = changes.all().iter().map(|change| (change.slot, change.counts));
                counters::committed(counters, slots, table, all);
            }
        }
        changes.count = 0;
        changes.lost = false;
    });
}
