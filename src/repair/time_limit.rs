//! Active jobs that have exceeded their time limit, whoever has them.

use super::abandoned::lock_active;
use super::budget::Budget;
use super::call::{Call, Did};
use super::walk::{Cursor, Found, walk};
use crate::error::Error;
use crate::job::finish::fail as fail_attempt;
use crate::server::guard::guarded;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use pgrx::pg_sys;
use std::cell::Cell;

/// The active jobs that have a limit, as `jobs_time_limit` has them.
macro_rules! limited {
    () => {
        "state = 'active' AND time_limit IS NOT NULL AND minion.time_limit_ends(started, time_limit)"
    };
}

/// From a place in the index on, for what can't be failed stays where it is.
static NEXT_EXCEEDED: Statement = Statement::new(
    concat!(
        "SELECT id, minion.time_limit_ends(started, time_limit)
        FROM minion.jobs
        WHERE ",
        limited!(),
        " <= $1 AND (minion.time_limit_ends(started, time_limit), id) >= ($2, $3)
        ORDER BY minion.time_limit_ends(started, time_limit), id
        LIMIT 10001"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
)
.in_index_order();

/// Those of the locked jobs that still have: another attempt may have begun, or the limit been changed.
static EXCEEDED: Statement = Statement::new(
    "SELECT id, retries, worker
    FROM minion.jobs
    WHERE id = ANY ($1) AND state = $2::minion.job_state
      AND minion.time_limit_ends(started, time_limit) <= $3
    ORDER BY id",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

/// A worker whose row somebody has is not waited for: he finds out when he ends the attempt. So their rows may be
/// locked after those of their jobs.
static STOP: Statement = Statement::new(
    "WITH stopped AS MATERIALIZED (
        SELECT job.worker, pg_catalog.jsonb_agg(
            pg_catalog.jsonb_build_array('stop', job.id) ORDER BY job.id) AS commands
        FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS job (id, worker)
        GROUP BY job.worker
    ), addressee AS MATERIALIZED (
        SELECT id
        FROM minion.workers
        WHERE id = ANY ($2)
        ORDER BY id
        FOR UPDATE SKIP LOCKED
    )
    UPDATE minion.workers AS worker
    SET inbox = worker.inbox || stopped.commands
    FROM addressee
    JOIN stopped ON stopped.worker = addressee.id
    WHERE worker.id = addressee.id",
    &[pg_sys::INT8ARRAYOID, pg_sys::INT8ARRAYOID],
);

/// Those that plain SQL has made active, without saying since when. They stand at the end of the index, where no
/// comparison gets.
static NEXT_UNDATED: Statement = Statement::new(
    concat!(
        "SELECT id
        FROM minion.jobs
        WHERE ",
        limited!(),
        " IS NULL AND id >= $1
        ORDER BY minion.time_limit_ends(started, time_limit), id
        LIMIT 10001"
    ),
    &[pg_sys::INT8OID],
)
.in_index_order();

static DATE: Statement = Statement::new(
    "UPDATE minion.jobs
    SET started = $1
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM minion.jobs
        WHERE id = ANY ($2) AND state = $3::minion.job_state AND time_limit IS NOT NULL AND started IS NULL
        ORDER BY id
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID, pg_sys::TEXTOID],
);

static NEXT_END: Statement = Statement::new(
    concat!(
        "SELECT minion.time_limit_ends(started, time_limit)
        FROM minion.jobs
        WHERE ",
        limited!(),
        " > $1
        ORDER BY minion.time_limit_ends(started, time_limit), id
        LIMIT 1"
    ),
    &[pg_sys::TIMESTAMPTZOID],
)
.in_index_order();

static MESSAGE: Statement =
    Statement::new("SELECT '\"Job exceeded its time limit\"'::pg_catalog.jsonb", &[]);

/// When the next active job that has not exceeded its limit at a time will do so; infinity for none. Those that have
/// by then and are active still, [`fail`] could not fail: they have their turn in the next repair.
pub fn next_end(session: &Session, after: Timestamp) -> Result<Timestamp, Error> {
    if !session.has_time_limits()? {
        return Ok(Timestamp::INFINITY);
    }
    let rows = session.run(&NEXT_END, params![after])?;
    Ok(rows.column(1).pop().unwrap_or(Timestamp::INFINITY))
}

/// Fails them, or has them tried again, and tells their workers to stop.
pub fn fail(call: &Call, budget: &Budget, _: &mut Did) -> Result<(), Error> {
    let Call { session, now, .. } = *call;
    if !session.has_time_limits()? {
        return Ok(());
    }
    let message = session.run(&MESSAGE, &[])?;
    let warned = Cell::new(false);
    let fail = |ids: Vec<i64>| {
        let locked = lock_active(session, ids)?;
        let rows = session.run(&EXCEEDED, params![locked, "active", now])?;
        let (mut count, mut stopped, mut workers) = (0, Vec::new(), Vec::new());
        for row in 0..rows.count() {
            let id: i64 = rows.get(row, 1).expect("id is NOT NULL");
            let retries = rows.get(row, 2).expect("retries is NOT NULL");
            // A trigger of the user's may have kept it as it was.
            if !fail_attempt(session, now, id, retries, message.get(0, 1), None)? {
                continue;
            }
            count += 1;
            if let Some(worker) = rows.get::<i64>(row, 3) {
                stopped.push(id);
                workers.push(worker);
            }
        }
        if !stopped.is_empty()
            && let Err(failure) =
                guarded(|| session.run(&STOP, params![stopped, workers]).map(drop))
            && !warned.replace(true)
        {
            failure.pass_over("telling workers to stop");
        }
        Ok(count)
    };
    let (mut cursor, mut from) = (Cursor::default(), (Timestamp::BEFORE_ALL, i64::MIN));
    let find = |most| {
        let rows = session.run_at_most(&NEXT_EXCEEDED, params![now, from.0, from.1], most + 1)?;
        let found = cursor.next(&rows, most);
        if let Some(id) = found.ids.last() {
            from = (rows.get(rows.count() - 1, 2).expect("the comparison excludes NULL"), *id);
        }
        Ok(found)
    };
    walk(call, &budget.half(), "job", find, fail)?;
    date(call, budget)
}

/// Those that have no beginning begin now.
fn date(call: &Call, budget: &Budget) -> Result<(), Error> {
    let (mut cursor, mut last) = (Cursor::default(), i64::MIN);
    let find = |most| {
        let rows = call.session.run_at_most(&NEXT_UNDATED, params![last], most + 1)?;
        let found: Found = cursor.next(&rows, most);
        last = found.ids.last().copied().unwrap_or(last);
        Ok(found)
    };
    let date = |ids| Ok(call.session.run(&DATE, params![call.now, ids, "active"])?.count());
    walk(call, budget, "job", find, date).map(drop)
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use super::next_end;
    use crate::server::session::Session;
    use crate::server::time::Timestamp;
    use pgrx::prelude::*;

    #[pg_test]
    fn the_next_end_is_that_of_the_active_job_that_is_out_of_time_first() {
        let next =
            |after| Session::with(|session| next_end(session, Timestamp(after))).expect("SQL");
        let end = |id: i64| {
            let sql = "SELECT minion.time_limit_ends(started, time_limit) FROM minion.jobs WHERE task = $1";
            let task = id.to_string();
            let end = Spi::get_one_with_args::<TimestampWithTimeZone>(sql, &[task.as_str().into()]);
            i64::from(end.expect("SQL").expect("a time"))
        };
        assert_eq!(next(i64::MIN), Timestamp::INFINITY);
        Spi::run(
            "INSERT INTO minion.jobs (task, state, started, time_limit) VALUES
                ('1', 'active', now(), '1 hour'),
                ('2', 'active', now() - interval '1 day', '1 hour'),
                ('3', 'active', now() - interval '1 day', '25 hours 1 second'),
                ('4', 'active', now(), NULL),
                ('5', 'active', NULL, '1 second'),
                ('6', 'inactive', now(), '1 second'),
                ('7', 'active', 'infinity', '1 second')",
        )
        .expect("SQL");
        assert_eq!(next(i64::MIN).0, end(2));
        assert_eq!(next(end(2)).0, end(1));
        assert_eq!(next(end(1)).0, end(3));
        assert_eq!(next(end(3)), Timestamp::INFINITY);
    }
}
