//! Workers: who takes jobs, whether they are still there, and commands to them.

pub mod register;

use crate::argument::{array, given};
use crate::error::Error;
use crate::server::relation::lock_to_write;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::value::{Array, BigintArray, Jsonb};
use crate::shared::attached::Workers;
use crate::shared::commit;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

static UNREGISTER: Statement =
    Statement::new("DELETE FROM minion.workers WHERE id = $1", &[pg_sys::INT8OID]);

/// In id order, so that two broadcasts never wait for each other crosswise.
static BROADCAST: Statement = Statement::new(
    "WITH addressee AS MATERIALIZED (
        SELECT id
        FROM minion.workers
        WHERE $3 = '{}' OR id = ANY ($3)
        ORDER BY id
        FOR UPDATE
    )
    UPDATE minion.workers AS worker
    SET inbox = worker.inbox || pg_catalog.jsonb_build_array(
        pg_catalog.jsonb_build_array($1) || $2)
    FROM addressee
    WHERE worker.id = addressee.id",
    &[pg_sys::TEXTOID, pg_sys::JSONBOID, pg_sys::INT8ARRAYOID],
);

static PEEK_INBOX: Statement =
    Statement::new("SELECT inbox <> '[]' FROM minion.workers WHERE id = $1", &[pg_sys::INT8OID]);

static EMPTY_INBOX: Statement = Statement::new(
    "WITH full_inbox AS MATERIALIZED (
        SELECT id, inbox
        FROM minion.workers
        WHERE id = $1 AND inbox <> '[]'
        FOR UPDATE
    )
    UPDATE minion.workers AS worker
    SET inbox = '[]'
    FROM full_inbox
    WHERE worker.id = full_inbox.id
    RETURNING full_inbox.inbox",
    &[pg_sys::INT8OID],
);

static NOTHING: Statement = Statement::new("SELECT '[]'::pg_catalog.jsonb", &[]);

/// Removes a worker; repair gives its active jobs back. True if it was registered.
///
/// Raises 22004 for NULL. Semantics: Minion's `unregister_worker`.
#[pg_extern]
fn unregister_worker(id: Option<i64>) -> Result<bool, ErrorReport> {
    let id = given("id", id)?;
    let is_removed =
        Session::with(|session| Ok(session.run(&UNREGISTER, params![id])?.count() > 0))?;
    if is_removed && let Some(workers) = Workers::new() {
        commit::attaching();
        workers.leaves(id);
    }
    Ok(is_removed)
}

/// Puts a command into the inboxes of workers. True if at least one got it.
///
/// `command`: any text, for the workers to understand; `args`: a JSON array; `workers`: ids, `{}` for all.
///
/// Raises 22004 for NULL, 23514 for args that are not an array. Semantics: Minion's `broadcast`.
#[pg_extern]
fn broadcast(
    command: Option<&str>,
    args: default!(Option<Jsonb>, "'[]'"),
    workers: default!(Option<BigintArray>, "'{}'"),
) -> Result<bool, ErrorReport> {
    let command = given("command", command)?;
    let args = array("args", given("args", args)?)?;
    let workers = given("workers", workers)?.without_nulls("workers")?;
    Ok(Session::with(|session| {
        session.run(&BROADCAST, params![command, args, workers]).map(|rows| rows.count() > 0)
    })?)
}

/// Takes the commands out of a worker's inbox: `[[command, arg, …], …]` in the order they came, `[]` for
/// none.
///
/// Raises 22004 for NULL, 42704 for a worker that is not registered. Semantics: Minion's `receive`.
#[pg_extern]
fn receive(worker: Option<i64>) -> Result<Jsonb, ErrorReport> {
    let worker = given("worker", worker)?;
    let inbox = Session::with(|session| {
        lock_to_write(c"workers");
        // Looking first keeps the usual, empty receive free of locks and transaction ids.
        let peek = session.run(&PEEK_INBOX, params![worker])?;
        if peek.count() == 0 {
            return Err(Error::NotRegistered { worker });
        }
        let mut rows = session.run(&NOTHING, params![])?;
        if peek.get(0, 1) == Some(true) {
            let taken = session.run(&EMPTY_INBOX, params![worker])?;
            if taken.count() > 0 {
                rows = taken;
            }
        }
        Ok(session.keep(given("inbox", rows.get(0, 1))?))
    })?;
    Ok(inbox)
}
