//! Heads: from which place on a lane may have ready jobs, and from when on parked ones may be due.
//!
//! A claim that knows starts its index scan there, instead of walking over the dead entries that earlier
//! claims have left and VACUUM may not take away yet; a lane that is known to be empty costs no scan at all.
//! The index is the truth, this is a hint, and these rules keep it from ever hiding a job:
//! - A bound is only raised to what a plain look without a filter saw first, whether that was locked or not;
//! - the reading was made before the snapshot of that look, and counts only if nothing has lowered the
//!   bound since (`version`);
//! - nobody raises who has changed anything himself, or sees an old snapshot: what he sees may never be;
//! - whatever makes a job ready lowers the bound when it has committed (see [`super::transaction`]), and
//!   until then looks from its own jobs on itself.

use super::area::{Area, Mode, SHARED, SpinLock};
use super::counts::{LaneCounts, forget_unknown};
use super::lane::{Lane, Position};
use super::{transaction, waiters};
use crate::statement::{Timestamp, has_changed_anything, snapshot_is_fixed};
use pgrx::pg_sys;
use std::cell::UnsafeCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Bytes for the names of a queue and a task together. A lane with longer names is not tracked.
const NAMES: usize = 192;

/// How often a lane is verified, and a queue for lanes that nobody has told us of, if that takes less than
/// a hundredth of the time.
const VERIFY_MICROS: i64 = 1_000_000;

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

    fn of(&self, hash: u64) -> &AtomicU32 {
        // SAFETY: `count` of them follow each other in shared memory; the index is below it.
        unsafe { &*self.0.add(hash as usize % self.1) }
    }

    fn empty(&self) {
        for index in 0..self.1 {
            self.of(index as u64).store(0, Ordering::Relaxed);
        }
    }
}

/// What identifies a slot. Written under the exclusive lock only.
struct Key {
    table: Table,
    queue_bytes: u16,
    task_bytes: u16,
    names: [u8; NAMES],
}

impl Key {
    /// The key of a lane; of the queue itself with an empty task.
    fn new(table: Table, queue: &str, task: &str) -> Option<Self> {
        let mut names = [0; NAMES];
        let end = queue.len() + task.len();
        names.get_mut(..queue.len())?.copy_from_slice(queue.as_bytes());
        names.get_mut(queue.len()..end)?.copy_from_slice(task.as_bytes());
        Some(Self { table, queue_bytes: queue.len() as u16, task_bytes: task.len() as u16, names })
    }

    fn queue(&self) -> &[u8] {
        &self.names[..self.queue_bytes.into()]
    }

    fn task(&self) -> &[u8] {
        let begin = usize::from(self.queue_bytes);
        &self.names[begin..begin + usize::from(self.task_bytes)]
    }

    fn hash(&self) -> u64 {
        hash(self.table, self.queue(), self.task())
    }

    fn is(&self, table: Table, queue: &str, task: &str) -> bool {
        self.table == table && self.task() == task.as_bytes() && self.queue() == queue.as_bytes()
    }
}

fn hash(table: Table, queue: &[u8], task: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (table, queue, task).hash(&mut hasher);
    hasher.finish()
}

/// What changes all the time. Behind the slot's spin lock.
#[derive(Clone, Copy)]
struct State {
    /// No job before it is ready. END: none is.
    bound: Position,
    version: u64,
    /// No parked job is due before.
    due: Timestamp,
    due_version: u64,
    /// A prepared transaction has touched it, whose end nobody will tell us: not raised until that is over.
    in_doubt: bool,
    /// Of a queue: all of its lanes that have jobs are here.
    complete: bool,
    /// When somebody is to see whether all this is still so.
    verify_at: Timestamp,
}

/// A lane, or a queue, which is the lane with an empty task.
#[repr(C, align(64))]
pub struct Slot {
    lock: SpinLock,
    state: UnsafeCell<State>,
    in_use: AtomicBool,
    /// Transactions that will lower it when they commit: not taken away meanwhile.
    pub pins: AtomicU32,
    hits: AtomicU64,
    heals: AtomicU64,
    pub counts: LaneCounts,
    /// The next in the hash chain or the list of free slots, plus one.
    next: AtomicU32,
    /// Of a queue: its first lane; of a lane: the next one of its queue. Plus one.
    next_lane: AtomicU32,
    key: UnsafeCell<Key>,
}

// SAFETY: the state is used behind the spin lock, the key is written under the exclusive lock alone.
unsafe impl Sync for Slot {}

impl Table {
    /// What a piece of memory that was never used says.
    pub const NONE: Table = Table { database: 0, relation: 0 };
}

impl Slot {
    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // SAFETY: the spin lock lets one at a time in here.
        self.lock.with(|| work(unsafe { &mut *self.state.get() }))
    }

    /// To be called under the lock of the lanes.
    fn key(&self) -> &Key {
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

    /// To be called under the lock of the lanes, or with a pin on the slot, as are the next two.
    pub fn table(&self) -> Table {
        self.key().table
    }

    pub fn queue(&self) -> &[u8] {
        self.key().queue()
    }

    pub fn task(&self) -> &[u8] {
        self.key().task()
    }

    fn is_unpinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) == 0
    }

    fn is_of_queue(&self) -> bool {
        self.key().task_bytes == 0
    }

    /// Whether nothing is lost with it: it has no job that is ready or will be by time alone, and no
    /// transaction that has one is under way. Of a queue: it has no lanes.
    fn is_empty(&self) -> bool {
        self.is_unpinned()
            && match self.is_of_queue() {
                true => self.next_lane.load(Ordering::Relaxed) == 0,
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
    fn unknown(version: u64) -> Self {
        Self {
            bound: Position::FIRST,
            version,
            due: Timestamp(i64::MIN),
            due_version: version,
            in_doubt: false,
            complete: false,
            verify_at: Timestamp(i64::MIN),
        }
    }

    /// True for one of those who ask, now and then; the others go on with what they know.
    fn elects(&mut self, now: Timestamp) -> bool {
        let elected = self.verify_at <= now;
        if elected {
            self.verify_at = Timestamp(now.0 + VERIFY_MICROS);
        }
        elected
    }
}

/// What was known of a lane at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    slot: u32,
    pub bound: Position,
    version: u64,
    pub due: Timestamp,
    due_version: u64,
}

/// What is known of the lanes of a queue.
#[derive(Default)]
pub struct Known {
    pub lanes: Vec<(Lane, Reading)>,
    /// One that it is for the caller to verify.
    pub verify: Option<(Lane, Reading)>,
}

/// What `lanes()` shows of a slot.
pub struct Shown {
    pub table: Table,
    pub queue: String,
    pub task: String,
    pub bound: Position,
    pub due: Timestamp,
    pub hits: u64,
    pub heals: u64,
}

/// The heads of this database's jobs.
#[derive(Clone, Copy)]
pub struct Heads {
    area: &'static Area,
    pub table: Table,
}

impl Heads {
    /// None without shared memory, and on a standby, where nothing tells us of changes.
    pub fn here() -> Option<Self> {
        let area = SHARED.get()?;
        // SAFETY: look-ups in the catalogue caches, in a transaction.
        let relation = unsafe {
            if pg_sys::RecoveryInProgress() {
                return None;
            }
            pg_sys::get_relname_relid(
                c"jobs".as_ptr(),
                pg_sys::get_namespace_oid(c"minion".as_ptr(), true),
            )
        };
        (relation != pg_sys::InvalidOid).then(|| Self::of(area, relation))
    }

    pub fn of(area: &'static Area, relation: pg_sys::Oid) -> Self {
        // SAFETY: a variable of this backend.
        let database = unsafe { pg_sys::MyDatabaseId };
        Self { area, table: Table { database: database.into(), relation: relation.into() } }
    }

    pub fn area(&self) -> &'static Area {
        self.area
    }

    fn slot(&self, at: u32) -> &'static Slot {
        &self.area.slots()[at as usize]
    }

    fn find(&self, queue: &str, task: &str) -> Option<u32> {
        let mut at = self
            .area
            .buckets
            .of(hash(self.table, queue.as_bytes(), task.as_bytes()))
            .load(Ordering::Relaxed);
        while at > 0 {
            let slot = self.slot(at - 1);
            if slot.key().is(self.table, queue, task) {
                return Some(at - 1);
            }
            at = slot.next.load(Ordering::Relaxed);
        }
        None
    }

    fn read(&self, at: u32) -> Reading {
        let (bound, version, due, due_version) =
            self.slot(at).state(|state| (state.bound, state.version, state.due, state.due_version));
        let (own_ready, own_due) = transaction::own(at);
        Reading {
            slot: at,
            bound: bound.min(own_ready),
            version,
            due: due.min(own_due),
            due_version,
        }
    }

    /// The lanes of a queue, all or those of some tasks, that may have a job that is ready or due; None if
    /// not all of the queue's lanes are known, or it is for the caller to see whether they are. `verify`:
    /// whether the caller has time for one of these things, and false after it was given one.
    pub fn lanes(
        &self,
        queue: &str,
        tasks: Option<&[String]>,
        now: Timestamp,
        verify: &mut bool,
    ) -> Option<Known> {
        if transaction::lost_count() {
            return None;
        }
        let may_have = |reading: &Reading| reading.bound < Position::END || reading.due <= now;
        let _held = self.area.lanes(Mode::Shared);
        let of_queue = self.slot(self.find(queue, "")?);
        let mut elects = |state: &mut State| {
            let elected = *verify && state.elects(now);
            *verify &= !elected;
            elected
        };
        if !of_queue.state(|state| state.complete && !elects(state)) {
            return None;
        }
        let mut known = Known::default();
        let mut keep = |at, task: &str| {
            let lane = || Lane { queue: queue.into(), task: task.into() };
            let reading = self.read(at);
            if may_have(&reading) {
                self.slot(at).hits.fetch_add(1, Ordering::Relaxed);
                known.lanes.push((lane(), reading));
            }
            if self.slot(at).state(&mut elects) {
                known.verify = Some((lane(), reading));
            }
        };
        match tasks {
            Some(tasks) => {
                for task in tasks.iter().filter(|task| !task.is_empty()) {
                    if let Some(at) = self.find(queue, task) {
                        keep(at, task);
                    }
                }
            }
            None => {
                let mut at = of_queue.next_lane.load(Ordering::Relaxed);
                while at > 0 {
                    let slot = self.slot(at - 1);
                    // Names are UTF-8 in the usual encodings, and are passed back just as they came.
                    keep(at - 1, &String::from_utf8_lossy(slot.key().task()));
                    at = slot.next_lane.load(Ordering::Relaxed);
                }
            }
        }
        Some(known)
    }

    /// The state of a queue to give to [`Heads::know`] after its lanes were looked for.
    pub fn learn(&self, queue: &str) -> Option<u64> {
        let at = self.find_or_add(queue, "", |_| {})?;
        Some(self.slot(at).state(|state| state.version))
    }

    /// All the lanes that a look found which began after `learn` are tracked from now on. `took`: how long
    /// that look was.
    pub fn know(&self, queue: &str, version: u64, tasks: &[String], took: Duration) -> bool {
        for task in tasks {
            if self.find_or_add(queue, task, |_| {}).is_none() {
                return false;
            }
        }
        let _held = self.area.lanes(Mode::Shared);
        self.find(queue, "").is_some_and(|at| {
            self.slot(at).state(|state| {
                state.complete |= state.version == version;
                state.verify_at = later(took);
                state.complete
            })
        })
    }

    /// A look that began after the reading saw `first` before all other ready jobs, END if there was none.
    pub fn raise(&self, reading: &Reading, first: Position) {
        if may_raise() {
            self.slot(reading.slot).state(|state| {
                if state.version == reading.version && !state.in_doubt {
                    state.bound = state.bound.max(first);
                }
            });
        }
    }

    /// The same for the first parked job, INFINITY if there is none that waits for a time.
    pub fn raise_due(&self, reading: &Reading, first: Timestamp) {
        if may_raise() {
            self.slot(reading.slot).state(|state| {
                if state.due_version == reading.due_version && !state.in_doubt {
                    state.due = state.due.max(first);
                }
            });
        }
    }

    /// What a look below the bound has found: a job that nobody told us of, or None. `due`: the first parked
    /// job. `in_doubt`: whether there are prepared transactions. True if that makes a difference.
    pub fn verified(
        &self,
        reading: &Reading,
        ready: Option<Position>,
        due: Timestamp,
        in_doubt: bool,
        took: Duration,
    ) -> bool {
        let slot = self.slot(reading.slot);
        let version = self.area.next_version();
        let healed = slot.state(|state| {
            state.verify_at = later(took);
            // Unless a transaction was prepared since.
            if state.version == reading.version && state.due_version == reading.due_version {
                state.in_doubt &= in_doubt;
            }
            // The slot is another lane's by now, or somebody has put it right.
            let ready = ready.filter(|ready| *ready < state.bound);
            if let Some(ready) = ready {
                state.bound = ready;
                state.version = version;
            }
            let too_late = due < state.due;
            if too_late {
                state.due = due;
                state.due_version = version;
            }
            ready.is_some() || too_late
        });
        slot.heals.fetch_add(healed.into(), Ordering::Relaxed);
        healed
    }

    /// The slot of a lane, added if need be, with `pin` done before it can be taken away again. None if
    /// there is no room for it.
    pub fn find_or_add(&self, queue: &str, task: &str, pin: impl Fn(&Slot)) -> Option<u32> {
        {
            let _held = self.area.lanes(Mode::Shared);
            if let Some(at) = self.find(queue, task) {
                pin(self.slot(at));
                return Some(at);
            }
        }
        let key = Key::new(self.table, queue, task)?;
        self.make_room();
        let _held = self.area.lanes(Mode::Exclusive);
        let at = match self.find(queue, task) {
            Some(at) => at,
            None => self.add(key, queue, task)?,
        };
        pin(self.slot(at));
        Some(at)
    }

    /// Under the exclusive lock.
    fn add(&self, key: Key, queue: &str, task: &str) -> Option<u32> {
        // A lane is found from its queue too.
        let of_queue = match task {
            "" => None,
            _ => Some(match self.find(queue, "") {
                Some(at) => at,
                None => self.add(Key::new(self.table, queue, "")?, queue, "")?,
            }),
        };
        let area = self.area;
        let free = area.free.load(Ordering::Relaxed);
        let used = area.used.load(Ordering::Relaxed);
        let at = if free > 0 {
            area.free.store(self.slot(free - 1).next.load(Ordering::Relaxed), Ordering::Relaxed);
            free - 1
        } else if (used as usize) < area.slots().len() {
            area.used.store(used + 1, Ordering::Relaxed);
            used
        } else {
            return None;
        };
        let slot = self.slot(at);
        let bucket = area.buckets.of(key.hash());
        // SAFETY: nobody else looks at keys while we hold the exclusive lock.
        unsafe { *slot.key.get() = key };
        slot.state(|state| *state = State::unknown(area.next_version()));
        slot.pins.store(0, Ordering::Relaxed);
        slot.hits.store(0, Ordering::Relaxed);
        slot.heals.store(0, Ordering::Relaxed);
        slot.counts.set_zero();
        slot.in_use.store(true, Ordering::Relaxed);
        slot.next_lane.store(0, Ordering::Relaxed);
        slot.next.store(bucket.swap(at + 1, Ordering::Relaxed), Ordering::Relaxed);
        if let Some(of_queue) = of_queue {
            let first = &self.slot(of_queue).next_lane;
            slot.next_lane.store(first.swap(at + 1, Ordering::Relaxed), Ordering::Relaxed);
        }
        Some(at)
    }
}

impl Heads {
    /// Takes away the slots that are empty or of one of these tables. Under the exclusive lock.
    pub fn clear(&self, dropped: &[Table]) {
        forget_unknown(self.area);
        // Lanes before queues, which are empty only then.
        for queues in [false, true] {
            for slot in self.area.slots() {
                let gone = slot.is_in_use()
                    && slot.is_of_queue() == queues
                    && (slot.is_empty() || (slot.is_unpinned() && dropped.contains(&slot.table())));
                if gone {
                    slot.in_use.store(false, Ordering::Relaxed);
                    slot.state(|state| *state = State::unknown(self.area.next_version()));
                }
            }
            self.link_all();
        }
    }

    /// Makes all lists anew. Under the exclusive lock.
    fn link_all(&self) {
        let area = self.area;
        let used = area.used.load(Ordering::Relaxed) as usize;
        let slots = || (1..).zip(&area.slots()[..used]);
        area.buckets.empty();
        area.free.store(0, Ordering::Relaxed);
        for (number, slot) in slots() {
            let first = match slot.is_in_use() {
                true => area.buckets.of(slot.key().hash()),
                false => &area.free,
            };
            slot.next.store(first.swap(number, Ordering::Relaxed), Ordering::Relaxed);
            slot.next_lane.store(0, Ordering::Relaxed);
        }
        for (number, slot) in slots().filter(|(_, slot)| slot.is_in_use() && !slot.is_of_queue()) {
            let heads = Heads { table: slot.table(), ..*self };
            let queue = String::from_utf8_lossy(slot.key().queue());
            if let Some(of_queue) = heads.find(&queue, "") {
                let first = &self.slot(of_queue).next_lane;
                slot.next_lane.store(first.swap(number, Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    /// The first time after now at which a parked job of this table may be due.
    pub fn next_due(&self, now: Timestamp) -> Timestamp {
        let _held = self.area.lanes(Mode::Shared);
        let dues = self.own_lanes().map(|slot| slot.state(|state| state.due));
        dues.filter(|due| *due > now).min().unwrap_or(Timestamp::INFINITY)
    }

    /// The lanes of this table in which a parked job may be due.
    pub fn due_lanes(&self, now: Timestamp) -> Vec<Lane> {
        let _held = self.area.lanes(Mode::Shared);
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        (0..)
            .zip(self.area.slots())
            .filter(|(at, slot)| self.is_own_lane(slot) && self.read(*at).due <= now)
            .map(|(_, slot)| Lane { queue: text(slot.queue()), task: text(slot.task()) })
            .collect()
    }

    /// Wakes a waiter for each lane of this table in which a parked job may be due.
    pub fn wake_for_due(&self, now: Timestamp) {
        let _held = self.area.lanes(Mode::Shared);
        for slot in self.own_lanes().filter(|slot| slot.state(|state| state.due) <= now) {
            waiters::wake_for_jobs(self.area, slot, 1);
        }
    }

    pub fn own_lanes(&self) -> impl Iterator<Item = &'static Slot> {
        let heads = *self;
        self.area.slots().iter().filter(move |slot| heads.is_own_lane(slot))
    }

    fn is_own_lane(&self, slot: &Slot) -> bool {
        slot.is_in_use() && !slot.is_of_queue() && slot.table() == self.table
    }

    /// Every lane of every database, for people to look at.
    pub fn shown(area: &'static Area) -> Vec<Shown> {
        let _held = area.lanes(Mode::Shared);
        let lanes = area.slots().iter().filter(|slot| slot.is_in_use() && !slot.is_of_queue());
        lanes
            .map(|slot| {
                let (bound, due) = slot.state(|state| (state.bound, state.due));
                Shown {
                    table: slot.table(),
                    queue: String::from_utf8_lossy(slot.key().queue()).into_owned(),
                    task: String::from_utf8_lossy(slot.key().task()).into_owned(),
                    bound,
                    due,
                    hits: slot.hits.load(Ordering::Relaxed),
                    heals: slot.heals.load(Ordering::Relaxed),
                }
            })
            .collect()
    }
}

/// When to verify again what took so long.
fn later(took: Duration) -> Timestamp {
    let pause = (100 * took.as_micros() as i64).max(VERIFY_MICROS);
    Timestamp(crate::statement::clock().0 + pause)
}

/// What a transaction sees that has changed something, or that keeps an old snapshot, may never be so.
fn may_raise() -> bool {
    !has_changed_anything() && !snapshot_is_fixed()
}
