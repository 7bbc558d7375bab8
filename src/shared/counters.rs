//! The counters of each jobs table, and what commits do with them. How they come to be known is in
//! [`super::counted`].

use super::memory::{
    Content, Held, LwLock, LwLockOf, LwLocks, Many, Mode, Part, Rest, Zeroes, bytes,
};
use super::names::Table;
use super::slot::Slot;
use super::slots::Slots;
use super::tally::{Counts, add};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::is_before;
use pgrx::pg_sys;
use std::cell::UnsafeCell;
use std::time::Duration;

pub static COUNTERS: Part<Counters> = Part::new();

/// The counters of all jobs tables.
pub struct Counters {
    /// Held exclusively to count, shared to ask. After that of the slots, by whoever holds both.
    lock: LwLock,
    counters: Many<Counter>,
}

impl Content for Counters {
    fn size() -> usize {
        bytes::<Counter>(MOST_TABLES)
    }

    fn new(mut rest: Rest, locks: &LwLocks) -> Self {
        Self { lock: locks.get(LwLockOf::Counts), counters: rest.many(MOST_TABLES) }
    }
}

impl Counters {
    pub fn hold(&self, mode: Mode) -> Held {
        self.lock.hold(mode)
    }

    /// All of them. Under the lock, as the next.
    pub fn all(&self) -> &[Counter] {
        &self.counters
    }

    pub fn of(&self, table: Table) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.seen().table == table)
    }
}

/// Tables with counts.
const MOST_TABLES: usize = 64;
/// More transactions than this under way at once, and there is no counting.
const MOST_RUNNING: usize = 2_000;
/// Who commits in the moment before the snapshot is known.
const MOST_LOGGED: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// All zeroes.
    Unknown = 0,
    Logging,
    Filtering,
    Known,
}

/// The counts of one jobs table, behind the lock of the counts.
pub struct Counter(UnsafeCell<Inner>);

// SAFETY: written under the exclusive lock alone.
unsafe impl Sync for Counter {}

// SAFETY: see above; all zeroes is one of no table, with nothing known.
unsafe impl Zeroes for Counter {}

pub struct Inner {
    pub table: Table,
    pub phase: Phase,
    /// The backend that counts.
    pub owner: i32,
    /// Until there are no prepared transactions any more.
    pub in_doubt: bool,
    /// When to try again.
    pub not_before: Timestamp,
    pub totals: Counts,
    /// Until when there may be transactions that the snapshot saw and that have yet to come here.
    filters_until: Timestamp,
    xmax: u32,
    running: usize,
    xip: [u32; MOST_RUNNING],
    pub logged: usize,
    log: [Logged; MOST_LOGGED],
}

#[derive(Clone, Copy)]
struct Logged {
    xid: u32,
    slot: u32,
    change: Counts,
}

impl Counter {
    /// Under the exclusive lock.
    #[allow(clippy::mut_from_ref)]
    pub fn inner(&self) -> &mut Inner {
        // SAFETY: the exclusive lock lets one at a time in here, for the length of one function.
        unsafe { &mut *self.0.get() }
    }

    /// Under the lock, shared or not.
    pub fn seen(&self) -> &Inner {
        // SAFETY: nobody writes while the lock is held.
        unsafe { &*self.0.get() }
    }
}

impl Inner {
    /// Whether the snapshot of the count saw a transaction that has committed. Others see it a moment before it comes here:
    /// so it may do that when all is counted already.
    fn saw(&self, xid: u32) -> bool {
        is_before(xid, self.xmax)
            && !self.xip.iter().take(self.running).any(|other| *other == xid)
            && clock() < self.filters_until
    }

    pub fn apply(&mut self, slot: Option<&Slot>, change: &Counts) {
        if let Some(slot) = slot {
            slot.counts.add(change);
            add(&mut self.totals, change);
        }
    }

    /// The table is counted with this snapshot: the first transaction that it does not see any more, and those before it
    /// that were under way. False if there are too many of them.
    pub fn filter(&mut self, slots: &Slots, xmax: u32, running: &[u32]) -> bool {
        let Some(xip) = self.xip.get_mut(..running.len()) else { return false };
        xip.copy_from_slice(running);
        self.running = running.len();
        self.xmax = xmax;
        // Longer than any moment, and not so long that transactions' numbers come round again.
        self.filters_until = clock().after(Duration::from_secs(3_600));
        self.phase = Phase::Filtering;
        for at in 0..self.logged {
            let Logged { xid, slot, change } = self.log[at];
            if !self.saw(xid) {
                self.apply(slots.all().get(slot as usize), &change);
            }
        }
        true
    }
}

/// Adds what a transaction has changed. Called from a commit callback: can't fail.
pub fn committed(
    counters: &Counters,
    slots: &Slots,
    table: Table,
    changes: impl Iterator<Item = (u32, Counts)>,
) {
    // SAFETY: reads the backend's transaction state.
    let xid = u32::from(unsafe { pg_sys::GetTopTransactionIdIfAny() });
    let _held = counters.hold(Mode::Exclusive);
    let Some(counter) = counters.of(table) else { return };
    let inner = counter.inner();
    for (slot, change) in changes {
        match inner.phase {
            Phase::Unknown => return,
            Phase::Logging => match inner.log.get_mut(inner.logged) {
                Some(entry) => {
                    *entry = Logged { xid, slot, change };
                    inner.logged += 1;
                }
                None => inner.phase = Phase::Unknown,
            },
            Phase::Filtering | Phase::Known if inner.saw(xid) => {}
            Phase::Filtering | Phase::Known => {
                inner.apply(slots.all().get(slot as usize), &change);
            }
        }
    }
}

/// Makes the counts of a database unknown. Called from a commit callback: can't fail.
pub fn lost(counters: &Counters, database: u32, in_doubt: bool) {
    let _held = counters.hold(Mode::Exclusive);
    for counter in counters.all().iter().filter(|one| one.seen().table.database == database) {
        let inner = counter.inner();
        inner.phase = Phase::Unknown;
        inner.in_doubt |= in_doubt;
    }
}

/// Sets the counters of lanes whose table has no counts to zero, so that nothing speaks against taking
/// them away. Under the lock of the slots.
pub fn forget_unknown(slots: &Slots) {
    let Some(counters) = COUNTERS.get() else { return };
    let _held = counters.hold(Mode::Exclusive);
    for (_, slot) in slots.in_use() {
        let counter = counters.of(slot.table());
        if counter.is_none_or(|one| one.seen().phase == Phase::Unknown) {
            slot.counts.set_zero();
        }
    }
}
