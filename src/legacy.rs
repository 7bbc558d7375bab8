//! C functions of earlier versions. The SQL of such a version goes on calling them between the installation of this
//! library and ALTER EXTENSION UPDATE; that of this one calls none of them.

use crate::job::enqueue::enqueue_unique;
use crate::job::outcome::has_ended_within;
use crate::repair::do_all;
use crate::server::value::{BigintArray, Jsonb};
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
    enqueue_unique(task, args, queue, priority, delay, expire, attempts, parents, lax, notes, None)
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
