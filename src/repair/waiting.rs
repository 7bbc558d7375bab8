//! Inactive jobs that nobody will ever claim, and those whose time has come.

use super::anywhere::{self, InLane, by_turns};
use super::budget::Budget;
use super::call::{Call, Did};
use super::walk::{Cursor, walk};
use crate::error::Error;
use crate::server::invalidation;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use crate::server::types::Typed;
use crate::settings;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::thread::LocalKey;

/// From a place in the index on: what was passed over must not be walked over again.
static FIND_EXPIRED: Statement = Statement::new(
    "SELECT id, expires
    FROM minion.jobs
    WHERE state = 'inactive' AND expires <= $1 AND (expires, id) >= ($2, $3)
    ORDER BY expires, id
    LIMIT 10001",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
)
.in_index_order();

static REMOVE_EXPIRED: Statement = Statement::new(
    "DELETE FROM minion.jobs
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM minion.jobs
        WHERE id = ANY ($2) AND state = $3::minion.job_state AND expires <= $1
        ORDER BY id
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID, pg_sys::TEXTOID],
);

/// Whether nobody has said that the job is not to start.
macro_rules! unhindered {
    () => {
        "NOT EXISTS (
            SELECT
            FROM minion.paused_queues AS paused
            WHERE paused.queue = next.queue)
         AND NOT EXISTS (
            SELECT
            FROM minion.limit_rules AS rule
            WHERE (rule.max_active = 0 OR rule.max_starts = 0)
              AND (rule.queue = '' OR rule.queue = next.queue)
              AND (rule.task = '' OR rule.task = next.task))"
    };
}

/// The next ten thousand ready jobs, and which of them are stuck: no index tells these from a long queue's
/// others, and a look that may have to go through all of them would not end in time. Ready and parked jobs
/// stand in two indexes.
static NEXT_READY: Statement = Statement::new(
    concat!(
        "WITH next AS MATERIALIZED (
        SELECT id, queue, task, ~priority AS rank, delayed
        FROM minion.jobs
        WHERE state = 'inactive' AND parked_until IS NULL
          AND (queue, task, ~priority, id) > ($3, $4, $5, $6)
        ORDER BY queue, task, ~priority, id
        LIMIT 10000
    )
    SELECT id, queue, task, rank, (delayed < ($1 - $2) AND ",
        unhindered!(),
        ")
    FROM next"
    ),
    &[
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INTERVALOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
    ],
)
.in_index_order();

static NEXT_PARKED: Statement = Statement::new(
    concat!(
        "WITH next AS MATERIALIZED (
        SELECT id, queue, task, parked_until, delayed
        FROM minion.jobs
        WHERE state = 'inactive' AND parked_until IS NOT NULL
          AND (queue, task, parked_until, id) > ($3, $4, $5, $6)
        ORDER BY queue, task, parked_until, id
        LIMIT 10000
    )
    SELECT id, queue, task, parked_until, (delayed < ($1 - $2) AND ",
        unhindered!(),
        ")
    FROM next"
    ),
    &[
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INTERVALOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INT8OID,
    ],
)
.in_index_order();

static FAIL_STUCK: Statement = Statement::new(
    "UPDATE minion.jobs
    SET state = 'failed', finished = $1, parked_until = NULL, waits_for = NULL,
        result = '\"Job appears stuck in queue\"'
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM minion.jobs
        WHERE id = ANY ($2) AND state = $3::minion.job_state AND delayed < ($1 - $4)
        ORDER BY id
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID, pg_sys::TEXTOID, pg_sys::INTERVALOID],
);

thread_local! {
    /// Where the walks over all inactive jobs have got to.
    static READY: RefCell<Option<InLane<i32>>> = const { RefCell::new(None) };
    static PARKED: RefCell<Option<InLane<Timestamp>>> = const { RefCell::new(None) };
}

/// Removes what has expired.
pub fn remove_expired(call: &Call, budget: &Budget, did: &mut Did) -> Result<(), Error> {
    let (mut cursor, mut expires, mut last) = (Cursor::default(), Timestamp(i64::MIN), i64::MIN);
    let find = |most| {
        let params = params![call.now, expires, last];
        let rows = call.session.run_at_most(&FIND_EXPIRED, params, most + 1)?;
        let found = cursor.next(&rows, most);
        if let Some(&id) = found.ids.last() {
            last = id;
            expires = rows.get(rows.count() - 1, 2).expect("the comparison excludes NULL");
        }
        Ok(found)
    };
    did.jobs_expired += walk(call, budget, "job", find, |ids| {
        Ok(call.session.run(&REMOVE_EXPIRED, params![call.now, ids, "inactive"])?.count())
    })?
    .done;
    Ok(())
}

/// Fails the jobs that nobody has claimed for minion.stuck_after.
pub fn fail_stuck(call: &Call, budget: &Budget, did: &mut Did) -> Result<(), Error> {
    // Not with an older version of the extension: there is nothing that could tell what is paused.
    if invalidation::exist() {
        fail_stuck_of(call, budget, did, &NEXT_READY, (&READY, i32::MIN), anywhere::ready)?;
        let parked = (&PARKED, Timestamp::BEFORE_ALL);
        fail_stuck_of(call, budget, did, &NEXT_PARKED, parked, anywhere::parked)?;
    }
    Ok(())
}

fn fail_stuck_of<T: Typed + Copy>(
    call: &Call,
    budget: &Budget,
    did: &mut Did,
    next: &Statement,
    turns: (&'static LocalKey<RefCell<Option<InLane<T>>>>, T),
    anywhere: impl FnOnce(&Call) -> Result<Option<InLane<T>>, Error>,
) -> Result<(), Error> {
    let after = settings::stuck_after();
    let look = |(queue, task, third, id): &InLane<T>| {
        let params = params![call.now, after, queue.as_str(), task.as_str(), *third, *id];
        call.session.run(next, params)
    };
    did.jobs_stuck += by_turns(call, budget, turns, anywhere, look, |ids| {
        Ok(call.session.run(&FAIL_STUCK, params![call.now, ids, "inactive", after])?.count())
    })?;
    Ok(())
}
