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

use super::bound::{Bound, Key, LOOKS, NOBODY, PERIOD_MICROS, State, VERIFY_MICROS};
use super::memory::{Content, LwLocks, Many, Part, Rest, bytes};
use crate::server::chance::strong_random;
use crate::server::database;
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::{
    has_changed_anything, is_before, is_in_recovery, next_transaction, snapshot_is_fixed,
};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use super::bound::{END, FIRST};

pub static BOUNDS: Part<Bounds> = Part::new();

/// How many names are kept in mind.
const MOST_NAMES: usize = 4_096;

/// Rows written in one transaction that are written down; with more, everything is forgotten.
const MOST: usize = 64;

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

/// All names that are kept in mind.
pub struct Bounds {
    bounds: Many<Bound>,
    /// What those who choose names can't know.
    secret: [u64; 2],
    /// The first transaction after the last one that was prepared with bounds to lower.
    barrier: AtomicU32,
    /// Each change that makes earlier readings worthless takes the next number.
    versions: AtomicU64,
}

impl Content for Bounds {
    fn size() -> usize {
        bytes::<Bound>(MOST_NAMES)
    }

    fn new(mut rest: Rest, _: &LwLocks) -> Self {
        Self {
            bounds: rest.many(MOST_NAMES),
            secret: strong_random(),
            barrier: AtomicU32::new(0),
            versions: AtomicU64::new(1),
        }
    }
}

impl Bounds {
    fn of(&self, key: Key) -> &Bound {
        &self.bounds[key.1 as usize % MOST_NAMES]
    }

    fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The first transaction that can't have been prepared when something was forgotten. At first that is
    /// everything: there may be some from before the server was started.
    fn barrier(&self) -> u32 {
        let known = self.barrier.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        let next = next_transaction();
        match self.barrier.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => next,
            Err(known) => known,
        }
    }
}

impl Key {
    /// None without shared memory.
    fn new(kind: Kind, table: pg_sys::Oid, name: Name) -> Option<(&'static Bounds, Self)> {
        let bounds = BOUNDS.get()?;
        let database = database::own();
        let half = |number: u8| {
            let mut hasher = DefaultHasher::new();
            (bounds.secret, number, kind, database, u32::from(table), name).hash(&mut hasher);
            hasher.finish()
        };
        Some((bounds, Self(half(0) | 1, half(1))))
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
    bounds: &'static Bounds,
    key: Key,
    bound: i64,
    version: u64,
    began: Timestamp,
    verifies: bool,
}

/// None without shared memory, and on a standby, where nobody tells of what comes. To be called before the snapshot of
/// the look is taken.
fn read(kind: Kind, table: pg_sys::Oid, name: Name) -> Option<Reading> {
    if is_in_recovery() {
        return None;
    }
    let (bounds, key) = Key::new(kind, table, name)?;
    let now = clock();
    let (next, barrier) = (bounds.next_version(), bounds.barrier());
    let (bound, version, verifies) = bounds.of(key).state(|state| {
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
    Some(Reading { bounds, key, bound: bound.min(own), version, began: now, verifies })
}

impl Reading {
    /// A look that began after the reading saw nothing that counts before `first`, of all that is committed. `xmin`:
    /// of its snapshot.
    fn raise(&self, first: i64, xmin: pg_sys::TransactionId) {
        if has_changed_anything() || snapshot_is_fixed() {
            return;
        }
        let took = clock().0 - self.began.0;
        self.bounds.of(self.key).state(|state| {
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

/// Whether it is for the caller to do something that is to be done once in a while. True without shared memory.
pub fn elects(kind: Kind) -> bool {
    read(kind, pg_sys::InvalidOid, ("", "")).is_none_or(|reading| reading.verifies)
}

/// What was elected was not done to its end: somebody is to go on at once.
pub fn elect_again(kind: Kind) {
    if let Some((bounds, key)) = Key::new(kind, pg_sys::InvalidOid, ("", "")) {
        bounds.of(key).state(|state| {
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
pub fn end(prepared: bool) {
    NOTES.with(|notes| {
        let (Some(bounds), Ok(mut notes)) = (BOUNDS.get(), notes.try_borrow_mut()) else { return };
        if notes.count == 0 {
            return;
        }
        // A transaction that is prepared is before it, and counts as under way until it is over.
        let barrier = next_transaction();
        if prepared {
            // Of two, the later one: both are near each other.
            let later = |known: u32| (known == 0 || is_before(known, barrier)).then_some(barrier);
            let _ = bounds.barrier.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        }
        let now = clock();
        let lower = |state: &mut State, at: i64| {
            state.lower(bounds.next_version(), if prepared { FIRST } else { at }, now);
            if prepared {
                state.barrier = barrier;
            }
        };
        if notes.count > MOST {
            bounds.bounds.iter().for_each(|bound| bound.state(|state| lower(state, FIRST)));
        }
        for (key, at) in notes.all() {
            bounds.of(*key).state(|state| {
                if state.key == *key {
                    lower(state, *at);
                }
            });
        }
        notes.count = 0;
    });
}
