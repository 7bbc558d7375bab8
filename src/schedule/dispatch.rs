//! dispatch_schedules: a job for each schedule whose time has come.

use super::pass_over::pass_over;
use super::time::{Rules, next_time};
use crate::argument::given;
use crate::error::Error;
use crate::failure::Failure;
use crate::job::new_job::NewJob;
use crate::job::{enqueue, unique};
use crate::server::advisory::try_lock_dispatch;
use crate::server::guard::guarded;
use crate::server::relation::lock_to_write;
use crate::server::rows::Rows;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::check_for_interrupts;
use crate::server::value::BigintArray;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// One that somebody is changing has its turn the next time.
macro_rules! due {
    ($time_limit:literal) => {
        Statement::new(
            concat!(
                "SELECT id, name, cron, timezone, task, args, queue, priority, expire, attempts, lax, notes,
                    unique_key, ",
                $time_limit,
                " FROM minion.schedules
                WHERE next_run <= $1 AND NOT paused
                ORDER BY next_run, id
                FOR UPDATE SKIP LOCKED"
            ),
            &[pg_sys::TIMESTAMPTZOID],
        )
    };
}

static DUE: Statement = due!("time_limit");
/// An older version of the extension has no such column.
static DUE_WITHOUT_LIMIT: Statement = due!("NULL::pg_catalog.interval");

static RAN: Statement = Statement::new(
    "UPDATE minion.schedules SET last_job = $2, last_run = $3, next_run = $4 WHERE id = $1",
    &[pg_sys::INT8OID, pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID],
);

static NEXT: Statement = Statement::new(
    "SELECT pg_catalog.min(next_run) FILTER (WHERE next_run > $1),
        pg_catalog.count(*) FILTER (WHERE next_run <= $1) > 0
    FROM minion.schedules
    WHERE NOT paused",
    &[pg_sys::TIMESTAMPTZOID],
);

/// What became of a schedule that is due.
enum Turn {
    Ran(i64),
    /// Its key depends on a transaction that is not over; nobody waits for that.
    Later,
    Never(Error),
}

/// Enqueues a job for each schedule whose time has come, one however many times were missed, and returns
/// which. One dispatcher at a time: another gets no rows at once. Call it now and then, about once a minute.
///
/// A schedule that can't run is passed over with a WARNING and stays due, so that it runs as soon as what is in
/// its way is gone. Semantics: Minion's `dispatch_schedules`.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn dispatch_schedules() -> Result<
    TableIterator<'static, (name!(id, i64), name!(name, String), name!(job, i64))>,
    ErrorReport,
> {
    Ok(TableIterator::new(dispatch()?))
}

/// What [`dispatch_schedules`] does, and returns.
pub fn dispatch() -> Result<Vec<(i64, String, i64)>, Error> {
    let rules = Rules::in_force()?;
    Session::with(|session| {
        if !try_lock_dispatch() {
            return Ok(Vec::new());
        }
        lock_to_write(c"jobs");
        lock_to_write(c"schedules");
        let now = clock();
        let statement = match session.has_time_limits()? {
            true => &DUE,
            false => &DUE_WITHOUT_LIMIT,
        };
        let due = session.run(statement, params![now])?;
        let run = |row| {
            check_for_interrupts();
            run(session, rules, now, &due, row)
        };
        // All in one guard, and one by one only if something is in the way: each is a subtransaction.
        let all = || (0..due.count()).map(run).collect::<Result<Vec<Turn>, Error>>();
        let turns: Vec<Result<Turn, Failure>> = match guarded(all) {
            Ok(turns) => turns.into_iter().map(Ok).collect(),
            Err(_) => (0..due.count()).map(|row| guarded(|| run(row))).collect(),
        };
        let mut ran = Vec::new();
        for (row, turn) in turns.into_iter().enumerate() {
            let id = given("id", due.get(row, 1))?;
            let name: String = given("name", due.get(row, 2))?;
            match turn {
                Ok(Turn::Ran(job)) => ran.push((id, name, job)),
                Ok(Turn::Later) => {}
                Ok(Turn::Never(error)) => {
                    Error::NotDispatched { name, error: Box::new(error) }.warn();
                }
                Err(failure) => pass_over(&name, failure),
            }
        }
        Ok(ran)
    })
}

/// When the next one will be due, INFINITY for never, and whether any is due that is not dispatched.
pub fn next_dispatch(now: Timestamp) -> Result<(Timestamp, bool), Error> {
    Session::with(|session| {
        let rows = session.run(&NEXT, params![now])?;
        let next = rows.get(0, 1).unwrap_or(Timestamp::INFINITY);
        Ok((next, rows.get(0, 2) == Some(true)))
    })
}

fn run(
    session: &Session,
    rules: Rules,
    now: Timestamp,
    due: &Rows,
    row: usize,
) -> Result<Turn, Error> {
    let id: i64 = given("id", due.get(row, 1))?;
    let cron: &str = given("cron", due.get(row, 3))?;
    let next = match next_time(rules, cron, given("timezone", due.get(row, 4))?, now) {
        Ok(next) => next,
        Err(error) => return Ok(Turn::Never(error)),
    };
    let job = NewJob {
        task: given("task", due.get(row, 5))?,
        args: given("args", due.get(row, 6))?,
        queue: given("queue", due.get(row, 7))?,
        priority: given("priority", due.get(row, 8))?,
        delay: Interval::from_micros(0),
        expire: due.get(row, 9),
        attempts: given("attempts", due.get(row, 10))?,
        parents: BigintArray::from(Vec::new()),
        lax: given("lax", due.get(row, 11))?,
        notes: given("notes", due.get(row, 12))?,
        unique_key: due.get(row, 13),
        time_limit: due.get(row, 14),
    };
    if let Some(key) = job.unique_key
        && unique::is_undecided(session, now, key)?
    {
        return Ok(Turn::Later);
    }
    let job = enqueue::insert(session, now, &job)?;
    // Else there would be a job with each dispatch.
    session.run(&RAN, params![id, job, now, next])?.written("schedules")?;
    Ok(Turn::Ran(job))
}
