//! What shared memory knows of lanes, for people to look at.

use super::lane::{Lane, Position};
use super::lanes::Lanes;
use super::memory::Mode;
use super::names::Table;
use super::slots::SLOTS;
use crate::server::database;
use crate::server::identity::may_read_all_stats;
use crate::server::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

/// What `lanes()` shows of a lane.
pub struct Shown {
    pub table: Table,
    pub lane: Lane,
    pub bound: Position,
    pub due: Timestamp,
    pub hits: u64,
    pub heals: u64,
}

/// The lanes that the caller may see: those of this database's jobs, unless row-level security hides some of them; those
/// of other databases if he may read all statistics.
pub fn shown() -> Vec<Shown> {
    let Some(slots) = SLOTS.get() else { return Vec::new() };
    let own = Lanes::here().map(|lanes| lanes.table);
    let (here, all) = (database::own(), may_read_all_stats());
    let _held = slots.hold(Mode::Shared);
    let lanes = || slots.in_use().map(|(_, slot)| slot).filter(|slot| !slot.is_of_queue());
    // Which table is another database's present one is not to be seen from here: the one that has been used last.
    let mut present = HashMap::new();
    for slot in lanes().filter(|slot| all && slot.table().database != here) {
        let used = slot.state(|state| state.version.max(state.due_version));
        let last = present.entry(slot.table().database).or_insert((used, slot.table()));
        if used > last.0 {
            *last = (used, slot.table());
        }
    }
    let present: HashSet<Table> = present.into_values().map(|last| last.1).chain(own).collect();
    lanes()
        .filter(|slot| present.contains(&slot.table()))
        .map(|slot| {
            let (bound, due) = slot.state(|state| (state.bound, state.due));
            Shown {
                table: slot.table(),
                lane: slot.lane(),
                bound,
                due,
                hits: slot.hits.load(Ordering::Relaxed),
                heals: slot.heals.load(Ordering::Relaxed),
            }
        })
        .collect()
}

/// How many jobs came to lanes that there was no slot for.
pub fn untracked() -> u64 {
    SLOTS.get().map_or(0, |slots| slots.untracked.load(Ordering::Relaxed))
}
