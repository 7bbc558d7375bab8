//! Bounds: from which place on an index may have rows of a name that count: the holders of a lock, the free places of
//! a limit.
//!
//! Rows that come and go all the time leave entries in the index, which VACUUM may not take away while somebody holds
//! a snapshot. New ones come at the end; so what looks for them begins where the first was that counted, as claims
//! do in their lanes (see [`super::heads`]), by the same rules: the reading is made before the snapshot of the look,
//! and a bound is not raised beyond what was lowered since; nobody raises it who has changed anything; and whatever
//! makes a row count that may stand before the bound lowers it when its transaction ends, however it does.
//!
//! There is one place for each hash. Two names never share a bound, but take each other's place.

use super::area::{Area, SHARED, SpinLock};
use crate::statement::{Timestamp, clock, has_changed_anything, snapshot_is_fixed};
use pgrx::pg_sys;
use std::cell::{RefCell, UnsafeCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;

/// How many names are kept in mind.
pub const BOUNDS: usize = 4_096;

/// Rows written in one transaction that are written down; with more, everything is forgotten.
const MOST: usize = 64;

/// After so long all of a name's rows are looked at once more, if that takes less than a hundredth of the time: some
/// may have been written while triggers did not fire.
const VERIFY_MICROS: i64 = 1_000_000;

/// How long at least what was lowered is remembered, and how many times as long as a look takes. Twice that is what a
/// bound lags behind at most where others lower it all the time.
const PERIOD_MICROS: i64 = 50_000;
const LOOKS: i64 = 3;

/// Before every row.
pub const FIRST: i64 = i64::MIN;

/// After every row.
pub const END: i64 = i64::MAX;

/// What a name is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Holders of a lock, by their ids.
    Locks,
    /// Free places of a limit on active jobs, by when they were given back.
    Active,
    /// Places of a limit on starts, by when they are free.
    Starts,
    /// No name, but all of them: who is to remove what has expired, and when.
    Purge,
}

/// Of one part or two: limits are of a queue and a task.
pub type Name<'a> = (&'a str, &'a str);

/// Nobody can choose two names that have the same one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key(u64, u64);

/// Nothing is kept in mind of it: the key of a place that was never used.
const NOBODY: Key = Key(0, 0);

#[derive(Clone, Copy)]
struct State {
    key: Key,
    bound: i64,
    version: u64,
    /// What was lowered since a version, and in the period before that.
    low: Lowered,
    low_before: Lowered,
    /// When this period began, and how long it lasts.
    began: Timestamp,
    period: i64,
    /// Not raised as long as a transaction before this one is under way; 0 for none.
    barrier: u32,
    verify_at: Timestamp,
}

/// The first place that was lowered to since a version.
#[derive(Clone, Copy)]
struct Lowered {
    since: u64,
    to: i64,
}

impl State {
    fn new(key: Key, version: u64, barrier: u32, now: Timestamp) -> Self {
        let low = Lowered { since: version, to: END };
        Self {
            key,
            bound: FIRST,
            version,
            low,
            low_before: low,
            began: now,
            period: PERIOD_MICROS,
            barrier,
            verify_at: Timestamp(now.0 + VERIFY_MICROS),
        }
    }

    /// A row is there that may stand before the bound.
    fn lower(&mut self, version: u64, to: i64, now: Timestamp) {
        self.bound = self.bound.min(to);
        self.low.to = self.low.to.min(to);
        self.version = version;
        // Nothing can be said of a look that began before everything was.
        if to == FIRST || now.0.saturating_sub(self.began.0) >= self.period {
            self.low_before = self.low;
            self.low = Lowered { since: version, to: END };
            self.began = now;
        }
    }

    /// Where the first row may be that a look did not see which began with a version; None if nobody knows any more.
    fn lowered_since(&self, version: u64) -> Option<i64> {
        match version {
            _ if version >= self.low.since => Some(self.low.to),
            _ if version >= self.low_before.since => Some(self.low.to.min(self.low_before.to)),
            _ => None,
        }
    }
}

/// All zeroes is one of nobody.
#[repr(C, align(64))]
pub struct Bound {
    lock: SpinLock,
    state: UnsafeCell<State>,
}

// SAFETY: the state is used behind the spin lock.
unsafe impl Sync for Bound {}

impl Bound {
    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // SAFETY: the spin lock lets one at a time in here.
        self.lock.with(|| work(unsafe { &mut *self.state.get() }))
    }
}

impl Area {
    fn bound(&self, key: Key) -> &Bound {
        &self.bounds()[key.1 as usize % BOUNDS]
    }
}

impl Key {
    /// None without shared memory.
    fn new(kind: Kind, table: pg_sys::Oid, name: Name) -> Option<(&'static Area, Self)> {
        let area = SHARED.get()?;
        // SAFETY: a variable of this backend.
        let database = u32::from(unsafe { pg_sys::MyDatabaseId });
        let half = |number: u8| {
            let mut hasher = DefaultHasher::new();
            (area.secret, number, kind, database, u32::from(table), name).hash(&mut hasher);
            hasher.finish()
        };
        Some((area, Self(half(0) | 1, half(1))))
    }
}

/// Looks for the rows of a name from where on some may count. `work` asks for that with the oid of their table, before
/// it takes a snapshot, and says, if it can, where the first is that counts, END for none, and the xmin of the snapshot.
pub fn look<T>(
    kind: Kind,
    name: Name,
    work: impl FnOnce(&mut dyn FnMut(pg_sys::Oid) -> i64) -> (T, Option<(i64, pg_sys::TransactionId)>),
) -> T {
    let mut reading = None;
    let (found, seen) = work(&mut |table| {
        reading = read(kind, table, name);
        reading.as_ref().map_or(FIRST, |reading| reading.bound)
    });
    if let (Some(reading), Some((first, xmin))) = (reading, seen) {
        reading.raise(first, xmin);
    }
    found
}

/// What was known of a name at some moment.
struct Reading {
    area: &'static Area,
    key: Key,
    bound: i64,
    version: u64,
    began: Timestamp,
    verifies: bool,
}

/// None without shared memory, and on a standby, where nobody tells of what comes. To be called before the snapshot of
/// the look is taken.
fn read(kind: Kind, table: pg_sys::Oid, name: Name) -> Option<Reading> {
    // SAFETY: reads the server's state.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return None;
    }
    let (area, key) = Key::new(kind, table, name)?;
    let now = clock();
    let (next, barrier) = (area.next_version(), barrier(area));
    let (bound, version, verifies) = area.bound(key).state(|state| {
        let is_new = state.key != key;
        if is_new {
            // Nobody knows what has been forgotten of it.
            *state = State::new(key, next, barrier, now);
        }
        let verifies = state.verify_at <= now || (is_new && kind == Kind::Purge);
        if verifies {
            state.verify_at = Timestamp(now.0 + VERIFY_MICROS);
        }
        (if verifies { FIRST } else { state.bound }, state.version, verifies)
    });
    let own = NOTES.with_borrow(|notes| notes.first(key));
    Some(Reading { area, key, bound: bound.min(own), version, began: now, verifies })
}

/// The first transaction that can't have been prepared when something was forgotten. At first that is everything: there
/// may be some from before the server was started.
fn barrier(area: &Area) -> u32 {
    let known = area.barrier.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let next = next_transaction();
    match area.barrier.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => next,
        Err(known) => known,
    }
}

/// Never 0.
fn next_transaction() -> u32 {
    // SAFETY: reads the server's counter.
    (unsafe { pg_sys::ReadNextFullTransactionId() }.value as u32).max(1)
}

impl Reading {
    /// A look that began after the reading saw nothing that counts before `first`, of all that is committed. `xmin`:
    /// of its snapshot.
    fn raise(&self, first: i64, xmin: pg_sys::TransactionId) {
        if has_changed_anything() || snapshot_is_fixed() {
            return;
        }
        let took = clock().0 - self.began.0;
        self.area.bound(self.key).state(|state| {
            if state.key != self.key {
                return;
            }
            state.period = PERIOD_MICROS.max(LOOKS * took);
            if self.verifies {
                state.verify_at = Timestamp(self.began.0 + VERIFY_MICROS.max(100 * took));
            }
            if state.barrier != 0 {
                if is_before(xmin.into(), state.barrier) {
                    return;
                }
                state.barrier = 0;
            }
            if let Some(low) = state.lowered_since(self.version) {
                let first = first.min(low);
                // A look at everything knows better.
                state.bound = if self.verifies { first } else { state.bound.max(first) };
            }
        });
    }
}

fn is_before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

/// Whether it is for the caller to do something that is to be done once in a while. True without shared memory.
pub fn elects(kind: Kind) -> bool {
    read(kind, pg_sys::InvalidOid, ("", "")).is_none_or(|reading| reading.verifies)
}

/// What was elected was not done to its end: somebody is to go on at once.
pub fn elect_again(kind: Kind) {
    if let Some((area, key)) = Key::new(kind, pg_sys::InvalidOid, ("", "")) {
        area.bound(key).state(|state| {
            if state.key == key {
                state.verify_at = clock();
            }
        });
    }
}

/// The rows of this transaction. Allocated once: what reads it when that ends must not be able to fail.
struct Notes {
    notes: [(Key, i64); MOST],
    count: usize,
}

thread_local!(static NOTES: RefCell<Notes> = const {
    RefCell::new(Notes { notes: [(NOBODY, 0); MOST], count: 0 })
});

impl Notes {
    fn all(&self) -> &[(Key, i64)] {
        self.notes.get(..self.count).unwrap_or_default()
    }

    /// Where the first row of a name may be.
    fn first(&self, key: Key) -> i64 {
        if self.count > MOST {
            return FIRST;
        }
        let own = self.all().iter().filter(|(other, _)| *other == key);
        own.map(|(_, at)| *at).min().unwrap_or(END)
    }
}

/// This transaction has written a row of a name that may count. The caller sees to it that [`end`] is called.
pub fn written(kind: Kind, table: pg_sys::Oid, name: Name, at: i64) {
    let Some((_, key)) = Key::new(kind, table, name) else { return };
    NOTES.with_borrow_mut(|notes| {
        let count = notes.count.min(MOST);
        let known = notes.notes.iter_mut().take(count).find(|(other, _)| *other == key);
        if let Some((_, first)) = known {
            *first = at.min(*first);
        } else {
            let end = notes.count;
            if let Some(free) = notes.notes.get_mut(end) {
                *free = (key, at);
            }
            // One too many is remembered.
            notes.count = (end + 1).min(MOST + 1);
        }
    });
}

/// The same for names that nobody knows.
pub fn forget_all() {
    NOTES.with_borrow_mut(|notes| notes.count = MOST + 1);
}

/// The transaction ends. Can't fail.
pub fn end(area: &Area, prepared: bool) {
    NOTES.with(|notes| {
        let Ok(mut notes) = notes.try_borrow_mut() else { return };
        if notes.count == 0 {
            return;
        }
        // A transaction that is prepared is before it, and counts as under way until it is over.
        let barrier = next_transaction();
        if prepared {
            // Of two, the later one: both are near each other.
            let later = |known: u32| (known == 0 || is_before(known, barrier)).then_some(barrier);
            let _ = area.barrier.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        }
        let now = clock();
        let lower = |state: &mut State, at: i64| {
            state.lower(area.next_version(), if prepared { FIRST } else { at }, now);
            if prepared {
                state.barrier = barrier;
            }
        };
        if notes.count > MOST {
            area.bounds().iter().for_each(|bound| bound.state(|state| lower(state, FIRST)));
        }
        for (key, at) in notes.all() {
            area.bound(*key).state(|state| {
                if state.key == *key {
                    lower(state, *at);
                }
            });
        }
        notes.count = 0;
    });
}
