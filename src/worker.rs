//! Workers: who takes jobs, whether they are still there, and commands to them.

use crate::argument::{array, given, object};
use crate::error::{Error, excerpt};
use crate::job::dequeue::has_worker;
use crate::server::identity::as_owner_of_jobs;
use crate::server::probe::worker::{Heard, may_look, written};
use crate::server::relation::lock_to_write;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::{check_for_interrupts, must_be_writable};
use crate::server::value::{Array, BigintArray, Jsonb};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// $2: ids that the sequence has not given yet belong to nobody.
static WAS_ISSUED: Statement = Statement::new(
    "SELECT FROM minion.workers_id_seq WHERE $1 >= 1 AND $1 <= last_value AND is_called",
    &[pg_sys::INT8OID],
);

static HEARTBEAT: Statement = Statement::new(
    "UPDATE minion.workers SET notified = $2, status = $3 WHERE id = $1 RETURNING ctid",
    &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::JSONBOID],
);

/// For those who may not read all of the table.
static HEARTBEAT_UNSEEN: Statement = Statement::new(
    "UPDATE minion.workers SET notified = $2, status = $3 WHERE id = $1",
    &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::JSONBOID],
);

/// Of a row that has just been seen at $4: the key's index leads to each of its versions that VACUUM may not take
/// away yet.
static HEARTBEAT_THERE: Statement = Statement::new(
    "UPDATE minion.workers SET notified = $2, status = $3 WHERE ctid = $4 AND id = $1 RETURNING ctid",
    &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::JSONBOID, pg_sys::TIDOID],
);

/// A worker that says no host and pid is described by its connection. $1 NULL: a new id.
macro_rules! register {
    ($on_conflict:literal) => {
        Statement::new(
            concat!(
                "INSERT INTO minion.workers (id, started, notified, status, host, pid)
                VALUES (
                    coalesce($1, pg_catalog.nextval('minion.workers_id_seq')), $2, $2, $3,
                    coalesce($4, pg_catalog.host(pg_catalog.inet_client_addr()), 'local'),
                    coalesce($5, pg_catalog.pg_backend_pid()))",
                $on_conflict,
                " RETURNING id"
            ),
            &[
                pg_sys::INT8OID,
                pg_sys::TIMESTAMPTZOID,
                pg_sys::JSONBOID,
                pg_sys::TEXTOID,
                pg_sys::INT4OID,
            ],
        )
    };
}

static REGISTER: Statement = register!(" ON CONFLICT (id) DO NOTHING");

/// For when nobody has the id, or only row-level security could say who: the server says what is wrong.
static REGISTER_OR_FAIL: Statement = register!("");

/// Whether the id that this session has just taken belongs to somebody.
static IS_IN_USE: Statement = Statement::latest(
    "SELECT FROM minion.workers WHERE id = pg_catalog.currval('minion.workers_id_seq')",
    &[],
);

/// How often an id is tried that nobody seems to have, and that can't be had.
const TRIES: usize = 5;

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

/// Tells that a worker is still there, if it is registered.
fn is_heard(session: &Session, worker: i64, now: Timestamp, status: Jsonb) -> Result<bool, Error> {
    if !may_look() {
        return Ok(session.run(&HEARTBEAT_UNSEEN, params![worker, now, status])?.count() > 0);
    }
    let mut rows = None;
    if let Some(heard) = Heard::of(worker, status) {
        if heard.is_recent(now) {
            return Ok(true);
        }
        rows = Some(session.run(&HEARTBEAT_THERE, params![worker, now, status, heard.ctid])?);
    }
    let rows = match rows.filter(|rows| rows.count() > 0) {
        Some(rows) => rows,
        None => session.run(&HEARTBEAT, params![worker, now, status])?,
    };
    if rows.count() == 0 {
        return Ok(false);
    }
    written(worker, rows.get(0, 1).expect("a row has a place"));
    Ok(true)
}

/// Registers a worker, or tells that it is still there; returns its id.
///
/// `id`: NULL for a new worker, else the id that this function returned before: its `notified` and `status`
/// are updated, and a worker that repair has removed is registered again under its id. `host`, `pid`: where
/// it runs, by default what the server knows of the connection; kept from the first registration.
/// `status`: a JSON object.
///
/// Raises 22004 for a NULL status, 22023 for an id that was never issued, 23514 for a status that is not an
/// object, 09000 where a trigger refuses the row. Semantics: Minion's `register_worker`.
#[pg_extern]
fn register_worker(
    id: default!(Option<i64>, "NULL"),
    host: default!(Option<&str>, "NULL"),
    pid: default!(Option<i32>, "NULL"),
    status: default!(Option<Jsonb>, "'{}'"),
) -> Result<i64, ErrorReport> {
    let status = object("status", given("status", status)?)?;
    if let Some(host) = host.filter(|host| host.len() > 1_000) {
        let hint = "Use the host's name.";
        return Err(
            Error::constraint("host", excerpt(host), "must have at most 1000 bytes", hint).into()
        );
    }
    must_be_writable(c"minion.register_worker()");
    lock_to_write(c"workers");
    Ok(Session::with(|session| {
        let now = clock();
        let mut tries = 0;
        while tries < TRIES {
            if let Some(worker) = id {
                if is_heard(session, worker, now, status)? {
                    return Ok(worker);
                }
                if session.run(&WAS_ISSUED, params![worker])?.count() == 0 {
                    return Err(Error::NeverIssued { worker });
                }
            }
            let rows = session.run(&REGISTER, params![id, now, status, host, pid])?;
            if rows.count() > 0 {
                return given("id", rows.get(0, 1));
            }
            // A new id was in use already, or the same worker registers in two sessions, or somebody's trigger
            // refuses. Ids in use come to an end.
            let is_in_use =
                id.is_none() && as_owner_of_jobs(|| session.run(&IS_IN_USE, &[]))?.count() > 0;
            tries += usize::from(!is_in_use);
            check_for_interrupts();
        }
        if let Some(worker) = id
            && has_worker(session, worker)?
        {
            return Err(Error::Refused { table: "workers" });
        }
        let rows = session.run(&REGISTER_OR_FAIL, params![id, now, status, host, pid])?;
        given("id", rows.written("workers")?.get(0, 1))
    })?)
}

/// Removes a worker; repair gives its active jobs back. True if it was registered.
///
/// Raises 22004 for NULL. Semantics: Minion's `unregister_worker`.
#[pg_extern]
fn unregister_worker(id: Option<i64>) -> Result<bool, ErrorReport> {
    let id = given("id", id)?;
    Ok(Session::with(|session| session.run(&UNREGISTER, params![id]).map(|rows| rows.count() > 0))?)
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
