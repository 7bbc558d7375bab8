//! A table and one of its indexes, open, and the rows that are found there.

use crate::server::relation::{may_read, oid_of};
use crate::server::row::Row;
use crate::server::transaction::check_for_interrupts;
use crate::server::types::{Typed, column_as, is_column};
use pgrx::pg_sys;
use std::ffi::CStr;

pub(super) const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// A table of the extension and one of its indexes, open.
pub(super) struct Opened {
    table: pg_sys::Relation,
    index: pg_sys::Relation,
}

impl Opened {
    /// None if there is no such index, or not one that can be used: then a statement has to look.
    pub(super) fn new(table: &CStr, index: &CStr) -> Option<Self> {
        // SAFETY: both relations are there, and locked before they are used.
        unsafe {
            let table = oid_of(table);
            if table == pg_sys::InvalidOid {
                return None;
            }
            let table = pg_sys::table_open(table, LOCK);
            // Under the table's lock, so that no REINDEX takes it away in between.
            let index = oid_of(index);
            if index == pg_sys::InvalidOid {
                pg_sys::table_close(table, pg_sys::NoLock as pg_sys::LOCKMODE);
                return None;
            }
            let index = pg_sys::index_open(index, LOCK);
            let opened = Self { table, index };
            (*(*index).rd_index).indisvalid.then_some(opened)
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        is_readable(self.table)
    }

    pub(super) fn table(&self) -> pg_sys::Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.table).rd_id }
    }

    /// What `take` makes of the first row that it takes, of those that the snapshot shows from the keys on.
    pub(super) fn first<T>(
        &self,
        snapshot: pg_sys::Snapshot,
        keys: &mut [pg_sys::ScanKeyData],
        mut take: impl FnMut(&Found) -> Option<T>,
    ) -> Option<T> {
        // SAFETY: the relations are open and locked, the keys fit the index, the scan and the slot are
        // closed again (by the server itself after an error), and the row is used before that.
        unsafe {
            let count = keys.len() as i32;
            #[cfg(not(feature = "pg18"))]
            let scan = pg_sys::index_beginscan(self.table, self.index, snapshot, count, 0);
            #[cfg(feature = "pg18")]
            let scan = pg_sys::index_beginscan(
                self.table,
                self.index,
                snapshot,
                std::ptr::null_mut(),
                count,
                0,
            );
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), count, std::ptr::null_mut(), 0);
            let slot = pg_sys::table_slot_create(self.table, std::ptr::null_mut());
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let mut taken = None;
            while taken.is_none() && pg_sys::index_getnext_slot(scan, forward, slot) {
                check_for_interrupts();
                taken = take(&Found { table: self.table, slot, snapshot });
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::index_endscan(scan);
            taken
        }
    }
}

/// Whether the caller may read the whole of a table, which is open.
pub(super) fn is_readable(table: pg_sys::Relation) -> bool {
    // SAFETY: the relation is open.
    may_read(unsafe { (*table).rd_id })
}

/// A row that a look has found.
pub(super) struct Found {
    pub(super) table: pg_sys::Relation,
    pub(super) slot: *mut pg_sys::TupleTableSlot,
    pub(super) snapshot: pg_sys::Snapshot,
}

impl Found {
    pub(super) fn row(&self) -> Row {
        let mut to_free = false;
        // SAFETY: the slot has a row, which stays in it until the scan goes on.
        unsafe {
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut to_free);
            Row::of(tuple, (*self.table).rd_att)
        }
    }

    /// The value of a column of the row, which has to have the type `T` in SQL.
    /// The same of a column that may stand further behind; None also if there is none of that name and type.
    pub(super) fn get_named<T: Typed>(&self, name: &CStr, from: i32) -> Option<T> {
        // SAFETY: the table is open, and this its description.
        let place = unsafe {
            let shape = (*self.table).rd_att;
            (from..=(*shape).natts).find(|place| is_column::<T>(shape, *place, name))
        };
        self.get(place?)
    }

    pub(super) fn get<T: Typed>(&self, column: i32) -> Option<T> {
        let (mut to_free, mut null) = (false, false);
        // SAFETY: the slot has a row of the table.
        unsafe {
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut to_free);
            let shape = (*self.table).rd_att;
            let datum = pg_sys::heap_getattr(tuple, column, shape, &mut null);
            column_as(shape, column, (datum, null))
        }
    }

    /// Where it is.
    pub(super) fn ctid(&self) -> pg_sys::ItemPointerData {
        // SAFETY: the slot has a row of a table.
        unsafe { (*self.slot).tts_tid }
    }

    /// Whether nobody has changed it since the snapshot, or is about to. Rows that are locked count as well.
    pub(super) fn is_untouched(&self) -> bool {
        let mut dirty = dirty_snapshot();
        // SAFETY: the table is open, the slot has a row, and this one is dropped again.
        unsafe {
            let seen = pg_sys::table_slot_create(self.table, std::ptr::null_mut());
            let place = &raw mut (*self.slot).tts_tid;
            let is_there =
                pg_sys::table_tuple_fetch_row_version(self.table, place, &raw mut dirty, seen);
            pg_sys::ExecDropSingleTupleTableSlot(seen);
            let nobody = pg_sys::InvalidTransactionId;
            is_there && dirty.xmin == nobody && dirty.xmax == nobody
        }
    }

    /// Whether somebody has written or deleted it who has not committed. Of a look with a dirty snapshot alone.
    pub(super) fn is_in_doubt(&self) -> bool {
        // SAFETY: the snapshot lives as long as the look, which has set this for the row.
        let snapshot = unsafe { &*self.snapshot };
        let nobody = pg_sys::InvalidTransactionId;
        snapshot.xmin != nobody || snapshot.xmax != nobody
    }

    /// Locks it as FOR UPDATE SKIP LOCKED does. False if somebody else has it, or has changed it.
    pub(super) fn lock(&self) -> bool {
        // SAFETY: the table is open and the row was shown by the snapshot; the lock is the transaction's.
        unsafe {
            let lock = (*(*self.table).rd_tableam).tuple_lock.expect("every table has it");
            let mut failure = pg_sys::TM_FailureData::default();
            let locked = pg_sys::table_slot_create(self.table, std::ptr::null_mut());
            let result = pg_sys::ffi::pg_guard_ffi_boundary(|| {
                lock(
                    self.table,
                    &mut (*self.slot).tts_tid,
                    self.snapshot,
                    locked,
                    pg_sys::GetCurrentCommandId(true),
                    pg_sys::LockTupleMode::LockTupleExclusive,
                    pg_sys::LockWaitPolicy::LockWaitSkip,
                    0,
                    &mut failure,
                )
            });
            pg_sys::ExecDropSingleTupleTableSlot(locked);
            result == pg_sys::TM_Result::TM_Ok
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // An error on its way through has the server close them.
        if !std::thread::panicking() {
            // SAFETY: opened in new; the locks are kept to the transaction's end, as a statement does.
            unsafe {
                pg_sys::index_close(self.index, pg_sys::NoLock as pg_sys::LOCKMODE);
                pg_sys::table_close(self.table, pg_sys::NoLock as pg_sys::LOCKMODE);
            }
        }
    }
}

/// What is committed now, and what this transaction has done, as long as this lives.
pub(super) struct Latest(pg_sys::Snapshot);

impl Latest {
    pub(super) fn new() -> Self {
        // SAFETY: in a transaction.
        Self(unsafe { pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()) })
    }

    pub(super) fn get(&self) -> pg_sys::Snapshot {
        self.0
    }

    /// No transaction before it was under way.
    pub(super) fn xmin(&self) -> pg_sys::TransactionId {
        // SAFETY: the snapshot is registered.
        unsafe { (*self.0).xmin }
    }
}

impl Drop for Latest {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: registered in new.
            unsafe { pg_sys::UnregisterSnapshot(self.0) };
        }
    }
}

/// Shows what is not committed yet as well, and tells whose it is.
pub(super) fn dirty_snapshot() -> pg_sys::SnapshotData {
    pg_sys::SnapshotData {
        snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
        ..Default::default()
    }
}
