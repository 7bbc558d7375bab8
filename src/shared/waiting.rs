//! How a call waits: what it is woken for, and when it wakes by itself.
//!
//! A waiter sleeps no longer than until the next parked job of its lanes is due, but for those lanes that another
//! one keeps: of all who want a lane, one is its keeper, and wakes at that time. It finds out which those are
//! before it sleeps. When it leaves, it wakes another one, who finds out anew.

use super::heads::Heads;
use super::lane::{Lane, Position};
use super::lanes::Lanes;
use super::memory::Mode;
use super::slot::Slot;
use super::slots::{SLOTS, Slots};
use super::waiter::{Asked, Ended, Names, Waiter, Wants, Why};
use super::waiters::{
    ANY, WAITERS, Waiters, is_kept, wake_all, wake_for_jobs, wake_for_place, wake_keeper,
};
use crate::server::time::{Timestamp, clock};
use crate::server::{client, latch, process};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::ops::RangeBounds;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

/// A client that has gone is noticed after this, and so is what nobody tells of.
const TICK: Duration = Duration::from_secs(1);

/// More lanes than this, and a waiter that leaves looks at all for those that it has kept.
const MOST_KEPT: usize = 64;

/// The slots of the lanes that this backend keeps. Allocated once: it is used where a backend ends.
struct Kept {
    slots: [u32; MOST_KEPT],
    count: usize,
}

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { slots: [0; MOST_KEPT], count: 0 }) };
    /// What this backend was woken for, and has not seen to yet.
    static HEARD: Cell<Option<Why>> = const { Cell::new(None) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

impl Kept {
    fn add(&mut self, at: u32) {
        if let Some(free) = self.slots.get_mut(self.count) {
            *free = at;
        }
        self.count += 1;
    }

    /// None if there are more than were written down.
    fn known(&self) -> Option<&[u32]> {
        self.slots.get(..self.count)
    }
}

/// Given up when dropped.
pub struct Waiting {
    heads: Heads,
    waiters: &'static Waiters,
    /// The backend's, among the waiters.
    number: usize,
    /// When it was last asked what it was woken for, as shared memory counts.
    listened: Cell<u64>,
    /// Of no lane, for the end of a job.
    queues: Vec<String>,
    tasks: Option<Vec<String>>,
}

impl Waiting {
    /// For a job of some lanes. None if nobody could wake it, as some background processes.
    pub fn begin(heads: Heads, queues: &[String], tasks: Option<&[String]>) -> Option<Self> {
        Self::with(heads, None, queues.to_vec(), tasks.map(<[_]>::to_vec))
    }

    /// For the end of a job. None as above.
    pub fn begin_for_job(heads: Heads, job: i64) -> Option<Self> {
        Self::with(heads, Some(job), Vec::new(), Some(Vec::new()))
    }

    fn with(
        heads: Heads,
        job: Option<i64>,
        queues: Vec<String>,
        tasks: Option<Vec<String>>,
    ) -> Option<Self> {
        let (number, waiters) = (process::number()?, WAITERS.get()?);
        let waiter = waiters.all().get(number)?;
        if !REGISTERED.get() {
            // SAFETY: the callback is a function of this library, which is never unloaded. It is needed
            // where a backend ends without unwinding, as pg_terminate_backend makes it.
            unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::null()) };
            REGISTERED.set(true);
        }
        let (queue_names, task_names) = (Names::new(Some(&queues)), Names::new(tasks.as_deref()));
        let table = heads.lanes.table;
        let wants = Wants { table, job, queues: queue_names, tasks: task_names };
        let _held = waiters.hold(Mode::Exclusive);
        if !waiter.begin(wants) {
            return None;
        }
        if job.is_some() {
            waiters.waiting_for_jobs.fetch_add(1, Ordering::SeqCst);
        }
        waiters.waiting.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Some(Self { heads, waiters, number, listened: Cell::new(0), queues, tasks })
    }

    fn waiter(&self) -> &'static Waiter {
        &self.waiters.all()[self.number]
    }

    fn lanes(&self) -> Lanes {
        self.heads.lanes
    }

    /// To be called before each look for a job, so that what comes after it is heard of. Whether we were woken since.
    pub fn listen(&self) -> bool {
        self.listened.set(self.lanes().slots.versions.load(Ordering::SeqCst));
        let why = self.waiter().listen();
        if why.is_some() {
            HEARD.set(why);
        }
        why.is_some()
    }

    /// What the look has shown: a free place under a limit is, or is not, what this waits for.
    pub fn set_limited(&self, is_limited: bool) {
        self.waiter().set_limited(is_limited);
    }

    /// Jobs of some lanes were taken: what we were woken for, if it was one of these.
    pub fn has_taken(&self, lanes: &[Lane]) {
        let is_it = match HEARD.get() {
            Some(Why::Job(at)) => {
                let _held = self.lanes().slots.hold(Mode::Shared);
                let slot = self.lanes().slot(at);
                lanes.iter().any(|lane| {
                    lane.queue.as_bytes() == slot.queue() && lane.task.as_bytes() == slot.task()
                })
            }
            // A place under a limit: whoever is under it too looks now and then.
            _ => true,
        };
        if is_it {
            HEARD.set(None);
        }
    }

    /// The look was in vain: wakes another one for what we were woken for. Only forward: it comes to an end.
    pub fn pass_on(&self) {
        if let Some(why) = HEARD.take() {
            pass_on(self.lanes().slots, why, self.number + 1..);
        }
    }

    /// Sleeps, at most for `longest`, until a job comes, or is due, that was not there or not due at `looked`, and,
    /// but for what comes by a commit, at most until the first of such looks as come every `tick` that finds
    /// something. Cancel, statement_timeout, termination and shutdown end it at once, and so does the end of the
    /// client soon.
    pub fn sleep(&self, longest: Duration, tick: Option<Duration>, looked: Timestamp) {
        let end = Timestamp(clock().0.saturating_add(micros(longest)));
        let mut look_at = Timestamp(clock().0 + micros(tick.unwrap_or(TICK)));
        let mut ask_at = Timestamp(clock().0 + micros(TICK));
        loop {
            let has_come = match self.waiter().take_kept() {
                Some(Asked::Lane(at)) => self.is_due(at),
                Some(Asked::Several) => true,
                None => false,
            };
            let due = self.keep_time(looked);
            if has_come || self.waiter().is_woken() {
                break;
            }
            let until = end.0.min(due.0).min(look_at.0).min(ask_at.0);
            let left = u64::try_from(until.saturating_sub(clock().0)).unwrap_or(0);
            latch::sleep(Duration::from_micros(left));
            let now = clock();
            if ask_at <= now {
                client::must_be_there();
                ask_at = Timestamp(now.0 + micros(TICK));
            }
            if due <= now {
                self.tell_of_due(now);
                break;
            }
            if end <= now {
                break;
            }
            if look_at <= now {
                let (queues, tasks) = (&self.queues, self.tasks.as_deref());
                let since = self.listened.get();
                if !queues.is_empty() && self.heads.need_look(queues, tasks, now, since) {
                    break;
                }
                look_at = Timestamp(now.0 + micros(tick.unwrap_or(TICK)));
            }
        }
        self.waiter().set_until(Timestamp::INFINITY);
    }

    /// Whether a lane that we have been asked to keep may have a due job already, as one that nobody has looked at.
    fn is_due(&self, at: u32) -> bool {
        let slot = self.lanes().slot(at);
        slot.state(|state| state.due) <= clock()
    }

    /// Becomes the keeper of those lanes that have none, and says when the first parked job of them is due.
    fn keep_time(&self, looked: Timestamp) -> Timestamp {
        let own = self.number as u32 + 1;
        // Whoever makes a job from here on that is due earlier than we know wakes us.
        self.waiter().set_until(Timestamp::INFINITY);
        let mut first = Timestamp::INFINITY;
        let _slots = self.lanes().slots.hold(Mode::Shared);
        let _waiters = self.waiters.hold(Mode::Shared);
        KEPT.with_borrow_mut(|kept| {
            kept.count = 0;
            self.lanes().for_each_of(&self.queues, self.tasks.as_deref(), |at, slot| {
                let due = slot.state(|state| state.due);
                let is_to_come = looked < due && due < Timestamp::INFINITY;
                let is_own = slot.keeper.load(Ordering::SeqCst) == own;
                if is_to_come && (is_own || !is_kept(self.waiters, slot, due)) {
                    slot.keeper.store(own, Ordering::SeqCst);
                    kept.add(at);
                    first = first.min(due);
                } else if is_own {
                    slot.keeper.store(0, Ordering::SeqCst);
                }
            });
        });
        self.waiter().set_until(first);
        first
    }

    /// Of the lanes that we keep some have come due: the first of those who want them hear of that.
    fn tell_of_due(&self, now: Timestamp) {
        let slots = self.lanes().slots;
        let _held = slots.hold(Mode::Shared);
        for_kept(slots, self.number, |at, slot| {
            if slot.state(|state| state.due) <= now {
                wake_for_jobs(at, slot, 1, ANY);
            }
        });
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        leave(self.lanes().slots, self.waiters, self.number);
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Calls `each` for the lanes that a waiter keeps, or has kept. Under the lock of the slots.
fn for_kept(slots: &Slots, number: usize, mut each: impl FnMut(u32, &Slot)) {
    let own = number as u32 + 1;
    let mut each = |at: u32| {
        let slot = slots.used().get(at as usize);
        if let Some(slot) = slot.filter(|slot| slot.keeper.load(Ordering::SeqCst) == own) {
            each(at, slot);
        }
    };
    KEPT.with(|kept| {
        // Nobody borrows it meanwhile; were that ever wrong, a hint is lost and no server.
        let Ok(kept) = kept.try_borrow() else { return };
        match kept.known() {
            Some(kept) => kept.iter().for_each(|at| each(*at)),
            None => (0..slots.used().len() as u32).for_each(each),
        }
    });
}

/// Wakes another one for what somebody was woken for, if that is still there.
fn pass_on(slots: &Slots, why: Why, numbers: impl RangeBounds<usize>) {
    let _held = slots.hold(Mode::Shared);
    let (Why::Job(at) | Why::Place(at)) = why else { return };
    let Some(slot) = slots.used().get(at as usize).filter(|slot| slot.is_in_use()) else {
        return;
    };
    let (bound, due) = slot.state(|state| (state.bound, state.due));
    match why {
        Why::Place(at) => wake_for_place(at, slot, 1, numbers),
        _ if bound < Position::END || due <= clock() => wake_for_jobs(at, slot, 1, numbers),
        _ => {}
    }
}

fn leave(slots: &Slots, waiters: &Waiters, number: usize) {
    let Some(own) = waiters.all().get(number) else { return };
    let (woken, table) = {
        let _held = waiters.hold(Mode::Exclusive);
        let woken = match own.end() {
            Ended::DidNotWait => return,
            Ended::NotWoken => None,
            Ended::Woken(why) => Some(why),
        };
        waiters.waiting.fetch_sub(1, Ordering::SeqCst);
        if own.wants().job.is_some() {
            waiters.waiting_for_jobs.fetch_sub(1, Ordering::SeqCst);
        }
        (woken, own.wants().table)
    };
    // Somebody has to see to what we were woken for, whether we have heard of it or not, and to keep what we keep.
    // (What we have taken is not there any more.)
    for why in [HEARD.take(), woken].into_iter().flatten() {
        pass_on(slots, why, ANY);
    }
    let asked = own.take_kept();
    let _held = slots.hold(Mode::Shared);
    let hand_on = |at: u32, slot: &Slot| {
        let due = slot.state(|state| state.due);
        if due < Timestamp::INFINITY {
            wake_keeper(at, slot, due);
        }
    };
    for_kept(slots, number, |at, slot| {
        slot.keeper.store(0, Ordering::SeqCst);
        hand_on(at, slot);
    });
    match asked {
        None => {}
        Some(Asked::Lane(at)) => {
            let slot = slots.used().get(at as usize);
            slot.filter(|slot| slot.is_in_use()).into_iter().for_each(|slot| hand_on(at, slot));
        }
        Some(Asked::Several) => wake_all(table.database),
    }
    KEPT.with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut() {
            kept.count = 0;
        }
    });
}

extern "C-unwind" fn at_exit(_: i32, _: pg_sys::Datum) {
    if let (Some(slots), Some(waiters), Some(number)) =
        (SLOTS.get(), WAITERS.get(), process::number())
    {
        leave(slots, waiters, number);
    }
}
