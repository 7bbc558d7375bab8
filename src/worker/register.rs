//! A worker is registered, and says that it is still there.

use crate::argument::{given, object};
use crate::error::{Error, excerpt};
use crate::job::dequeue::has_worker;
use crate::server::identity::as_owner_of_jobs;
use crate::server::probe::worker::{Heard, may_look, written};
use crate::server::relation::lock_to_write;
use crate::server::session::Session;
use crate::server::statement::{Param, Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::{check_for_interrupts, must_be_writable};
use crate::server::value::Jsonb;
use crate::shared::attached::Workers;
use crate::shared::commit;
use crate::shared::database::task;
use crate::shared::databases::DATABASES;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// $2: ids that the sequence has not given yet belong to nobody.
static WAS_ISSUED: Statement = Statement::new(
    "SELECT FROM minion.workers_id_seq WHERE $1 >= 1 AND $1 <= last_value AND is_called",
    &[pg_sys::INT8OID],
);

/// What is written of a worker.
struct Writes {
    heartbeat: Statement,
    /// For those who may not read all of the table.
    heartbeat_unseen: Statement,
    /// Of a row that has just been seen at a place, the last parameter: the key's index leads to each of its versions that
    /// VACUUM may not take away yet.
    heartbeat_there: Statement,
    register: Statement,
    /// For when nobody has the id, or only row-level security could say who: the server says what is wrong.
    register_or_fail: Statement,
}

/// A worker that says no host and pid is described by its connection. $1 NULL: a new id.
macro_rules! writes {
    ($set:literal, $place:literal, $column:literal, $value:literal $(, $type:ident)?) => {
        Writes {
            heartbeat: Statement::new(
                concat!(writes!($set), " WHERE id = $1 RETURNING ctid"),
                &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::JSONBOID $(, pg_sys::$type)?],
            ),
            heartbeat_unseen: Statement::new(
                concat!(writes!($set), " WHERE id = $1"),
                &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::JSONBOID $(, pg_sys::$type)?],
            ),
            heartbeat_there: Statement::new(
                concat!(writes!($set), " WHERE ctid = ", $place, " AND id = $1 RETURNING ctid"),
                &[
                    pg_sys::INT8OID,
                    pg_sys::TIMESTAMPTZOID,
                    pg_sys::JSONBOID
                    $(, pg_sys::$type)?,
                    pg_sys::TIDOID,
                ],
            ),
            register: writes!($column, $value, " ON CONFLICT (id) DO NOTHING" $(, $type)?),
            register_or_fail: writes!($column, $value, "" $(, $type)?),
        }
    };
    ($set:literal) => {
        concat!("UPDATE minion.workers SET notified = $2, status = $3", $set)
    };
    ($column:literal, $value:literal, $on_conflict:literal $(, $type:ident)?) => {
        Statement::new(
            concat!(
                "INSERT INTO minion.workers (id, started, notified, status, host, pid", $column, ")
                VALUES (
                    coalesce($1, pg_catalog.nextval('minion.workers_id_seq')), $2, $2, $3,
                    coalesce($4, pg_catalog.host(pg_catalog.inet_client_addr()), 'local'),
                    coalesce($5, pg_catalog.pg_backend_pid())", $value, ")",
                $on_conflict,
                " RETURNING id"
            ),
            &[
                pg_sys::INT8OID,
                pg_sys::TIMESTAMPTZOID,
                pg_sys::JSONBOID,
                pg_sys::TEXTOID,
                pg_sys::INT4OID
                $(, pg_sys::$type)?
            ],
        )
    };
}

/// Of a worker that is not asked to be attached: one that is stays so, and an older version of the extension has no column
/// for that.
static PLAIN: Writes = writes!("", "$4", "", "");

static ATTACHED: Writes = writes!(", attached = $4", "$5", ", attached", ", $6", TIMESTAMPTZOID);

/// Whether the id that this session has just taken belongs to somebody.
static IS_IN_USE: Statement = Statement::latest(
    "SELECT FROM minion.workers WHERE id = pg_catalog.currval('minion.workers_id_seq')",
    &[],
);

/// How often an id is tried that nobody seems to have, and that can't be had.
const TRIES: usize = 5;

/// What a call says of the worker.
struct Call<'a> {
    host: Option<&'a str>,
    pid: Option<i32>,
    status: Jsonb,
    /// Whether it is to be attached, and since which start of the server's memory then; None there without such memory.
    attached: Option<Option<Timestamp>>,
}

impl Call<'_> {
    fn writes(&self) -> &'static Writes {
        if self.attached.is_some() { &ATTACHED } else { &PLAIN }
    }

    /// These, and what the statements of an attached worker have besides.
    fn params(&self, first: &[Param]) -> Vec<Param> {
        first.iter().copied().chain(self.attached.map(Param::from)).collect()
    }

    /// Tells that a worker is still there, if it is registered.
    fn is_heard(&self, session: &Session, worker: i64, now: Timestamp) -> Result<bool, Error> {
        let writes = self.writes();
        let mut params = self.params(params![worker, now, self.status]);
        if !may_look() {
            let rows = session.run(&writes.heartbeat_unseen, &params)?;
            return Ok(rows.count() > 0 && self.attach(worker)?);
        }
        let mut rows = None;
        if let Some(heard) = Heard::of(worker, self.status, self.attached.is_some()) {
            if heard.is_recent(now) && self.is_attached(worker, &heard) {
                return Ok(true);
            }
            params.push(heard.ctid.into());
            rows = Some(session.run(&writes.heartbeat_there, &params)?);
            params.pop();
        }
        let rows = match rows.filter(|rows| rows.count() > 0) {
            Some(rows) => rows,
            None => session.run(&writes.heartbeat, &params)?,
        };
        if rows.count() == 0 {
            return Ok(false);
        }
        written(worker, rows.get(0, 1).expect("a row has a place"));
        self.attach(worker)
    }

    /// Whether all is said already that the call says of its session.
    fn is_attached(&self, worker: i64, heard: &Heard) -> bool {
        self.attached.is_none_or(|attached| {
            heard.attached == attached
                && Workers::new().is_none_or(|workers| workers.is_own(worker))
        })
    }

    /// The worker's row is written: nobody sees it, or may lock it, before the transaction commits, and then the session is
    /// there. True.
    fn attach(&self, worker: i64) -> Result<bool, Error> {
        if let Some(workers) = self.attached.and_then(|_| Workers::new()) {
            commit::attaching();
            if !workers.attach(worker) {
                return Err(Error::TooManyAttached { worker });
            }
        }
        Ok(true)
    }

    /// None if the id is somebody's, or a trigger has refused the row.
    fn insert(
        &self,
        session: &Session,
        statement: &Statement,
        id: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<i64>, Error> {
        let params = self.params(params![id, now, self.status, self.host, self.pid]);
        let rows = session.run(statement, &params)?;
        if rows.count() == 0 {
            return Ok(None);
        }
        let worker = given("id", rows.get(0, 1))?;
        self.attach(worker)?;
        // Who is never heard of again is to be removed, though nothing else happens.
        commit::asks(task::TRAFFIC);
        Ok(Some(worker))
    }
}

/// Registers a worker, or tells that it is still there; returns its id.
///
/// `id`: NULL for a new worker, else the id that this function returned before: its `notified` and `status`
/// are updated, and a worker that repair has removed is registered again under its id. `host`, `pid`: where
/// it runs, by default what the server knows of the connection; kept from the first registration.
/// `status`: a JSON object. `attached`: the worker is gone as soon as this session has ended; with false, what was said of that
/// before stays. Without minion in shared_preload_libraries it means nothing.
///
/// Raises 22004 for a NULL status or attached, 22023 for an id that was never issued, 23514 for a status that is not an
/// object, 09000 where a trigger refuses the row, 53400 if too many workers are attached. Semantics: Minion's
/// `register_worker`.
#[pg_extern(name = "register_worker")]
fn register_attachable(
    id: default!(Option<i64>, "NULL"),
    host: default!(Option<&str>, "NULL"),
    pid: default!(Option<i32>, "NULL"),
    status: default!(Option<Jsonb>, "'{}'"),
    attached: default!(Option<bool>, "false"),
) -> Result<i64, ErrorReport> {
    let attached = given("attached", attached)?;
    let began = attached.then(|| DATABASES.get().map(|databases| databases.began()));
    register(id, host, pid, status, began)
}

/// `attached`: see [`Call`].
pub fn register(
    id: Option<i64>,
    host: Option<&str>,
    pid: Option<i32>,
    status: Option<Jsonb>,
    attached: Option<Option<Timestamp>>,
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
    let call = Call { host, pid, status, attached };
    Ok(Session::with(|session| {
        let now = clock();
        let mut tries = 0;
        while tries < TRIES {
            if let Some(worker) = id {
                if call.is_heard(session, worker, now)? {
                    return Ok(worker);
                }
                if session.run(&WAS_ISSUED, params![worker])?.count() == 0 {
                    return Err(Error::NeverIssued { worker });
                }
            }
            if let Some(worker) = call.insert(session, &call.writes().register, id, now)? {
                return Ok(worker);
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
        let worker = call.insert(session, &call.writes().register_or_fail, id, now)?;
        worker.ok_or(Error::Refused { table: "workers" })
    })?)
}
