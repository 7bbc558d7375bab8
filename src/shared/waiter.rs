//! A call that sleeps, as those see it who wake it.

use super::memory::Zeroes;
use super::names::Table;
use crate::server::time::Timestamp;
use pgrx::pg_sys;
use std::cell::UnsafeCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// More names than this, and a waiter is woken for any.
const NAMES: usize = 8;

/// What others know of a backend that waits. All zeroes is one that does not.
#[repr(C, align(64))]
pub struct Waiter {
    /// FREE, WAITING, or why it was woken.
    state: AtomicU64,
    /// A limit kept it from a job when it last looked, or it is still looking.
    pub is_limited: AtomicBool,
    /// When it wakes by itself for the lanes that it keeps.
    pub until: AtomicI64,
    /// The slot of a lane, plus one, that it is to keep from now on; 0: of none.
    keep: AtomicU32,
    latch: AtomicPtr<pg_sys::Latch>,
    wants: UnsafeCell<Wants>,
}

// SAFETY: what a waiter wants is written under the exclusive lock of the waiters.
unsafe impl Sync for Waiter {}

// SAFETY: see above; all zeroes is one who does not wait, and wants nothing.
unsafe impl Zeroes for Waiter {}

const FREE: u64 = 0;
const WAITING: u64 = 1;

/// Why a waiter was woken. Lanes are meant by their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The lane has a job that may be claimed.
    Job(u32),
    /// A job of this lane has left a place under the limits that it is under.
    Place(u32),
    /// The end of a job, or what is paused or limited has changed.
    Other,
}

impl Why {
    fn to_state(self) -> u64 {
        let (kind, at) = match self {
            Self::Job(at) => (2, at),
            Self::Place(at) => (3, at),
            Self::Other => (4, 0),
        };
        u64::from(at) << 8 | kind
    }

    /// None if it was not woken.
    fn of_state(state: u64) -> Option<Self> {
        let at = (state >> 8) as u32;
        match state & 0xff {
            2 => Some(Self::Job(at)),
            3 => Some(Self::Place(at)),
            4 => Some(Self::Other),
            _ => None,
        }
    }
}

/// How a wait has ended.
pub enum Ended {
    /// It was woken, and has not heard of it yet.
    Woken(Why),
    NotWoken,
    /// It did not wait at all.
    DidNotWait,
}

/// What a waiter has been asked to keep.
pub enum Asked {
    Lane(u32),
    Several,
}

pub struct Wants {
    pub table: Table,
    /// The end of this job, and no lane.
    pub job: Option<i64>,
    pub queues: Names,
    pub tasks: Names,
}

/// Hashes of names; two of one hash only mean that somebody is woken in vain.
pub struct Names {
    any: bool,
    count: u8,
    hashes: [u64; NAMES],
}

impl Names {
    pub fn new(names: Option<&[String]>) -> Self {
        let mut hashes = [0; NAMES];
        let Some(names) = names.filter(|names| names.len() <= NAMES) else {
            return Self { any: true, count: 0, hashes };
        };
        for (hash, name) in hashes.iter_mut().zip(names) {
            *hash = hashed(name.as_bytes());
        }
        Self { any: false, count: names.len() as u8, hashes }
    }

    pub fn take(&self, name: u64) -> bool {
        self.any || self.hashes.iter().take(self.count.into()).any(|hash| *hash == name)
    }
}

impl Wants {
    pub fn take(&self, table: Table, queue: u64, task: u64) -> bool {
        self.table == table && self.queues.take(queue) && self.tasks.take(task)
    }
}

impl Waiter {
    /// Begins to wait. To be called under the exclusive lock of the waiters, by the backend itself.
    /// False if it waits already: a trigger may wait in the middle of a call that does.
    pub fn begin(&self, wants: Wants) -> bool {
        if self.is_here() {
            return false;
        }
        // SAFETY: under the exclusive lock; MyLatch is this backend's latch.
        unsafe {
            *self.wants.get() = wants;
            self.latch.store(pg_sys::MyLatch, Ordering::Relaxed);
        }
        self.until.store(i64::MAX, Ordering::Relaxed);
        self.keep.store(0, Ordering::Relaxed);
        self.is_limited.store(true, Ordering::Relaxed);
        self.state.store(WAITING, Ordering::SeqCst);
        true
    }

    /// Under the exclusive lock of the waiters.
    pub fn end(&self) -> Ended {
        self.until.store(i64::MAX, Ordering::Relaxed);
        match self.state.swap(FREE, Ordering::SeqCst) {
            FREE => Ended::DidNotWait,
            was => Why::of_state(was).map_or(Ended::NotWoken, Ended::Woken),
        }
    }

    /// A lane that it has been asked to keep, and does not know of yet.
    pub fn take_kept(&self) -> Option<Asked> {
        match self.keep.swap(0, Ordering::SeqCst) {
            0 => None,
            u32::MAX => Some(Asked::Several),
            at => Some(Asked::Lane(at - 1)),
        }
    }

    /// Asks it to keep a lane. True if it will.
    pub fn keep(&self, at: u32) -> bool {
        if !self.is_waiting() {
            return false;
        }
        let before = self.keep.swap(at + 1, Ordering::SeqCst);
        if before != 0 && before != at + 1 {
            self.keep.store(u32::MAX, Ordering::SeqCst);
        }
        // SAFETY: see `wake`.
        unsafe { pg_sys::SetLatch(self.latch.load(Ordering::Relaxed)) };
        true
    }

    /// Why it was woken since it was last asked.
    pub fn listen(&self) -> Option<Why> {
        self.is_limited.store(true, Ordering::Relaxed);
        let was = self.state.swap(WAITING, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Why::of_state(was)
    }

    pub fn is_woken(&self) -> bool {
        Why::of_state(self.state.load(Ordering::SeqCst)).is_some()
    }

    /// Says whether a free place under a limit is of any use to it.
    pub fn set_limited(&self, is_limited: bool) {
        self.is_limited.store(is_limited, Ordering::SeqCst);
    }

    /// When it wakes by itself for the lanes that it keeps.
    pub fn set_until(&self, until: Timestamp) {
        self.until.store(until.0, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// To be called under the lock of the waiters.
    pub fn wants(&self) -> &Wants {
        // SAFETY: written under the exclusive lock only.
        unsafe { &*self.wants.get() }
    }

    pub fn wake(&self, why: Why) -> bool {
        let (from, to) = (WAITING, why.to_state());
        let woken =
            self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if woken {
            // SAFETY: the latch of a server process, in the server's own shared memory; setting it can't
            // fail, and one that nobody waits on any more takes no harm.
            unsafe { pg_sys::SetLatch(self.latch.load(Ordering::Relaxed)) };
        }
        woken
    }

    pub fn is_waiting(&self) -> bool {
        self.state.load(Ordering::SeqCst) == WAITING
    }

    pub fn is_here(&self) -> bool {
        self.state.load(Ordering::Relaxed) != FREE
    }
}

pub fn hashed(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
