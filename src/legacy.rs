//! C functions of earlier versions. The SQL of such a version goes on calling them between the installation of this
//! library and ALTER EXTENSION UPDATE; that of this one calls none of them.

use crate::job::change::retry_limited;
use crate::job::enqueue::enqueue_limited;
use crate::job::outcome::{has_ended_within, outcome_without_limit};
use crate::repair::do_all;
use crate::schedule::schedule_limited;
use crate::server::value::{BigintArray, Jsonb, Record};
use crate::worker::register::register;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// enqueue() before 0.3.0, without unique keys. Its symbol is the one that has the function's name.
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
    enqueue_limited(
        task, args, queue, priority, delay, expire, attempts, parents, lax, notes, None, None,
    )
}

/// enqueue() before 0.5.0, without time limits.
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn enqueue_unique(
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
    key: Option<&str>,
) -> Result<i64, ErrorReport> {
    enqueue_limited(
        task, args, queue, priority, delay, expire, attempts, parents, lax, notes, key, None,
    )
}

/// retry_job() before 0.5.0.
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn retry_job(
    id: Option<i64>,
    retries: Option<i32>,
    attempts: Option<i32>,
    delay: Option<Interval>,
    expire: Option<Interval>,
    lax: Option<bool>,
    parents: Option<BigintArray>,
    priority: Option<i32>,
    queue: Option<&str>,
) -> Result<bool, ErrorReport> {
    retry_limited(id, retries, attempts, delay, expire, lax, parents, priority, queue, None)
}

/// schedule() before 0.5.0.
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn schedule(
    name: Option<&str>,
    cron: Option<&str>,
    task: Option<&str>,
    args: Option<Jsonb>,
    queue: Option<&str>,
    priority: Option<i32>,
    expire: Option<Interval>,
    attempts: Option<i32>,
    lax: Option<bool>,
    notes: Option<Jsonb>,
    key: Option<&str>,
    timezone: Option<&str>,
) -> Result<i64, ErrorReport> {
    schedule_limited(
        name, cron, task, args, queue, priority, expire, attempts, lax, notes, key, timezone, None,
    )
}

/// wait_for_job() before 0.5.0, whose row had no time limit.
#[pg_extern(sql = false)]
fn wait_for_job(
    id: Option<i64>,
    timeout: Option<Interval>,
) -> Result<SetOfIterator<'static, Record>, ErrorReport> {
    Ok(SetOfIterator::new(outcome_without_limit(id, timeout)?))
}

/// What wait_for_job() was made of before 0.4.0.
#[pg_extern(sql = false)]
fn await_job(id: Option<i64>, timeout: Option<Interval>) -> Result<bool, ErrorReport> {
    Ok(has_ended_within(id, timeout)?)
}

/// repair() before 0.4.0, which did not say whether there is more.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn repair() -> Result<
    TableIterator<
        'static,
        (
            name!(workers_removed, i64),
            name!(jobs_removed, i64),
            name!(jobs_expired, i64),
            name!(jobs_abandoned, i64),
            name!(jobs_stuck, i64),
        ),
    >,
    ErrorReport,
> {
    let did = do_all()?;
    Ok(TableIterator::once((
        did.workers_removed,
        did.jobs_removed,
        did.jobs_expired,
        did.jobs_abandoned,
        did.jobs_stuck,
    )))
}

/// register_worker() before 0.5.0, without `attached`.
#[pg_extern(sql = false)]
fn register_worker(
    id: Option<i64>,
    host: Option<&str>,
    pid: Option<i32>,
    status: Option<Jsonb>,
) -> Result<i64, ErrorReport> {
    register(id, host, pid, status, None)
}
