//! The databases of the cluster, as far as something is to be done in them by itself: what sessions leave to the
//! background worker of their database, and what is known of it.
//!
//! A session only sets a bit, and wakes the worker, or the launcher where there is none. Nothing that was left to a
//! worker is lost with it: what it has begun with and not done is there again when it ends, however it does.

use super::memory::{Content, LwLocks, Many, Part, Rest, Spin, Zeroes, bytes};
use super::process::Process;
use crate::server::database;
use crate::server::time::{Timestamp, clock};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::SeqCst};

pub static DATABASES: Part<Databases> = Part::new();

/// With more databases than this, the others have no worker.
const MOST: usize = 1_024;

/// What there is to do for a worker, as bits.
pub mod task {
    /// Listeners are to hear of a job.
    pub const NOTIFY: u32 = 1;
    /// Something is to be done earlier than the worker knows.
    pub const TIME: u32 = 1 << 1;
    /// Sessions have ended that workers were attached to.
    pub const ENDED: u32 = 1 << 2;
    /// The extension may have been created, updated or dropped.
    pub const LOOK: u32 = 1 << 3;
    /// The settings of the database have changed.
    pub const RESTART: u32 = 1 << 4;
    /// Schedules have changed.
    pub const SCHEDULES: u32 = 1 << 5;
    /// Due jobs were looked at in vain: their parents are not done.
    pub const BLOCKED: u32 = 1 << 6;
    /// There was something: no reason to wake a worker, but one to start it.
    pub const TRAFFIC: u32 = 1 << 7;
}

pub struct Databases {
    all: Many<Database>,
    adding: Spin<()>,
    pub launcher: Process,
    /// The launcher is to look which databases there are.
    pub look: AtomicBool,
    /// It has no process left to start a worker with: one that has nothing to do makes room.
    pub crowded: AtomicBool,
    /// When this memory was made: each start of the server, also after a crash, has another one.
    began: Timestamp,
}

impl Content for Databases {
    fn size() -> usize {
        bytes::<Database>(MOST)
    }

    fn new(mut rest: Rest, _: &LwLocks) -> Self {
        Self {
            all: rest.many(MOST),
            adding: Spin::default(),
            launcher: Process::default(),
            look: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            began: clock(),
        }
    }
}

/// What is known of one database. All zeroes is none.
#[repr(C, align(64))]
#[derive(Default)]
pub struct Database {
    oid: AtomicU32,
    /// What nobody has begun with.
    asked: AtomicU32,
    /// What its worker has begun with.
    begun: AtomicU32,
    /// Whether the launcher is to start a worker.
    pub wanted: AtomicBool,
    pub worker: Process,
    /// Until when its worker has nothing to do, as far as anybody knows; without one, when the launcher starts it.
    until: AtomicI64,
    /// How many commands need to have the database to themselves.
    pub left: AtomicU32,
}

// SAFETY: it is made of atomics, which are zero at first.
unsafe impl Zeroes for Database {}

impl Databases {
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// Those that have an entry.
    pub fn all(&self) -> impl Iterator<Item = &Database> {
        self.all.iter().filter(|one| one.oid.load(SeqCst) != 0)
    }

    pub fn find(&self, oid: u32) -> Option<&Database> {
        self.all.iter().find(|one| one.oid.load(SeqCst) == oid)
    }

    /// None if there is no room for it.
    pub fn find_or_add(&self, oid: u32) -> Option<&Database> {
        self.find(oid).or_else(|| {
            self.adding.with(|()| {
                self.find(oid).or_else(|| {
                    let free = self.find(0)?;
                    free.begin_with(oid);
                    Some(free)
                })
            })
        })
    }
}

/// The one that this session is in.
pub fn own() -> Option<&'static Database> {
    thread_local!(static OWN: Cell<Option<&'static Database>> = const { Cell::new(None) });
    let oid = database::own();
    let known = OWN.get().filter(|own| own.oid.load(SeqCst) == oid);
    known.or_else(|| {
        let found = DATABASES.get().filter(|_| oid != 0)?.find_or_add(oid);
        OWN.set(found);
        found
    })
}

impl Database {
    /// The entry of a database of which nothing is known.
    fn begin_with(&self, oid: u32) {
        self.asked.store(0, SeqCst);
        self.begun.store(0, SeqCst);
        self.wanted.store(false, SeqCst);
        self.set_until(Timestamp::INFINITY);
        self.oid.store(oid, SeqCst);
    }

    pub fn oid(&self) -> u32 {
        self.oid.load(SeqCst)
    }

    /// Leaves something to the worker. Can't fail: it is called where transactions and sessions end.
    pub fn ask(&self, tasks: u32) {
        let is_here = self.asked.load(SeqCst) & tasks == tasks
            || self.asked.fetch_or(tasks, SeqCst) & tasks == tasks;
        if self.worker.is_there() {
            if !is_here && tasks != task::TRAFFIC {
                self.worker.wake();
            }
        } else if !self.wanted.load(SeqCst)
            && !self.wanted.swap(true, SeqCst)
            && let Some(databases) = DATABASES.get()
        {
            databases.launcher.wake();
        }
    }

    /// Something is to be done at a time.
    pub fn ask_for(&self, at: Timestamp) {
        if at.0 < self.until.load(SeqCst) {
            self.ask(task::TIME);
        }
    }

    pub fn until(&self) -> Timestamp {
        Timestamp(self.until.load(SeqCst))
    }

    pub fn set_until(&self, until: Timestamp) {
        self.until.store(until.0, SeqCst);
    }

    pub fn is_asked(&self, tasks: u32) -> bool {
        self.asked.load(SeqCst) & tasks != 0
    }

    /// Which of these there are; to be ended with [`Self::done`].
    pub fn begin(&self, tasks: u32) -> u32 {
        let tasks = self.asked.load(SeqCst) & tasks;
        self.begun.fetch_or(tasks, SeqCst);
        self.asked.fetch_and(!tasks, SeqCst);
        tasks
    }

    pub fn done(&self, tasks: u32) {
        self.begun.fetch_and(!tasks, SeqCst);
    }

    /// What was begun with is to be done anew.
    pub fn resume(&self) -> u32 {
        let begun = self.begun.swap(0, SeqCst);
        self.asked.fetch_or(begun, SeqCst)
    }
}
