//! Lanes, the (queue, task) pairs, and where in them the jobs stand.
//!
//! One ORDER BY over `queue = ANY (…)` would sort the whole backlog; each lane by itself is in order in the
//! index `jobs_ready`, so the first entry of each lane is one index probe, and the best of them is the
//! first job of all.

use crate::error::Error;
use crate::server::probe::ready::{Seen, first_ready};
use crate::server::rows::Rows;
use crate::server::session::Session;
use crate::server::statement::{Param, Statement, params};
use crate::server::time::Timestamp;
use crate::shared::heads::Reading;
use crate::shared::lane::{Lane, Position};
use pgrx::pg_sys;
use std::cmp::Ordering;

/// Which jobs of a lane are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Those in the index `jobs_ready`.
    Ready,
    /// Parked ones whose time has come, for a claim that may not free them first.
    Due,
}

/// The first job of a lane that may be claimable, or a place that it can't stand before.
#[derive(Debug)]
pub struct Head {
    pub position: Position,
    pub lane: Lane,
    pub source: Source,
    pub front: Front,
}

/// What is known of a head.
#[derive(Clone, Copy, Debug)]
pub enum Front {
    /// Nobody has looked yet; shared memory says that nothing is before it.
    Unseen(Reading),
    /// A job stands there. Misplaced: it is expired, or has a parent that was retried after it was freed, or a
    /// trigger of somebody's has delayed it after ours had placed it.
    Job { misplaced: bool },
}

/// The best head is the greatest, for a heap.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.position.cmp(&self.position)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}

impl Eq for Head {}

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
        concat!(
            "(job.delayed > $1 OR (job.expires IS NOT NULL AND job.expires <= $1) OR ",
            blocked!(),
            ")"
        )
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
pub(super) use head;

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
pub(crate) use parked;

/// The stretch of a lane from one position to another.
macro_rules! stretch {
    () => {
        "job.queue = $2 AND job.task = $3
         AND (~job.priority, job.id) >= ($4, $5)
         AND (~job.priority, job.id) <= ($6, $7)"
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

/// Without a filter, not even for those whose time has come: what it finds is what is there.
static FIRST_PARKED: Statement = Statement::new(
    concat!(
        "SELECT job.parked_until
        FROM minion.jobs AS job
        WHERE ",
        parked!(),
        " AND job.queue = $1 AND job.task = $2
        ORDER BY job.parked_until
        LIMIT 1"
    ),
    &[pg_sys::TEXTOID, pg_sys::TEXTOID],
)
.in_index_order();

/// The same for those that are due after a time.
static NEXT_PARKED: Statement = Statement::new(
    concat!(
        "SELECT job.parked_until
        FROM minion.jobs AS job
        WHERE ",
        parked!(),
        " AND job.queue = $1 AND job.task = $2 AND job.parked_until > $3
        ORDER BY job.parked_until
        LIMIT 1"
    ),
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
)
.in_index_order();

/// Of all jobs, whose children may be anywhere.
static NEXT_EXPIRY: Statement = Statement::new(
    "SELECT expires
    FROM minion.jobs
    WHERE state = 'inactive' AND expires IS NOT NULL AND expires > $1
    ORDER BY expires
    LIMIT 1",
    &[pg_sys::TIMESTAMPTZOID],
)
.in_index_order();

impl Lane {
    /// The parameters of [`STRETCH_TYPES`] for the jobs from one position up to, not including, another.
    pub fn stretch(&self, now: Timestamp, from: Position, to: Position) -> Vec<Param> {
        let (queue, task) = (self.queue.as_str(), self.task.as_str());
        // No job has a place that is no rank's: the stretch is empty.
        let (from, to) = match (from.rank(), to.previous().map(|last| (last.rank(), last.id))) {
            (Some(rank), Some((Some(last_rank), last))) => ((rank, from.id), (last_rank, last)),
            _ => ((i32::MAX, i64::MAX), (i32::MIN, i64::MIN)),
        };
        params![now, queue, task, from.0, from.1, to.0, to.1].into()
    }

    /// When the first parked job is due, INFINITY if none waits for a time.
    pub fn first_parked(&self, session: &Session) -> Result<Timestamp, Error> {
        let rows = session.run(&FIRST_PARKED, params![self.queue.as_str(), self.task.as_str()])?;
        Ok(first_time(&rows))
    }

    /// The same for those that are due after some time.
    pub fn next_parked(&self, session: &Session, after: Timestamp) -> Result<Timestamp, Error> {
        let params = params![self.queue.as_str(), self.task.as_str(), after];
        Ok(first_time(&session.run(&NEXT_PARKED, params)?))
    }

    /// When time may make a job of the lane runnable that is due or parked: the first of those is due that are not yet,
    /// or a job expires that may be a parent.
    pub fn next_by_time(&self, session: &Session, now: Timestamp) -> Result<Timestamp, Error> {
        let due = self.next_parked(session, now)?;
        Ok(due.min(first_time(&session.run(&NEXT_EXPIRY, params![now])?)))
    }

    /// The first ready job of a stretch.
    pub fn ready(
        &self,
        session: &Session,
        now: Timestamp,
        from: Position,
        to: Position,
    ) -> Result<Option<Head>, Error> {
        let Some(rank) = from.rank() else { return Ok(None) };
        match first_ready(&self.queue, &self.task, (rank, from.id), now) {
            Seen::Nothing => return Ok(None),
            Seen::This(job) if !job.may_be_misplaced => {
                let position = Position::new(job.rank, job.id);
                let front = Front::Job { misplaced: false };
                let head = Head { position, lane: self.clone(), source: Source::Ready, front };
                return Ok(Some(head).filter(|head| head.position < to));
            }
            _ => {}
        }
        let rows = session.run(&READY_OF_LANE, &self.stretch(now, from, to))?;
        Ok((rows.count() > 0).then(|| read_head(&rows, 0)))
    }
}

fn first_time(rows: &Rows) -> Timestamp {
    match rows.count() {
        0 => Timestamp::INFINITY,
        _ => rows.get(0, 1).expect("a time is not NULL in these indexes"),
    }
}

pub fn read_lane(rows: &Rows, row: usize) -> Lane {
    Lane {
        queue: rows.get(row, 1).expect("queue is NOT NULL"),
        task: rows.get(row, 2).expect("task is NOT NULL"),
    }
}

/// A head as the statements of this kind return it.
pub fn read_head(rows: &Rows, row: usize) -> Head {
    Head {
        lane: read_lane(rows, row),
        position: Position::new(
            rows.get(row, 3).expect("priority is NOT NULL"),
            rows.get(row, 4).expect("id is NOT NULL"),
        ),
        source: Source::Ready,
        front: Front::Job {
            // NULL where a constraint of the table was taken away: it can't be claimed.
            misplaced: rows.get(row, 5).unwrap_or(true),
        },
    }
}
