//! What a transaction makes claimable, until its end tells whether it is.
//!
//! Its jobs lower the bounds of their lanes when it has committed, and wake those who wait for them. Until
//! then nobody else may see them, and the transaction itself looks from its own jobs on.

use super::area::{Area, Mode, SHARED};
use super::counts::Counts;
use super::heads::Heads;
use super::lane::Position;
use super::slot::{Slot, Table};
use super::waiters;
use super::{bounds, changes};
use crate::statement::{Timestamp, clock, is_in_guard};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

/// More lanes than this in one transaction, and it forgets the bounds of all.
const MOST: usize = 512;

/// More jobs than this end in one transaction, and everybody who waits for a job's end looks.
const MOST_ENDED: usize = 64;

/// What one lane has got.
#[derive(Clone, Copy)]
struct Note {
    slot: u32,
    /// The best of the jobs that became ready, END for none.
    ready: Position,
    jobs: u32,
    /// When the first parked one is due, INFINITY for none.
    due: Timestamp,
    /// The queue has got a lane that there is no slot for.
    untracked_lane: bool,
    /// Jobs have ended that others may start instead of, here or in a lane under the same limit.
    made_room: u32,
}

/// Allocated once: the callback that reads it must not be able to fail.
struct Notes {
    notes: [Note; MOST],
    count: usize,
    too_many: bool,
    /// Somebody who waits may have missed something.
    wake_all: bool,
    /// Jobs that have ended, and their table.
    ended: [i64; MOST_ENDED],
    ended_count: usize,
    /// More of them than there is room for.
    ended_many: bool,
    /// A job has changed that others may have for a parent.
    parents_changed: bool,
    table: Table,
}

thread_local! {
    static NOTES: RefCell<Notes> = const {
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
        })
    };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

impl Note {
    const EMPTY: Note = Note {
        slot: 0,
        ready: Position::END,
        jobs: 0,
        due: Timestamp::INFINITY,
        untracked_lane: false,
        made_room: 0,
    };
}

impl Notes {
    fn all(&self) -> &[Note] {
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
}

/// A job of this transaction is ready.
pub fn ready(relation: pg_sys::Oid, queue: &str, task: &str, position: Position) {
    note(relation, queue, task, |note| {
        note.ready = note.ready.min(position);
        note.jobs = note.jobs.saturating_add(1);
    });
}

/// A job of this transaction is parked until a time.
pub fn parked(relation: pg_sys::Oid, queue: &str, task: &str, due: Timestamp) {
    note(relation, queue, task, |note| note.due = note.due.min(due));
}

/// A lane has more or fewer jobs of some kinds.
pub fn counted(relation: pg_sys::Oid, queue: &str, task: &str, change: Counts) {
    if SHARED.get().is_some() {
        match pinned(relation, queue, task, |_| {}).flatten() {
            Some(slot) => changes::changed(slot, change),
            None => changes::lose(),
        }
    }
}

/// A job of this transaction has left a slot of a limit to others.
pub fn made_room(relation: pg_sys::Oid, queue: &str, task: &str) {
    if pinned(relation, queue, task, |note| note.made_room = note.made_room.saturating_add(1))
        .is_none()
    {
        limits_changed();
    }
}

/// What is paused or limited has changed.
pub fn limits_changed() {
    if SHARED.get().is_some() {
        register();
        NOTES.with_borrow_mut(|notes| notes.wake_all = true);
    }
}

/// A job is finished, has failed or is gone.
pub fn ended(relation: pg_sys::Oid, job: i64) {
    let Some(area) = SHARED.get() else { return };
    register();
    NOTES.with_borrow_mut(|notes| {
        let at = notes.ended_count;
        match notes.ended.get_mut(at) {
            Some(free) => {
                *free = job;
                notes.ended_count += 1;
                notes.table = Heads::of(area, relation).table;
            }
            None => notes.ended_many = true,
        }
    });
}

/// A job may keep its children no more.
pub fn parent_changed() {
    if SHARED.get().is_some() {
        register();
        NOTES.with_borrow_mut(|notes| notes.parents_changed = true);
    }
}

/// A row is there that may count, and may stand before the bound of its name.
pub fn bounded(kind: bounds::Kind, relation: pg_sys::Oid, name: bounds::Name, at: i64) {
    if SHARED.get().is_some() {
        register();
        bounds::written(kind, relation, name, at);
    }
}

/// The same for rows of any name.
pub fn unbounded() {
    if SHARED.get().is_some() {
        register();
        bounds::forget_all();
    }
}

/// The table was emptied: what there is has to be counted anew.
pub fn truncated() {
    if SHARED.get().is_some() {
        register();
        changes::lose();
    }
}

fn note(relation: pg_sys::Oid, queue: &str, task: &str, change: impl Fn(&mut Note)) {
    let Some(area) = SHARED.get() else { return };
    if pinned(relation, queue, task, change).is_some() {
        return;
    }
    area.untracked.fetch_add(1, Ordering::Relaxed);
    if pinned(relation, queue, "", |note| note.untracked_lane = true).is_none() {
        NOTES.with_borrow_mut(|notes| notes.too_many = true);
    }
}

/// Changes the note of a lane, and returns its slot, which is pinned until the transaction ends. None if
/// there is no slot, Some(None) if there is no note for it.
fn pinned(
    relation: pg_sys::Oid,
    queue: &str,
    task: &str,
    change: impl Fn(&mut Note),
) -> Option<Option<u32>> {
    let area = SHARED.get()?;
    register();
    let slot = Heads::of(area, relation).find_or_add(queue, task, |slot| {
        slot.pins.fetch_add(1, Ordering::AcqRel);
    })?;
    let noted = NOTES.with_borrow_mut(|notes| {
        let before = notes.count;
        let noted = notes.of(slot).map(change).is_some();
        notes.too_many |= !noted;
        // One pin for each note.
        if notes.count == before {
            area.slots()[slot as usize].pins.fetch_sub(1, Ordering::AcqRel);
        }
        noted
    });
    Some(noted.then_some(slot))
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

fn register() {
    if !REGISTERED.get() {
        // SAFETY: the callbacks are functions of this library, which is never unloaded.
        unsafe {
            pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(at_end_of_sub), std::ptr::null_mut());
        }
        REGISTERED.set(true);
    }
}

/// An error here would stop the whole server: it touches initialised memory only, and allocates nothing.
extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::*;
    if !matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE) {
        return;
    }
    NOTES.with(|notes| {
        // Nobody borrows it while a transaction ends; were that ever wrong, a hint is lost and no server.
        let (Some(area), Ok(mut notes)) = (SHARED.get(), notes.try_borrow_mut()) else { return };
        changes::end(area, event);
        bounds::end(area, event == XACT_EVENT_PREPARE);
        if notes.too_many && event != XACT_EVENT_ABORT {
            forget_all(area, event == XACT_EVENT_PREPARE);
        }
        let all = || {
            notes.all().iter().filter_map(|note| {
                let slot = area.slots().get(note.slot as usize)?;
                Some((note, slot))
            })
        };
        // All of it is known before anybody is woken: he looks for the best of all.
        for (note, slot) in all().filter(|_| event != XACT_EVENT_ABORT) {
            lower(area, slot, note);
            if event == XACT_EVENT_PREPARE {
                slot.doubt();
            }
        }
        if notes.parents_changed && event != XACT_EVENT_ABORT {
            area.ended.fetch_add(1, Ordering::SeqCst);
        }
        for (note, slot) in all() {
            match event {
                XACT_EVENT_COMMIT => wake(area, note),
                XACT_EVENT_ABORT => {
                    // A claim that is undone leaves a job to whoever waits, and room under its limits.
                    waiters::wake_for_jobs(area, note.slot, 1, waiters::ANY);
                    waiters::wake_for_room(area, note.slot, 1, waiters::ANY);
                }
                _ => {}
            }
            slot.pins.fetch_sub(1, Ordering::AcqRel);
        }
        if event == XACT_EVENT_COMMIT {
            let ended = notes.ended.get(..notes.ended_count).unwrap_or_default();
            waiters::wake_for_ended(area, notes.table, ended, notes.ended_many);
            if notes.too_many || notes.wake_all {
                waiters::wake_all(area, own_database());
            }
        }
        notes.count = 0;
        notes.ended_count = 0;
        notes.ended_many = false;
        notes.parents_changed = false;
        notes.too_many = false;
        notes.wake_all = false;
    });
}

/// Wakes those who wait for what one lane has got.
fn wake(area: &Area, note: &Note) {
    let is_due = note.due <= clock();
    if note.jobs > 0 || is_due {
        waiters::wake_for_jobs(area, note.slot, note.jobs.max(1), waiters::ANY);
    }
    if !is_due && note.due < Timestamp::INFINITY {
        waiters::wake_keeper(area, note.slot, note.due);
    }
    if note.untracked_lane {
        waiters::wake_for_queue(area, note.slot);
    }
    if note.made_room > 0 {
        waiters::wake_for_room(area, note.slot, note.made_room, waiters::ANY);
    }
}

/// Can't fail, as above.
extern "C-unwind" fn at_end_of_sub(
    event: pg_sys::SubXactEvent::Type,
    own: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => changes::hand_over(own, parent),
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            // What a guard of ours has undone is not to be tried by everybody in turn.
            let area = SHARED.get().filter(|_| !is_in_guard());
            if let Some(area) = area
                && changes::are_lost()
            {
                waiters::wake_all(area, own_database());
            }
            // The transaction pins the slots.
            changes::undo(own, |at, jobs| {
                if let Some(area) = area {
                    waiters::wake_for_jobs(area, at, jobs, waiters::ANY);
                    waiters::wake_for_room(area, at, jobs, waiters::ANY);
                }
            });
        }
        _ => {}
    }
}

fn lower(area: &Area, slot: &Slot, note: &Note) {
    let version = area.next_version();
    slot.lower(version, note.ready, note.due);
    if note.untracked_lane {
        slot.forget_lanes(version);
    }
}

/// Drops every bound of this database.
fn forget_all(area: &Area, prepared: bool) {
    let version = area.next_version();
    let database = own_database();
    let _held = area.lanes(Mode::Shared);
    for slot in area.used_slots() {
        if slot.is_in_use() && slot.table().database == database {
            slot.reset(version);
            if prepared {
                slot.doubt();
            }
        }
    }
}

fn own_database() -> u32 {
    // SAFETY: a variable of this backend.
    unsafe { pg_sys::MyDatabaseId }.into()
}
