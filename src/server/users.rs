//! What users have put on `minion.jobs` that may keep a row of it from being changed.
//!
//! An UPDATE of ours raises no error over one job unless something of theirs does. Where there is nothing, no
//! claim pays for a subtransaction.

use super::invalidation;
use super::relation::oid_of;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;

/// Of those for UPDATE.
const OUR_TRIGGER: &CStr = c"jobs_updated";

const OUR_CHECKS: [&CStr; 5] = [
    c"jobs_queue_has_1_to_1000_bytes",
    c"jobs_task_has_1_to_1000_bytes",
    c"jobs_args_is_array",
    c"jobs_notes_is_object",
    c"jobs_attempts_is_positive",
];

/// Those that are unique, or have an expression or a WHERE clause.
const OUR_INDEXES: [&CStr; 11] = [
    c"jobs_pkey",
    c"jobs_ready",
    c"jobs_parked",
    c"jobs_waits_for",
    c"jobs_active",
    c"jobs_finished",
    c"jobs_failed",
    c"jobs_expiring",
    c"jobs_unique_key",
    c"jobs_notes",
    c"jobs_time_limit",
];

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
const KEEP_LOCK: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;

thread_local! {
    /// The answer, and how many changes to the table had been heard of when it was found.
    static KNOWN: Cell<Option<(u64, bool)>> = const { Cell::new(None) };
}

/// Whether anything of users' may raise an error, or do something else, when a job is changed. To be asked
/// under a lock of the table that a statement takes to write: nothing of the kind comes while it is held.
pub fn may_interfere() -> bool {
    if let Some((changes, known)) = KNOWN.get()
        && changes == invalidation::changes_of_jobs()
    {
        return known;
    }
    let jobs = oid_of(c"jobs");
    if jobs == pg_sys::InvalidOid {
        return false;
    }
    invalidation::watch_jobs(jobs);
    // It may change under our eyes.
    let changes = invalidation::changes_of_jobs();
    let found = OpenTable::open(jobs).has_anything_of_users();
    KNOWN.set(Some((changes, found)));
    found
}

/// An open table.
struct OpenTable(pg_sys::Relation);

impl OpenTable {
    fn open(table: pg_sys::Oid) -> Self {
        // SAFETY: locked before it is used.
        Self(unsafe { pg_sys::table_open(table, LOCK) })
    }

    fn has_anything_of_users(&self) -> bool {
        // SAFETY: the relation is open.
        let table = unsafe { &*self.0 };
        // SAFETY: see above; an open relation has a description.
        let has_policies = unsafe { (*table.rd_rel).relrowsecurity };
        has_policies
            || !table.rd_rules.is_null()
            || self.has_trigger()
            || self.has_constraint()
            || self.has_index()
    }

    fn has_trigger(&self) -> bool {
        // SAFETY: the relation is open, and has as many triggers as it says, each with a name.
        unsafe {
            let Some(all) = (*self.0).trigdesc.as_ref() else { return false };
            (0..all.numtriggers as usize).any(|at| {
                let trigger = &*all.triggers.add(at);
                let for_update = trigger.tgtype as u32 & pg_sys::TRIGGER_TYPE_UPDATE != 0;
                let enabled = trigger.tgenabled as u8 != pg_sys::TRIGGER_DISABLED;
                // What others have that refers to a job minds its id alone, which stays.
                let refers = pg_sys::RI_FKey_trigger_type(trigger.tgfoid);
                for_update
                    && enabled
                    && refers as u32 != pg_sys::RI_TRIGGER_PK
                    && CStr::from_ptr(trigger.tgname) != OUR_TRIGGER
            })
        }
    }

    fn has_constraint(&self) -> bool {
        // SAFETY: the relation is open, and has as many checks as it says, each with a name.
        unsafe {
            let Some(all) = (*(*self.0).rd_att).constr.as_ref() else { return false };
            all.has_generated_stored
                || (0..all.num_check.into()).any(|at: usize| {
                    let name = CStr::from_ptr((*all.check.add(at)).ccname);
                    !OUR_CHECKS.contains(&name)
                })
        }
    }

    fn has_index(&self) -> bool {
        // SAFETY: the relation is open; the list is a copy, and one of OIDs.
        unsafe {
            let all = pg_sys::RelationGetIndexList(self.0);
            let count = all.as_ref().map_or(0, |list| list.length as usize);
            (0..count).any(|at| {
                let index = (*(*all).elements.add(at)).oid_value;
                !is_ours(index) && may_raise(index)
            })
        }
    }
}

impl Drop for OpenTable {
    fn drop(&mut self) {
        // An error on its way through has the server close it.
        if !std::thread::panicking() {
            // SAFETY: opened in open; the lock is kept to the transaction's end, as a statement does.
            unsafe { pg_sys::table_close(self.0, KEEP_LOCK) };
        }
    }
}

fn is_ours(index: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the catalogue caches; the name is a copy.
    unsafe {
        let name = pg_sys::get_rel_name(index);
        !name.is_null() && OUR_INDEXES.contains(&CStr::from_ptr(name))
    }
}

/// Whether it has rules, or something to work out.
fn may_raise(index: pg_sys::Oid) -> bool {
    // SAFETY: of a table that is locked; nothing in between can fail but for want of memory, and then the server
    // closes it.
    unsafe {
        let index = pg_sys::index_open(index, LOCK);
        let rules = &*(*index).rd_index;
        let may = rules.indisunique
            || rules.indisexclusion
            || !pg_sys::RelationGetIndexExpressions(index).is_null()
            || !pg_sys::RelationGetIndexPredicate(index).is_null();
        pg_sys::index_close(index, KEEP_LOCK);
        may
    }
}
