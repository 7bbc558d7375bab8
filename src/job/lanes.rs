//! Lanes, the (queue, task) pairs, and where in them the jobs stand.
//!
//! One ORDER BY over `queue = ANY (…)` would sort the whole backlog; each lane by itself is in order in the
//! index `jobs_ready`, so the first entry of each lane is one index probe, and the best of them is the
//! first job of all.

use crate::error::Error;
use crate::statement::value::TextArray;
use crate::statement::{Param, Rows, Session, Statement, Timestamp, params};
use pgrx::pg_sys;

/// A place in the claim order: priority DESC (as `~priority` ASC), then id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub rank: i32,
    pub id: i64,
}

impl Position {
    /// Before every job.
    pub const FIRST: Position = Position { rank: i32::MIN, id: i64::MIN };

    /// This position, or the end of a rank that comes before it.
    pub fn within(self, rank: i32) -> Position {
        if self.rank == rank { self } else { Position { rank, id: i64::MAX } }
    }

    /// The one right after it.
    pub fn next(self) -> Position {
        Position { id: self.id.saturating_add(1), ..self }
    }
}

/// A (queue, task) pair.
#[derive(Clone, Debug)]
pub struct Lane {
    pub queue: String,
    pub task: String,
}

/// Which jobs of a lane are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Those in the index `jobs_ready`.
    Ready,
    /// Parked ones whose time has come, for a claim that may not free them first.
    Due,
}

/// The first job of a lane that may be claimable.
#[derive(Debug)]
pub struct Head {
    pub position: Position,
    pub lane: Lane,
    pub source: Source,
    /// It is expired, or has a parent that was retried after it was freed.
    pub misplaced: bool,
}

/// The lanes that a claim may look at: every task of the queues, or the tasks given.
#[derive(Clone, Copy)]
pub struct Lanes {
    pub queues: TextArray,
    pub tasks: Option<TextArray>,
}

/// Whether a parent of `job` is not done at $1. The newest is looked at first: parents mostly finish oldest
/// first.
macro_rules! blocked {
    () => {
        "(job.parents <> '{}' AND (
            SELECT parent.id
            FROM minion.jobs AS parent
            WHERE parent.id = ANY (job.parents)
              AND minion.is_unresolved(parent.state, parent.expires, job.lax, $1)
            ORDER BY parent.id DESC
            LIMIT 1
         ) IS NOT NULL)"
    };
}
pub(super) use blocked;

/// Whether `job`, which stands among the ready ones, can't run at $1.
macro_rules! misplaced {
    () => {
        concat!("((job.expires IS NOT NULL AND job.expires <= $1) OR ", blocked!(), ")")
    };
}
pub(super) use misplaced;

/// The columns of a [`Head`] among the jobs aliased `job`.
macro_rules! head {
    () => {
        concat!(
            "job.queue, job.task, ~job.priority AS rank, job.id, ",
            misplaced!(),
            " AS misplaced"
        )
    };
}

/// What makes the index `jobs_ready` usable.
macro_rules! ready {
    () => {
        "job.state = 'inactive' AND job.parked_until IS NULL"
    };
}
pub(super) use ready;

/// What makes the index `jobs_parked` usable.
macro_rules! parked {
    () => {
        "job.state = 'inactive' AND job.parked_until IS NOT NULL"
    };
}
pub(super) use parked;

/// The stretch of a lane from one position up to, not including, another.
macro_rules! stretch {
    () => {
        "job.queue = $2 AND job.task = $3
         AND (~job.priority, job.id) >= ($4, $5)
         AND (~job.priority, job.id) < ($6, $7)"
    };
}
pub(super) use stretch;

/// $1 the clock, $2 and $3 the lane, $4 to $7 the positions from and to.
pub const STRETCH_TYPES: &[pg_sys::Oid] = &[
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
];

/// A skip scan: the first entry of the first lane of each queue, then of the lane after it, and so on.
static READY_OF_QUEUES: Statement = Statement::new(
    concat!(
        "WITH RECURSIVE head AS (
            SELECT first.*
            FROM pg_catalog.unnest($2) AS wanted (queue)
            CROSS JOIN LATERAL (
                SELECT ",
        head!(),
        " FROM minion.jobs AS job
                WHERE ",
        ready!(),
        " AND job.queue = wanted.queue
                ORDER BY job.queue, job.task, ~job.priority, job.id
                LIMIT 1
            ) AS first
          UNION ALL
            SELECT next.*
            FROM head
            CROSS JOIN LATERAL (
                SELECT ",
        head!(),
        " FROM minion.jobs AS job
                WHERE ",
        ready!(),
        " AND job.queue = head.queue AND job.task > head.task
                ORDER BY job.queue, job.task, ~job.priority, job.id
                LIMIT 1
            ) AS next
        )
        SELECT queue, task, rank, id, misplaced FROM head WHERE rank <= $3"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTARRAYOID, pg_sys::INT4OID],
)
.in_index_order();

static READY_OF_TASKS: Statement = Statement::new(
    concat!(
        "SELECT head.queue, head.task, head.rank, head.id, head.misplaced
        FROM pg_catalog.unnest($2) AS wanted (queue)
        CROSS JOIN pg_catalog.unnest($4) AS asked (task)
        CROSS JOIN LATERAL (
            SELECT ",
        head!(),
        " FROM minion.jobs AS job
            WHERE ",
        ready!(),
        " AND job.queue = wanted.queue AND job.task = asked.task
            ORDER BY ~job.priority, job.id
            LIMIT 1
        ) AS head
        WHERE head.rank <= $3"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTARRAYOID, pg_sys::INT4OID, pg_sys::TEXTARRAYOID],
)
.in_index_order();

static READY_OF_LANE: Statement = Statement::new(
    concat!(
        "SELECT ",
        head!(),
        " FROM minion.jobs AS job
        WHERE ",
        ready!(),
        " AND ",
        stretch!(),
        " ORDER BY ~job.priority, job.id
        LIMIT 1"
    ),
    STRETCH_TYPES,
)
.in_index_order();

/// The same skip scan over the parked jobs, for the lanes in which one is due.
static DUE_OF_QUEUES: Statement = Statement::new(
    concat!(
        "WITH RECURSIVE head AS (
            SELECT first.*
            FROM pg_catalog.unnest($2) AS wanted (queue)
            CROSS JOIN LATERAL (
                SELECT job.queue, job.task, job.parked_until
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " AND job.queue = wanted.queue
                ORDER BY job.queue, job.task, job.parked_until
                LIMIT 1
            ) AS first
          UNION ALL
            SELECT next.*
            FROM head
            CROSS JOIN LATERAL (
                SELECT job.queue, job.task, job.parked_until
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " AND job.queue = head.queue AND job.task > head.task
                ORDER BY job.queue, job.task, job.parked_until
                LIMIT 1
            ) AS next
        )
        SELECT DISTINCT queue, task FROM head WHERE parked_until <= $1"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTARRAYOID],
)
.in_index_order();

static DUE_OF_TASKS: Statement = Statement::new(
    concat!(
        "SELECT DISTINCT head.queue, head.task
        FROM pg_catalog.unnest($2) AS wanted (queue)
        CROSS JOIN pg_catalog.unnest($3) AS asked (task)
        CROSS JOIN LATERAL (
            SELECT job.queue, job.task
            FROM minion.jobs AS job
            WHERE ",
        parked!(),
        " AND job.queue = wanted.queue AND job.task = asked.task AND job.parked_until <= $1
            ORDER BY job.parked_until
            LIMIT 1
        ) AS head"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTARRAYOID, pg_sys::TEXTARRAYOID],
)
.in_index_order();

/// The same over all queues.
static DUE_ANYWHERE: Statement = Statement::new(
    concat!(
        "WITH RECURSIVE head AS (
            SELECT first.*
            FROM (
                SELECT job.queue, job.task, job.parked_until
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " ORDER BY job.queue, job.task, job.parked_until
                LIMIT 1
            ) AS first
          UNION ALL
            SELECT next.*
            FROM head
            CROSS JOIN LATERAL (
                SELECT job.queue, job.task, job.parked_until
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " AND (job.queue, job.task) > (head.queue, head.task)
                ORDER BY job.queue, job.task, job.parked_until
                LIMIT 1
            ) AS next
        )
        SELECT queue, task FROM head WHERE parked_until <= $1"
    ),
    &[pg_sys::TIMESTAMPTZOID],
)
.in_index_order();

/// The lanes of all queues in which a parked job's time has come.
pub fn all_due(session: &Session, now: Timestamp) -> Result<Vec<Lane>, Error> {
    let rows = session.run(&DUE_ANYWHERE, params![now])?;
    Ok((0..rows.count()).map(|row| lane(&rows, row)).collect())
}

impl Lanes {
    /// The first ready job of each lane, best first; none of a lane whose first is worse than `worst`.
    pub fn ready(&self, session: &Session, now: Timestamp, worst: i32) -> Result<Vec<Head>, Error> {
        let rows = match self.tasks {
            None => session.run(&READY_OF_QUEUES, params![now, self.queues, worst])?,
            Some(tasks) => session.run(&READY_OF_TASKS, params![now, self.queues, worst, tasks])?,
        };
        let mut heads: Vec<_> = (0..rows.count()).map(|row| read_head(&rows, row)).collect();
        heads.sort_unstable_by_key(|head| head.position);
        // A queue or task that was named twice.
        heads.dedup_by_key(|head| head.position);
        Ok(heads)
    }

    /// The lanes in which a parked job's time has come.
    pub fn due(&self, session: &Session, now: Timestamp) -> Result<Vec<Lane>, Error> {
        let rows = match self.tasks {
            None => session.run(&DUE_OF_QUEUES, params![now, self.queues])?,
            Some(tasks) => session.run(&DUE_OF_TASKS, params![now, self.queues, tasks])?,
        };
        Ok((0..rows.count()).map(|row| lane(&rows, row)).collect())
    }
}

impl Lane {
    /// The parameters of [`STRETCH_TYPES`].
    pub fn stretch(&self, now: Timestamp, from: Position, to: Position) -> Vec<Param> {
        let (queue, task) = (self.queue.as_str(), self.task.as_str());
        params![now, queue, task, from.rank, from.id, to.rank, to.id].into()
    }

    /// The first ready job of a stretch.
    pub fn ready(
        &self,
        session: &Session,
        now: Timestamp,
        from: Position,
        to: Position,
    ) -> Result<Option<Head>, Error> {
        let rows = session.run(&READY_OF_LANE, &self.stretch(now, from, to))?;
        Ok((rows.count() > 0).then(|| read_head(&rows, 0)))
    }
}

fn lane(rows: &Rows, row: usize) -> Lane {
    Lane {
        queue: rows.get(row, 1).expect("queue is NOT NULL"),
        task: rows.get(row, 2).expect("task is NOT NULL"),
    }
}

/// A head as the statements of this kind return it.
pub fn read_head(rows: &Rows, row: usize) -> Head {
    Head {
        lane: lane(rows, row),
        position: Position {
            rank: rows.get(row, 3).expect("priority is NOT NULL"),
            id: rows.get(row, 4).expect("id is NOT NULL"),
        },
        misplaced: rows.get(row, 5).expect("OR of expressions that are not NULL"),
        source: Source::Ready,
    }
}
