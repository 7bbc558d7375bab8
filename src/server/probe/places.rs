//! Looks for the places of limits.
//!
//! A place is taken under its own lock, for as long as that takes: no row is locked, so that a claim that comes
//! to nothing leaves no trace, and none waits for another. What others have not committed yet shows in the row.
//!
//! Places beyond a limit that are taken, as after it was lowered, count against the free ones below it. There
//! come to be no more of them while a claim has the limit's lock, so it counts them first.

use super::index::{Found, Latest, Opened, dirty_snapshot};
use super::keys::{is_bigint, is_from, is_from_bigint, is_name};
use crate::server::advisory::{PlaceKind, PlaceLock};
use crate::server::invalidation;
use crate::server::relation::{lock_to_write, oid_of};
use crate::server::time::Timestamp;
use pgrx::pg_sys;
use std::collections::HashSet;
use std::ffi::CStr;

/// What a look for a free place came to.
pub enum FreePlace {
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
pub fn may_have_place(job: i64) -> bool {
    // Who has one gives it back.
    lock_to_write(c"active_slots");
    let Some(places) = Opened::new(c"active_slots", c"active_slots_job") else {
        return invalidation::exist();
    };
    let any = &raw mut pg_sys::SnapshotAnyData;
    places.first(any, &mut [is_bigint(job)], |_| Some(())).is_some()
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
    let found = rules.first(latest.get(), &mut [is_name(1, queue), is_name(2, task)], |rule| {
        Some((rule.get(MAX_ACTIVE), rule.get(MAX_STARTS)))
    });
    found == Some((active, starts))
}

/// The places of a limit, of one kind.
pub struct Limited<'a> {
    pub kind: PlaceKind,
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
    ) -> (FreePlace, Option<(Option<i64>, pg_sys::TransactionId)>) {
        let Some((beyond, mut busy)) = self.taken_beyond() else {
            return (FreePlace::None(None), None);
        };
        let none = |busy, until| if busy { FreePlace::Busy } else { FreePlace::None(until) };
        if beyond >= self.most {
            return (none(busy, None), None);
        }
        let mut locks = Vec::new();
        if beyond > 0 {
            // Two must not count on the same free places.
            let Some(lock) = PlaceLock::of_all(self.kind, self.queue, self.task) else {
                return (FreePlace::Busy, None);
            };
            locks.push(lock);
        }
        let Some((places, in_order)) = self.free_ones() else {
            return (FreePlace::None(None), None);
        };
        let from = from(places.table());
        let [queue, task] = self.keys();
        let mut keys = [queue, task, is_from_bigint(3, from, pg_sys::F_TIMESTAMPTZ_GE)];
        let count = if in_order { 3 } else { 2 };
        let latest = Latest::new();
        let mut first = None;
        let mut until = None;
        let mut to_spare = beyond;
        let found = places.first(latest.get(), &mut keys[..count], |place| {
            if in_order && first.is_none() {
                first = place.get(self.free_since()).map(|Timestamp(at)| at);
            }
            if !self.is_free(place) {
                until = self.free_again(place);
                return Some(None);
            }
            let number = place.get(NUMBER).filter(|number| *number < self.most)?;
            let lock = self.lock_free(place, number);
            busy |= lock.is_none();
            let lock = lock?;
            to_spare -= 1;
            (to_spare < 0).then_some(Some((lock, place.ctid())))
        });
        let seen = in_order.then(|| (first, latest.xmin()));
        let Some((lock, place)) = found.flatten() else { return (none(busy, until), seen) };
        locks.push(lock);
        (FreePlace::Locked(locks, place), seen)
    }

    /// The index of the free places, those that have been free for longest first. False if it is not in that order, as
    /// before 0.4.0.
    fn free_ones(&self) -> Option<(Opened, bool)> {
        match self.kind {
            PlaceKind::Active => match Opened::new(self.table(), c"active_slots_freed") {
                Some(places) => Some((places, true)),
                None => Some((Opened::new(self.table(), c"active_slots_free")?, false)),
            },
            PlaceKind::Start => Some((Opened::new(self.table(), c"start_slots_free_at")?, true)),
        }
    }

    /// The index of all places; before 0.4.0 it was that of the primary key.
    fn all_ones(&self) -> Option<Opened> {
        let (index, before) = match self.kind {
            PlaceKind::Active => (c"active_slots_number", c"active_slots_pkey"),
            PlaceKind::Start => (c"start_slots_number", c"start_slots_pkey"),
        };
        Opened::new(self.table(), index).or_else(|| Opened::new(self.table(), before))
    }

    fn free_since(&self) -> i32 {
        match self.kind {
            PlaceKind::Active => FREED,
            PlaceKind::Start => FREE_AT,
        }
    }

    /// How many places beyond the limit are taken, or may be, up to as many as there are below it. And whether
    /// others are at free ones, who may yet leave them free.
    fn taken_beyond(&self) -> Option<(i32, bool)> {
        let places = self.all_ones()?;
        let [queue, task] = self.keys();
        let mut keys = [queue, task, is_from(3, self.most)];
        let mut taken = HashSet::new();
        let mut busy = false;
        let mut count = |place: &Found, is_taken: bool| {
            taken.extend(place.get::<i32>(NUMBER).filter(|_| is_taken));
            (taken.len() >= self.most as usize).then_some(())
        };
        // What others have added, or changed, without having committed.
        let mut dirty = dirty_snapshot();
        let dirty = &raw mut dirty;
        // And what is committed. In this order nothing is missed that is committed in between.
        let is_in_doubt = |place: &Found| place.is_in_doubt() && !self.is_free(place);
        places.first(dirty, &mut keys, |place| count(place, is_in_doubt(place))).or_else(|| {
            let latest = Latest::new();
            places.first(latest.get(), &mut keys, |place| {
                let is_free = self.is_free(place);
                let number = place.get(NUMBER)?;
                let is_in_use = is_free && self.is_being_taken(&places, place, number);
                busy |= is_in_use;
                count(place, !is_free || is_in_use)
            })
        });
        Some((taken.len() as i32, busy))
    }

    /// Whether somebody is putting a job into a free place: one who adds or removes it, as limit_task and
    /// repair do until they commit, takes none.
    fn is_being_taken(&self, places: &Opened, place: &Found, number: i32) -> bool {
        // With this lock, what was done to the place stands in the index.
        let Some(_lock) = PlaceLock::at_once(self.kind, self.queue, self.task, number) else {
            return true;
        };
        if place.is_untouched() {
            return false;
        }
        let [queue, task] = self.keys();
        let mut dirty = dirty_snapshot();
        let taken =
            places.first(
                &raw mut dirty,
                &mut [queue, task, is_from(3, number)],
                |place| match place.get(NUMBER) == Some(number) {
                    true => (!self.is_free(place)).then_some(true),
                    false => Some(false),
                },
            );
        taken == Some(true)
    }

    fn lock_free(&self, place: &Found, number: i32) -> Option<PlaceLock> {
        let lock = PlaceLock::at_once(self.kind, self.queue, self.task, number)?;
        place.is_untouched().then_some(lock)
    }

    /// When time alone will free it.
    fn free_again(&self, place: &Found) -> Option<Timestamp> {
        match self.kind {
            PlaceKind::Active => None,
            PlaceKind::Start => place.get(FREE_AT),
        }
    }

    fn is_free(&self, place: &Found) -> bool {
        match self.kind {
            PlaceKind::Active => place.get::<i64>(JOB).is_none(),
            PlaceKind::Start => place.get::<Timestamp>(FREE_AT).is_some_and(|at| at <= self.now),
        }
    }

    fn table(&self) -> &'static CStr {
        match self.kind {
            PlaceKind::Active => c"active_slots",
            PlaceKind::Start => c"start_slots",
        }
    }

    fn keys(&self) -> [pg_sys::ScanKeyData; 2] {
        [is_name(1, self.queue), is_name(2, self.task)]
    }
}
