//! What a transaction has done that others are told of when it has committed, as far as its lanes go.
//!
//! Until then nobody else may see its jobs, and the transaction itself looks from its own on.

use super::lane::Position;
use super::names::Table;
use crate::server::time::Timestamp;
use std::cell::RefCell;

/// More lanes than this in one transaction, and it forgets the bounds of all.
const MOST: usize = 512;

/// More jobs than this end in one transaction, and everybody who waits for a job's end looks.
const MOST_ENDED: usize = 64;

/// What one lane has got.
#[derive(Clone, Copy)]
pub struct Note {
    pub slot: u32,
    /// The best of the jobs that became ready, END for none.
    pub ready: Position,
    pub jobs: u32,
    /// When the first parked one is due, INFINITY for none.
    pub due: Timestamp,
    /// The queue has got a lane that there is no slot for.
    pub untracked_lane: bool,
    /// Jobs have ended that others may start instead of, here or in a lane under the same limit.
    pub freed_places: u32,
}

/// Allocated once: the callback that reads it must not be able to fail.
pub struct Notes {
    notes: [Note; MOST],
    count: usize,
    pub too_many: bool,
    /// Somebody who waits may have missed something.
    pub wake_all: bool,
    /// Jobs that have ended, and their table.
    ended: [i64; MOST_ENDED],
    ended_count: usize,
    /// More of them than there is room for.
    pub ended_many: bool,
    /// A job has changed that others may have for a parent.
    pub parents_changed: bool,
    pub table: Table,
    /// Listeners are to hear of a job.
    pub notify: bool,
    /// What the background is to do, and when something is to be done at the latest.
    pub tasks: u32,
    pub at: Timestamp,
    /// There may be other databases than before.
    pub databases: bool,
    /// The database in which processes are to begin anew; 0: in all of them.
    pub restart: Option<u32>,
}

thread_local! {
    pub static NOTES: RefCell<Notes> = const {
        RefCell::new(Notes {
            notes: [Note::EMPTY; MOST],
            count: 0,
            too_many: false,
            wake_all: false,
            ended: [0; MOST_ENDED],
            ended_count: 0,
            ended_many: false,
            parents_changed: false,
            table: Table::NONE,
            notify: false,
            tasks: 0,
            at: Timestamp::INFINITY,
            databases: false,
            restart: None,
        })
    };
}

impl Note {
    const EMPTY: Note = Note {
        slot: 0,
        ready: Position::END,
        jobs: 0,
        due: Timestamp::INFINITY,
        untracked_lane: false,
        freed_places: 0,
    };
}

impl Notes {
    pub fn all(&self) -> &[Note] {
        self.notes.get(..self.count).unwrap_or_default()
    }

    fn of(&mut self, slot: u32) -> Option<&mut Note> {
        let known = self.all().iter().position(|note| note.slot == slot);
        let at = match known {
            Some(at) => at,
            None if self.count < MOST => {
                self.notes[self.count] = Note { slot, ..Note::EMPTY };
                self.count += 1;
                self.count - 1
            }
            None => return None,
        };
        self.notes.get_mut(at)
    }

    /// Changes the note of a lane.
    pub fn note(&mut self, slot: u32, change: impl Fn(&mut Note)) -> Noted {
        let before = self.count;
        match self.of(slot).map(change) {
            None => {
                self.too_many = true;
                Noted::TooMany
            }
            Some(()) if self.count > before => Noted::Anew,
            Some(()) => Noted::Again,
        }
    }

    /// A job of the table has ended.
    pub fn ended(&mut self, job: i64, table: Table) {
        match self.ended.get_mut(self.ended_count) {
            Some(free) => {
                *free = job;
                self.ended_count += 1;
                self.table = table;
            }
            None => self.ended_many = true,
        }
    }

    pub fn ended_jobs(&self) -> &[i64] {
        self.ended.get(..self.ended_count).unwrap_or_default()
    }

    /// When the first of its parked jobs is due.
    pub fn due(&self) -> Timestamp {
        self.all().iter().map(|note| note.due).min().unwrap_or(Timestamp::INFINITY)
    }

    /// The transaction is over. Can't fail.
    pub fn clear(&mut self) {
        self.count = 0;
        self.ended_count = 0;
        self.ended_many = false;
        self.parents_changed = false;
        self.too_many = false;
        self.wake_all = false;
        self.notify = false;
        self.tasks = 0;
        self.at = Timestamp::INFINITY;
        self.databases = false;
        self.restart = None;
    }

    /// Whether there is anything but what the background is told.
    pub fn any(&self) -> bool {
        self.count > 0 || self.ended_count > 0 || self.too_many || self.wake_all
    }
}

/// What has become of a note.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It is the lane's first.
    Anew,
    Again,
    TooMany,
}

/// From where on this transaction has ready jobs of its own in a lane, and when its own are due.
pub fn own(slot: u32) -> (Position, Timestamp) {
    NOTES.with_borrow(|notes| {
        let note = notes.all().iter().find(|note| note.slot == slot);
        note.map_or((Position::END, Timestamp::INFINITY), |note| (note.ready, note.due))
    })
}

/// Whether this transaction has jobs of its own in lanes that it has not noted.
pub fn lost_count() -> bool {
    NOTES.with_borrow(|notes| notes.too_many || notes.all().iter().any(|note| note.untracked_lane))
}
