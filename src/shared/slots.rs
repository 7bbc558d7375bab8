//! The table of the slots of lanes: where they are found and added, and those taken away that are not needed.

use super::memory::{Content, Held, LwLock, LwLockOf, LwLocks, Many, Mode, Part, Rest, bytes};
use super::names::{Key, LongNames, Table, hash};
use super::slot::{LaneState, Slot};
use crate::settings;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

pub static SLOTS: Part<Slots> = Part::new();

/// What all backends know of lanes.
pub struct Slots {
    /// Held shared to use a slot, exclusively to add or take away one.
    lock: LwLock,
    slots: Many<Slot>,
    long_names: Many<LongNames>,
    /// Heads of the hash chains: the slot plus one, 0 for none.
    buckets: Many<AtomicU32>,
    /// Each change that makes a lane's earlier readings worthless takes the next number.
    pub versions: AtomicU64,
    /// Slots beyond this one were never used.
    used: AtomicU32,
    /// The first slot that was given back, plus one.
    free: AtomicU32,
    /// When slots to take away were last looked for in a full table.
    pub cleared: AtomicI64,
    /// How many jobs came to lanes that there was no slot for.
    pub untracked: AtomicU64,
    /// How many transactions have changed jobs that others may have for a parent.
    pub ended: AtomicU64,
}

/// A lane may need one for its queue as well.
fn slot_count() -> usize {
    2 * settings::max_lanes()
}

fn long_name_count() -> usize {
    (slot_count() / 32).max(64)
}

fn bucket_count() -> usize {
    (2 * slot_count()).next_power_of_two()
}

impl Content for Slots {
    fn size() -> usize {
        bytes::<Slot>(slot_count())
            + bytes::<LongNames>(long_name_count())
            + bytes::<AtomicU32>(bucket_count())
    }

    fn new(mut rest: Rest, locks: &LwLocks) -> Self {
        Self {
            lock: locks.get(LwLockOf::Lanes),
            slots: rest.many(slot_count()),
            long_names: rest.many(long_name_count()),
            buckets: rest.many(bucket_count()),
            versions: AtomicU64::new(1),
            used: AtomicU32::new(0),
            free: AtomicU32::new(0),
            cleared: AtomicI64::new(0),
            untracked: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }
}

impl Slots {
    pub fn hold(&self, mode: Mode) -> Held {
        self.lock.hold(mode)
    }

    pub fn all(&self) -> &[Slot] {
        &self.slots
    }

    /// Without those that no lane has ever had. Under the lock.
    pub fn used(&self) -> &[Slot] {
        &self.slots[..self.used.load(Ordering::Relaxed) as usize]
    }

    /// Those that some lane or queue has. Under the lock.
    pub fn in_use(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..).zip(self.used()).filter(|(_, slot)| slot.is_in_use())
    }

    pub fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether there is no slot for a lane and its queue, as long as none is taken away.
    pub fn are_full(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed) as usize;
        used + 2 > self.slots.len() && self.free.load(Ordering::Relaxed) == 0
    }

    fn bucket(&self, hash: u64) -> &AtomicU32 {
        &self.buckets[hash as usize % self.buckets.len()]
    }

    /// The slot of a lane; of the queue itself with an empty task. Under the lock.
    pub fn find(&self, table: Table, queue: &str, task: &str) -> Option<u32> {
        let hash = hash(table, queue.as_bytes(), task.as_bytes());
        let mut at = self.bucket(hash).load(Ordering::Relaxed);
        while at > 0 {
            let slot = &self.slots[at as usize - 1];
            if slot.key().is(table, queue, task) {
                return Some(at - 1);
            }
            at = slot.next.load(Ordering::Relaxed);
        }
        None
    }

    /// Gives a lane a slot that has none; None if there is no room for it. Under the exclusive lock.
    pub fn add(&'static self, table: Table, queue: &str, task: &str) -> Option<u32> {
        // A lane is found from its queue too.
        let of_queue = match task {
            "" => None,
            _ => Some(match self.find(table, queue, "") {
                Some(at) => at,
                None => self.add(table, queue, "")?,
            }),
        };
        let key = Key::new(&self.long_names, table, queue, task)?;
        let Some(at) = self.take_unused() else {
            key.give_back();
            return None;
        };
        let slot = &self.slots[at as usize];
        let bucket = self.bucket(key.hash());
        slot.begin(key, self.next_version());
        slot.next.store(bucket.swap(at + 1, Ordering::Relaxed), Ordering::Relaxed);
        if let Some(of_queue) = of_queue {
            let first = &self.slots[of_queue as usize].next_lane;
            slot.next_lane.store(first.swap(at + 1, Ordering::Relaxed), Ordering::Relaxed);
        }
        Some(at)
    }

    /// One that was given back, or one that was never used.
    fn take_unused(&self) -> Option<u32> {
        let free = self.free.load(Ordering::Relaxed);
        if free > 0 {
            let next = self.slots[free as usize - 1].next.load(Ordering::Relaxed);
            self.free.store(next, Ordering::Relaxed);
            return Some(free - 1);
        }
        let used = self.used.load(Ordering::Relaxed);
        ((used as usize) < self.slots.len()).then(|| {
            self.used.store(used + 1, Ordering::Relaxed);
            used
        })
    }

    /// Takes away the slots that are empty or of one of these tables. Under the exclusive lock.
    pub fn clear(&self, dropped: &[Table]) {
        // Lanes before queues, which are empty only then.
        for queues in [false, true] {
            for (_, slot) in self.in_use().filter(|(_, slot)| slot.is_of_queue() == queues) {
                if slot.is_empty() || (slot.is_left() && dropped.contains(&slot.table())) {
                    slot.in_use.store(false, Ordering::Relaxed);
                    slot.key().give_back();
                    slot.state(|state| *state = LaneState::unknown(self.next_version()));
                }
            }
            self.link_all();
        }
    }

    /// Makes all lists anew. Under the exclusive lock.
    fn link_all(&self) {
        for bucket in &*self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
        self.free.store(0, Ordering::Relaxed);
        for (number, slot) in (1..).zip(self.used()) {
            let first = match slot.is_in_use() {
                true => self.bucket(slot.key().hash()),
                false => &self.free,
            };
            slot.next.store(first.swap(number, Ordering::Relaxed), Ordering::Relaxed);
            slot.next_lane.store(0, Ordering::Relaxed);
        }
        for (at, slot) in self.in_use().filter(|(_, slot)| !slot.is_of_queue()) {
            if let Some(of_queue) = self.find(slot.table(), &slot.lane().queue, "") {
                let first = &self.slots[of_queue as usize].next_lane;
                slot.next_lane.store(first.swap(at + 1, Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}
