//! Workers that are tied to a session: when that ends, however it does, they are gone.
//!
//! A session is known by its pid: whoever ends marks what is its own, so that nobody is taken for the one who had the
//! pid before. It becomes a worker's when the transaction commits that says so in the worker's row; until then it has
//! a claim on the entry, which keeps others from taking the worker for gone. An entry that is missing means what one
//! of an ended session means; what ended is kept in mind only for it to be found without a look at all workers.

use super::attaching::{self, Note, What};
use super::database::task;
use super::databases;
use super::names::Table;
use super::tied::{State, TIED, Tied, Worker, most};
use crate::server::database;
use crate::server::relation::oid_of;
use pgrx::pg_sys;
use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

/// The workers of this database.
#[derive(Clone, Copy)]
pub struct Workers {
    all: &'static Tied,
    table: Table,
}

impl Workers {
    /// None without shared memory.
    pub fn new() -> Option<Self> {
        let all = TIED.get()?;
        let relation = oid_of(c"workers").into();
        Some(Self { all, table: Table { database: database::own(), relation } })
    }

    /// This session is the worker's when the transaction commits that has written its row. False if there is no room.
    /// The caller sees to it that [`end`], [`undo`] and [`hand_over`] are called.
    pub fn attach(self, id: i64) -> bool {
        register();
        let claimed = self.claim(id).or_else(|| {
            self.all.make_room();
            self.claim(id)
        });
        let Some((at, is_own)) = claimed else { return false };
        // With too many at a time, those that are undone stay the session's. They have no row, but an entry.
        if !is_own && !attaching::add(What::Join, at, 0) {
            join_now(self.all, at);
        }
        true
    }

    /// The worker's entry, with a claim on it unless it is this session's.
    fn claim(self, id: i64) -> Option<(u32, bool)> {
        self.all.room.with(|room| {
            let (at, mut worker) = match self.all.find(room, self.table, id) {
                Some(found) => found,
                None => self.all.add(room, self.table, id)?,
            };
            let is_own = worker.is_own();
            match is_own {
                true => worker.version = worker.version.wrapping_add(1),
                false => worker.claims += 1,
            }
            self.all.entries[at as usize].set(room, worker);
            Some((at, is_own))
        })
    }

    fn find(self, id: i64) -> Option<(u32, Worker)> {
        self.all.room.with(|room| self.all.find(room, self.table, id))
    }

    /// Whether the worker is this session's.
    pub fn is_own(self, id: i64) -> bool {
        self.find(id).is_some_and(|(_, worker)| worker.is_own())
    }

    /// Whether it is that of a session that is there, or about to be.
    pub fn is_there(self, id: i64) -> bool {
        self.find(id).is_some_and(|(_, worker)| worker.state == State::Live || worker.claims > 0)
    }

    /// The worker is unregistered when the transaction commits.
    pub fn leaves(self, id: i64) {
        if let Some((at, worker)) = self.find(id) {
            attaching::add(What::Leave, at, worker.version);
        }
    }

    /// Those whose sessions have ended.
    pub fn ended(self) -> Vec<Ended> {
        // Nothing is allocated under the lock.
        let mut ended = Vec::with_capacity(most());
        self.all.for_each(|_, at, worker| {
            if worker.state == State::Ended && worker.table == self.table {
                ended.push(Ended { id: worker.id, at, version: worker.version });
            }
        });
        ended
    }

    /// Nothing is to be done for it any more.
    pub fn forget(self, ended: &Ended) {
        self.all.take_away(ended.at, ended.version, true);
    }

    /// Whether some have been forgotten for want of room since this process has asked last.
    pub fn has_lost_any(self) -> bool {
        thread_local!(static SEEN: Cell<u32> = const { Cell::new(0) });
        let lost = self.all.lost.load(Relaxed);
        SEEN.replace(lost) != lost
    }
}

/// A worker whose session has ended.
pub struct Ended {
    pub id: i64,
    at: u32,
    version: u32,
}

fn join_now(all: &Tied, at: u32) {
    all.join(at);
    attaching::remember(at);
}

/// The transaction has ended; `stays`: what it has written is there, or will be, for it is prepared. Can't fail, as all that
/// follows.
pub fn end(stays: bool, is_committed: bool) {
    let Some(all) = TIED.get() else { return };
    attaching::take(
        |_| true,
        |note| match note.what {
            What::Join if stays => join_now(all, note.at),
            What::Join => all.release(note.at),
            What::Leave if is_committed => all.take_away(note.at, note.version, false),
            _ => {}
        },
    );
}

/// A subtransaction is undone.
pub fn undo(sub: pg_sys::SubTransactionId) {
    let Some(all) = TIED.get() else { return };
    attaching::take(
        |note| note.sub == sub,
        |note| {
            if note.what == What::Join {
                all.release(note.at);
            }
        },
    );
}

/// A subtransaction is a part of another one from now on.
pub fn hand_over(sub: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    attaching::change(|note| Note { sub: if note.sub == sub { parent } else { note.sub }, ..note });
}

/// As if the transaction had committed, and the session had ended.
#[cfg(any(test, feature = "pg_test"))]
pub fn end_session() {
    end(true, true);
    at_exit(0, pg_sys::Datum::null());
}

fn register() {
    thread_local!(static REGISTERED: Cell<bool> = const { Cell::new(false) });
    if !REGISTERED.get() {
        // The entry of the database is found while a search for it may still take its time.
        databases::own();
        // SAFETY: the callback is a function of this library, which is never unloaded. It is one of those that are
        // called when the open transaction has been undone: before, its locks would keep others from its rows.
        unsafe { pg_sys::on_shmem_exit(Some(at_exit), pg_sys::Datum::null()) };
        REGISTERED.set(true);
    }
}

/// Touches memory that is there, and allocates nothing: it may not fail.
extern "C-unwind" fn at_exit(_: i32, _: pg_sys::Datum) {
    let Some(all) = TIED.get() else { return };
    let mut any = false;
    match attaching::own() {
        Some(own) => own.for_each(|at| any |= all.end(at)),
        None => all.every().for_each(|at| any |= all.end(at)),
    }
    if any && let Some(own) = databases::own() {
        own.ask(task::ENDED);
    }
}
