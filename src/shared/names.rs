//! What identifies a lane in shared memory: its table and its names.

use super::memory::Zeroes;
use crate::server::database;
use std::cell::UnsafeCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes for the names of a queue and a task together.
const NAMES: usize = 192;
/// The same for those that are longer than that, of which there are few: as long as names may be.
const LONG_NAMES: usize = 2_000;

/// One jobs table: its database and its oid there. A new CREATE EXTENSION makes a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    pub database: u32,
    pub relation: u32,
}

impl Table {
    /// What a piece of memory that was never used says.
    pub const NONE: Table = Table { database: 0, relation: 0 };

    /// Whether it is no more, or its database. Looks into the catalogues: not under a lock of ours.
    pub fn is_dropped(&self) -> bool {
        match self.database == database::own() {
            true => !database::has_relation(self.relation),
            false => !database::exists(self.database),
        }
    }
}

/// A place for the names of one lane that don't fit into its slot.
pub struct LongNames {
    in_use: AtomicBool,
    names: UnsafeCell<[u8; LONG_NAMES]>,
}

// SAFETY: written under the exclusive lock of the slots only.
unsafe impl Sync for LongNames {}

// SAFETY: the names are a cell behind that lock, and bytes.
unsafe impl Zeroes for LongNames {}

/// What identifies a slot. Written under the exclusive lock only.
pub struct Key {
    pub table: Table,
    queue_bytes: u16,
    task_bytes: u16,
    names: [u8; NAMES],
    long: Option<&'static LongNames>,
}

impl Key {
    /// The key of a lane; of the queue itself with an empty task. None if there is no room for its names. To be called
    /// under the exclusive lock.
    pub fn new(
        long_names: &'static [LongNames],
        table: Table,
        queue: &str,
        task: &str,
    ) -> Option<Self> {
        let bytes = |name: &str| u16::try_from(name.len()).ok();
        let (queue_bytes, task_bytes) = (bytes(queue)?, bytes(task)?);
        let end = queue.len() + task.len();
        let mut key = Self { table, queue_bytes, task_bytes, names: [0; NAMES], long: None };
        let names = if end <= NAMES {
            &mut key.names[..end]
        } else {
            let free = long_names.iter().find(|one| !one.in_use.load(Ordering::Relaxed));
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

    pub fn is_of_queue(&self) -> bool {
        self.task_bytes == 0
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
