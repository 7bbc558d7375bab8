//! The end of an attempt: finish_job, finish_jobs, fail_job, and the automatic retry.

use crate::argument::{given, positive_span};
use crate::error::Error;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::value::{Array, BigintArray, IntArray, Jsonb, JsonbArray};
use crate::settings;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// The state is compared as a cast parameter everywhere here: with a literal the planner likes the small
/// partial index of active jobs better than the key, and that one is full of dead entries.
static FINISH: Statement = Statement::new(
    "UPDATE minion.jobs
    SET state = 'finished', finished = $3, result = $4
    WHERE id = $1 AND retries = $2 AND state = $5::minion.job_state",
    &[pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::TIMESTAMPTZOID, pg_sys::JSONBOID, pg_sys::TEXTOID],
);

/// Rows are locked in id order, so that two calls never wait for each other crosswise.
static FINISH_MANY: Statement = Statement::new(
    "WITH attempt AS MATERIALIZED (
        SELECT job.id, done.result
        FROM ROWS FROM (
            pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($4)
        ) AS done (id, retries, result)
        JOIN minion.jobs AS job ON job.id = done.id
        WHERE job.retries = done.retries AND job.state = $5::minion.job_state
        ORDER BY job.id
        FOR UPDATE OF job
    )
    UPDATE minion.jobs AS job
    SET state = 'finished', finished = $3, result = attempt.result
    FROM attempt
    WHERE job.id = attempt.id
    RETURNING job.id",
    &[
        pg_sys::INT8ARRAYOID,
        pg_sys::INT4ARRAYOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::JSONBARRAYOID,
        pg_sys::TEXTOID,
    ],
);

/// One attempt less and back into the queue while there are attempts left, else failed. The end of `retries` is
/// reached by plain SQL alone; there it stays, and no longer tells one attempt from the next, so that a late
/// handle may end a newer attempt.
static FAIL: Statement = Statement::new(
    "UPDATE minion.jobs AS job
    SET state = CASE WHEN attempts > 1 THEN 'inactive' ELSE 'failed' END::minion.job_state,
        finished = $3,
        result = $4,
        attempts = CASE WHEN attempts > 1 THEN (attempts - 1) ELSE 1 END,
        retries = CASE WHEN attempts > 1 THEN (LEAST(retries, 2147483646) + 1) ELSE retries END,
        retried = CASE WHEN attempts > 1 THEN $3 ELSE retried END,
        delayed = CASE WHEN attempts > 1 THEN ($3 + $5) ELSE delayed END,
        -- Where the trigger would put it, so that it need not move it.
        parked_until = CASE WHEN attempts > 1 AND ($3 + $5) > $3 THEN ($3 + $5) END,
        waits_for = NULL
    WHERE id = $1 AND retries = $2 AND state = $6::minion.job_state",
    &[
        pg_sys::INT8OID,
        pg_sys::INT4OID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::JSONBOID,
        pg_sys::INTERVALOID,
        pg_sys::TEXTOID,
    ],
);

/// Finishes a job.
///
/// `id`, `retries`: as dequeue returned them; `result`: any JSON. True if it was done; false if the job is
/// not active or was retried since, so that an old handle changes nothing.
///
/// Raises 22004 for a NULL id or retries. Semantics: Minion's `finish_job`.
#[pg_extern]
fn finish_job(
    id: Option<i64>,
    retries: Option<i32>,
    result: default!(Option<Jsonb>, "NULL"),
) -> Result<bool, ErrorReport> {
    let (id, retries) = (given("id", id)?, given("retries", retries)?);
    Ok(Session::with(|session| {
        session
            .run(&FINISH, params![id, retries, clock(), result, "active"])
            .map(|rows| rows.count() > 0)
    })?)
}

/// Finishes many jobs in one statement and returns the ids of those that were finished, in id order.
///
/// `ids`, `retries`, `results`: arrays of the same length, as for finish_job; `results` NULL: none.
///
/// Raises 22004 for a NULL in ids or retries, 22023 for arrays of different lengths.
#[pg_extern]
fn finish_jobs(
    ids: Option<BigintArray>,
    retries: Option<IntArray>,
    results: default!(Option<JsonbArray>, "NULL"),
) -> Result<SetOfIterator<'static, i64>, ErrorReport> {
    let ids = given("ids", ids)?.without_nulls("ids")?;
    let retries = given("retries", retries)?.without_nulls("retries")?;
    for (argument, length) in
        [("retries", Some(retries.len())), ("results", results.map(JsonbArray::len))]
    {
        if length.is_some_and(|length| length != ids.len()) {
            return Err(Error::value(
                argument,
                format!("{} for {} ids", length.unwrap_or(0), ids.len()),
                "must have one element for each id",
                "Pass arrays of the same length, in the same order.",
            )
            .into());
        }
    }
    let mut finished: Vec<i64> = Session::with(|session| {
        session
            .run(&FINISH_MANY, params![ids, retries, clock(), results, "active"])
            .map(|rows| rows.column(1))
    })?;
    finished.sort_unstable();
    Ok(SetOfIterator::new(finished))
}

/// Ends an attempt as failed: the job is retried automatically after a delay while it has attempts left,
/// and has failed otherwise.
///
/// `id`, `retries`: as dequeue returned them; `result`: any JSON, such as the error; `retry_delay`: instead
/// of backoff(retries). True if it was done, also when that led to a retry; false if the job is not active
/// or was retried since.
///
/// Raises 22004 for a NULL id or retries, 22023 for a negative delay. Semantics: Minion's `fail_job`.
#[pg_extern]
fn fail_job(
    id: Option<i64>,
    retries: Option<i32>,
    result: default!(Option<Jsonb>, "NULL"),
    retry_delay: default!(Option<Interval>, "NULL"),
) -> Result<bool, ErrorReport> {
    let (id, retries) = (given("id", id)?, given("retries", retries)?);
    let delay = retry_delay.map(|delay| positive_span("retry_delay", delay)).transpose()?;
    Ok(Session::with(|session| fail(session, clock(), id, retries, result, delay))?)
}

/// What fail_job does, for repair too. Whether the job was active with these `retries`.
pub fn fail(
    session: &Session,
    now: Timestamp,
    id: i64,
    retries: i32,
    result: Option<Jsonb>,
    delay: Option<Interval>,
) -> Result<bool, Error> {
    let delay = delay.unwrap_or_else(|| settings::backoff(retries));
    let rows = session.run(&FAIL, params![id, retries, now, result, delay, "active"])?;
    Ok(rows.count() > 0)
}

/// How long an automatic retry waits: (retries ^ 4 + 15) seconds, unless minion.backoff_base,
/// minion.backoff_exponent and minion.backoff_max say otherwise; 100 years at the most.
///
/// `retries`: how often the job was retried before. Raises 22004 for NULL, 22023 for a negative number.
/// Semantics: Minion's default `backoff`.
#[pg_extern(stable, parallel_safe)]
fn backoff(retries: Option<i32>) -> Result<Interval, ErrorReport> {
    let retries = given("retries", retries)?;
    if retries < 0 {
        return Err(Error::value(
            "retries",
            retries,
            "must not be negative",
            "Pass how often the job was retried before, 0 for a first attempt.",
        )
        .into());
    }
    Ok(settings::backoff(retries))
}
