//! The jobs of one lane: the first that can run from a place on, and taking those up to another.

use super::lanes::{Head, STRETCH_TYPES, Source, blocked, parked, read_head, ready, stretch};
use crate::error::Error;
use crate::shared::lane::Position;
use crate::statement::value::Jsonb;
use crate::statement::{Rows, Session, Statement, Timestamp, params, probe};
use pgrx::pg_sys;

/// What it gets.
pub struct Claimed {
    pub id: i64,
    pub args: Jsonb,
    pub retries: i32,
    pub task: String,
    rank: i32,
}

impl Claimed {
    pub fn position(&self) -> Position {
        Position { rank: self.rank, id: self.id }
    }
}

/// The facts of its own that allow a job to run; $1 is the clock.
macro_rules! startable {
    () => {
        "job.state = 'inactive'
         AND job.delayed <= $1
         AND (job.expires IS NULL OR job.expires > $1)"
    };
}

/// All that allows it. Its parents are asked again: one may have been retried since the job was freed.
macro_rules! claimable {
    () => {
        concat!(startable!(), " AND NOT ", blocked!())
    };
}

/// Of one priority in a lane, from one id up to, not including, another. A comparison of (priority, id) pairs
/// would not do as an end: the server's index scan goes on to the end of the priority after it has failed.
macro_rules! same_rank {
    () => {
        "job.queue = $2 AND job.task = $3 AND ~job.priority = $4 AND job.id >= $5 AND job.id < $6"
    };
}

/// The claimable jobs of such a stretch. This call has just asked the parents of its first one, $5; had its
/// own facts changed since, it would stand elsewhere.
macro_rules! claimable_of_same_rank {
    () => {
        concat!(same_rank!(), " AND ", startable!(), " AND (job.id = $5 OR NOT ", blocked!(), ")")
    };
}

macro_rules! take {
    () => {
        "UPDATE minion.jobs AS job
        SET state = 'active', started = $1, parked_until = NULL, waits_for = NULL, worker = "
    };
}

macro_rules! returning {
    () => {
        " RETURNING job.id, job.args, job.retries, job.task, ~job.priority"
    };
}

macro_rules! due {
    () => {
        concat!(parked!(), " AND job.parked_until <= $1")
    };
}

/// Locks jobs of one priority in a lane. LIMIT 1000 is for the planner; the call says where to stop before
/// that.
macro_rules! lock {
    ($source:expr) => {
        Statement::new(
            concat!(
                "SELECT job.id
                FROM minion.jobs AS job
                WHERE ",
                $source,
                " AND ",
                claimable_of_same_rank!(),
                " ORDER BY ~job.priority, job.id
                LIMIT 1000
                FOR UPDATE SKIP LOCKED"
            ),
            &[
                pg_sys::TIMESTAMPTZOID,
                pg_sys::TEXTOID,
                pg_sys::TEXTOID,
                pg_sys::INT4OID,
                pg_sys::INT8OID,
                pg_sys::INT8OID,
            ],
        )
        .in_index_order()
    };
}

static LOCK_READY: Statement = lock!(ready!());
static LOCK_DUE: Statement = lock!(due!());

/// The first job of a stretch that can run, however many before it can't.
macro_rules! first_claimable {
    ($source:expr) => {
        Statement::new(
            concat!(
                "SELECT job.queue, job.task, ~job.priority, job.id, false
                FROM minion.jobs AS job
                WHERE ",
                $source,
                " AND ",
                stretch!(),
                " AND ",
                claimable!(),
                " ORDER BY ~job.priority, job.id
                LIMIT 1"
            ),
            STRETCH_TYPES,
        )
        .in_index_order()
    };
}

static CLAIMABLE_READY: Statement = first_claimable!(ready!());
static CLAIMABLE_DUE: Statement = first_claimable!(due!());

static TAKE: Statement = Statement::new(
    concat!(take!(), "$2 WHERE job.id = ANY ($3)", returning!()),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
);

/// One that this call has locked.
static TAKE_LOCKED: Statement = Statement::new(
    concat!(take!(), "$2 WHERE job.id = $3", returning!()),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::INT8OID],
);

pub static TAKE_ID: Statement = Statement::new(
    concat!(
        take!(),
        "$2
        WHERE job.id = (
            SELECT job.id
            FROM minion.jobs AS job
            WHERE job.id = $3 AND job.queue = ANY ($4) AND ($5 IS NULL OR job.task = ANY ($5))
              AND ~job.priority <= $6 AND ",
        claimable!(),
        " FOR UPDATE SKIP LOCKED
        )",
        returning!()
    ),
    &[
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::TEXTARRAYOID,
        pg_sys::TEXTARRAYOID,
        pg_sys::INT4OID,
    ],
);

/// The LIMIT of the statements that lock.
pub const STATEMENT_LIMIT: usize = 1_000;

impl Head {
    /// Claims at most `missing` jobs between the head and `limit`, which has the same rank.
    pub fn take(
        &self,
        session: &Session,
        worker: i64,
        now: Timestamp,
        limit: Position,
        missing: usize,
    ) -> Result<Vec<Claimed>, Error> {
        let (queue, task) = (self.lane.queue.as_str(), self.lane.task.as_str());
        let Position { rank, id } = self.position;
        if missing == 1 && self.source == Source::Ready {
            match probe::lock_first_ready(queue, task, (rank, id), limit.id, now) {
                Some(Some(id)) => {
                    let params = params![now, worker, id];
                    return Ok(claimed(session, &session.run(&TAKE_LOCKED, params)?));
                }
                Some(None) => return Ok(Vec::new()),
                None => {}
            }
        }
        let lock = match self.source {
            Source::Ready => &LOCK_READY,
            Source::Due => &LOCK_DUE,
        };
        let ids: Vec<i64> = session
            .run_at_most(lock, params![now, queue, task, rank, id, limit.id], missing)?
            .column(1);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut jobs = claimed(session, &session.run(&TAKE, params![now, worker, ids])?);
        // UPDATE returns rows in any order.
        jobs.sort_unstable_by_key(Claimed::position);
        Ok(jobs)
    }

    /// The head of the same lane from `from` on.
    pub fn next(
        &self,
        session: &Session,
        now: Timestamp,
        from: Position,
        end: Position,
    ) -> Result<Option<Head>, Error> {
        match self.source {
            Source::Ready => self.lane.ready(session, now, from, end),
            Source::Due => self.claimable(session, now, from, end),
        }
    }

    /// The first job of the same lane from `from` on that is claimable, however many are not.
    pub fn claimable(
        &self,
        session: &Session,
        now: Timestamp,
        from: Position,
        end: Position,
    ) -> Result<Option<Head>, Error> {
        let statement = match self.source {
            Source::Ready => &CLAIMABLE_READY,
            Source::Due => &CLAIMABLE_DUE,
        };
        let rows = session.run(statement, &self.lane.stretch(now, from, end))?;
        Ok((rows.count() > 0).then(|| Head { source: self.source, ..read_head(&rows, 0) }))
    }
}

pub fn claimed(session: &Session, rows: &Rows) -> Vec<Claimed> {
    (0..rows.count())
        .map(|row| Claimed {
            id: rows.get(row, 1).expect("id is NOT NULL"),
            args: session.keep(rows.get(row, 2).expect("args is NOT NULL")),
            retries: rows.get(row, 3).expect("retries is NOT NULL"),
            task: rows.get(row, 4).expect("task is NOT NULL"),
            rank: rows.get(row, 5).expect("priority is NOT NULL"),
        })
        .collect()
}
