//! Lanes get a slot when they have their first job. When the table is full, those are taken away that are empty or
//! belong to what was dropped.

use super::counters::forget_unknown;
use super::lanes::Lanes;
use super::memory::Mode;
use super::names::Table;
use super::slot::Slot;
use super::slots::Slots;
use crate::server::time::clock;
use std::sync::atomic::Ordering;

/// A table full of busy lanes is not searched more often than this.
const PAUSE_MICROS: i64 = 1_000_000;

/// The slot of a lane, added if need be, with `pin` done before it can be taken away again. None if there is no room
/// for it.
pub fn find_or_add(lanes: Lanes, queue: &str, task: &str, pin: impl Fn(&Slot)) -> Option<u32> {
    {
        let _held = lanes.slots.hold(Mode::Shared);
        if let Some(at) = lanes.find(queue, task) {
            pin(lanes.slot(at));
            return Some(at);
        }
    }
    clear_if_full(lanes.slots);
    let _held = lanes.slots.hold(Mode::Exclusive);
    let at = match lanes.find(queue, task) {
        Some(at) => at,
        None => lanes.slots.add(lanes.table, queue, task)?,
    };
    pin(lanes.slot(at));
    Some(at)
}

/// Sees to it that there is a slot, if that can be.
fn clear_if_full(slots: &Slots) {
    if !slots.are_full() {
        return;
    }
    let now = clock().0;
    let before = slots.cleared.load(Ordering::Relaxed);
    let elapsed = now.abs_diff(before) > PAUSE_MICROS as u64;
    let exchanged =
        || slots.cleared.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed);
    if elapsed && exchanged().is_ok() {
        // Looked up under no lock of ours.
        let dropped: Vec<Table> = tables(slots).into_iter().filter(Table::is_dropped).collect();
        let _held = slots.hold(Mode::Exclusive);
        forget_unknown(slots);
        slots.clear(&dropped);
    }
}

fn tables(slots: &Slots) -> Vec<Table> {
    let mut tables = Vec::new();
    let _held = slots.hold(Mode::Shared);
    for (_, slot) in slots.in_use() {
        if !tables.contains(&slot.table()) {
            tables.push(slot.table());
        }
    }
    tables
}
