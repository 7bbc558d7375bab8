//! The table of workers that are tied to a session. What that means: see [`super::attached`].

use super::memory::{Content, LwLocks, Many, Part, Rest, Spin, Zeroes, bytes};
use super::names::Table;
use crate::server::process;
use std::cell::UnsafeCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub static TIED: Part<Tied> = Part::new();

/// A session may well have several workers, and sessions come to be faster than what has ended is seen to.
pub fn most() -> usize {
    2 * process::most() + 1_024
}

pub struct Tied {
    /// Behind its lock all that is said of entries, too.
    pub room: Spin<Room>,
    pub entries: Many<Entry>,
    /// The first entry of those that have one hash: its number and one, 0 for none.
    buckets: Many<AtomicU32>,
    /// How many entries of ended sessions had to make room.
    pub lost: AtomicU32,
}

/// Which entries are free.
#[derive(Default)]
pub struct Room {
    /// None from here on was ever used.
    used: u32,
    /// The first of those that were given back: its number and one.
    free: u32,
}

/// All zeroes is a free one.
pub struct Entry(UnsafeCell<Worker>);

// SAFETY: read and written with the room in hand only, which is behind the lock.
unsafe impl Sync for Entry {}

// SAFETY: see above.
unsafe impl Zeroes for Entry {}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    Free,
    /// Nobody's, unless a transaction commits that has a claim on it.
    Claimed,
    /// Of a session that is there.
    Live,
    /// Of one that is not.
    Ended,
}

/// What an entry says.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Worker {
    pub table: Table,
    pub id: i64,
    pid: i32,
    pub state: State,
    /// Changes when it is attached.
    pub version: u32,
    /// How many transactions are about to take it over.
    pub claims: u32,
    /// The next entry of the same hash, or the next free one.
    next: u32,
}

impl Worker {
    pub fn is_own(&self) -> bool {
        self.state == State::Live && self.pid == process::own()
    }
}

impl Entry {
    pub fn get(&self, _: &Room) -> Worker {
        // SAFETY: whoever has the room holds the lock.
        unsafe { *self.0.get() }
    }

    pub fn set(&self, _: &mut Room, worker: Worker) {
        // SAFETY: as above.
        unsafe { *self.0.get() = worker }
    }
}

impl Content for Tied {
    fn size() -> usize {
        bytes::<Entry>(most()) + bytes::<AtomicU32>(most())
    }

    fn new(mut rest: Rest, _: &LwLocks) -> Self {
        Self {
            room: Spin::default(),
            entries: rest.many(most()),
            buckets: rest.many(most()),
            lost: AtomicU32::new(0),
        }
    }
}

impl Tied {
    fn bucket(&self, table: Table, id: i64) -> &AtomicU32 {
        let mut hasher = DefaultHasher::new();
        (table, id).hash(&mut hasher);
        &self.buckets[(hasher.finish() % self.buckets.len() as u64) as usize]
    }

    pub fn find(&self, room: &Room, table: Table, id: i64) -> Option<(u32, Worker)> {
        let mut next = self.bucket(table, id).load(Relaxed);
        while let Some(at) = next.checked_sub(1) {
            let worker = self.entries[at as usize].get(room);
            if worker.table == table && worker.id == id {
                return Some((at, worker));
            }
            next = worker.next;
        }
        None
    }

    pub fn add(&self, room: &mut Room, table: Table, id: i64) -> Option<(u32, Worker)> {
        let at = match room.free.checked_sub(1) {
            Some(at) => at,
            None if (room.used as usize) < self.entries.len() => room.used,
            None => return None,
        };
        let entry = &self.entries[at as usize];
        let before = entry.get(room);
        match at == room.used {
            true => room.used += 1,
            false => room.free = before.next,
        }
        let bucket = self.bucket(table, id);
        let (version, next) = (before.version, bucket.load(Relaxed));
        let worker = Worker { table, id, pid: 0, state: State::Claimed, version, claims: 0, next };
        entry.set(room, worker);
        bucket.store(at + 1, Relaxed);
        Some((at, worker))
    }

    fn remove(&self, room: &mut Room, at: u32) {
        let entry = &self.entries[at as usize];
        let worker = entry.get(room);
        let bucket = self.bucket(worker.table, worker.id);
        if bucket.load(Relaxed) == at + 1 {
            bucket.store(worker.next, Relaxed);
        } else {
            let mut before = bucket.load(Relaxed);
            while let Some(other) = before.checked_sub(1).map(|at| &self.entries[at as usize]) {
                let mut changed = other.get(room);
                if changed.next == at + 1 {
                    changed.next = worker.next;
                    other.set(room, changed);
                    break;
                }
                before = changed.next;
            }
        }
        let next = room.free;
        entry.set(room, Worker { table: Table::NONE, id: 0, state: State::Free, next, ..worker });
        room.free = at + 1;
    }

    /// All that were ever used.
    pub fn every(&self) -> std::ops::Range<u32> {
        0..self.room.with(|room| room.used)
    }

    /// Does something with each entry that is not free, holding the lock for one at a time.
    pub fn for_each(&self, mut work: impl FnMut(&mut Room, u32, Worker)) {
        for at in self.every() {
            self.room.with(|room| {
                let worker = self.entries[at as usize].get(room);
                if worker.state != State::Free {
                    work(room, at, worker);
                }
            });
        }
    }

    /// The session that this is ends. Whether the entry is its.
    pub fn end(&self, at: u32) -> bool {
        self.room.with(|room| {
            let Some(entry) = self.entries.get(at as usize) else { return false };
            let worker = entry.get(room);
            let is_own = worker.is_own();
            if is_own {
                entry.set(room, Worker { state: State::Ended, ..worker });
            }
            is_own
        })
    }

    /// The entry is this session's: the claim on it has come true.
    pub fn join(&self, at: u32) {
        self.room.with(|room| {
            let mut worker = self.entries[at as usize].get(room);
            worker.pid = process::own();
            worker.state = State::Live;
            worker.version = worker.version.wrapping_add(1);
            worker.claims = worker.claims.saturating_sub(1);
            self.entries[at as usize].set(room, worker);
        });
    }

    /// A claim is given up.
    pub fn release(&self, at: u32) {
        self.room.with(|room| {
            let mut worker = self.entries[at as usize].get(room);
            worker.claims = worker.claims.saturating_sub(1);
            self.entries[at as usize].set(room, worker);
            if worker.claims == 0 && worker.state == State::Claimed {
                self.remove(room, at);
            }
        });
    }

    /// Nobody is to find this version of an entry any more.
    pub fn take_away(&self, at: u32, version: u32, only_ended: bool) {
        self.room.with(|room| {
            let worker = self.entries[at as usize].get(room);
            let is_it = worker.version == version && worker.claims == 0;
            let is_meant = worker.state == State::Ended || !only_ended;
            if is_it && is_meant && worker.state != State::Free {
                self.remove(room, at);
            }
        });
    }

    /// Gives back what is of ended sessions, or of tables that were dropped. To be called under no lock of ours.
    pub fn make_room(&self) {
        let mut tables = Vec::with_capacity(most());
        self.for_each(|_, _, worker| tables.push(worker.table));
        tables.sort_unstable_by_key(|table| (table.database, table.relation));
        tables.dedup();
        tables.retain(Table::is_dropped);
        self.for_each(|room, at, worker| {
            let is_dropped = tables.contains(&worker.table);
            if worker.claims == 0 && (is_dropped || worker.state == State::Ended) {
                self.remove(room, at);
                self.lost.fetch_add(u32::from(!is_dropped), Relaxed);
            }
        });
    }
}
