//! Changes to a job from outside of an attempt: retry_job, remove_job, note, cancel_job.

use crate::argument::{at_least_one, given, name, object, positive_span};
use crate::server::relation::lock_to_write;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::clock;
use crate::server::value::{Array, BigintArray, Jsonb};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

macro_rules! retry {
    ($time_limit:literal, $count:expr) => {
        Statement::new(
            concat!(
                "UPDATE minion.jobs
                SET state = 'inactive',
                    -- At its end, see FAIL in finish.rs.
                    retries = (LEAST(retries, 2147483646) + 1),
                    retried = $3,
                    delayed = $3 + $4,
                    -- Where the trigger would put it, so that it need not move it.
                    parked_until = CASE WHEN ($3 + $4) > $3 THEN ($3 + $4) END,
                    waits_for = NULL,
                    expires = coalesce($3 + $5, expires),
                    attempts = coalesce($6, attempts),
                    lax = coalesce($7, lax),
                    parents = coalesce($8, parents),
                    priority = coalesce($9, priority),
                    queue = coalesce($10, queue)",
                $time_limit,
                " WHERE id = $1 AND retries = $2"
            ),
            RETRY_TYPES.split_at($count).0,
        )
    };
}

const RETRY_TYPES: &[pg_sys::Oid] = &[
    pg_sys::INT8OID,
    pg_sys::INT4OID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INTERVALOID,
    pg_sys::INTERVALOID,
    pg_sys::INT4OID,
    pg_sys::BOOLOID,
    pg_sys::INT8ARRAYOID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::INTERVALOID,
];

/// An older version of the extension has no such column.
const WITHOUT_LIMIT: usize = RETRY_TYPES.len() - 1;

static RETRY: Statement = retry!("", WITHOUT_LIMIT);
static RETRY_LIMITED: Statement = retry!(", time_limit = $11", RETRY_TYPES.len());

static REMOVE: Statement = Statement::new(
    "DELETE FROM minion.jobs WHERE id = $1 AND state <> $2::minion.job_state",
    &[pg_sys::INT8OID, pg_sys::TEXTOID],
);

static CANCEL: Statement = Statement::new(
    "UPDATE minion.jobs
    SET state = 'failed', finished = $2, parked_until = NULL, waits_for = NULL, result = '\"Canceled\"'
    WHERE id = $1 AND state = $3::minion.job_state",
    &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TEXTOID],
);

/// The worker's row is locked before the job's, as everybody does who changes both. It may be gone.
static LOCK_WORKER: Statement = Statement::new(
    "SELECT worker.id
    FROM minion.jobs AS job
    JOIN minion.workers AS worker ON worker.id = job.worker
    WHERE job.id = $1 AND job.state = $2::minion.job_state
    FOR UPDATE OF worker",
    &[pg_sys::INT8OID, pg_sys::TEXTOID],
);

static STOP: Statement = Statement::new(
    "WITH stopped AS (
        UPDATE minion.jobs
        SET attempts = 1
        WHERE id = $1 AND state = $2::minion.job_state
        RETURNING id, worker
    ), told AS (
        UPDATE minion.workers AS worker
        SET inbox = worker.inbox || pg_catalog.jsonb_build_array(
            pg_catalog.jsonb_build_array('stop', stopped.id))
        FROM stopped
        WHERE worker.id = stopped.worker
    )
    SELECT id FROM stopped",
    &[pg_sys::INT8OID, pg_sys::TEXTOID],
);

/// Only the keys that the caller set to null are taken out: nulls deeper down, and those that were there
/// before, are data.
static NOTE: Statement = Statement::new(
    "UPDATE minion.jobs
    SET notes = (notes || $2) - ARRAY(
        SELECT pair.key FROM pg_catalog.jsonb_each($2) AS pair WHERE pair.value = 'null')
    WHERE id = $1",
    &[pg_sys::INT8OID, pg_sys::JSONBOID],
);

/// Puts a job back into its queue, from any state.
///
/// `id`, `retries`: which attempt is meant, so that a job is not retried twice by accident; `delay`: how
/// long it may not start; the others replace what the job has, NULL keeps it; `expire` counts from now.
/// Result, worker, started and finished stay as they are. True if it was done; false if the job is gone
/// or was retried since.
///
/// Raises 22004 for a NULL id, retries or delay, 22023 for a duration that is negative or over 10000
/// years, 23514 for a value that the table does not take. Semantics: Minion's `retry_job`.
#[pg_extern(name = "retry_job")]
#[allow(clippy::too_many_arguments)]
pub fn retry_limited(
    id: Option<i64>,
    retries: Option<i32>,
    attempts: default!(Option<i32>, "NULL"),
    delay: default!(Option<Interval>, "'0'"),
    expire: default!(Option<Interval>, "NULL"),
    lax: default!(Option<bool>, "NULL"),
    parents: default!(Option<BigintArray>, "NULL"),
    priority: default!(Option<i32>, "NULL"),
    queue: default!(Option<&str>, "NULL"),
    time_limit: default!(Option<Interval>, "NULL"),
) -> Result<bool, ErrorReport> {
    let (id, retries) = (given("id", id)?, given("retries", retries)?);
    let attempts = attempts.map(at_least_one).transpose()?;
    let delay = positive_span("delay", given("delay", delay)?)?;
    let expire = expire.map(|expire| positive_span("expire", expire)).transpose()?;
    let parents = parents.map(|parents| parents.without_nulls("parents")).transpose()?;
    let queue = queue.map(|queue| name("queue", queue)).transpose()?;
    let time_limit = time_limit.map(|limit| positive_span("time_limit", limit)).transpose()?;
    let params = params![
        id,
        retries,
        clock(),
        delay,
        expire,
        attempts,
        lax,
        parents,
        priority,
        queue,
        time_limit
    ];
    Ok(Session::with(|session| {
        let rows = match time_limit {
            None => session.run(&RETRY, &params[..WITHOUT_LIMIT])?,
            Some(_) => session.run(&RETRY_LIMITED, params)?,
        };
        Ok(rows.count() > 0)
    })?)
}

/// Removes a job that is not active; its children go on without it. True if it was done.
///
/// Raises 22004 for NULL. Semantics: Minion's `remove_job`.
#[pg_extern]
fn remove_job(id: Option<i64>) -> Result<bool, ErrorReport> {
    let id = given("id", id)?;
    Ok(Session::with(|session| {
        session.run(&REMOVE, params![id, "active"]).map(|rows| rows.count() > 0)
    })?)
}

/// Merges an object into a job's notes, in any state.
///
/// `merge`: its top-level keys replace those of the notes, and a null removes one; nulls deeper down stay.
/// True if the job exists.
///
/// Raises 22004 for NULL, 23514 if `merge` is not an object. Semantics: Minion's `note`.
#[pg_extern]
fn note(id: Option<i64>, merge: Option<Jsonb>) -> Result<bool, ErrorReport> {
    let id = given("id", id)?;
    let merge = object("merge", given("merge", merge)?)?;
    Ok(Session::with(|session| {
        session.run(&NOTE, params![id, merge]).map(|rows| rows.count() > 0)
    })?)
}

/// Keeps a job from being run, or from being run again. True if it was done.
///
/// An inactive job fails with the result "Canceled". For an active one the command `["stop", id]` is put into
/// its worker's inbox, and its automatic retries are used up: when it fails, it has failed for good. False
/// for a job that has ended, or does not exist.
///
/// Raises 22004 for NULL. Semantics of the command: Minion's `stop`.
#[pg_extern]
fn cancel_job(id: Option<i64>) -> Result<bool, ErrorReport> {
    let id = given("id", id)?;
    Ok(Session::with(|session| {
        lock_to_write(c"jobs");
        lock_to_write(c"workers");
        // It may be claimed, or given back, between two statements.
        for _ in 0..3 {
            if session.run(&CANCEL, params![id, clock(), "inactive"])?.count() > 0 {
                return Ok(true);
            }
            session.run(&LOCK_WORKER, params![id, "active"])?;
            if session.run(&STOP, params![id, "active"])?.count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    })?)
}
