//! Waiting calls of dequeue sleep here until a commit makes a job claimable that they want.
//!
//! Each ready job wakes one waiter that takes its queue and task, not all: the others would only race for
//! it in vain. Who was woken and could not use it wakes the next. One waiter of a table, the timekeeper,
//! also sleeps no longer than until the next parked job is due, and then wakes one for it.

use super::area::{Area, Mode, SHARED};
use super::heads::Heads;
use super::slot::{Slot, Table};
use crate::statement::{Timestamp, check_for_interrupts, clock};
use pgrx::pg_sys;
use std::cell::{Cell, UnsafeCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, Ordering, fence};
use std::time::Duration;

/// Everybody looks again after this, whatever he has heard.
const RECHECK: Duration = Duration::from_secs(10);

/// More names than this, and a waiter is woken for any.
const NAMES: usize = 8;

const FREE: u32 = 0;
const WAITING: u32 = 1;
const WOKEN: u32 = 2;

/// One backend's place. All zeroes is a free one.
#[repr(C, align(64))]
pub struct Waiter {
    state: AtomicU32,
    is_timekeeper: AtomicBool,
    /// When the timekeeper wakes by itself.
    until: AtomicI64,
    latch: AtomicPtr<pg_sys::Latch>,
    wants: UnsafeCell<Wants>,
}

// SAFETY: what a waiter wants is written under the exclusive lock of the waiting room.
unsafe impl Sync for Waiter {}

struct Wants {
    table: Table,
    /// The end of this job, and no lane.
    job: Option<i64>,
    queues: Names,
    tasks: Names,
}

/// Hashes of names; two of one hash only mean that somebody is woken in vain.
struct Names {
    any: bool,
    count: u8,
    hashes: [u64; NAMES],
}

impl Names {
    fn new(names: Option<&[String]>) -> Self {
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
    /// To be called under the lock of the waiting room.
    fn wants(&self) -> &Wants {
        // SAFETY: written under the exclusive lock only.
        unsafe { &*self.wants.get() }
    }

    fn wake(&self) -> bool {
        let woken =
            self.state.compare_exchange(WAITING, WOKEN, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if woken {
            // SAFETY: the latch of a server process, in the server's own shared memory; setting it can't
            // fail, and one that nobody waits on any more takes no harm.
            unsafe { pg_sys::SetLatch(self.latch.load(Ordering::Relaxed)) };
        }
        woken
    }

    fn is_waiting(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WAITING
    }
}

/// Whether anybody waits. What the caller has changed is there for whoever begins to after this.
fn anybody(area: &Area) -> bool {
    fence(Ordering::SeqCst);
    area.waiting.load(Ordering::SeqCst) > 0
}

/// Whatever the place of a waiter.
pub const ANY: std::ops::RangeFrom<usize> = 0..;

/// One waiter for each of so many ready jobs of a lane, among those at some places. Called from a commit
/// callback: can't fail.
pub fn wake_for_jobs(area: &Area, lane: &Slot, jobs: u32, places: impl RangeBounds<usize>) {
    if !anybody(area) {
        return;
    }
    let _held = area.waiting_room(Mode::Shared);
    let (table, queue, task) = (lane.table(), hashed(lane.queue()), hashed(lane.task()));
    let mut left = jobs;
    for (at, waiter) in area.waiters().iter().enumerate() {
        let fits = places.contains(&at) && waiter.wants().take(table, queue, task);
        if fits && waiter.is_waiting() && waiter.wake() {
            left -= 1;
            if left == 0 {
                return;
            }
        }
    }
}

/// Those who wait for the end of one of these jobs, or, if there are more, of any. Called from a commit
/// callback: can't fail.
pub fn wake_for_ended(area: &Area, table: Table, jobs: &[i64], many: bool) {
    if jobs.is_empty() || !anybody(area) || area.waiting_for_jobs.load(Ordering::SeqCst) == 0 {
        return;
    }
    let _held = area.waiting_room(Mode::Shared);
    for waiter in area.waiters().iter().filter(|waiter| waiter.is_waiting()) {
        let wants = waiter.wants();
        let ended = wants.job.is_some_and(|job| many || jobs.contains(&job));
        if ended && wants.table == table {
            waiter.wake();
        }
    }
}

/// One waiter for each lane that may have a job and may be under the same limit as this one. Called from a
/// commit callback: can't fail.
pub fn wake_for_room(area: &'static Area, lane: &Slot) {
    if anybody(area) {
        Heads { area, table: lane.table() }.for_busy_lanes(clock(), |other| {
            if other.queue() == lane.queue() || other.task() == lane.task() {
                wake_for_jobs(area, other, 1, ANY);
            }
        });
    }
}

/// A parked job of this database will be due. Called from a commit callback: can't fail.
pub fn wake_timekeeper(area: &Area, lane: &Slot, due: Timestamp) {
    if !anybody(area) {
        return;
    }
    let _held = area.waiting_room(Mode::Shared);
    for waiter in area.waiters() {
        if waiter.is_timekeeper.load(Ordering::Relaxed)
            && waiter.wants().table == lane.table()
            && due.0 < waiter.until.load(Ordering::Relaxed)
        {
            waiter.wake();
        }
    }
}

/// Everybody who waits in a database. Called from a commit callback: can't fail.
pub fn wake_all(area: &Area, database: u32) {
    if anybody(area) {
        let _held = area.waiting_room(Mode::Shared);
        let here = |waiter: &&Waiter| waiter.wants().table.database == database;
        for waiter in area.waiters().iter().filter(here) {
            waiter.wake();
        }
    }
}

/// How many waiters would be woken for a job of a lane.
pub fn count(area: &Area, table: Table, queue: &str, task: &str) -> i64 {
    let (queue, task) = (hashed(queue.as_bytes()), hashed(task.as_bytes()));
    let _held = area.waiting_room(Mode::Shared);
    let waiting = area.waiters().iter().filter(|waiter| {
        waiter.state.load(Ordering::Relaxed) != FREE && waiter.wants().take(table, queue, task)
    });
    waiting.count() as i64
}

/// This backend's place among the waiters, given up when dropped.
pub struct Waiting {
    heads: Heads,
    at: usize,
}

thread_local!(static REGISTERED: Cell<bool> = const { Cell::new(false) });

impl Waiting {
    /// For a job of some lanes. None if there is no place, as for some background processes.
    pub fn begin(heads: Heads, queues: &[String], tasks: Option<&[String]>) -> Option<Self> {
        let (queues, tasks) = (Names::new(Some(queues)), Names::new(tasks));
        Self::with(heads, Wants { table: heads.table, job: None, queues, tasks })
    }

    /// For the end of a job. None as above.
    pub fn begin_for_job(heads: Heads, job: i64) -> Option<Self> {
        let (queues, tasks) = (Names::new(Some(&[])), Names::new(Some(&[])));
        Self::with(heads, Wants { table: heads.table, job: Some(job), queues, tasks })
    }

    fn with(heads: Heads, wants: Wants) -> Option<Self> {
        let at = own_place();
        let waiter = heads.area().waiters().get(at)?;
        if !REGISTERED.get() {
            // SAFETY: the callback is a function of this library, which is never unloaded. It is needed
            // where a backend ends without unwinding, as pg_terminate_backend makes it.
            unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::null()) };
            REGISTERED.set(true);
        }
        let _held = heads.area().waiting_room(Mode::Exclusive);
        if wants.job.is_some() {
            heads.area().waiting_for_jobs.fetch_add(1, Ordering::SeqCst);
        }
        // SAFETY: under the exclusive lock; the place is this backend's own, and MyLatch its latch.
        unsafe {
            *waiter.wants.get() = wants;
            waiter.latch.store(pg_sys::MyLatch, Ordering::Relaxed);
        }
        waiter.state.store(WAITING, Ordering::SeqCst);
        heads.area().waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Some(Self { heads, at })
    }

    fn waiter(&self) -> &'static Waiter {
        &self.heads.area().waiters()[self.at]
    }

    /// To be called before each look for a job, so that what comes after it is heard of. True if we were
    /// woken since.
    pub fn listen(&self) -> bool {
        let was = self.waiter().state.swap(WAITING, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        was == WOKEN
    }

    /// Wakes another one for what we were woken for in vain. Only forward: it comes to an end.
    pub fn pass_on(&self) {
        wake_for_all(self.heads, self.at + 1..);
    }

    /// Sleeps, at most for `left`, until a job comes that was not there or not due at `looked`. Cancel,
    /// statement_timeout, termination and shutdown end it at once.
    pub fn sleep(&self, left: Duration, looked: Timestamp) {
        let longest = left.min(RECHECK);
        // Whoever makes a job from here on that is due earlier than we know wakes us.
        self.waiter().until.store(i64::MAX, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let until = match self.keep_time() {
            true => self.heads.next_due(looked),
            false => Timestamp::INFINITY,
        };
        let due_in = until.0.saturating_sub(clock().0).max(0) as u64;
        // A millisecond more than rounded down: not to wake just before the time and wait once more.
        let due_in = Duration::from_micros(due_in).saturating_add(Duration::from_millis(1));
        self.waiter().until.store(until.0, Ordering::Relaxed);
        // The latch may have been reset by something else that waited on it.
        match self.waiter().state.load(Ordering::SeqCst) {
            WOKEN => check_for_interrupts(),
            _ => super::wake::sleep(longest.min(due_in)),
        }
        if until <= clock() {
            wake_for_all(self.heads, ANY);
        }
    }

    /// Whether it is for us to see to parked jobs that come due.
    fn keep_time(&self) -> bool {
        let own = self.waiter();
        if own.is_timekeeper.load(Ordering::Relaxed) {
            return true;
        }
        let _held = self.heads.area().waiting_room(Mode::Exclusive);
        if own.wants().job.is_some() {
            return false;
        }
        let taken = self.heads.area().waiters().iter().any(|waiter| {
            waiter.is_timekeeper.load(Ordering::Relaxed) && waiter.wants().table == self.heads.table
        });
        own.is_timekeeper.store(!taken, Ordering::Relaxed);
        !taken
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        leave(self.heads.area(), self.at);
    }
}

/// For each lane that may have a job, one waiter that takes it.
fn wake_for_all(heads: Heads, places: impl RangeBounds<usize> + Clone) {
    if anybody(heads.area()) {
        heads.for_busy_lanes(clock(), |lane| {
            wake_for_jobs(heads.area(), lane, 1, places.clone());
        });
    }
}

fn leave(area: &'static Area, at: usize) {
    let Some(own) = area.waiters().get(at) else { return };
    let (was, table) = {
        let _held = area.waiting_room(Mode::Exclusive);
        let was = own.state.swap(FREE, Ordering::SeqCst);
        if was == FREE {
            return;
        }
        area.waiting.fetch_sub(1, Ordering::SeqCst);
        if own.wants().job.is_some() {
            area.waiting_for_jobs.fetch_sub(1, Ordering::SeqCst);
        }
        let table = own.wants().table;
        if own.is_timekeeper.swap(false, Ordering::Relaxed) {
            let heir = area.waiters().iter().find(|waiter| {
                waiter.state.load(Ordering::Relaxed) != FREE
                    && waiter.wants().table == table
                    && waiter.wants().job.is_none()
            });
            if let Some(heir) = heir {
                // It finds out when the next job is due as soon as it sleeps again.
                heir.until.store(i64::MAX, Ordering::Relaxed);
                heir.is_timekeeper.store(true, Ordering::Relaxed);
                heir.wake();
            }
        }
        (was, table)
    };
    // Somebody has to take what we were woken for.
    if was == WOKEN {
        wake_for_all(Heads { area, table }, ANY);
    }
}

extern "C-unwind" fn at_exit(_: i32, _: pg_sys::Datum) {
    if let Some(area) = SHARED.get() {
        leave(area, own_place());
    }
}

fn own_place() -> usize {
    // SAFETY: a variable of this backend.
    #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
    let number = unsafe { pg_sys::MyBackendId };
    // SAFETY: as above.
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    let number = unsafe { pg_sys::MyProcNumber };
    usize::try_from(number).unwrap_or(usize::MAX)
}
