//! enqueue: one job into the table. Where it stands there is for the table's triggers to say.

use super::new_job::{NewJob, TYPES, WITHOUT_KEY, insert};
use super::unique;
use crate::argument::{array, at_least_one, given, name, object, positive_span};
use crate::error::Error;
use crate::server::relation::lock_to_write;
use crate::server::session::Session;
use crate::server::statement::Statement;
use crate::server::time::{Timestamp, clock};
use crate::server::value::{Array, BigintArray, Jsonb};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

static INSERT: Statement = insert!("", "", "", WITHOUT_KEY);
static INSERT_LIMITED: Statement =
    insert!(", unique_key, time_limit", ", $12, $13", "", TYPES.len());

/// Puts it into its queue, and returns its id, or that of the job that has its key.
pub fn insert(session: &Session, now: Timestamp, job: &NewJob) -> Result<i64, Error> {
    if let Some(key) = job.unique_key {
        lock_to_write(c"jobs");
        return unique::insert(session, now, job, key);
    }
    let rows = match job.time_limit {
        None => session.run(&INSERT, &job.params(now)[..WITHOUT_KEY])?,
        Some(_) => session.run(&INSERT_LIMITED, &job.params(now))?,
    };
    given("id", rows.written("jobs")?.get(0, 1))
}

/// Puts a job into a queue and returns its id.
///
/// `task`: what kind of work it is, 1 to 1000 bytes; `args`: a JSON array; `queue`: 1 to 1000 bytes;
/// `priority`: higher ones first; `delay`: how long it may not start; `expire`: how long it is worth
/// starting (NULL: for ever); `attempts`: how often it may be tried, at least 1; `parents`: the ids of jobs
/// that must finish first; `lax`: whether failed parents will do; `notes`: a JSON object; `unique_key`: 1 to
/// 1000 bytes: while a job with this key is inactive or active, its id is returned and nothing is changed;
/// `time_limit`: how long an attempt may be active (NULL: as long as it likes) before repair fails it.
///
/// Raises 22004 for a NULL other than `expire`, `unique_key` and `time_limit`, 22023 for a duration that is negative
/// or over 10000 years, 23514 for a value that the table does not take. Semantics: Minion's `enqueue`.
#[pg_extern(name = "enqueue")]
#[allow(clippy::too_many_arguments)]
pub fn enqueue_limited(
    task: Option<&str>,
    args: default!(Option<Jsonb>, "'[]'"),
    queue: default!(Option<&str>, "'default'"),
    priority: default!(Option<i32>, "0"),
    delay: default!(Option<Interval>, "'0'"),
    expire: default!(Option<Interval>, "NULL"),
    attempts: default!(Option<i32>, "1"),
    parents: default!(Option<BigintArray>, "'{}'"),
    lax: default!(Option<bool>, "false"),
    notes: default!(Option<Jsonb>, "'{}'"),
    unique_key: default!(Option<&str>, "NULL"),
    time_limit: default!(Option<Interval>, "NULL"),
) -> Result<i64, ErrorReport> {
    let job = NewJob {
        task: name("task", given("task", task)?)?,
        args: array("args", given("args", args)?)?,
        queue: name("queue", given("queue", queue)?)?,
        priority: given("priority", priority)?,
        delay: positive_span("delay", given("delay", delay)?)?,
        expire: expire.map(|expire| positive_span("expire", expire)).transpose()?,
        attempts: at_least_one(given("attempts", attempts)?)?,
        parents: given("parents", parents)?.without_nulls("parents")?,
        lax: given("lax", lax)?,
        notes: object("notes", given("notes", notes)?)?,
        unique_key: unique_key.map(|key| name("unique_key", key)).transpose()?,
        time_limit: time_limit.map(|limit| positive_span("time_limit", limit)).transpose()?,
    };
    Ok(Session::with(|session| insert(session, clock(), &job))?)
}
