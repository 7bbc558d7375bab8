//! The queue as a whole: reset. (stats and history only read, and are SQL.)

use crate::error::Error;
use crate::job::argument::given;
use crate::statement::{Session, Statement};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

static RESET_LOCKS: Statement = Statement::new("DELETE FROM minion.locks", &[]);

/// Workers first, as everybody else who touches both.
static RESET_ALL: Statement =
    Statement::new("TRUNCATE minion.workers, minion.jobs, minion.locks, minion.schedules", &[]);

/// setval and not RESTART, which only the tables' owner may do.
static RESTART_IDS: Statement = Statement::new(
    "SELECT pg_catalog.setval('minion.jobs_id_seq', 1, false),
        pg_catalog.setval('minion.locks_id_seq', 1, false),
        pg_catalog.setval('minion.schedules_id_seq', 1, false),
        pg_catalog.setval('minion.workers_id_seq', 1, false)",
    &[],
);

/// Removes everything: with 'all' jobs, workers, locks and schedules, and ids start at 1 again; with
/// 'locks' only the named locks. There is no default, and no way back.
///
/// Raises 22004 for NULL, 22023 for any other scope. Semantics: Minion's `reset`.
#[pg_extern]
fn reset(scope: Option<&str>) -> Result<(), ErrorReport> {
    let scope = given("scope", scope)?;
    Ok(Session::with(|session| match scope {
        "locks" => session.run(&RESET_LOCKS, &[]).map(drop),
        "all" => {
            session.run(&RESET_ALL, &[])?;
            session.run(&RESTART_IDS, &[]).map(drop)
        }
        other => Err(Error::value(
            "scope",
            crate::error::excerpt(other),
            "must be 'all' or 'locks'",
            "reset('locks') removes the named locks, reset('all') everything.",
        )),
    })?)
}
