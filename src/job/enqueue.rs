//! enqueue: one job into the table. Where it stands there is for the table's triggers to say.

use super::argument::{array, at_least_one, given, name, object, positive_span};
use super::unique;
use crate::error::Error;
use crate::statement::lock::lock_to_write;
use crate::statement::value::{Array, BigintArray, Jsonb};
use crate::statement::{Param, Session, Statement, Timestamp, clock, params};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// What [`NewJob::params`] are; the last is the unique key.
pub const TYPES: &[pg_sys::Oid] = &[
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INTERVALOID,
    pg_sys::INTERVALOID,
    pg_sys::JSONBOID,
    pg_sys::INT4OID,
    pg_sys::BOOLOID,
    pg_sys::JSONBOID,
    pg_sys::INT8ARRAYOID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
];

/// Most jobs have no key, and an older version of the extension has no such column.
const WITHOUT_KEY: usize = TYPES.len() - 1;

static INSERT: Statement = Statement::new(
    "INSERT INTO minion.jobs (
        created, delayed, expires,
        args, attempts, lax, notes, parents, priority, queue, task)
    VALUES ($1, $1 + $2, $1 + $3, $4, $5, $6, $7, $8, $9, $10, $11)
    RETURNING id",
    TYPES.split_at(WITHOUT_KEY).0,
);

/// A job to be, as the arguments say.
pub struct NewJob<'a> {
    pub task: &'a str,
    pub args: Jsonb,
    pub queue: &'a str,
    pub priority: i32,
    pub delay: Interval,
    pub expire: Option<Interval>,
    pub attempts: i32,
    pub parents: BigintArray,
    pub lax: bool,
    pub notes: Jsonb,
    pub unique_key: Option<&'a str>,
}

impl NewJob<'_> {
    /// Puts it into its queue, and returns its id, or that of the job that has its key.
    pub fn insert(&self, session: &Session, now: Timestamp) -> Result<i64, Error> {
        if let Some(key) = self.unique_key {
            lock_to_write(c"jobs");
            return unique::insert(session, now, self, key);
        }
        let rows = session.run(&INSERT, &self.params(now)[..WITHOUT_KEY])?;
        given("id", rows.written("jobs")?.get(0, 1))
    }

    pub fn params(&self, now: Timestamp) -> [Param; TYPES.len()] {
        *params![
            now,
            self.delay,
            self.expire,
            self.args,
            self.attempts,
            self.lax,
            self.notes,
            self.parents,
            self.priority,
            self.queue,
            self.task,
            self.unique_key
        ]
    }
}

/// Puts a job into a queue and returns its id.
///
/// `task`: what kind of work it is, 1 to 1000 bytes; `args`: a JSON array; `queue`: 1 to 1000 bytes;
/// `priority`: higher ones first; `delay`: how long it may not start; `expire`: how long it is worth
/// starting (NULL: for ever); `attempts`: how often it may be tried, at least 1; `parents`: the ids of jobs
/// that must finish first; `lax`: whether failed parents will do; `notes`: a JSON object; `unique_key`: 1 to
/// 1000 bytes: while a job with this key is inactive or active, its id is returned and nothing is changed.
///
/// Raises 22004 for a NULL other than `expire` and `unique_key`, 22023 for a duration that is negative or
/// over 10000 years, 23514 for a value that the table does not take. Semantics: Minion's `enqueue`.
#[pg_extern(name = "enqueue")]
#[allow(clippy::too_many_arguments)]
fn enqueue_unique(
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
    };
    Ok(Session::with(|session| job.insert(session, clock()))?)
}

/// What `enqueue` was before there were unique keys: producers go on between the installation of this
/// library and ALTER EXTENSION UPDATE, which is when the SQL function becomes the one above.
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn enqueue(
    task: Option<&str>,
    args: Option<Jsonb>,
    queue: Option<&str>,
    priority: Option<i32>,
    delay: Option<Interval>,
    expire: Option<Interval>,
    attempts: Option<i32>,
    parents: Option<BigintArray>,
    lax: Option<bool>,
    notes: Option<Jsonb>,
) -> Result<i64, ErrorReport> {
    enqueue_unique(task, args, queue, priority, delay, expire, attempts, parents, lax, notes, None)
}
