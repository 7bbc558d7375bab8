//! The waiting room: calls of dequeue and wait_for_job that sleep until a commit tells them of what they want.
//!
//! Each ready job wakes one waiter that takes its queue and task, not all: the others would only race for
//! it in vain. Who was woken and could not use it wakes the next, as he does who leaves with something else.
//! When the next parked job of a lane is due, one of those who want it wakes by itself: its keeper (see
//! [`super::waiting`]).

use super::area::{Area, Mode};
use super::slot::{Slot, Table};
use crate::statement::Timestamp;
use pgrx::pg_sys;
use std::cell::UnsafeCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// More names than this, and a waiter is woken for any.
const NAMES: usize = 8;

/// One backend's place. All zeroes is a free one.
#[repr(C, align(64))]
pub struct Waiter {
    /// FREE, WAITING, or why it was woken.
    state: AtomicU64,
    /// A limit kept it from a job when it last looked, or it is still looking.
    is_limited: AtomicBool,
    /// When it wakes by itself for the lanes that it keeps.
    until: AtomicI64,
    /// The slot of a lane, plus one, that it is to keep from now on; 0: of none.
    keep: AtomicU32,
    latch: AtomicPtr<pg_sys::Latch>,
    wants: UnsafeCell<Wants>,
}

// SAFETY: what a waiter wants is written under the exclusive lock of the waiting room.
unsafe impl Sync for Waiter {}

const FREE: u64 = 0;
const WAITING: u64 = 1;

/// Why a waiter was woken. Lanes are meant by their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The lane has a job that may be claimed.
    Job(u32),
    /// A job of this lane has made room under the limits that it is under.
    Room(u32),
    /// The end of a job, or what is paused or limited has changed.
    Other,
}

impl Why {
    fn to_state(self) -> u64 {
        let (kind, at) = match self {
            Self::Job(at) => (2, at),
            Self::Room(at) => (3, at),
            Self::Other => (4, 0),
        };
        u64::from(at) << 8 | kind
    }

    /// None if it was not woken.
    fn of_state(state: u64) -> Option<Self> {
        let at = (state >> 8) as u32;
        match state & 0xff {
            2 => Some(Self::Job(at)),
            3 => Some(Self::Room(at)),
            4 => Some(Self::Other),
            _ => None,
        }
    }
}

/// What a waiter has been asked to keep.
pub(super) enum Asked {
    Lane(u32),
    Several,
}

pub(super) struct Wants {
    pub table: Table,
    /// The end of this job, and no lane.
    pub job: Option<i64>,
    pub queues: Names,
    pub tasks: Names,
}

/// Hashes of names; two of one hash only mean that somebody is woken in vain.
pub(super) struct Names {
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

    fn take(&self, name: u64) -> bool {
        self.any || self.hashes.iter().take(self.count.into()).any(|hash| *hash == name)
    }
}

impl Wants {
    fn take(&self, table: Table, queue: u64, task: u64) -> bool {
        self.table == table && self.queues.take(queue) && self.tasks.take(task)
    }
}

fn hashed(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Waiter {
    /// Begins to wait. To be called under the exclusive lock of the waiting room, by the backend itself.
    /// False if it waits already: a trigger may wait in the middle of a call that does.
    pub(super) fn begin(&self, wants: Wants) -> bool {
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

    /// Under the exclusive lock of the waiting room. Why it was woken and has not heard of it yet; None if it
    /// did not wait at all.
    pub(super) fn end(&self) -> Option<Option<Why>> {
        self.until.store(i64::MAX, Ordering::Relaxed);
        let was = self.state.swap(FREE, Ordering::SeqCst);
        (was != FREE).then(|| Why::of_state(was))
    }

    /// A lane that it has been asked to keep, and does not know of yet.
    pub(super) fn take_kept(&self) -> Option<Asked> {
        match self.keep.swap(0, Ordering::SeqCst) {
            0 => None,
            u32::MAX => Some(Asked::Several),
            at => Some(Asked::Lane(at - 1)),
        }
    }

    /// Asks it to keep a lane. True if it will.
    fn keep(&self, at: u32) -> bool {
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
    pub(super) fn listen(&self) -> Option<Why> {
        self.is_limited.store(true, Ordering::Relaxed);
        let was = self.state.swap(WAITING, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Why::of_state(was)
    }

    pub(super) fn is_woken(&self) -> bool {
        Why::of_state(self.state.load(Ordering::SeqCst)).is_some()
    }

    /// Says whether room under a limit is of any use to it.
    pub(super) fn set_limited(&self, is_limited: bool) {
        self.is_limited.store(is_limited, Ordering::SeqCst);
    }

    /// When it wakes by itself for the lanes that it keeps.
    pub(super) fn set_until(&self, until: Timestamp) {
        self.until.store(until.0, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// To be called under the lock of the waiting room.
    pub(super) fn wants(&self) -> &Wants {
        // SAFETY: written under the exclusive lock only.
        unsafe { &*self.wants.get() }
    }

    pub(super) fn wake(&self, why: Why) -> bool {
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

    fn is_waiting(&self) -> bool {
        self.state.load(Ordering::SeqCst) == WAITING
    }

    fn is_here(&self) -> bool {
        self.state.load(Ordering::Relaxed) != FREE
    }
}

/// Whether anybody waits. What the caller has changed is there for whoever begins to after this.
fn anybody(area: &Area) -> bool {
    fence(Ordering::SeqCst);
    area.waiting.load(Ordering::SeqCst) > 0
}

/// Whatever the place of a waiter.
pub const ANY: std::ops::RangeFrom<usize> = 0..;

/// A lane as waiters know it. To be made with a pin on its slot, or under the lock of the lanes, and used as long
/// as that lasts.
#[derive(Clone, Copy)]
struct Sought {
    table: Table,
    queue: u64,
    task: u64,
}

impl Sought {
    fn new(slot: &Slot) -> Self {
        Self { table: slot.table(), queue: hashed(slot.queue()), task: hashed(slot.task()) }
    }

    fn by(self, waiter: &Waiter) -> bool {
        waiter.wants().take(self.table, self.queue, self.task)
    }
}

/// One waiter for each of so many ready jobs of a lane, among those at some places. Can't fail: it is called from
/// commit callbacks, as are the others here; with a pin on the lane's slot, or under the lock of the lanes.
pub fn wake_for_jobs(area: &Area, at: u32, jobs: u32, places: impl RangeBounds<usize>) {
    wake(area, at, Why::Job(at), jobs, places, |lane, waiter| lane.by(waiter));
}

/// So many of those that a limit keeps from a job, and that want some in this lane's queue or of its task: jobs of
/// the lane have made room under its limits.
pub fn wake_for_room(area: &Area, at: u32, jobs: u32, places: impl RangeBounds<usize>) {
    wake(area, at, Why::Room(at), jobs, places, |lane, waiter| {
        let wants = waiter.wants();
        waiter.is_limited.load(Ordering::SeqCst)
            && wants.table == lane.table
            && (wants.queues.take(lane.queue) || wants.tasks.take(lane.task))
    });
}

fn wake(
    area: &Area,
    at: u32,
    why: Why,
    jobs: u32,
    places: impl RangeBounds<usize>,
    fits: impl Fn(Sought, &Waiter) -> bool,
) {
    let Some(slot) = area.slots().get(at as usize).filter(|_| anybody(area)) else { return };
    let lane = Sought::new(slot);
    let _held = area.waiting_room(Mode::Shared);
    let waiting = area.waiters().iter().enumerate();
    let mut left = jobs;
    for (_, waiter) in waiting.filter(|(place, _)| places.contains(place)) {
        if left == 0 {
            return;
        }
        let woken = waiter.is_waiting() && fits(lane, waiter) && waiter.wake(why);
        left -= u32::from(woken);
    }
}

/// One of those who want a lane, unless somebody keeps it: a parked job will be due.
pub fn wake_keeper(area: &Area, at: u32, due: Timestamp) {
    let Some(slot) = area.slots().get(at as usize).filter(|_| anybody(area)) else { return };
    let lane = Sought::new(slot);
    let _held = area.waiting_room(Mode::Shared);
    if !is_kept_until(area, slot, lane, due) {
        area.waiters().iter().any(|waiter| lane.by(waiter) && waiter.keep(at));
    }
}

/// Whether somebody who wants a lane wakes before its next parked job is due. Under the locks of the lanes and of
/// the waiting room.
pub(super) fn is_kept(area: &Area, slot: &Slot, due: Timestamp) -> bool {
    is_kept_until(area, slot, Sought::new(slot), due)
}

fn is_kept_until(area: &Area, slot: &Slot, lane: Sought, due: Timestamp) -> bool {
    let keeper = (slot.keeper.load(Ordering::SeqCst) as usize).checked_sub(1);
    keeper.and_then(|keeper| area.waiters().get(keeper)).is_some_and(|keeper| {
        keeper.is_here() && keeper.until.load(Ordering::SeqCst) <= due.0 && lane.by(keeper)
    })
}

/// Those who wait for the end of one of these jobs, or, if there are more, of any.
pub fn wake_for_ended(area: &Area, table: Table, jobs: &[i64], many: bool) {
    if jobs.is_empty() || !anybody(area) || area.waiting_for_jobs.load(Ordering::SeqCst) == 0 {
        return;
    }
    let _held = area.waiting_room(Mode::Shared);
    for waiter in area.waiters().iter().filter(|waiter| waiter.is_waiting()) {
        let wants = waiter.wants();
        let ended = wants.job.is_some_and(|job| many || jobs.contains(&job));
        if ended && wants.table == table {
            waiter.wake(Why::Other);
        }
    }
}

/// Those who want any lane of a queue, which is meant by its own slot: it has got one that is not known.
pub fn wake_for_queue(area: &Area, at: u32) {
    let Some(slot) = area.slots().get(at as usize).filter(|_| anybody(area)) else { return };
    let queue = Sought::new(slot);
    let _held = area.waiting_room(Mode::Shared);
    for waiter in area.waiters() {
        let wants = waiter.wants();
        if wants.table == queue.table && wants.queues.take(queue.queue) {
            waiter.wake(Why::Other);
        }
    }
}

/// Everybody who waits in a database.
pub fn wake_all(area: &Area, database: u32) {
    if anybody(area) {
        let _held = area.waiting_room(Mode::Shared);
        let here = |waiter: &&Waiter| waiter.wants().table.database == database;
        for waiter in area.waiters().iter().filter(here) {
            waiter.wake(Why::Other);
        }
    }
}

/// How many waiters would be woken for a job of a lane.
pub fn count(area: &Area, table: Table, queue: &str, task: &str) -> i64 {
    let lane = Sought { table, queue: hashed(queue.as_bytes()), task: hashed(task.as_bytes()) };
    let _held = area.waiting_room(Mode::Shared);
    let waiting = area.waiters().iter().filter(|waiter| waiter.is_here() && lane.by(waiter));
    waiting.count() as i64
}
