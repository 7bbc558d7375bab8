//! Looks into an index without a statement, where each claim or finish would otherwise run one only to
//! learn that there is nothing, or which job is first: setting up a statement takes many times as long as
//! the look itself.

pub mod holders;
pub mod key;
mod place;
pub mod slots;
pub mod worker;

use super::row::{Column, Row, State};
use super::{Timestamp, check_for_interrupts, clock, has_row_security, oid_of, snapshot_is_fixed};
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ffi::CStr;

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// A table of the extension and one of its indexes, open.
struct Opened {
    table: pg_sys::Relation,
    index: pg_sys::Relation,
}

impl Opened {
    /// None if there is no such index, or not one that can be used: then a statement has to look.
    fn new(table: &CStr, index: &CStr) -> Option<Self> {
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

    fn is_readable(&self) -> bool {
        is_readable(self.table)
    }

    /// What `take` makes of the first row that it takes, of those that the snapshot shows from the keys on.
    fn first<T>(
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
fn is_readable(table: pg_sys::Relation) -> bool {
    // SAFETY: the relation is open.
    is_readable_table(unsafe { (*table).rd_id })
}

/// The same by its oid.
fn is_readable_table(oid: pg_sys::Oid) -> bool {
    // SAFETY: look-ups in the catalogue caches.
    let right = unsafe {
        pg_sys::pg_class_aclcheck(oid, pg_sys::GetUserId(), pg_sys::ACL_SELECT as pg_sys::AclMode)
    };
    right == pg_sys::AclResult::ACLCHECK_OK && !has_row_security(oid.into())
}

/// A row that a look has found.
struct Found {
    table: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
}

impl Found {
    fn row(&self) -> Row {
        let mut to_free = false;
        // SAFETY: the slot has a row, which stays in it until the scan goes on.
        unsafe {
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut to_free);
            Row::of(tuple, (*self.table).rd_att)
        }
    }

    /// The value of a column of the row, which must have the type `T` in SQL.
    fn get<T: FromDatum>(&self, column: i32) -> Option<T> {
        let (mut to_free, mut null) = (false, false);
        // SAFETY: the slot has a row of the table.
        unsafe {
            let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut to_free);
            let datum = pg_sys::heap_getattr(tuple, column, (*self.table).rd_att, &mut null);
            T::from_datum(datum, null)
        }
    }

    /// Where it is.
    fn place(&self) -> pg_sys::ItemPointerData {
        // SAFETY: the slot has a row of a table.
        unsafe { (*self.slot).tts_tid }
    }

    /// Whether nobody has changed it since the snapshot, or is about to. Rows that are locked count as well.
    fn is_untouched(&self) -> bool {
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
    fn is_in_doubt(&self) -> bool {
        // SAFETY: the snapshot lives as long as the look, which has set this for the row.
        let snapshot = unsafe { &*self.snapshot };
        let nobody = pg_sys::InvalidTransactionId;
        snapshot.xmin != nobody || snapshot.xmax != nobody
    }

    /// Locks it as FOR UPDATE SKIP LOCKED does. False if somebody else has it, or has changed it.
    fn lock(&self) -> bool {
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
struct Latest(pg_sys::Snapshot);

impl Latest {
    fn new() -> Self {
        // SAFETY: in a transaction.
        Self(unsafe { pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()) })
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
fn dirty_snapshot() -> pg_sys::SnapshotData {
    pg_sys::SnapshotData {
        snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
        ..Default::default()
    }
}

fn is_bigint(value: i64) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let equal = pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber;
    // SAFETY: a key for a bigint in the first column of an index.
    unsafe { pg_sys::ScanKeyInit(&mut key, 1, equal, pg_sys::F_INT8EQ.into(), value.into()) };
    key
}

/// Whether a job waits for this one, or did, or is about to: false is certain.
pub fn may_have_waiting_child(id: i64) -> bool {
    let Some(jobs) = Opened::new(c"jobs", c"jobs_waits_for") else { return true };
    let any = &raw mut pg_sys::SnapshotAnyData;
    jobs.first(any, &mut [is_bigint(id)], |_| Some(())).is_some()
}

/// Whether a job that others wait for is not done.
pub enum Unresolved {
    /// It is not, before this time at the earliest: infinity, unless it expires.
    Until(Timestamp),
    /// It is done, or gone.
    Not,
    /// A statement has to look.
    Unknown,
}

/// What `minion.is_unresolved` says of a parent, as it is now.
pub fn unresolved(parent: i64, lax: bool, now: Timestamp) -> Unresolved {
    let Some(jobs) = Opened::new(c"jobs", c"jobs_pkey") else { return Unresolved::Unknown };
    let latest = Latest::new();
    let until = jobs.first(latest.0, &mut [is_bigint(parent)], |found| {
        let job = found.row();
        let expires = job.get(Column::Expires).unwrap_or(Timestamp::INFINITY);
        Some(match job.state() {
            Some(State::Active) => Some(Timestamp::INFINITY),
            Some(State::Failed) => (!lax).then_some(Timestamp::INFINITY),
            Some(State::Inactive) => Some(expires).filter(|expires| *expires > now),
            _ => None,
        })
    });
    until.flatten().map_or(Unresolved::Not, Unresolved::Until)
}

/// A ready job, as far as a claim has to know it.
pub struct ReadyJob {
    pub rank: i32,
    pub id: i64,
    /// It has parents, has expired or is delayed: a closer look is needed.
    pub may_be_misplaced: bool,
}

impl ReadyJob {
    fn of(found: &Found, now: Timestamp) -> Self {
        let job = found.row();
        Self {
            rank: !job.get::<i32>(Column::Priority).expect("priority is NOT NULL"),
            id: job.get(Column::Id).expect("id is NOT NULL"),
            may_be_misplaced: job.has_parents()
                || job.get(Column::Expires).is_some_and(|expires: Timestamp| expires <= now)
                // One that was enqueued after `now` was read has come since.
                || job.get(Column::Delayed).is_none_or(|due: Timestamp| due > now && due > clock()),
        }
    }
}

/// The first ready job of a lane from a place on; None if a statement has to look.
pub fn first_ready(
    queue: &str,
    task: &str,
    from: (i32, i64),
    now: Timestamp,
) -> Option<Option<ReadyJob>> {
    ready(queue, task, from, |found| Some(ReadyJob::of(found, now)))
}

/// Locks the first ready job of a lane that nobody else has, from a place to a last one of the same rank, and
/// returns its id; None if a statement has to. `asked`: the job whose parents were asked a moment ago.
pub fn lock_first_ready(
    queue: &str,
    task: &str,
    (rank, id): (i32, i64),
    asked: i64,
    last: i64,
    now: Timestamp,
) -> Option<Option<i64>> {
    let locked = ready(queue, task, (rank, id), |found| {
        let job = ReadyJob::of(found, now);
        if job.rank != rank || job.id > last {
            return Some(Some(None));
        }
        if job.may_be_misplaced && job.id != asked {
            return Some(None);
        }
        found.lock().then_some(Some(Some(job.id)))
    })?;
    locked.unwrap_or(Some(None))
}

fn ready<T>(
    queue: &str,
    task: &str,
    (rank, id): (i32, i64),
    take: impl FnMut(&Found) -> Option<T>,
) -> Option<Option<T>> {
    let jobs = Opened::new(c"jobs", c"jobs_ready")?;
    if snapshot_is_fixed() || !jobs.is_readable() {
        return None;
    }
    let latest = Latest::new();
    // A row comparison: its columns, and one key that stands for it.
    let mut columns = [
        at_least(3, pg_sys::F_BTINT4CMP, rank.into(), false),
        at_least(4, pg_sys::F_BTINT8CMP, id.into(), true),
    ];
    let from = pg_sys::ScanKeyData {
        sk_flags: pg_sys::SK_ROW_HEADER as i32,
        sk_attno: 3,
        sk_strategy: pg_sys::BTGreaterEqualStrategyNumber as pg_sys::StrategyNumber,
        sk_argument: pg_sys::Datum::from(columns.as_mut_ptr()),
        ..Default::default()
    };
    let mut keys = [is_name(1, queue), is_name(2, task), from];
    Some(jobs.first(latest.0, &mut keys, take))
}

/// For an int column of an index.
fn is_from(column: i16, value: i32) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let from = pg_sys::BTGreaterEqualStrategyNumber as pg_sys::StrategyNumber;
    // SAFETY: the operator's function is that of an int, as is the value.
    unsafe { pg_sys::ScanKeyInit(&mut key, column, from, pg_sys::F_INT4GE.into(), value.into()) };
    key
}

/// For a bigint column of an index, or one of a type that is stored and ordered as one.
fn is_from_bigint(column: i16, value: i64, at_least: u32) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let from = pg_sys::BTGreaterEqualStrategyNumber as pg_sys::StrategyNumber;
    // SAFETY: the caller says which operator's function is that of the column.
    unsafe { pg_sys::ScanKeyInit(&mut key, column, from, at_least.into(), value.into()) };
    key
}

fn is_name(column: i16, value: &str) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let value = value.into_datum().expect("a text is never NULL itself");
    // SAFETY: a key for a text column of an index with COLLATE "C".
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &mut key,
            0,
            column,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::InvalidOid,
            pg_sys::C_COLLATION_OID,
            pg_sys::F_TEXTEQ.into(),
            value,
        );
    }
    key
}

/// One column of a row comparison.
fn at_least(column: i16, compare: u32, value: pg_sys::Datum, last: bool) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let end = if last { pg_sys::SK_ROW_END } else { 0 };
    // SAFETY: the comparison function is that of the column's type.
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &mut key,
            (pg_sys::SK_ROW_MEMBER | end) as i32,
            column,
            pg_sys::BTGreaterEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            compare.into(),
            value,
        );
    }
    key
}
