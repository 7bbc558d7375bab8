//! enqueue: one job into the table. Where it stands there is for the table's triggers to say.

use super::argument::{array, at_least_one, given, name, object, positive_span};
use crate::statement::value::{Array, BigintArray, Jsonb};
use crate::statement::{Session, Statement, clock, params};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

static INSERT: Statement = Statement::new(
    "INSERT INTO minion.jobs (
        created, delayed, expires,
        args, attempts, lax, notes, parents, priority, queue, task)
    VALUES ($1, $1 + $2, $1 + $3, $4, $5, $6, $7, $8, $9, $10, $11)
    RETURNING id",
    &[
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
    ],
);

/// Puts a job into a queue and returns its id.
///
/// `task`: what kind of work it is, 1 to 1000 bytes; `args`: a JSON array; `queue`: 1 to 1000 bytes;
/// `priority`: higher ones first; `delay`: how long it may not start; `expire`: how long it is worth
/// starting (NULL: for ever); `attempts`: how often it may be tried, at least 1; `parents`: the ids of jobs
/// that must finish first; `lax`: whether failed parents will do; `notes`: a JSON object.
///
/// Raises 22004 for a NULL other than `expire`, 22023 for a duration that is negative or over 10000 years,
/// 23514 for a value that the table does not take. Semantics: Minion's `enqueue`.
#[pg_extern]
#[allow(clippy::too_many_arguments)]
fn enqueue(
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
) -> Result<i64, ErrorReport> {
    let task = name("task", given("task", task)?)?;
    let args = array("args", given("args", args)?)?;
    let queue = name("queue", given("queue", queue)?)?;
    let priority = given("priority", priority)?;
    let delay = positive_span("delay", given("delay", delay)?)?;
    let expire = expire.map(|expire| positive_span("expire", expire)).transpose()?;
    let attempts = at_least_one(given("attempts", attempts)?)?;
    let parents = given("parents", parents)?.without_nulls("parents")?;
    let lax = given("lax", lax)?;
    let notes = object("notes", given("notes", notes)?)?;
    let id = Session::with(|session| {
        let rows = session.run(
            &INSERT,
            params![
                clock(),
                delay,
                expire,
                args,
                attempts,
                lax,
                notes,
                parents,
                priority,
                queue,
                task
            ],
        )?;
        Ok(rows.get(0, 1))
    })?;
    Ok(given("id", id)?)
}
