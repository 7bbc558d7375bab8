//! Those who wait: calls of dequeue and wait_for_job that sleep until a commit tells them of what they want.
//!
//! Each ready job wakes one waiter that takes its queue and task, not all: the others would only race for
//! it in vain. Who was woken and could not use it wakes the next, as he does who leaves with something else.
//! When the next parked job of a lane is due, one of those who want it wakes by itself: its keeper (see
//! [`super::waiting`]).

use super::memory::{Content, Held, LwLock, LwLockOf, LwLocks, Many, Mode, Part, Rest, bytes};
use super::names::Table;
use super::slot::Slot;
use super::waiter::{Waiter, Why, hashed};
use crate::server::process;
use crate::server::time::Timestamp;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicU32, Ordering, fence};

pub static WAITERS: Part<Waiters> = Part::new();

/// All who wait, and those who do not: one for each backend.
pub struct Waiters {
    /// Held exclusively to come and go as a waiter, shared to wake one. After that of the slots, by whoever holds both.
    lock: LwLock,
    waiters: Many<Waiter>,
    /// How many backends wait, to spare a commit the look when none does.
    pub waiting: AtomicU32,
    /// How many of these wait for the end of a job.
    pub waiting_for_jobs: AtomicU32,
}

impl Content for Waiters {
    fn size() -> usize {
        bytes::<Waiter>(process::most())
    }

    fn new(mut rest: Rest, locks: &LwLocks) -> Self {
        Self {
            lock: locks.get(LwLockOf::Waiters),
            waiters: rest.many(process::most()),
            waiting: AtomicU32::new(0),
            waiting_for_jobs: AtomicU32::new(0),
        }
    }
}

impl Waiters {
    pub fn hold(&self, mode: Mode) -> Held {
        self.lock.hold(mode)
    }

    pub fn all(&self) -> &[Waiter] {
        &self.waiters
    }
}

/// Those who wait, if there are any. What the caller has changed is there for whoever begins to after this.
fn any() -> Option<&'static Waiters> {
    fence(Ordering::SeqCst);
    WAITERS.get().filter(|waiters| waiters.waiting.load(Ordering::SeqCst) > 0)
}

/// Whatever the number of a waiter.
pub const ANY: std::ops::RangeFrom<usize> = 0..;

/// A lane as waiters know it. To be made with a pin on its slot, or under the lock of the slots, and used as long
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

/// One waiter for each of so many ready jobs of a lane, among those of some numbers. Can't fail: it is called from
/// commit callbacks, as are the others here; with a pin on the lane's slot, or under the lock of the slots.
pub fn wake_for_jobs(at: u32, slot: &Slot, jobs: u32, numbers: impl RangeBounds<usize>) {
    wake(slot, Why::Job(at), jobs, numbers, |lane, waiter| lane.by(waiter));
}

/// So many of those that a limit keeps from a job, and that want some in this lane's queue or of its task: jobs of
/// the lane have left places under its limits.
pub fn wake_for_place(at: u32, slot: &Slot, jobs: u32, numbers: impl RangeBounds<usize>) {
    wake(slot, Why::Place(at), jobs, numbers, |lane, waiter| {
        let wants = waiter.wants();
        waiter.is_limited.load(Ordering::SeqCst)
            && wants.table == lane.table
            && (wants.queues.take(lane.queue) || wants.tasks.take(lane.task))
    });
}

fn wake(
    slot: &Slot,
    why: Why,
    jobs: u32,
    numbers: impl RangeBounds<usize>,
    fits: impl Fn(Sought, &Waiter) -> bool,
) {
    let Some(waiters) = any() else { return };
    let lane = Sought::new(slot);
    let _held = waiters.hold(Mode::Shared);
    let waiting = waiters.all().iter().enumerate();
    let mut left = jobs;
    for (_, waiter) in waiting.filter(|(number, _)| numbers.contains(number)) {
        if left == 0 {
            return;
        }
        let woken = waiter.is_waiting() && fits(lane, waiter) && waiter.wake(why);
        left -= u32::from(woken);
    }
}

/// One of those who want a lane, unless somebody keeps it: a parked job will be due.
pub fn wake_keeper(at: u32, slot: &Slot, due: Timestamp) {
    let Some(waiters) = any() else { return };
    let lane = Sought::new(slot);
    let _held = waiters.hold(Mode::Shared);
    if !is_kept_until(waiters, slot, lane, due) {
        waiters.all().iter().any(|waiter| lane.by(waiter) && waiter.keep(at));
    }
}

/// Whether somebody who wants a lane wakes before its next parked job is due. Under the locks of the slots and of
/// the waiters.
pub fn is_kept(waiters: &Waiters, slot: &Slot, due: Timestamp) -> bool {
    is_kept_until(waiters, slot, Sought::new(slot), due)
}

fn is_kept_until(waiters: &Waiters, slot: &Slot, lane: Sought, due: Timestamp) -> bool {
    let keeper = (slot.keeper.load(Ordering::SeqCst) as usize).checked_sub(1);
    keeper.and_then(|keeper| waiters.all().get(keeper)).is_some_and(|keeper| {
        keeper.is_here() && keeper.until.load(Ordering::SeqCst) <= due.0 && lane.by(keeper)
    })
}

/// Those who wait for the end of one of these jobs, or, if there are more, of any.
pub fn wake_for_ended(table: Table, jobs: &[i64], many: bool) {
    if jobs.is_empty() {
        return;
    }
    let Some(waiters) = any() else { return };
    if waiters.waiting_for_jobs.load(Ordering::SeqCst) == 0 {
        return;
    }
    let _held = waiters.hold(Mode::Shared);
    for waiter in waiters.all().iter().filter(|waiter| waiter.is_waiting()) {
        let wants = waiter.wants();
        let ended = wants.job.is_some_and(|job| many || jobs.contains(&job));
        if ended && wants.table == table {
            waiter.wake(Why::Other);
        }
    }
}

/// Those who want any lane of a queue, which is meant by its own slot: it has got one that is not known.
pub fn wake_for_queue(slot: &Slot) {
    let Some(waiters) = any() else { return };
    let queue = Sought::new(slot);
    let _held = waiters.hold(Mode::Shared);
    for waiter in waiters.all() {
        let wants = waiter.wants();
        if wants.table == queue.table && wants.queues.take(queue.queue) {
            waiter.wake(Why::Other);
        }
    }
}

/// Everybody who waits in a database.
pub fn wake_all(database: u32) {
    if let Some(waiters) = any() {
        let _held = waiters.hold(Mode::Shared);
        let here = |waiter: &&Waiter| waiter.wants().table.database == database;
        for waiter in waiters.all().iter().filter(here) {
            waiter.wake(Why::Other);
        }
    }
}

/// How many waiters would be woken for a job of a lane.
pub fn count(table: Table, queue: &str, task: &str) -> i64 {
    let Some(waiters) = WAITERS.get() else { return 0 };
    let lane = Sought { table, queue: hashed(queue.as_bytes()), task: hashed(task.as_bytes()) };
    let _held = waiters.hold(Mode::Shared);
    let waiting = waiters.all().iter().filter(|waiter| waiter.is_here() && lane.by(waiter));
    waiting.count() as i64
}
