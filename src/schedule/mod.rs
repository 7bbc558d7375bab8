//! Schedules: jobs that are enqueued again and again, as a cron expression in a time zone says.

pub mod dispatch;
pub mod mend;
mod pass_over;
mod time;
mod upgrade;

use crate::argument::{array, at_least_one, given, name, object, positive_span};
use crate::error::{Error, excerpt};
use crate::server::identity::as_owner_of_jobs;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::clock;
use crate::server::value::Jsonb;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use time::{Rules, next_time};

/// How often a schedule is looked for and added.
const TRIES: usize = 10;

/// What the statements below set, in this order.
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
    pg_sys::INTERVALOID,
];

/// An older version of the extension has no such column.
const WITHOUT_LIMIT: usize = TYPES.len() - 1;

/// A schedule whose times stay the same keeps its next one, even if that is overdue.
macro_rules! change {
    ($time_limit:literal, $count:expr) => {
        Statement::new(
            concat!(
                "UPDATE minion.schedules
                SET next_run = CASE WHEN cron = $3 AND timezone = $4 THEN next_run ELSE $2 END,
                    cron = $3, timezone = $4, task = $5, args = $6, queue = $7, priority = $8, expire = $9,
                    attempts = $10, lax = $11, notes = $12, unique_key = $13",
                $time_limit,
                " WHERE name = $1
                RETURNING id"
            ),
            TYPES.split_at($count).0,
        )
    };
}

macro_rules! add {
    ($time_limit:literal, $value:literal, $count:expr) => {
        Statement::new(
            concat!(
                "INSERT INTO minion.schedules (
                    name, next_run, cron, timezone, task, args, queue, priority, expire, attempts, lax, notes,
                    unique_key",
                $time_limit,
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13",
                $value,
                ") ON CONFLICT (name) DO NOTHING
                RETURNING id"
            ),
            TYPES.split_at($count).0,
        )
    };
}

/// To be tried one after the other.
static SET_UP: [Statement; 2] =
    [change!(", time_limit = $14", TYPES.len()), add!(", time_limit", ", $14", TYPES.len())];
static SET_UP_WITHOUT_LIMIT: [Statement; 2] =
    [change!("", WITHOUT_LIMIT), add!("", "", WITHOUT_LIMIT)];

static EXISTS: Statement =
    Statement::latest("SELECT FROM minion.schedules WHERE name = $1", &[pg_sys::TEXTOID]);

static REMOVE: Statement =
    Statement::new("DELETE FROM minion.schedules WHERE name = $1", &[pg_sys::TEXTOID]);

static PAUSE: Statement = Statement::new(
    "UPDATE minion.schedules SET paused = $2 WHERE name = $1",
    &[pg_sys::TEXTOID, pg_sys::BOOLOID],
);

/// Says that a job is to be enqueued whenever a cron expression says so, and returns the schedule's id. One
/// of that name is changed: it keeps its id, what it did and whether it is paused, and, unless `cron` or
/// `timezone` differs, its next time. Somebody has to call dispatch_schedules.
///
/// `name`: 1 to 1000 bytes; `cron`: five fields (minute, hour, day of month, month, day of week) or a
/// nickname such as @daily; `timezone`: a name of pg_timezone_names or an offset from UTC such as +02:00; the
/// others as for enqueue, for each job.
///
/// Raises 22023 for an invalid cron expression, time zone or duration, 22004 for a NULL other than `expire`,
/// `unique_key` and `time_limit`, 23514 for a value that the table does not take. Semantics: Minion's `schedule`.
#[pg_extern(name = "schedule")]
#[allow(clippy::too_many_arguments)]
pub fn schedule_limited(
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
    time_limit: default!(Option<Interval>, "NULL"),
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
    let time_limit = time_limit.map(|limit| positive_span("time_limit", limit)).transpose()?;
    let next = next_time(Rules::in_force()?, cron, timezone, clock())?;
    let params = params![
        name, next, cron, timezone, task, args, queue, priority, expire, attempts, lax, notes,
        unique_key, time_limit
    ];
    Ok(Session::with(|session| {
        let (statements, params) = match session.has_time_limits()? {
            true => (&SET_UP, &params[..]),
            false => (&SET_UP_WITHOUT_LIMIT, &params[..WITHOUT_LIMIT]),
        };
        // Another session may add or remove it between the two.
        for _ in 0..TRIES {
            for statement in statements {
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
