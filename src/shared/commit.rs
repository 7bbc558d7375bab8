//! What is done when a transaction ends: all callbacks of it, and what they are told before.
//!
//! The jobs of a transaction lower the bounds of their lanes when it has committed, and wake those who wait for them.

use super::adding::find_or_add;
use super::afterwards::{forget_all, lower, tell_background, wake, wake_for_undone};
use super::attached;
use super::database::Database;
use super::databases;
use super::lane::Position;
use super::lanes::Lanes;
use super::notes::{NOTES, Note, Noted};
use super::slot::Slot;
use super::slots::SLOTS;
use super::tally::Counts;
use super::{bounds, changes, waiters};
use crate::server::database;
use crate::server::guard::is_in_guard;
use crate::server::notify::notify_now;
use crate::server::time::{Timestamp, clock};
use crate::settings;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::Ordering;

thread_local!(static REGISTERED: Cell<bool> = const { Cell::new(false) });

/// Whether there is anybody to hear of what is told here.
pub fn is_heard() -> bool {
    SLOTS.get().is_some()
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
    if is_heard() {
        match pinned(relation, queue, task, |_| {}) {
            Pinned::Noted(slot) => changes::changed(slot, change),
            Pinned::TooMany | Pinned::NoSlot => changes::lose(),
        }
    }
}

/// A job of this transaction has left a place under a limit to others.
pub fn freed_place(relation: pg_sys::Oid, queue: &str, task: &str) {
    let more = |note: &mut Note| note.freed_places = note.freed_places.saturating_add(1);
    if let Pinned::NoSlot = pinned(relation, queue, task, more) {
        limits_changed();
    }
}

/// What is paused or limited has changed.
pub fn limits_changed() {
    if is_heard() {
        register();
        NOTES.with_borrow_mut(|notes| notes.wake_all = true);
    }
}

/// A job is finished, has failed or is gone.
pub fn ended(relation: pg_sys::Oid, job: i64) {
    if let Some(lanes) = Lanes::of(relation) {
        register();
        NOTES.with_borrow_mut(|notes| notes.ended(job, lanes.table));
    }
}

/// A job may keep its children no more.
pub fn parent_changed() {
    if is_heard() {
        register();
        NOTES.with_borrow_mut(|notes| notes.parents_changed = true);
    }
}

/// A row is there that may count, and may stand before the bound of its name.
pub fn bounded(kind: bounds::Kind, relation: pg_sys::Oid, name: bounds::Name, at: i64) {
    if is_heard() {
        register();
        bounds::written(kind, relation, name, at);
    }
}

/// The same for rows of any name.
pub fn unbounded() {
    if is_heard() {
        register();
        bounds::forget_all();
    }
}

/// The table was emptied: what there is has to be counted anew.
pub fn truncated() {
    if is_heard() {
        register();
        changes::lose();
    }
}

/// Listeners are to hear of a job when the transaction has committed. False if nobody here sees to that.
pub fn notify() -> bool {
    if is_heard() {
        register();
        NOTES.with_borrow_mut(|notes| notes.notify = true);
    }
    is_heard()
}

/// Something is to be done by itself at a time, which may be a different one by then.
pub fn timed(at: Timestamp) {
    if is_heard() {
        register();
        NOTES.with_borrow_mut(|notes| notes.at = notes.at.min(at));
    }
}

/// A worker is tied to this session, or is no more: see [`attached`].
pub fn attaching() {
    register();
}

/// There is something to do for the background worker: some of [`task`].
pub fn asks(tasks: u32) {
    if is_heard() {
        register();
        NOTES.with_borrow_mut(|notes| notes.tasks |= tasks);
    }
}

/// There are other databases, or other processes may be connected to them.
pub fn databases_changed() {
    if is_heard() {
        register();
        NOTES.with_borrow_mut(|notes| notes.databases = true);
    }
}

/// The settings that processes in a database begin with have changed; None: in all of them.
pub fn settings_changed(database: Option<u32>) {
    if is_heard() {
        register();
        NOTES.with_borrow_mut(|notes| {
            let same = notes.restart.is_none() || notes.restart == database;
            notes.restart = Some(database.filter(|_| same).unwrap_or(0));
        });
    }
}

/// A command of this transaction needs a database to itself: its worker leaves, and comes back when the transaction is
/// over.
pub fn make_room(database: u32) -> Option<&'static Database> {
    register();
    databases::make_room(database)
}

fn note(relation: pg_sys::Oid, queue: &str, task: &str, change: impl Fn(&mut Note)) {
    let Some(slots) = SLOTS.get() else { return };
    let Pinned::NoSlot = pinned(relation, queue, task, change) else { return };
    slots.untracked.fetch_add(1, Ordering::Relaxed);
    if let Pinned::NoSlot = pinned(relation, queue, "", |note| note.untracked_lane = true) {
        NOTES.with_borrow_mut(|notes| notes.too_many = true);
    }
}

/// What has become of the note of a lane.
enum Pinned {
    /// It is there, and the lane's slot pinned until the transaction ends.
    Noted(u32),
    /// There are too many notes.
    TooMany,
    /// There is no slot for the lane.
    NoSlot,
}

/// Changes the note of a lane.
fn pinned(relation: pg_sys::Oid, queue: &str, task: &str, change: impl Fn(&mut Note)) -> Pinned {
    let Some(lanes) = Lanes::of(relation) else { return Pinned::NoSlot };
    register();
    let Some(slot) = find_or_add(lanes, queue, task, Slot::pin) else { return Pinned::NoSlot };
    let noted = NOTES.with_borrow_mut(|notes| notes.note(slot, change));
    // One pin for each note.
    if noted != Noted::Anew {
        lanes.slot(slot).unpin();
    }
    match noted {
        Noted::TooMany => Pinned::TooMany,
        Noted::Anew | Noted::Again => Pinned::Noted(slot),
    }
}

fn register() {
    if !REGISTERED.get() {
        // SAFETY: the callbacks are functions of this library, which is never unloaded.
        unsafe {
            pg_sys::RegisterXactCallback(Some(before_commit), std::ptr::null_mut());
            pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(at_end_of_sub), std::ptr::null_mut());
        }
        REGISTERED.set(true);
    }
}

/// An error here would stop the whole server: it touches initialised memory only, and allocates nothing.
extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::*;
    if !matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE) {
        return;
    }
    attached::end(event != XACT_EVENT_ABORT, event == XACT_EVENT_COMMIT);
    NOTES.with(|notes| {
        // Nobody borrows it while a transaction ends; were that ever wrong, a hint is lost and no server.
        let (Some(slots), Ok(mut notes)) = (SLOTS.get(), notes.try_borrow_mut()) else { return };
        changes::end(slots, event);
        bounds::end(event == XACT_EVENT_PREPARE);
        if notes.too_many && event != XACT_EVENT_ABORT {
            forget_all(slots, event == XACT_EVENT_PREPARE);
        }
        let all = || {
            notes.all().iter().filter_map(|note| {
                let slot = slots.all().get(note.slot as usize)?;
                Some((note, slot))
            })
        };
        // All of it is known before anybody is woken: he looks for the best of all.
        for (note, slot) in all().filter(|_| event != XACT_EVENT_ABORT) {
            lower(slots, slot, note);
            if event == XACT_EVENT_PREPARE {
                slot.doubt();
            }
        }
        if notes.parents_changed && event != XACT_EVENT_ABORT {
            slots.ended.fetch_add(1, Ordering::SeqCst);
        }
        for (note, slot) in all() {
            match event {
                XACT_EVENT_COMMIT => wake(note, slot),
                XACT_EVENT_ABORT => wake_for_undone(note.slot, slot, 1),
                _ => {}
            }
            slot.unpin();
        }
        if event == XACT_EVENT_COMMIT {
            waiters::wake_for_ended(notes.table, notes.ended_jobs(), notes.ended_many);
            if notes.too_many || notes.wake_all {
                waiters::wake_all(database::own());
            }
            tell_background(&notes);
        }
        databases::give_room_back();
        notes.clear();
    });
}

/// Where no background worker serves listeners, the transaction tells them itself, and takes its turn for that among all of
/// the cluster. It may fail: nothing is committed yet.
#[pg_guard]
extern "C-unwind" fn before_commit(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    if event != pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT {
        return;
    }
    let notifies = NOTES.with_borrow_mut(|notes| {
        // A delayed job that has come due meanwhile; who looked for such before did not see it.
        notes.notify |= notes.due() <= clock() && settings::notify();
        notes.notify && !databases::has_worker()
    });
    if notifies {
        NOTES.with_borrow_mut(|notes| notes.notify = false);
        notify_now();
    }
}

extern "C-unwind" fn at_end_of_sub(
    event: pg_sys::SubXactEvent::Type,
    own: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => {
            changes::hand_over(own, parent);
            attached::hand_over(own, parent);
        }
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            attached::undo(own);
            // What a guard of ours has undone is not to be tried by everybody in turn.
            let slots = SLOTS.get().filter(|_| !is_in_guard());
            if slots.is_some() && changes::are_lost() {
                waiters::wake_all(database::own());
            }
            // The transaction pins the slots.
            changes::undo(own, |at, jobs| {
                if let Some(slot) = slots.and_then(|slots| slots.all().get(at as usize)) {
                    wake_for_undone(at, slot, jobs);
                }
            });
        }
        _ => {}
    }
}
