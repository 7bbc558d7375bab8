//! Tables and indexes of the extension, and who may read them.

use pgrx::{PgTrigger, pg_sys};
use std::ffi::CStr;

/// A table that is open, and stays so as long as this is used.
#[derive(Clone, Copy)]
pub struct Relation {
    pub oid: pg_sys::Oid,
    pub owner: pg_sys::Oid,
}

impl Relation {
    /// The one whose trigger was called.
    pub fn of(trigger: &PgTrigger) -> Self {
        // SAFETY: the relation of a trigger call is open.
        unsafe {
            let relation = &*trigger.trigger_data().tg_relation;
            Self { oid: relation.rd_id, owner: (*relation.rd_rel).relowner }
        }
    }
}

/// Whether the caller may read the whole of a table.
pub fn may_read(table: pg_sys::Oid) -> bool {
    // SAFETY: look-ups in the catalogue caches.
    let right = unsafe {
        pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), pg_sys::ACL_SELECT as pg_sys::AclMode)
    };
    right == pg_sys::AclResult::ACLCHECK_OK && !has_row_security(table)
}

/// Whether the caller sees some rows of a table only.
pub fn has_row_security(table: pg_sys::Oid) -> bool {
    const ENABLED: i32 = pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32;
    // SAFETY: look-ups in the catalogue caches; true: no error is raised.
    unsafe { pg_sys::check_enable_rls(table, pg_sys::InvalidOid, true) == ENABLED }
}

/// A table or an index of the extension; InvalidOid if there is none of this name.
pub fn oid_of(relation: &CStr) -> pg_sys::Oid {
    // SAFETY: look-ups in the catalogue caches.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"minion".as_ptr(), true);
        pg_sys::get_relname_relid(relation.as_ptr(), schema)
    }
}

/// The table of jobs, if the extension is there.
pub fn installed() -> Option<u32> {
    // SAFETY: a look at the catalogue; true: no error is raised.
    let extension = unsafe { pg_sys::get_extension_oid(c"minion".as_ptr(), true) };
    let jobs = oid_of(c"jobs");
    let is_there = extension != pg_sys::InvalidOid && jobs != pg_sys::InvalidOid;
    is_there.then(|| jobs.into())
}

/// Locks a table of ours against REINDEX and the like, as a statement that writes does, to be called before
/// the first look at it: who looks first and writes later waits for a REINDEX that waits for him. Of several, in the
/// order jobs, locks, workers, schedules, as a reset, an upgrade and stats() take them: who does it the other way
/// round deadlocks with a reset.
pub fn lock_to_write(table: &CStr) {
    let table = oid_of(table);
    if table != pg_sys::InvalidOid {
        // SAFETY: the table is there, and the lock is the transaction's.
        unsafe { pg_sys::LockRelationOid(table, pg_sys::RowExclusiveLock as pg_sys::LOCKMODE) };
    }
}
