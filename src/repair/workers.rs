//! Workers that nobody hears of any more.

use super::budget::Budget;
use super::call::{Call, Did};
use super::walk::{Cursor, Found, walk};
use crate::error::Error;
use crate::server::advisory::{locks_to_spare, try_lock_worker};
use crate::server::statement::{Statement, params};
use crate::settings;
use pgrx::pg_sys;
use std::cell::Cell;

/// From an id on: those that wait are silent and stay.
static FIND_SILENT: Statement = Statement::new(
    "SELECT id
    FROM minion.workers
    WHERE notified < ($1 - $2) AND id >= $3
    ORDER BY id
    LIMIT 10001",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID, pg_sys::INT8OID],
);

static LOCK_SILENT: Statement = Statement::new(
    "SELECT id
    FROM minion.workers
    WHERE id = ANY ($3) AND notified < ($1 - $2)
    ORDER BY id
    FOR UPDATE SKIP LOCKED",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID, pg_sys::INT8ARRAYOID],
);

static REMOVE: Statement =
    Statement::new("DELETE FROM minion.workers WHERE id = ANY ($1)", &[pg_sys::INT8ARRAYOID]);

/// A time to come, which only a clock that was wrong or plain SQL can have written, would keep them for ever.
macro_rules! is_ahead {
    () => {
        "notified > ($1 + '1 minute'::pg_catalog.interval)"
    };
}

static FIND_AHEAD: Statement = Statement::new(
    concat!(
        "SELECT id
        FROM minion.workers
        WHERE ",
        is_ahead!(),
        " AND id >= $2
        ORDER BY id
        LIMIT 10001"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
);

static HEARD_OF_NOW: Statement = Statement::new(
    concat!(
        "UPDATE minion.workers
        SET notified = $1
        WHERE id = ANY (ARRAY(
            SELECT id
            FROM minion.workers
            WHERE id = ANY ($2) AND ",
        is_ahead!(),
        " ORDER BY id
            FOR UPDATE SKIP LOCKED))"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID],
);

/// Workers that are said to have been heard of in the future count as heard of now: those that are gone are
/// missing after minion.missing_after.
pub fn mend_ahead(call: &Call, budget: &Budget, _: &mut Did) -> Result<(), Error> {
    let (mut cursor, mut last) = (Cursor::default(), i64::MIN);
    let find = |most| {
        let rows = call.session.run_at_most(&FIND_AHEAD, params![call.now, last], most + 1)?;
        let found = cursor.next(&rows, most);
        last = found.ids.last().copied().unwrap_or(last);
        Ok(found)
    };
    let mend = |ids| Ok(call.session.run(&HEARD_OF_NOW, params![call.now, ids])?.count());
    walk(call, budget, "worker", find, mend).map(drop)
}

/// Removes the silent ones, but not those that wait in a call.
pub fn remove_silent(call: &Call, budget: &Budget, did: &mut Did) -> Result<(), Error> {
    let missing = settings::missing_after();
    let (mut cursor, mut last) = (Cursor::default(), i64::MIN);
    // Each of them takes a lock until the end of the transaction.
    let spare = Cell::new(locks_to_spare());
    let find = |most: usize| {
        if spare.get() == 0 {
            budget.end();
            return Ok(Found { ids: Vec::new(), is_last: true });
        }
        let most = most.min(spare.get());
        let params = params![call.now, missing, last];
        let found = cursor.next(&call.session.run_at_most(&FIND_SILENT, params, most + 1)?, most);
        spare.set(spare.get().saturating_sub(found.ids.len()));
        last = found.ids.last().copied().unwrap_or(last);
        Ok(found)
    };
    let remove = |ids: Vec<i64>| {
        let silent: Vec<i64> =
            call.session.run(&LOCK_SILENT, params![call.now, missing, ids])?.column(1);
        let gone: Vec<i64> = silent.into_iter().filter(|id| try_lock_worker(*id)).collect();
        Ok(call.session.run(&REMOVE, params![gone])?.count())
    };
    did.workers_removed += walk(call, budget, "worker", find, remove)?.done;
    Ok(())
}
