//! Schedules: jobs that are enqueued again and again, as a cron expression in a time zone says.

use crate::cron::Cron;
use crate::error::{Error, excerpt};
use crate::job::argument::{array, at_least_one, given, name, object, positive_span};
use crate::job::enqueue::NewJob;
use crate::statement::lock::{lock_to_write, try_lock_dispatch};
use crate::statement::value::{BigintArray, Jsonb};
use crate::statement::zone::TimeZone;
use crate::statement::{Session, Statement, Timestamp, as_owner_of_jobs, clock, params};
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// How often a schedule is looked for and added.
const TRIES: usize = 10;

/// What both statements below set, in this order.
const TYPES: &[pg_sys::Oid] = &[
    pg_sys::TEXTOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::JSONBOID,
    pg_sys::TEXTOID,
    pg_sys::INT4OID,
    pg_sys::INTERVALOID,
    pg_sys::INT4OID,
    pg_sys::BOOLOID,
    pg_sys::JSONBOID,
    pg_sys::TEXTOID,
];

/// A schedule whose times stay the same keeps its next one, even if that is overdue.
static CHANGE: Statement = Statement::new(
    "UPDATE minion.schedules
    SET next_run = CASE WHEN cron = $3 AND timezone = $4 THEN next_run ELSE $2 END,
        cron = $3, timezone = $4, task = $5, args = $6, queue = $7, priority = $8, expire = $9,
        attempts = $10, lax = $11, notes = $12, unique_key = $13
    WHERE name = $1
    RETURNING id",
    TYPES,
);

static ADD: Statement = Statement::new(
    "INSERT INTO minion.schedules (
        name, next_run, cron, timezone, task, args, queue, priority, expire, attempts, lax, notes,
        unique_key)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (name) DO NOTHING
    RETURNING id",
    TYPES,
);

static EXISTS: Statement =
    Statement::latest("SELECT FROM minion.schedules WHERE name = $1", &[pg_sys::TEXTOID]);

static REMOVE: Statement =
    Statement::new("DELETE FROM minion.schedules WHERE name = $1", &[pg_sys::TEXTOID]);

static PAUSE: Statement = Statement::new(
    "UPDATE minion.schedules SET paused = $2 WHERE name = $1",
    &[pg_sys::TEXTOID, pg_sys::BOOLOID],
);

/// One that somebody is changing has its turn the next time.
static DUE: Statement = Statement::new(
    "SELECT id, name, cron, timezone, task, args, queue, priority, expire, attempts, lax, notes, unique_key
    FROM minion.schedules
    WHERE next_run <= $1 AND NOT paused
    ORDER BY next_run, id
    FOR UPDATE SKIP LOCKED",
    &[pg_sys::TIMESTAMPTZOID],
);

static RAN: Statement = Statement::new(
    "UPDATE minion.schedules SET last_job = $2, last_run = $3, next_run = $4 WHERE id = $1",
    &[pg_sys::INT8OID, pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID],
);

/// The first time after another at which a cron expression runs in a time zone.
fn next_time(cron: &str, timezone: &str, after: Timestamp) -> Result<Timestamp, Error> {
    let invalid = |reason| Error::InvalidCron { cron: excerpt(cron), reason };
    let times = Cron::parse(cron).map_err(invalid)?;
    let zone =
        TimeZone::named(timezone).ok_or_else(|| Error::NoTimeZone { name: excerpt(timezone) })?;
    times
        .next(after.unix_seconds(), &zone)
        .and_then(Timestamp::from_unix_seconds)
        .ok_or_else(|| invalid("no time within five years matches it".into()))
}

/// The first time after `after` at which a cron expression runs in a time zone.
///
/// `cron`: five fields (minute, hour, day of month, month, day of week) or a nickname such as @daily;
/// `timezone`: a name of pg_timezone_names.
///
/// Raises 22023 for a cron expression that means nothing or no time within five years, for a time zone that
/// does not exist and for an infinite time; 22004 for NULL. Semantics: Minion's, see docs/reference.md.
#[pg_extern(stable, parallel_safe)]
fn next_run(
    cron: Option<&str>,
    after: default!(Option<TimestampWithTimeZone>, "now()"),
    timezone: default!(Option<&str>, "'UTC'"),
) -> Result<TimestampWithTimeZone, ErrorReport> {
    let (cron, timezone) = (given("cron", cron)?, given("timezone", timezone)?);
    let after = given("after", after)?;
    if after.is_infinity() || after.is_neg_infinity() {
        let hint = "Use a time such as now().";
        return Err(Error::value("after", "an infinite one", "must be a time", hint).into());
    }
    let after = Timestamp(after.into());
    Ok(next_time(cron, timezone, after)?.shown())
}

/// Says that a job is to be enqueued whenever a cron expression says so, and returns the schedule's id. One
/// of that name is changed: it keeps its id, what it did and whether it is paused, and, unless `cron` or
/// `timezone` differs, its next time. Somebody has to call dispatch_schedules.
///
/// `name`: 1 to 1000 bytes; `cron`: five fields (minute, hour, day of month, month, day of week) or a
/// nickname such as @daily; `timezone`: a name of pg_timezone_names; the others as for enqueue, for each job.
///
/// Raises 22023 for an invalid cron expression, time zone or duration, 22004 for a NULL other than `expire`
/// and `unique_key`, 23514 for a value that the table does not take. Semantics: Minion's `schedule`.
#[pg_extern]
#[allow(clippy::too_many_arguments)]
fn schedule(
    name: Option<&str>,
    cron: Option<&str>,
    task: Option<&str>,
    args: default!(Option<Jsonb>, "'[]'"),
    queue: default!(Option<&str>, "'default'"),
    priority: default!(Option<i32>, "0"),
    expire: default!(Option<Interval>, "NULL"),
    attempts: default!(Option<i32>, "1"),
    lax: default!(Option<bool>, "false"),
    notes: default!(Option<Jsonb>, "'{}'"),
    unique_key: default!(Option<&str>, "NULL"),
    timezone: default!(Option<&str>, "'UTC'"),
) -> Result<i64, ErrorReport> {
    let named = self::name;
    let name = named("name", given("name", name)?)?;
    let (cron, timezone) = (given("cron", cron)?, given("timezone", timezone)?);
    let task = named("task", given("task", task)?)?;
    let args = array("args", given("args", args)?)?;
    let queue = named("queue", given("queue", queue)?)?;
    let priority = given("priority", priority)?;
    let expire = expire.map(|expire| positive_span("expire", expire)).transpose()?;
    let attempts = at_least_one(given("attempts", attempts)?)?;
    let lax = given("lax", lax)?;
    let notes = object("notes", given("notes", notes)?)?;
    let unique_key = unique_key.map(|key| named("unique_key", key)).transpose()?;
    let next = next_time(cron, timezone, clock())?;
    let params = params![
        name, next, cron, timezone, task, args, queue, priority, expire, attempts, lax, notes,
        unique_key
    ];
    Ok(Session::with(|session| {
        // Another session may add or remove it between the two.
        for _ in 0..TRIES {
            for statement in [&CHANGE, &ADD] {
                let rows = session.run(statement, params)?;
                if rows.count() > 0 {
                    return given("id", rows.get(0, 1));
                }
            }
        }
        let is_there = || Ok::<_, Error>(session.run(&EXISTS, params![name])?.count() > 0);
        match !is_there()? && as_owner_of_jobs(is_there)? {
            true => Err(Error::ScheduleTaken { name: excerpt(name) }),
            false => Err(Error::Refused { table: "schedules" }),
        }
    })?)
}

/// Removes a schedule; the jobs that it has enqueued stay. True if it existed.
///
/// Raises 22004 for NULL. Semantics: Minion's `unschedule`.
#[pg_extern]
fn unschedule(name: Option<&str>) -> Result<bool, ErrorReport> {
    let name = given("name", name)?;
    Ok(Session::with(|session| Ok(session.run(&REMOVE, params![name])?.count() > 0))?)
}

/// Keeps a schedule from enqueueing jobs. True if it exists.
///
/// Raises 22004 for NULL. Semantics: Minion's `pause_schedule`.
#[pg_extern]
fn pause_schedule(name: Option<&str>) -> Result<bool, ErrorReport> {
    set_paused(name, true)
}

/// Lets a schedule enqueue jobs again, at once if its next time has passed. True if it exists.
///
/// Raises 22004 for NULL. Semantics: Minion's `resume_schedule`.
#[pg_extern]
fn resume_schedule(name: Option<&str>) -> Result<bool, ErrorReport> {
    set_paused(name, false)
}

fn set_paused(name: Option<&str>, paused: bool) -> Result<bool, ErrorReport> {
    let name = given("name", name)?;
    Ok(Session::with(|session| Ok(session.run(&PAUSE, params![name, paused])?.count() > 0))?)
}

/// Enqueues a job for each schedule whose time has come, one however many times were missed, and returns
/// which. One dispatcher at a time: another gets no rows at once. Call it now and then, about once a minute.
///
/// A schedule that can't run, because its row was given an expression or a time zone that does not exist, is
/// passed over with a WARNING. Semantics: Minion's `dispatch_schedules`.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn dispatch_schedules() -> Result<
    TableIterator<'static, (name!(id, i64), name!(name, String), name!(job, i64))>,
    ErrorReport,
> {
    let ran = Session::with(|session| {
        if !try_lock_dispatch() {
            return Ok(Vec::new());
        }
        lock_to_write(c"schedules");
        lock_to_write(c"jobs");
        let now = clock();
        let due = session.run(&DUE, params![now])?;
        let mut ran = Vec::new();
        for row in 0..due.count() {
            let text = |column| due.get::<&str>(row, column).expect("the column is NOT NULL");
            let id: i64 = due.get(row, 1).expect("id is NOT NULL");
            let name = text(2).to_owned();
            let next = match next_time(text(3), text(4), now) {
                Ok(next) => next,
                Err(error) => {
                    Error::NotDispatched { name, error: Box::new(error) }.warn();
                    continue;
                }
            };
            let job = NewJob {
                task: text(5),
                args: due.get(row, 6).expect("args is NOT NULL"),
                queue: text(7),
                priority: due.get(row, 8).expect("priority is NOT NULL"),
                delay: Interval::from_micros(0),
                expire: due.get(row, 9),
                attempts: due.get(row, 10).expect("attempts is NOT NULL"),
                parents: BigintArray::from(Vec::new()),
                lax: due.get(row, 11).expect("lax is NOT NULL"),
                notes: due.get(row, 12).expect("notes is NOT NULL"),
                unique_key: due.get(row, 13),
            }
            .insert(session, now)?;
            // Else it would be due again the next time.
            session.run(&RAN, params![id, job, now, next])?.written("schedules")?;
            ran.push((id, name, job));
        }
        Ok(ran)
    })?;
    Ok(TableIterator::new(ran))
}
