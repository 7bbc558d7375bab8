//! A row looked at where this session has seen it last: an index leads to each of its versions that VACUUM may not
//! take away yet, of a row that is written all the time to thousands.

use super::index::{Found, LOCK, Latest, is_readable};
use crate::server::relation::oid_of;
use crate::server::transaction::snapshot_is_fixed;
use pgrx::pg_sys;
use std::ffi::CStr;

/// Where a version of a row is.
#[derive(Clone, Copy)]
pub struct RowVersion {
    table: u32,
    ctid: pg_sys::ItemPointerData,
}

impl RowVersion {
    /// Of a table of the extension.
    pub fn new(table: &CStr, ctid: pg_sys::ItemPointerData) -> Self {
        Self { table: oid_of(table).into(), ctid }
    }

    pub fn ctid(&self) -> pg_sys::ItemPointerData {
        self.ctid
    }

    /// What `take` makes of the row that is there, if nobody has changed it since: it is what it was, or another one
    /// has taken its place. None also if a statement has to look.
    pub(super) fn look<T>(
        &self,
        table: &CStr,
        take: impl FnOnce(&Found) -> Option<T>,
    ) -> Option<T> {
        let oid = oid_of(table);
        if oid == pg_sys::InvalidOid || u32::from(oid) != self.table || snapshot_is_fixed() {
            return None;
        }
        let latest = Latest::new();
        // SAFETY: the table is open and locked as long as it is used; it lies within the table; the slot is given back
        // (by the server itself after an error), and the row is used before that.
        unsafe {
            let table = pg_sys::table_open(oid, LOCK);
            let blocks =
                pg_sys::RelationGetNumberOfBlocksInFork(table, pg_sys::ForkNumber::MAIN_FORKNUM);
            let mut taken = None;
            if is_readable(table) && block(&self.ctid) < blocks {
                let slot = pg_sys::table_slot_create(table, std::ptr::null_mut());
                let mut ctid = self.ctid;
                if pg_sys::table_tuple_fetch_row_version(table, &mut ctid, latest.get(), slot) {
                    taken = take(&Found { table, slot, snapshot: latest.get() });
                }
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            pg_sys::table_close(table, pg_sys::NoLock as pg_sys::LOCKMODE);
            taken
        }
    }
}

fn block(ctid: &pg_sys::ItemPointerData) -> u32 {
    u32::from(ctid.ip_blkid.bi_hi) << 16 | u32::from(ctid.ip_blkid.bi_lo)
}
