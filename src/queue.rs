//! Queues as a whole: reset, pause_queue, resume_queue. (What only reads is SQL.)

use crate::argument::{given, name};
use crate::error::Error;
use crate::server::identity::as_owner_of_jobs;
use crate::server::sequence;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::clock;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

static RESET_LOCKS: Statement = Statement::new("DELETE FROM minion.locks", &[]);

/// In the order in which everybody locks tables: see [`crate::server::relation::lock_to_write`].
static RESET_ALL: Statement =
    Statement::new("TRUNCATE minion.jobs, minion.locks, minion.workers, minion.schedules", &[]);

/// The sequences that a reset restarts. Not that of the workers: one that is still there would take another's
/// jobs and inbox for its own.
static RESTARTED: Statement = Statement::new(
    "SELECT 'minion.jobs_id_seq'::pg_catalog.regclass::pg_catalog.oid
    UNION ALL SELECT 'minion.locks_id_seq'::pg_catalog.regclass::pg_catalog.oid
    UNION ALL SELECT 'minion.schedules_id_seq'::pg_catalog.regclass::pg_catalog.oid",
    &[],
);

/// Removes everything: with 'all' jobs, workers, locks and schedules, and ids start anew, but for those of
/// workers; with 'locks' only the named locks. There is no default, and no way back.
///
/// Raises 22004 for NULL, 22023 for any other scope. Semantics: Minion's `reset`.
#[pg_extern]
fn reset(scope: Option<&str>) -> Result<(), ErrorReport> {
    let scope = given("scope", scope)?;
    Ok(Session::with(|session| match scope {
        "locks" => session.run(&RESET_LOCKS, &[]).map(drop),
        "all" => {
            // TRUNCATE asks whether the caller may; RESTART IDENTITY would ask for the owner, and run as him
            // the triggers of others.
            session.run(&RESET_ALL, &[])?;
            for id in session.run(&RESTARTED, &[])?.column(1) {
                sequence::restart(id);
            }
            Ok(())
        }
        other => Err(Error::value(
            "scope",
            crate::error::excerpt(other),
            "must be 'all' or 'locks'",
            "reset('locks') removes the named locks, reset('all') everything.",
        )),
    })?)
}

static PAUSE: Statement = Statement::new(
    "INSERT INTO minion.paused_queues (queue, paused) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

static IS_PAUSED: Statement =
    Statement::latest("SELECT FROM minion.paused_queues WHERE queue = $1", &[pg_sys::TEXTOID]);

/// How often a queue is paused that somebody resumes meanwhile.
const TRIES: usize = 10;

static RESUME: Statement =
    Statement::new("DELETE FROM minion.paused_queues WHERE queue = $1", &[pg_sys::TEXTOID]);

/// Keeps jobs of a queue from being claimed, until resume_queue; jobs that are active go on, and enqueue
/// works as ever. True if it was not paused before.
///
/// `queue`: 1 to 1000 bytes. Raises 22004 for NULL, 23514 for a name that is too long.
#[pg_extern]
fn pause_queue(queue: Option<&str>) -> Result<bool, ErrorReport> {
    let queue = name("queue", given("queue", queue)?)?;
    Ok(Session::with(|session| {
        for _ in 0..TRIES {
            if session.run(&PAUSE, params![queue, clock()])?.count() > 0 {
                return Ok(true);
            }
            if as_owner_of_jobs(|| session.run(&IS_PAUSED, params![queue]))?.count() > 0 {
                return Ok(false);
            }
        }
        Err(Error::Refused { table: "paused_queues" })
    })?)
}

/// Lets jobs of a queue be claimed again. True if it was paused.
///
/// Raises 22004 for NULL.
#[pg_extern]
fn resume_queue(queue: Option<&str>) -> Result<bool, ErrorReport> {
    let queue = given("queue", queue)?;
    Ok(Session::with(|session| Ok(session.run(&RESUME, params![queue])?.count() > 0))?)
}
