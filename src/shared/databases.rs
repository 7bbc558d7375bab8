//! The databases of the cluster, as far as something is to be done in them by itself.

use super::database::Database;
use super::launcher;
use super::memory::{Content, LwLocks, Many, Part, Rest, Spin, bytes};
use crate::server::database;
use crate::server::time::{Timestamp, clock};
use std::cell::Cell;
use std::time::{Duration, Instant};

pub static DATABASES: Part<Databases> = Part::new();

/// With more databases than this, the others have no worker.
const MOST: usize = 1_024;

pub struct Databases {
    all: Many<Database>,
    adding: Spin<()>,
    /// When this memory was made: each start of the server, also after a crash, has another one.
    began: Timestamp,
}

impl Content for Databases {
    fn size() -> usize {
        bytes::<Database>(MOST)
    }

    fn new(mut rest: Rest, _: &LwLocks) -> Self {
        Self { all: rest.many(MOST), adding: Spin::default(), began: clock() }
    }
}

impl Databases {
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// Those that have an entry.
    pub fn all(&self) -> impl Iterator<Item = &Database> {
        self.all.iter().filter(|one| one.oid() != 0)
    }

    pub fn find(&self, oid: u32) -> Option<&Database> {
        self.all.iter().find(|one| one.oid() == oid)
    }

    /// The database was dropped.
    pub fn forget(&self, database: &Database) {
        self.adding.with(|()| {
            if !database.worker.is_there() && !database.is_left() {
                database.end_of_database();
            }
        });
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
    const FULL: Duration = Duration::from_secs(10);
    thread_local! {
        static OWN: Cell<Option<&'static Database>> = const { Cell::new(None) };
        static MISSED: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let oid = database::own();
    let known = OWN.get().filter(|own| own.oid() == oid);
    known.or_else(|| {
        let databases = DATABASES.get().filter(|_| oid != 0)?;
        // Where there is no room, not everybody is to look for it with each transaction.
        let is_full = MISSED.get().is_some_and(|at| at.elapsed() < FULL);
        let found = if is_full { None } else { databases.find_or_add(oid) };
        OWN.set(found);
        if found.is_none() && !is_full {
            MISSED.set(Some(Instant::now()));
        }
        found
    })
}

/// Whether a worker serves this session's database, which sees to what sessions need not do then.
pub fn has_worker() -> bool {
    own().is_some_and(|own| own.serves())
}

/// The settings of a database have changed, or, for 0, of all: a worker reads them when it begins.
pub fn restart(oid: u32) {
    let Some(databases) = DATABASES.get() else { return };
    let now = clock();
    databases.all().filter(|one| oid == 0 || one.oid() == oid).for_each(|one| one.restart(now));
    launcher::wake();
}

/// More databases than this, and a transaction makes no room in the others.
const MOST_ALONE: usize = 8;

thread_local! {
    /// The databases that this transaction needs to itself.
    static ALONE: Cell<[Option<&'static Database>; MOST_ALONE]> = const { Cell::new([None; MOST_ALONE]) };
}

/// No worker is to be in a database until [`give_room_back`].
pub fn make_room(oid: u32) -> Option<&'static Database> {
    let database = DATABASES.get()?.find_or_add(oid)?;
    let mut alone = ALONE.get();
    let free = alone.iter_mut().find(|one| one.is_none())?;
    *free = Some(database);
    ALONE.set(alone);
    database.enter_alone();
    database.worker.wake();
    Some(database)
}

/// The transaction is over. Can't fail.
pub fn give_room_back() {
    for database in ALONE.replace([None; MOST_ALONE]).into_iter().flatten() {
        database.leave_alone();
        launcher::wake();
    }
}
