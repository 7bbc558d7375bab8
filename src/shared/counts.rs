//! How many jobs there are, of each kind in each lane: counted once, and kept from then on by whoever
//! commits.
//!
//! The count goes over the table with a snapshot while others commit, and each of them must be counted
//! once. So first everybody who commits is written down (Logging); then the snapshot is taken and told to
//! all, and from then on whoever it does not see adds what he has changed himself (Filtering), as it is
//! done for those who were written down. When the snapshot's counts are added to that, they are exact.
//! What nobody can tell for sure (a prepared transaction, more lanes than there is room for) makes them
//! unknown: whoever asks then counts by index, and one of them anew.

use super::area::{Area, Mode};
use super::changes;
use super::heads::Heads;
use super::lane::Lane;
use super::room::is_dropped;
use super::slot::{Slot, Table};
use crate::statement::{Timestamp, clock};
use pgrx::pg_sys;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI64, Ordering};

/// What is counted: the states in their order, and the jobs parked until they are due.
pub const KINDS: usize = 5;
pub const INACTIVE: usize = 0;
pub const DELAYED: usize = 4;
pub type Counts = [i64; KINDS];

/// Databases with counts.
pub const COUNTERS: usize = 64;
/// More transactions than this under way at once, and there is no counting.
const MOST_RUNNING: usize = 2_000;
/// Who commits in the moment before the snapshot is known.
const MOST_LOGGED: usize = 256;
/// A count that did not succeed is not tried again for so long.
const PAUSE_MICROS: i64 = 10_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Phase {
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

struct Inner {
    table: Table,
    phase: Phase,
    /// The backend that counts.
    owner: i32,
    /// Until there are no prepared transactions any more.
    in_doubt: bool,
    /// When to try again.
    not_before: Timestamp,
    totals: Counts,
    xmax: u32,
    running: usize,
    xip: [u32; MOST_RUNNING],
    logged: usize,
    log: [Logged; MOST_LOGGED],
}

#[derive(Clone, Copy)]
struct Logged {
    xid: u32,
    slot: u32,
    change: Counts,
}

/// The counters of a lane.
#[derive(Default)]
pub struct LaneCounts([AtomicI64; KINDS]);

impl LaneCounts {
    fn add(&self, change: &Counts) {
        for (count, change) in self.0.iter().zip(change) {
            count.fetch_add(*change, Ordering::Relaxed);
        }
    }

    pub fn set_zero(&self) {
        for count in &self.0 {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub fn are_zero(&self) -> bool {
        self.0.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }

    pub fn get(&self) -> Counts {
        std::array::from_fn(|kind| self.0[kind].load(Ordering::Relaxed))
    }
}

pub fn add(sum: &mut Counts, change: &Counts) {
    for (sum, change) in sum.iter_mut().zip(change) {
        *sum += change;
    }
}

impl Counter {
    /// Under the exclusive lock.
    #[allow(clippy::mut_from_ref)]
    fn inner(&self) -> &mut Inner {
        // SAFETY: the exclusive lock lets one at a time in here, for the length of one function.
        unsafe { &mut *self.0.get() }
    }

    /// Under the lock, shared or not.
    fn seen(&self) -> &Inner {
        // SAFETY: nobody writes while the lock is held.
        unsafe { &*self.0.get() }
    }
}

impl Inner {
    /// Whether the snapshot of the count saw a transaction that has committed.
    fn saw(&self, xid: u32) -> bool {
        let before = |one: u32, other: u32| (one.wrapping_sub(other) as i32) < 0;
        before(xid, self.xmax) && !self.xip.iter().take(self.running).any(|other| *other == xid)
    }

    fn apply(&mut self, slot: Option<&Slot>, change: &Counts) {
        if let Some(slot) = slot {
            slot.counts.add(change);
            add(&mut self.totals, change);
        }
    }
}

/// Adds what a transaction has changed. Called from a commit callback: can't fail.
pub fn committed(area: &Area, table: Table, changes: impl Iterator<Item = (u32, Counts)>) {
    // SAFETY: reads the backend's transaction state.
    let xid = u32::from(unsafe { pg_sys::GetTopTransactionIdIfAny() });
    let _held = area.counts(Mode::Exclusive);
    let Some(counter) = area.counters().iter().find(|counter| counter.seen().table == table) else {
        return;
    };
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
            Phase::Filtering if inner.saw(xid) => {}
            Phase::Filtering | Phase::Known => {
                inner.apply(area.slots().get(slot as usize), &change);
            }
        }
    }
}

/// Makes the counts of a database unknown. Called from a commit callback: can't fail.
pub fn lost(area: &Area, database: u32, in_doubt: bool) {
    let _held = area.counts(Mode::Exclusive);
    for counter in area.counters().iter().filter(|one| one.seen().table.database == database) {
        let inner = counter.inner();
        inner.phase = Phase::Unknown;
        inner.in_doubt |= in_doubt;
    }
}

/// Sets the counters of lanes whose table has no counts to zero, so that nothing speaks against taking
/// them away. Under the lock of the lanes.
pub fn forget_unknown(area: &Area) {
    let _held = area.counts(Mode::Exclusive);
    for slot in area.used_slots().iter().filter(|slot| slot.is_in_use()) {
        let of_table = |counter: &&Counter| counter.seen().table == slot.table();
        if area
            .counters()
            .iter()
            .find(of_table)
            .is_none_or(|one| one.seen().phase == Phase::Unknown)
        {
            slot.counts.set_zero();
        }
    }
}

/// What there is to know about the counts.
pub enum Known {
    Counts(Counts),
    /// They are for this backend to count, if it wants to.
    Nobody,
    /// Somebody counts, or they can't be told now.
    Later,
    /// There were prepared transactions; if there are none any more, say so with `certain`.
    InDoubt,
}

impl Heads {
    /// The jobs of the whole table: what is committed, and what this transaction has changed.
    pub fn totals(&self) -> Known {
        if changes::are_lost() {
            return Known::Later;
        }
        let own = changes::own(self.area(), |_, table| table == self.table);
        let _held = self.area().counts(Mode::Shared);
        let Some(counter) = self.counter() else { return Known::Nobody };
        let inner = counter.seen();
        match inner.phase {
            Phase::Known => {
                let mut totals = inner.totals;
                add(&mut totals, &own);
                Known::Counts(totals)
            }
            _ if inner.in_doubt => Known::InDoubt,
            Phase::Unknown if inner.not_before <= clock() => Known::Nobody,
            Phase::Logging | Phase::Filtering if !is_alive(inner.owner) => Known::Nobody,
            _ => Known::Later,
        }
    }

    /// The jobs of each lane, if those of the table are known.
    pub fn by_lane(&self) -> Option<Vec<(Lane, Counts)>> {
        let _lanes = self.area().lanes(Mode::Shared);
        let _held = self.area().counts(Mode::Shared);
        let known = !changes::are_lost()
            && self.counter().is_some_and(|counter| counter.seen().phase == Phase::Known);
        let counts = |(at, slot): (u32, &Slot)| {
            let mut counts = slot.counts.get();
            add(&mut counts, &changes::own(self.area(), |slot, _| slot == at));
            (slot.lane(), counts)
        };
        known.then(|| self.own_lanes().map(counts).collect())
    }

    fn counter(&self) -> Option<&'static Counter> {
        self.area().counters().iter().find(|counter| counter.seen().table == self.table)
    }

    /// Nobody is in doubt any more.
    pub fn certain(&self) {
        let _held = self.area().counts(Mode::Exclusive);
        if let Some(counter) = self.counter() {
            counter.inner().in_doubt = false;
        }
    }

    /// Begins to count; None if somebody else does, or there is no room.
    pub fn count(&self) -> Option<Counting> {
        let area = self.area();
        let tables: Vec<Table> = {
            let _held = area.counts(Mode::Shared);
            area.counters().iter().map(|counter| counter.seen().table).collect()
        };
        // Looked up under no lock of ours.
        let free = tables.iter().position(|table| *table == Table::NONE || is_dropped(table));
        let _lanes = area.lanes(Mode::Shared);
        let _held = area.counts(Mode::Exclusive);
        let inner = match self.counter() {
            Some(counter) => counter.inner(),
            None => {
                let at = free?;
                let inner = area.counters()[at].inner();
                if inner.table != tables[at] {
                    return None;
                }
                inner
            }
        };
        let is_ours = inner.table == self.table;
        let busy = matches!(inner.phase, Phase::Logging | Phase::Filtering);
        if is_ours && ((busy && is_alive(inner.owner)) || inner.phase == Phase::Known) {
            return None;
        }
        for (_, slot) in self.own_lanes() {
            slot.counts.set_zero();
        }
        // SAFETY: a variable of this backend.
        inner.owner = unsafe { pg_sys::MyProcPid };
        inner.table = self.table;
        inner.totals = [0; KINDS];
        inner.logged = 0;
        inner.in_doubt = false;
        inner.not_before = Timestamp(clock().0 + PAUSE_MICROS);
        inner.phase = Phase::Logging;
        Some(Counting { heads: *self })
    }
}

/// A count under way. Dropped before its end, it never was.
pub struct Counting {
    heads: Heads,
}

impl Counting {
    /// There are prepared transactions: not before they have ended.
    pub fn doubt(&self) {
        let _held = self.heads.area().counts(Mode::Exclusive);
        if let Some(inner) = self.own() {
            inner.in_doubt = true;
            inner.not_before = Timestamp(i64::MIN);
        }
    }

    /// Tells all which snapshot the table will be counted with.
    pub fn with_snapshot(&self, xmax: u32, running: &[u32]) -> bool {
        let area = self.heads.area();
        let _held = area.counts(Mode::Exclusive);
        let Some(inner) = self.own().filter(|inner| inner.phase == Phase::Logging) else {
            return false;
        };
        let Some(xip) = inner.xip.get_mut(..running.len()) else { return false };
        xip.copy_from_slice(running);
        inner.running = running.len();
        inner.xmax = xmax;
        inner.phase = Phase::Filtering;
        for at in 0..inner.logged {
            let Logged { xid, slot, change } = inner.log[at];
            if !inner.saw(xid) {
                inner.apply(area.slots().get(slot as usize), &change);
            }
        }
        true
    }

    /// Adds what the snapshot saw: all of it, or nothing is known.
    pub fn finish(self, counted: &[(String, String, Counts)]) {
        let mut slots = Vec::new();
        for (queue, task, counts) in counted {
            // Pinned, so that it is still this lane's when it is added to.
            let pinned = self.heads.find_or_add(queue, task, |slot| {
                slot.pins.fetch_add(1, Ordering::AcqRel);
            });
            match pinned {
                Some(slot) => slots.push((slot, counts)),
                None => break,
            }
        }
        let area = self.heads.area();
        {
            let _held = area.counts(Mode::Exclusive);
            if let Some(inner) = self.own()
                && inner.phase == Phase::Filtering
                && slots.len() == counted.len()
            {
                for (slot, counts) in &slots {
                    inner.apply(area.slots().get(*slot as usize), counts);
                }
                inner.phase = Phase::Known;
            }
        }
        for (slot, _) in slots {
            area.slots()[slot as usize].pins.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Under the exclusive lock: the counter, as long as it is ours.
    fn own(&self) -> Option<&'static mut Inner> {
        let inner = self.heads.counter()?.inner();
        // SAFETY: a variable of this backend.
        (inner.owner == unsafe { pg_sys::MyProcPid }).then_some(inner)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let _held = self.heads.area().counts(Mode::Exclusive);
        if let Some(inner) = self.own()
            && inner.phase != Phase::Known
        {
            inner.phase = Phase::Unknown;
        }
    }
}

fn is_alive(pid: i32) -> bool {
    // SAFETY: a look at the server's list of processes.
    unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}
