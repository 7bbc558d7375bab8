//! A slot of the lanes' table: what is known of a lane, or of a queue as a whole.

use super::lane::{Lane, Position};
use super::memory::{Spin, Zeroes};
use super::names::{Key, Table};
use super::tally::LaneCounts;
use crate::server::time::{Timestamp, clock};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How often a lane is verified, and a queue for lanes that nobody has told us of, if that takes less than
/// a hundredth of the time.
pub const VERIFY_MICROS: i64 = 1_000_000;

/// What changes all the time.
#[derive(Clone, Copy)]
pub struct LaneState {
    /// No job before it is ready. END: none is.
    pub bound: Position,
    pub version: u64,
    /// No parked job is due before.
    pub due: Timestamp,
    pub due_version: u64,
    /// A prepared transaction has touched it, whose end nobody will tell us: not raised until that is over.
    pub in_doubt: bool,
    /// Of a queue: all of its lanes that have jobs are here.
    pub complete: bool,
    /// When somebody is to see whether all this is still so.
    pub verify_at: Timestamp,
    pub vain: Vain,
}

/// A look at all of a lane's due jobs that found none which can run: their parents are not done. There may be
/// many thousands of them, so what one has seen of them counts for all who wait.
#[derive(Clone, Copy)]
pub struct Vain {
    due_version: u64,
    /// How many parents had ended by then.
    ended: u64,
    /// When time may make one of them runnable: another is due, or a parent expires.
    next: Timestamp,
    /// Not before this, whatever has happened, and after that at the latest: a look costs what it costs.
    soonest: Timestamp,
    latest: Timestamp,
}

impl Vain {
    const NEVER: Vain = Vain {
        due_version: 0,
        ended: 0,
        next: Timestamp(i64::MIN),
        soonest: Timestamp(i64::MIN),
        latest: Timestamp(i64::MIN),
    };

    /// A look that began with these, and took so long until now.
    pub fn new(due_version: u64, ended: u64, next: Timestamp, took: Duration) -> Self {
        const LONGEST_MICROS: i64 = 10_000_000;
        const SOON_MICROS: i64 = 400_000;
        let now = clock().0;
        let took = i64::try_from(took.as_micros()).unwrap_or(LONGEST_MICROS);
        Self {
            due_version,
            ended,
            next,
            soonest: Timestamp(now + (10 * took).min(SOON_MICROS)),
            latest: Timestamp(now + (100 * took).min(LONGEST_MICROS)),
        }
    }
}

/// A lane, or a queue, which is the lane with an empty task.
#[repr(C, align(64))]
pub struct Slot {
    state: Spin<LaneState>,
    pub in_use: AtomicBool,
    /// Transactions that will lower it when they commit: not taken away meanwhile.
    pins: AtomicU32,
    pub hits: AtomicU64,
    pub heals: AtomicU64,
    pub counts: LaneCounts,
    /// The waiter that wakes when the next parked job is due, plus one.
    pub keeper: AtomicU32,
    /// The next in the hash chain or the list of free slots, plus one.
    pub next: AtomicU32,
    /// Of a queue: its first lane; of a lane: the next one of its queue. Plus one.
    pub next_lane: AtomicU32,
    key: UnsafeCell<Key>,
}

// SAFETY: the key is written under the exclusive lock alone.
unsafe impl Sync for Slot {}

// SAFETY: see above; all zeroes is a slot that is not in use.
unsafe impl Zeroes for Slot {}

impl Slot {
    pub fn state<T>(&self, work: impl FnOnce(&mut LaneState) -> T) -> T {
        self.state.with(work)
    }

    /// Somebody's from now on, of whom nothing is known. To be called under the exclusive lock.
    pub fn begin(&self, key: Key, version: u64) {
        // SAFETY: nobody else looks at keys while the exclusive lock is held.
        unsafe { *self.key.get() = key };
        self.state(|state| *state = LaneState::unknown(version));
        self.pins.store(0, Ordering::Relaxed);
        self.hits.store(0, Ordering::Relaxed);
        self.heals.store(0, Ordering::Relaxed);
        self.counts.set_zero();
        self.keeper.store(0, Ordering::Relaxed);
        self.in_use.store(true, Ordering::Relaxed);
        self.next_lane.store(0, Ordering::Relaxed);
    }

    /// To be called under the lock of the slots.
    pub fn key(&self) -> &Key {
        // SAFETY: written under the exclusive lock only.
        unsafe { &*self.key.get() }
    }

    /// Makes a committed job findable. Called from a commit callback: can't fail.
    pub fn lower(&self, version: u64, ready: Position, due: Timestamp) {
        self.state(|state| {
            if ready < Position::END {
                state.bound = state.bound.min(ready);
                state.version = version;
            }
            if due < Timestamp::INFINITY {
                state.due = state.due.min(due);
                state.due_version = version;
            }
        });
    }

    /// The transaction that lowers it is prepared: nobody here will hear of its end.
    pub fn doubt(&self) {
        self.state(|state| state.in_doubt = true);
    }

    /// Not all lanes of this queue are here any more. Called from a commit callback: can't fail.
    pub fn forget_lanes(&self, version: u64) {
        self.state(|state| {
            state.complete = false;
            state.version = version;
        });
    }

    /// Forgets all that was known. Called from a commit callback: can't fail.
    pub fn reset(&self, version: u64) {
        self.state(|state| {
            *state = LaneState { in_doubt: state.in_doubt, ..LaneState::unknown(version) };
        });
    }

    pub fn is_in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    /// To be called under the lock of the slots, or with a pin on the slot, as are the next three.
    pub fn table(&self) -> Table {
        self.key().table
    }

    pub fn queue(&self) -> &[u8] {
        self.key().queue()
    }

    pub fn task(&self) -> &[u8] {
        self.key().task()
    }

    /// Names are UTF-8 in the usual encodings, and come back just as they were given.
    pub fn lane(&self) -> Lane {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        Lane { queue: text(self.queue()), task: text(self.task()) }
    }

    /// Of a queue; a lane has none.
    fn has_no_lanes(&self) -> bool {
        !self.is_of_queue() || self.next_lane.load(Ordering::Relaxed) == 0
    }

    /// Keeps it from being taken away.
    pub fn pin(&self) {
        self.pins.fetch_add(1, Ordering::AcqRel);
    }

    pub fn unpin(&self) {
        self.pins.fetch_sub(1, Ordering::AcqRel);
    }

    fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }

    pub fn is_of_queue(&self) -> bool {
        self.key().is_of_queue()
    }

    /// Whether it can go if its table has gone.
    pub fn is_left(&self) -> bool {
        !self.is_pinned() && self.has_no_lanes()
    }

    /// Whether nothing is lost with it: it has no job that is ready or will be by time alone, and no
    /// transaction that has one is under way. Of a queue: it has no lanes.
    pub fn is_empty(&self) -> bool {
        !self.is_pinned()
            && match self.is_of_queue() {
                true => self.has_no_lanes(),
                false => {
                    self.counts.are_zero()
                        && self.state(|state| {
                            state.bound == Position::END
                                && state.due == Timestamp::INFINITY
                                && !state.in_doubt
                        })
                }
            }
    }
}

impl LaneState {
    pub fn unknown(version: u64) -> Self {
        Self {
            bound: Position::FIRST,
            version,
            due: Timestamp(i64::MIN),
            due_version: version,
            in_doubt: false,
            complete: false,
            verify_at: Timestamp(i64::MIN),
            vain: Vain::NEVER,
        }
    }

    /// Whether somebody has seen that of the jobs that are due, none can run, and none has come since.
    pub fn was_vain(&self) -> bool {
        self.vain.due_version == self.due_version
    }

    /// Whether somebody has just seen that of the jobs that are due, none can run.
    pub fn is_vain(&self, now: Timestamp, ended: u64) -> bool {
        let vain = &self.vain;
        let unchanged = vain.ended == ended && now < vain.latest;
        vain.due_version == self.due_version && now < vain.next && (unchanged || now < vain.soonest)
    }

    /// True for one of those who ask, now and then; the others go on with what they know.
    pub fn elects(&mut self, now: Timestamp) -> bool {
        let elected = self.verify_at <= now;
        if elected {
            self.verify_at = Timestamp(now.0 + VERIFY_MICROS);
        }
        elected
    }
}
