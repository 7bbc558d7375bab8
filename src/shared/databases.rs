//! The databases of the cluster, as far as something is to be done in them by itself: what sessions leave to the
//! background worker of their database, and what is known of it.
//!
//! A session only sets a bit, and wakes the worker, or the launcher where there is none. Nothing that was left to a
//! worker is lost with it: what it has begun with and not done is there again when it ends, however it does.

use super::memory::{Content, LwLocks, Many, Part, Rest, Spin, Zeroes, bytes};
use super::process::Process;
use super::report::Report;
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
    /// A job comes due earlier than the worker knows.
    pub const DUE: u32 = 1 << 1;
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
    /// When there is something to do though nobody asks: without a worker, the launcher starts one then.
    until: AtomicI64,
    /// Until when its worker knows that nothing comes due.
    due: AtomicI64,
    /// How many commands need to have the database to themselves.
    alone: AtomicU32,
    known: AtomicU32,
    /// The worker has left as it should, and not because of an error.
    pub orderly: AtomicBool,
    /// When the last repair was done, 0 for never; when there will be something for the next one, unless something happens; and
    /// whether something has.
    pub repaired: AtomicI64,
    pub repair_at: AtomicI64,
    pub touched: AtomicBool,
    /// Until when listeners have been told of what has come due, 0 for never.
    pub told_until: AtomicI64,
    /// Whether shared memory has been told of the lanes that have delayed jobs.
    pub has_lanes: AtomicBool,
    pub report: Spin<Report>,
}

/// What is known of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Known {
    /// Nobody has looked yet.
    Nothing,
    HasExtension,
    HasNot,
    /// It does not want a worker.
    SwitchedOff,
    /// It is a template, or nobody may be connected to it.
    Closed,
}

// SAFETY: it is made of atomics, and of a report behind a lock, all of which may be zero.
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

    /// The database was dropped.
    pub fn forget(&self, database: &Database) {
        self.adding.with(|()| {
            if !database.worker.is_there() && !database.is_left() {
                database.oid.store(0, SeqCst);
            }
        });
    }

    /// Has the launcher look which databases there are.
    pub fn look(&self) {
        self.look.store(true, SeqCst);
        self.launcher.wake();
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

/// Whether a worker lives in this session's database, which sees to what sessions need not do then.
pub fn has_worker() -> bool {
    own().is_some_and(|own| own.worker.is_there())
}

impl Database {
    /// The entry of a database of which nothing is known.
    fn begin_with(&self, oid: u32) {
        self.asked.store(0, SeqCst);
        self.begun.store(0, SeqCst);
        self.wanted.store(false, SeqCst);
        self.orderly.store(false, SeqCst);
        self.begin_anew();
        self.set_until(Timestamp::INFINITY);
        self.set_due(Timestamp::INFINITY);
        self.set_known(Known::Nothing);
        self.report.with(|report| *report = Report::default());
        self.oid.store(oid, SeqCst);
    }

    /// What was known of the extension's tables is so no more: there are others, maybe.
    pub fn begin_anew(&self) {
        self.repaired.store(0, SeqCst);
        self.told_until.store(0, SeqCst);
        self.has_lanes.store(false, SeqCst);
    }

    /// There is something for repair to do at once.
    pub fn is_to_repair(&self) {
        self.repaired.store(1, SeqCst);
        self.repair_at.store(1, SeqCst);
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
        } else {
            // A database that was found to have no extension is wanted no worker in before this.
            let looks = tasks & task::LOOK != 0;
            let is_wanted = self.wanted.load(SeqCst) || self.wanted.swap(true, SeqCst);
            if (looks || !is_wanted)
                && let Some(databases) = DATABASES.get()
            {
                databases.launcher.wake();
            }
        }
    }

    /// Something is to be done at a time.
    pub fn ask_for(&self, at: Timestamp) {
        if at.0 < self.due.load(SeqCst) {
            self.ask(task::DUE);
        }
    }

    pub fn set_due(&self, due: Timestamp) {
        self.due.store(due.0, SeqCst);
    }

    pub fn known(&self) -> Known {
        let is = self.known.load(SeqCst);
        let all = [Known::HasExtension, Known::HasNot, Known::SwitchedOff, Known::Closed];
        all.into_iter().find(|one| *one as u32 == is).unwrap_or(Known::Nothing)
    }

    pub fn set_known(&self, known: Known) {
        self.known.store(known as u32, SeqCst);
    }

    /// Whether a command needs the database to itself.
    pub fn is_left(&self) -> bool {
        self.alone.load(SeqCst) > 0
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

    /// The worker is no more. What it has begun with is to be done anew, by another one. Can't fail.
    pub fn end(&self) {
        self.worker.end();
        let begun = self.begun.swap(0, SeqCst);
        let asked = self.asked.fetch_or(begun, SeqCst) | begun;
        if asked > 0 && self.known() != Known::HasNot {
            self.wanted.store(true, SeqCst);
        }
    }
}

/// There are other databases, or others may be connected to.
pub fn changed() {
    if let Some(databases) = DATABASES.get() {
        databases.look();
    }
}

/// The settings of a database have changed, or, for 0, of all: a worker reads them when it begins.
pub fn restart(oid: u32) {
    let Some(databases) = DATABASES.get() else { return };
    for one in databases.all().filter(|one| oid == 0 || one.oid() == oid) {
        if one.worker.is_there() {
            one.ask(task::RESTART);
        } else {
            databases.look();
        }
    }
}

/// More databases than this, and a transaction makes no room in the others.
const MOST_ALONE: usize = 8;

thread_local! {
    /// The databases that this transaction needs to itself.
    static ALONE: Cell<[Option<&'static Database>; MOST_ALONE]> = const { Cell::new([None; MOST_ALONE]) };
}

/// No worker is to be in a database until [`give_room_back`]. The pid of the one that is.
pub fn make_room(oid: u32) -> Option<i32> {
    let database = DATABASES.get()?.find_or_add(oid)?;
    let mut alone = ALONE.get();
    let free = alone.iter_mut().find(|one| one.is_none())?;
    *free = Some(database);
    ALONE.set(alone);
    database.alone.fetch_add(1, SeqCst);
    let pid = database.worker.pid();
    database.worker.wake();
    (pid != 0).then_some(pid)
}

/// The transaction is over. Can't fail.
pub fn give_room_back() {
    for database in ALONE.replace([None; MOST_ALONE]).into_iter().flatten() {
        database.alone.fetch_sub(1, SeqCst);
        if let Some(databases) = DATABASES.get() {
            databases.launcher.wake();
        }
    }
}
