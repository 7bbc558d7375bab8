//! What follows from the notes of a transaction that has ended: what others know changes, and those who wait for that are
//! woken. Nothing here can fail: it is called from commit callbacks.

use super::database::task;
use super::databases;
use super::launcher;
use super::memory::Mode;
use super::notes::{Note, Notes};
use super::slot::Slot;
use super::slots::Slots;
use super::waiters;
use crate::server::database;
use crate::server::time::{Timestamp, clock};
use crate::settings;

/// Leaves to the background what it is there for.
pub fn tell_background(notes: &Notes) {
    if notes.databases {
        launcher::look();
    }
    if let Some(database) = notes.restart {
        databases::restart(database);
    }
    let Some(own) = databases::own() else { return };
    // What has come due by now was not there for whoever looked before.
    let due = notes.due();
    let comes_due = || due <= clock() && settings::notify() && databases::has_worker();
    let tasks = notes.tasks
        | if notes.notify || comes_due() { task::NOTIFY } else { 0 }
        | if notes.any() { task::TRAFFIC } else { 0 };
    if tasks > 0 {
        own.ask(tasks);
    }
    own.ask_for(notes.at.min(due));
}

/// Wakes those who wait for what one lane has got.
pub fn wake(note: &Note, slot: &Slot) {
    let is_due = note.due <= clock();
    if note.jobs > 0 || is_due {
        waiters::wake_for_jobs(note.slot, slot, note.jobs.max(1), waiters::ANY);
    }
    if !is_due && note.due < Timestamp::INFINITY {
        waiters::wake_keeper(note.slot, slot, note.due);
    }
    if note.untracked_lane {
        waiters::wake_for_queue(slot);
    }
    if note.freed_places > 0 {
        waiters::wake_for_place(note.slot, slot, note.freed_places, waiters::ANY);
    }
}

/// Claims that are undone leave jobs to whoever waits, and places under their limits.
pub fn wake_for_undone(at: u32, slot: &Slot, jobs: u32) {
    waiters::wake_for_jobs(at, slot, jobs, waiters::ANY);
    waiters::wake_for_place(at, slot, jobs, waiters::ANY);
}

pub fn lower(slots: &Slots, slot: &Slot, note: &Note) {
    let version = slots.next_version();
    slot.lower(version, note.ready, note.due);
    if note.untracked_lane {
        slot.forget_lanes(version);
    }
}

/// Drops every bound of this database.
pub fn forget_all(slots: &Slots, prepared: bool) {
    let version = slots.next_version();
    let database = database::own();
    let _held = slots.hold(Mode::Shared);
    for (_, slot) in slots.in_use().filter(|(_, slot)| slot.table().database == database) {
        slot.reset(version);
        if prepared {
            slot.doubt();
        }
    }
}
