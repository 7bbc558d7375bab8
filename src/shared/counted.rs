//! How many jobs there are, of each kind in each lane: counted once, and kept from then on by whoever
//! commits.
//!
//! The count goes over the table with a snapshot while others commit, and each of them must be counted
//! once. So first everybody who commits is written down (Logging); then the snapshot is taken and told to
//! all, and from then on whoever it does not see adds what he has changed himself (Filtering), as it is
//! done for those who were written down. When the snapshot's counts are added to that, they are exact.
//! What nobody can tell for sure (a prepared transaction, more lanes than there is room for) makes them
//! unknown: whoever asks then counts by index, and one of them anew.

use super::adding::find_or_add;
use super::changes;
use super::counters::{COUNTERS, Counters, Inner, Phase};
use super::lane::Lane;
use super::lanes::Lanes;
use super::memory::Mode;
use super::names::Table;
use super::slot::Slot;
use super::tally::{Counts, KINDS, add};
use crate::server::process::{self, is_alive};
use crate::server::time::{Timestamp, clock};

/// A count that did not succeed is not tried again for so long.
const PAUSE_MICROS: i64 = 10_000_000;

/// What there is to know about how many jobs there are.
pub enum Totals {
    Known(Counts),
    /// They are for this backend to count, if it wants to.
    Nobody,
    /// Somebody counts, or they can't be told now.
    Later,
    /// There were prepared transactions; if there are none any more, say so with `certain`.
    InDoubt,
}

/// The jobs of one table.
#[derive(Clone, Copy)]
pub struct Counted {
    lanes: Lanes,
    counters: &'static Counters,
}

impl Counted {
    pub fn of(lanes: Lanes) -> Option<Self> {
        COUNTERS.get().map(|counters| Self { lanes, counters })
    }

    /// The jobs of the whole table: what is committed, and what this transaction has changed.
    pub fn totals(&self) -> Totals {
        if changes::are_lost() {
            return Totals::Later;
        }
        let own = changes::own(self.lanes.slots, |_, table| table == self.lanes.table);
        let _held = self.counters.hold(Mode::Shared);
        let Some(counter) = self.counters.of(self.lanes.table) else { return Totals::Nobody };
        let inner = counter.seen();
        match inner.phase {
            Phase::Known => {
                let mut totals = inner.totals;
                add(&mut totals, &own);
                Totals::Known(totals)
            }
            _ if inner.in_doubt => Totals::InDoubt,
            Phase::Unknown if inner.not_before <= clock() => Totals::Nobody,
            Phase::Logging | Phase::Filtering if !is_alive(inner.owner) => Totals::Nobody,
            _ => Totals::Later,
        }
    }

    /// The jobs of each lane, if those of the table are known.
    pub fn by_lane(&self) -> Option<Vec<(Lane, Counts)>> {
        let _slots = self.lanes.slots.hold(Mode::Shared);
        let _held = self.counters.hold(Mode::Shared);
        let counter = self.counters.of(self.lanes.table);
        let known = !changes::are_lost()
            && counter.is_some_and(|counter| counter.seen().phase == Phase::Known);
        let counts = |(at, slot): (u32, &Slot)| {
            let mut counts = slot.counts.get();
            add(&mut counts, &changes::own(self.lanes.slots, |slot, _| slot == at));
            (slot.lane(), counts)
        };
        known.then(|| self.lanes.all().map(counts).collect())
    }

    /// Nobody is in doubt any more.
    pub fn certain(&self) {
        let _held = self.counters.hold(Mode::Exclusive);
        if let Some(counter) = self.counters.of(self.lanes.table) {
            counter.inner().in_doubt = false;
        }
    }

    /// Begins to count; None if somebody else does, or there is no room.
    pub fn count(&self) -> Option<Counting> {
        let Self { lanes, counters } = *self;
        let tables: Vec<Table> = {
            let _held = counters.hold(Mode::Shared);
            counters.all().iter().map(|counter| counter.seen().table).collect()
        };
        // Looked up under no lock of ours.
        let free = tables.iter().position(|table| *table == Table::NONE || table.is_dropped());
        let _slots = lanes.slots.hold(Mode::Shared);
        let _held = counters.hold(Mode::Exclusive);
        let inner = match counters.of(lanes.table) {
            Some(counter) => counter.inner(),
            None => {
                let at = free?;
                let inner = counters.all()[at].inner();
                if inner.table != tables[at] {
                    return None;
                }
                inner
            }
        };
        let is_ours = inner.table == lanes.table;
        let busy = matches!(inner.phase, Phase::Logging | Phase::Filtering);
        if is_ours && ((busy && is_alive(inner.owner)) || inner.phase == Phase::Known) {
            return None;
        }
        for (_, slot) in lanes.all() {
            slot.counts.set_zero();
        }
        inner.owner = process::own();
        inner.table = lanes.table;
        inner.totals = [0; KINDS];
        inner.logged = 0;
        inner.in_doubt = false;
        inner.not_before = Timestamp(clock().0 + PAUSE_MICROS);
        inner.phase = Phase::Logging;
        Some(Counting(*self))
    }
}

/// A count under way. Dropped before its end, it never was.
pub struct Counting(Counted);

impl Counting {
    /// There are prepared transactions: not before they have ended.
    pub fn doubt(&self) {
        let _held = self.0.counters.hold(Mode::Exclusive);
        if let Some(inner) = self.own() {
            inner.in_doubt = true;
            inner.not_before = Timestamp::BEFORE_ALL;
        }
    }

    /// Tells all which snapshot the table will be counted with.
    pub fn with_snapshot(&self, xmax: u32, running: &[u32]) -> bool {
        let _held = self.0.counters.hold(Mode::Exclusive);
        self.own()
            .filter(|inner| inner.phase == Phase::Logging)
            .is_some_and(|inner| inner.filter(self.0.lanes.slots, xmax, running))
    }

    /// Adds what the snapshot saw: all of it, or nothing is known.
    pub fn finish(self, counted: &[(String, String, Counts)]) {
        let lanes = self.0.lanes;
        let mut slots = Vec::new();
        for (queue, task, counts) in counted {
            // Pinned, so that it is still this lane's when it is added to.
            match find_or_add(lanes, queue, task, Slot::pin) {
                Some(slot) => slots.push((slot, counts)),
                None => break,
            }
        }
        {
            let _held = self.0.counters.hold(Mode::Exclusive);
            if let Some(inner) = self.own()
                && inner.phase == Phase::Filtering
                && slots.len() == counted.len()
            {
                for (slot, counts) in &slots {
                    inner.apply(lanes.slots.all().get(*slot as usize), counts);
                }
                inner.phase = Phase::Known;
            }
        }
        for (slot, _) in slots {
            lanes.slot(slot).unpin();
        }
    }

    /// Under the exclusive lock: the counter, as long as it is ours.
    fn own(&self) -> Option<&'static mut Inner> {
        let inner = self.0.counters.of(self.0.lanes.table)?.inner();
        (inner.owner == process::own()).then_some(inner)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let _held = self.0.counters.hold(Mode::Exclusive);
        if let Some(inner) = self.own()
            && inner.phase != Phase::Known
        {
            inner.phase = Phase::Unknown;
        }
    }
}
