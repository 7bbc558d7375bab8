//! One database of the cluster, as far as something is to be done in it by itself: what its sessions leave to its
//! background worker, and what is known of that.
//!
//! A session only sets a bit, and wakes the worker, or the launcher where there is none. Nothing that was left to a
//! worker is lost with it: what it has begun with and not done is there again when it ends, however it does.

use super::launcher;
use super::memory::{Spin, Zeroes};
use super::process::Process;
use super::report::Report;
use crate::server::time::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

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
    /// The worker has found what it needs: sessions leave things to it.
    serves: AtomicBool,
    /// What it was asked for and has failed at, and when each duty may be tried again, and the pause before that.
    owed: AtomicU32,
    pub pauses: [Pause; DUTIES],
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
    /// when that was, 0 if nothing has.
    pub repaired: AtomicI64,
    pub repair_at: AtomicI64,
    pub touched: AtomicI64,
    /// Until when listeners have been told of what has come due, 0 for never.
    pub told_until: AtomicI64,
    /// Whether shared memory has been told of the lanes that have delayed jobs.
    pub has_lanes: AtomicBool,
    /// The table of jobs of which all this is known.
    table: AtomicU32,
    pub report: Spin<Report>,
}

/// When the last repair was, if there is to be one at once.
const AT_ONCE: i64 = 1;

/// As many duties as a worker has at most.
pub const DUTIES: usize = 16;

/// A duty that has failed is left alone for a while, also by the next process.
#[derive(Default)]
pub struct Pause {
    until: AtomicI64,
    micros: AtomicI64,
}

impl Pause {
    /// Until when, and for how long. The time has passed if there is none.
    pub fn get(&self) -> (Timestamp, Duration) {
        let micros = u64::try_from(self.micros.load(SeqCst)).unwrap_or(0);
        (Timestamp(self.until.load(SeqCst)), Duration::from_micros(micros))
    }

    pub fn set(&self, until: Timestamp, pause: Duration) {
        self.until.store(until.0, SeqCst);
        self.micros.store(pause.as_micros() as i64, SeqCst);
    }
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

impl Database {
    /// The entry of a database of which nothing is known.
    pub fn begin_with(&self, oid: u32) {
        self.asked.store(0, SeqCst);
        self.begun.store(0, SeqCst);
        self.owed.store(0, SeqCst);
        self.serves.store(false, SeqCst);
        self.wanted.store(false, SeqCst);
        self.orderly.store(false, SeqCst);
        self.begin_anew();
        self.set_until(Timestamp::INFINITY);
        self.set_due(Timestamp::INFINITY);
        self.set_known(Known::Nothing);
        self.report.with(|report| *report = Report::default());
        self.oid.store(oid, SeqCst);
    }

    fn begin_anew(&self) {
        self.repaired.store(0, SeqCst);
        self.touched.store(0, SeqCst);
        self.told_until.store(0, SeqCst);
        self.has_lanes.store(false, SeqCst);
        self.table.store(0, SeqCst);
        self.pauses.iter().for_each(|pause| pause.set(Timestamp(0), Duration::ZERO));
    }

    pub fn is_table(&self, table: u32) -> bool {
        self.table.load(SeqCst) == table
    }

    /// This is its table of jobs: if it is another one than before, nothing is known of it.
    pub fn has_table(&self, table: u32) {
        if self.table.load(SeqCst) != table {
            self.begin_anew();
            self.table.store(table, SeqCst);
        }
    }

    /// It was dropped: the entry is free.
    pub fn end_of_database(&self) {
        self.oid.store(0, SeqCst);
    }

    /// Whether sessions may leave things to its worker.
    pub fn serves(&self) -> bool {
        self.serves.load(SeqCst)
    }

    pub fn set_serves(&self, serves: bool) {
        self.serves.store(serves, SeqCst);
    }

    pub fn must_repair(&self) -> bool {
        self.repaired.load(SeqCst) == AT_ONCE
    }

    /// Something has happened that may leave something to repair, if nothing has since the last one.
    pub fn touch(&self, now: Timestamp) {
        if self.touched.load(SeqCst) == 0 {
            self.touched.store(now.0, SeqCst);
        }
    }

    /// There is something for repair to do at once, if it is done at all or not.
    pub fn is_to_repair(&self) {
        self.repaired.store(AT_ONCE, SeqCst);
        self.repair_at.store(1, SeqCst);
        self.touched.store(0, SeqCst);
    }

    pub fn oid(&self) -> u32 {
        self.oid.load(SeqCst)
    }

    /// Leaves something to the worker. Can't fail: it is called where transactions and sessions end.
    pub fn ask(&self, tasks: u32) {
        let asked = self.asked.load(SeqCst);
        let asked = if asked & tasks == tasks { asked } else { self.asked.fetch_or(tasks, SeqCst) };
        if self.worker.is_there() {
            // Of traffic it hears when it looks up by itself.
            if tasks & !asked & !task::TRAFFIC != 0 {
                self.worker.wake();
            }
        } else {
            // Where no worker is wanted, or one was before this.
            let is_news = tasks & !asked & (task::LOOK | task::NOTIFY) != 0;
            let is_wanted = self.wanted.load(SeqCst) || self.wanted.swap(true, SeqCst);
            if is_news || !is_wanted {
                launcher::wake();
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

    /// Its settings have changed: a worker is to see whether it is switched off, and what is to be kept for how long.
    pub fn doubt(&self, now: Timestamp) {
        self.set_known(Known::Nothing);
        self.touch(now);
        self.wanted.store(true, SeqCst);
    }

    /// The same, whoever is there, or is about to be.
    pub fn restart(&self, now: Timestamp) {
        self.asked.fetch_or(task::RESTART, SeqCst);
        if self.worker.is_there() {
            self.worker.wake();
        } else if matches!(self.known(), Known::HasExtension | Known::SwitchedOff) {
            self.doubt(now);
        }
    }

    /// A command needs the database to itself, until [`Self::leave_alone`].
    pub fn enter_alone(&self) {
        self.alone.fetch_add(1, SeqCst);
    }

    pub fn leave_alone(&self) {
        self.alone.fetch_sub(1, SeqCst);
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

    /// The same of what is done with that.
    pub fn take(&self, tasks: u32) -> u32 {
        let tasks = self.begin(tasks);
        self.done(tasks);
        tasks
    }

    pub fn done(&self, tasks: u32) {
        self.begun.fetch_and(!tasks, SeqCst);
        self.owed.fetch_and(!tasks, SeqCst);
    }

    /// These have failed, and are to be done later: no reason to start a process before.
    pub fn owe(&self, tasks: u32) {
        let begun = self.begun.fetch_and(!tasks, SeqCst) & tasks;
        self.owed.fetch_or(begun, SeqCst);
    }

    /// Whether these are asked for, or were, and have failed.
    pub fn owes(&self, tasks: u32) -> bool {
        (self.asked.load(SeqCst) | self.owed.load(SeqCst)) & tasks != 0
    }

    /// What an earlier process has failed at is asked for again.
    pub fn take_owed(&self) {
        self.asked.fetch_or(self.owed.swap(0, SeqCst), SeqCst);
    }

    /// The worker is no more. What it has begun with is to be done anew, by another one. Can't fail.
    pub fn end(&self) {
        self.set_serves(false);
        self.worker.end();
        let begun = self.begun.swap(0, SeqCst);
        let asked = self.asked.fetch_or(begun, SeqCst) | begun;
        if asked & task::RESTART != 0 && self.known() == Known::SwitchedOff {
            self.set_known(Known::Nothing);
        }
        if asked & task::LOOK != 0 || (asked > 0 && self.known() != Known::HasNot) {
            self.wanted.store(true, SeqCst);
        }
    }
}
