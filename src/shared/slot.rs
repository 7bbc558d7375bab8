//! A slot of the lanes' table: what is known of a lane, or of a queue as a whole.

use super::area::{Area, SpinLock};
use super::counts::LaneCounts;
use super::lane::{Lane, Position};
use crate::statement::{Timestamp, clock};
use std::cell::UnsafeCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Bytes for the names of a queue and a task together.
const NAMES: usize = 192;
/// The same for those that are longer than that, of which there are few: as long as names may be.
const LONG_NAMES: usize = 2_000;
/// How often a lane is verified, and a queue for lanes that nobody has told us of, if that takes less than
/// a hundredth of the time.
pub const VERIFY_MICROS: i64 = 1_000_000;

/// One jobs table: its database and its oid there. A new CREATE EXTENSION makes a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    pub database: u32,
    pub relation: u32,
}

/// Heads of the hash chains: the slot plus one, 0 for none.
pub struct Buckets(*const AtomicU32, usize);

impl Buckets {
    pub fn new(first: *const AtomicU32, count: usize) -> Self {
        Self(first, count)
    }

    pub fn of(&self, hash: u64) -> &AtomicU32 {
        // SAFETY: `count` of them follow each other in shared memory; the index is below it.
        unsafe { &*self.0.add(hash as usize % self.1) }
    }

    pub fn empty(&self) {
        for index in 0..self.1 {
            self.of(index as u64).store(0, Ordering::Relaxed);
        }
    }
}

/// Room for the names of one lane that don't fit into its slot.
pub struct LongNames {
    in_use: AtomicBool,
    names: UnsafeCell<[u8; LONG_NAMES]>,
}

// SAFETY: written under the exclusive lock of the lanes only.
unsafe impl Sync for LongNames {}

/// What identifies a slot. Written under the exclusive lock only.
pub struct Key {
    table: Table,
    queue_bytes: u16,
    task_bytes: u16,
    names: [u8; NAMES],
    long: Option<&'static LongNames>,
}

impl Key {
    /// The key of a lane; of the queue itself with an empty task. None if there is no room for its names. To be called
    /// under the exclusive lock.
    pub fn new(area: &'static Area, table: Table, queue: &str, task: &str) -> Option<Self> {
        let bytes = |name: &str| u16::try_from(name.len()).ok();
        let (queue_bytes, task_bytes) = (bytes(queue)?, bytes(task)?);
        let end = queue.len() + task.len();
        let mut key = Self { table, queue_bytes, task_bytes, names: [0; NAMES], long: None };
        let names = if end <= NAMES {
            &mut key.names[..end]
        } else {
            let free = area.long_names().iter().find(|one| !one.in_use.load(Ordering::Relaxed));
            let long = free.filter(|_| end <= LONG_NAMES)?;
            long.in_use.store(true, Ordering::Relaxed);
            key.long = Some(long);
            // SAFETY: nobody else looks at it while the exclusive lock is held.
            unsafe { &mut (&mut *long.names.get())[..end] }
        };
        names[..queue.len()].copy_from_slice(queue.as_bytes());
        names[queue.len()..].copy_from_slice(task.as_bytes());
        Some(key)
    }

    /// Its slot is given up. To be called under the exclusive lock.
    pub fn give_back(&self) {
        if let Some(long) = self.long {
            long.in_use.store(false, Ordering::Relaxed);
        }
    }

    fn names(&self) -> &[u8] {
        match self.long {
            None => &self.names,
            // SAFETY: written under the exclusive lock only, before the key was.
            Some(long) => unsafe { &*long.names.get() },
        }
    }

    pub fn queue(&self) -> &[u8] {
        &self.names()[..self.queue_bytes.into()]
    }

    pub fn task(&self) -> &[u8] {
        let begin = usize::from(self.queue_bytes);
        &self.names()[begin..begin + usize::from(self.task_bytes)]
    }

    pub fn hash(&self) -> u64 {
        hash(self.table, self.queue(), self.task())
    }

    pub fn is(&self, table: Table, queue: &str, task: &str) -> bool {
        self.table == table && self.task() == task.as_bytes() && self.queue() == queue.as_bytes()
    }
}

pub fn hash(table: Table, queue: &[u8], task: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (table, queue, task).hash(&mut hasher);
    hasher.finish()
}

/// What changes all the time. Behind the slot's spin lock.
#[derive(Clone, Copy)]
pub struct State {
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
    lock: SpinLock,
    state: UnsafeCell<State>,
    pub in_use: AtomicBool,
    /// Transactions that will lower it when they commit: not taken away meanwhile.
    pub pins: AtomicU32,
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

// SAFETY: the state is used behind the spin lock, the key is written under the exclusive lock alone.
unsafe impl Sync for Slot {}

impl Table {
    /// What a piece of memory that was never used says.
    pub const NONE: Table = Table { database: 0, relation: 0 };
}

impl Slot {
    pub fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // SAFETY: the spin lock lets one at a time in here.
        self.lock.with(|| work(unsafe { &mut *self.state.get() }))
    }

    /// To be called under the exclusive lock.
    pub fn set_key(&self, key: Key) {
        // SAFETY: nobody else looks at keys while the exclusive lock is held.
        unsafe { *self.key.get() = key };
    }

    /// To be called under the lock of the lanes.
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
            *state = State { in_doubt: state.in_doubt, ..State::unknown(version) };
        });
    }

    pub fn is_in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    /// To be called under the lock of the lanes, or with a pin on the slot, as are the next three.
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
    pub fn has_no_lanes(&self) -> bool {
        !self.is_of_queue() || self.next_lane.load(Ordering::Relaxed) == 0
    }

    pub fn is_unpinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) == 0
    }

    pub fn is_of_queue(&self) -> bool {
        self.key().task_bytes == 0
    }

    /// Whether nothing is lost with it: it has no job that is ready or will be by time alone, and no
    /// transaction that has one is under way. Of a queue: it has no lanes.
    pub fn is_empty(&self) -> bool {
        self.is_unpinned()
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

impl State {
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
