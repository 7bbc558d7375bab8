//! Whether a worker is registered, and when it was heard of last.

use super::index::{Latest, Opened};
use super::keys::is_bigint;
use super::version::RowVersion;
use crate::server::relation::{may_read, oid_of};
use crate::server::time::Timestamp;
use crate::server::transaction::snapshot_is_fixed;
use crate::server::value::Jsonb;
use pgrx::{IntoDatum, pg_sys};
use std::cell::Cell;

/// Columns, by their place in `sql/tables.sql`.
const ID: i32 = 1;
const NOTIFIED: i32 = 3;
const STATUS: i32 = 6;
/// From here on: before an update of the extension others may have added some.
const ATTACHED: i32 = 8;

thread_local! {
    /// The worker whose row this session has written last, and where.
    static LAST: Cell<Option<(i64, RowVersion)>> = const { Cell::new(None) };
}

/// This session has written a worker's row.
pub fn written(worker: i64, ctid: pg_sys::ItemPointerData) {
    LAST.set(Some((worker, RowVersion::new(c"workers", ctid))));
}

/// A worker's row as this session has written it, if nobody has changed it since.
pub struct Heard {
    pub ctid: pg_sys::ItemPointerData,
    notified: Timestamp,
    same_status: bool,
    /// If it was asked for.
    pub attached: Option<Timestamp>,
}

/// Whether the caller may ask where a worker's row is.
pub fn may_look() -> bool {
    may_read(oid_of(c"workers"))
}

impl Heard {
    /// None if a statement has to look. `attached`: whether to say that too; an older version of the extension has no such
    /// column.
    pub fn of(worker: i64, status: Jsonb, attached: bool) -> Option<Self> {
        let (_, version) = LAST.get().filter(|(last, _)| *last == worker)?;
        version.look(c"workers", |found| {
            let same_worker = found.get::<i64>(ID) == Some(worker);
            same_worker.then_some(())?;
            Some(Self {
                ctid: version.ctid(),
                notified: found.get(NOTIFIED)?,
                same_status: is_equal(found.get(STATUS)?, status),
                attached: if attached { found.get_named(c"attached", ATTACHED) } else { None },
            })
        })
    }

    /// It was heard of just now, with the same status: to write that again would tell nobody anything.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        const RECENT_MICROS: i64 = 20_000;
        let ago = now.0.saturating_sub(self.notified.0);
        self.same_status && (0..RECENT_MICROS).contains(&ago)
    }
}

fn is_equal(one: Jsonb, other: Jsonb) -> bool {
    // SAFETY: the function takes two values of type jsonb.
    unsafe {
        pgrx::direct_function_call(pg_sys::jsonb_eq, &[one.into_datum(), other.into_datum()])
            == Some(true)
    }
}

/// Whether a worker is registered; None if a statement has to look.
pub fn is_registered(worker: i64) -> Option<bool> {
    let last = LAST.get().filter(|(last, _)| *last == worker);
    let is_it = last.and_then(|(_, version)| {
        version.look(c"workers", |found| (found.get::<i64>(ID) == Some(worker)).then_some(()))
    });
    if is_it.is_some() {
        return Some(true);
    }
    let workers = Opened::new(c"workers", c"workers_pkey")?;
    if snapshot_is_fixed() || !workers.is_readable() {
        return None;
    }
    let now = Latest::new();
    Some(workers.first(now.get(), &mut [is_bigint(worker)], |_| Some(())).is_some())
}
