//! The lanes of one jobs table, as far as shared memory has slots for them.

use super::names::Table;
use super::slot::Slot;
use super::slots::{SLOTS, Slots};
use crate::server::database;
use crate::server::relation::{has_row_security, oid_of};
use crate::server::transaction::is_in_recovery;
use pgrx::pg_sys;
use std::sync::atomic::Ordering;

/// The lanes of a jobs table of this database.
#[derive(Clone, Copy)]
pub struct Lanes {
    pub slots: &'static Slots,
    pub table: Table,
}

impl Lanes {
    /// Those of minion.jobs. None without shared memory, on a standby, where nothing tells us of changes, and for
    /// those who see some rows only, and so can't tell what there is.
    pub fn here() -> Option<Self> {
        if SLOTS.get().is_none() || is_in_recovery() {
            return None;
        }
        let relation = oid_of(c"jobs");
        let visible = relation != pg_sys::InvalidOid && !has_row_security(relation);
        Self::of(relation).filter(|_| visible)
    }

    /// None without shared memory.
    pub fn of(relation: pg_sys::Oid) -> Option<Self> {
        let table = Table { database: database::own(), relation: relation.into() };
        SLOTS.get().map(|slots| Self { slots, table })
    }

    pub fn slot(&self, at: u32) -> &'static Slot {
        &self.slots.all()[at as usize]
    }

    /// The slot of a lane; of the queue itself with an empty task. Under the lock of the slots, as all that follows.
    pub fn find(&self, queue: &str, task: &str) -> Option<u32> {
        self.slots.find(self.table, queue, task)
    }

    /// All lanes, and where they are.
    pub fn all(&self) -> impl Iterator<Item = (u32, &'static Slot)> {
        let table = self.table;
        let slots = self.slots.in_use();
        slots.filter(move |(_, slot)| !slot.is_of_queue() && slot.table() == table)
    }

    /// Calls `each` for the known lanes of some queues, all or those of some tasks. False if not all of them are known.
    pub fn for_each_of(
        &self,
        queues: &[String],
        tasks: Option<&[String]>,
        mut each: impl FnMut(u32, &'static Slot),
    ) -> bool {
        let mut all = true;
        for queue in queues {
            let Some(of_queue) = self.find(queue, "").map(|at| self.slot(at)) else {
                all = false;
                continue;
            };
            all &= of_queue.state(|state| state.complete);
            self.for_each_of_queue(of_queue, queue, tasks, &mut |at| each(at, self.slot(at)));
        }
        all
    }

    /// The same for one queue, whose slot is known.
    pub fn for_each_of_queue(
        &self,
        of_queue: &Slot,
        queue: &str,
        tasks: Option<&[String]>,
        each: &mut dyn FnMut(u32),
    ) {
        match tasks {
            Some(tasks) => {
                let named = tasks.iter().filter(|task| !task.is_empty());
                named.filter_map(|task| self.find(queue, task)).for_each(each);
            }
            None => {
                let mut at = of_queue.next_lane.load(Ordering::Relaxed);
                while at > 0 {
                    each(at - 1);
                    at = self.slot(at - 1).next_lane.load(Ordering::Relaxed);
                }
            }
        }
    }
}
