//! The jobs of one lane: the first that can run from a place on, and taking those up to another.

use super::around::PassedOver;
use super::lane::{Head, STRETCH_TYPES, Source, blocked, parked, read_head, ready, stretch};
use super::under_way::UnderWay;
use crate::error::Error;
use crate::server::identity::as_owner_of_jobs;
use crate::server::probe::ready::{Seen, lock_first_ready};
use crate::server::rows::Rows;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::value::Jsonb;
use crate::shared::lane::{Lane, Position};
use pgrx::pg_sys;

/// What it gets.
pub struct Claimed {
    pub id: i64,
    pub args: Jsonb,
    pub retries: i32,
    pub task: String,
    rank: i32,
    /// Where it is, if that is not the lane that it was claimed in.
    pub elsewhere: Option<Lane>,
}

impl Claimed {
    pub fn position(&self) -> Position {
        Position::new(self.rank, self.id)
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
pub(super) use startable;

/// All that allows it. Its parents are asked again: one may have been retried since the job was freed.
macro_rules! claimable {
    () => {
        concat!(startable!(), " AND NOT ", blocked!())
    };
}
pub(super) use claimable;

/// Of one priority in a lane, from one id to another. A comparison of (priority, id) pairs
/// would not do as an end: the server's index scan goes on to the end of the priority after it has failed.
macro_rules! same_rank {
    () => {
        "job.queue = $2 AND job.task = $3 AND ~job.priority = $4 AND job.id >= $5 AND job.id <= $6"
    };
}

/// The claimable jobs of such a stretch. This call has just asked the parents of its first one, $5; had its
/// own facts changed since, it would stand elsewhere.
macro_rules! claimable_of_same_rank {
    () => {
        concat!(same_rank!(), " AND ", startable!(), " AND (job.id = $5 OR NOT ", blocked!(), ")")
    };
}

macro_rules! activate {
    () => {
        "UPDATE minion.jobs AS job
        SET state = 'active', started = $1, parked_until = NULL, waits_for = NULL, worker = "
    };
}
pub(super) use activate;

macro_rules! columns {
    () => {
        " job.id, job.args, job.retries, job.task, ~job.priority"
    };
}
pub(super) use columns;

macro_rules! returning {
    () => {
        concat!(" RETURNING", columns!())
    };
}
pub(super) use returning;

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
    concat!(activate!(), "$2 WHERE job.id = ANY ($3)", returning!()),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
);

/// One that this call has locked.
static TAKE_LOCKED: Statement = Statement::new(
    concat!(activate!(), "$2 WHERE job.id = $3", returning!()),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::INT8OID],
);

/// What they are now.
static TAKEN: Statement = Statement::new(
    concat!(
        "SELECT",
        columns!(),
        ", job.queue
        FROM minion.jobs AS job
        WHERE job.id = ANY ($1) AND job.state = $2::minion.job_state"
    ),
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID],
);

/// What was taken of a stretch, and where the rest of it begins.
pub struct Taken {
    pub jobs: Vec<Claimed>,
    pub rest: Position,
}

impl Head {
    /// Claims at most `missing` jobs between the head and `to`, which is not after the end of its rank.
    pub fn take(
        &self,
        session: &Session,
        worker: i64,
        to: Position,
        missing: usize,
        passed: &PassedOver,
    ) -> Result<Taken, Error> {
        let Some((rank, last)) = self.stretch_to(to) else { return Ok(Taken::none(to)) };
        let lock = |most| self.lock(session, rank, last, most);
        let taken = passed.around(passed.at_once(missing), lock, |ids, look| match look {
            true => take_and_look(session, worker, ids, Some(&self.lane)),
            false => Ok(claimed(session, &take(session, worker, ids)?)),
        })?;
        passed.tried(taken.passed);
        let mut jobs = taken.done;
        // UPDATE returns rows in any order.
        jobs.sort_unstable_by_key(Claimed::position);
        // Without a last one, it was the stretch that ended.
        let rest = taken.stopped.map_or(to, |id| Position::new(rank, id).next());
        Ok(Taken { jobs, rest })
    }

    /// Locks at most `most` jobs from the head to the last id of its rank, for one without a statement if it
    /// can.
    fn lock(
        &self,
        session: &Session,
        rank: i32,
        last: i64,
        most: usize,
    ) -> Result<Vec<i64>, Error> {
        let (queue, task) = (self.lane.queue.as_str(), self.lane.task.as_str());
        let (now, from) = (clock(), self.position.id);
        let lock = match self.source {
            Source::Ready => &LOCK_READY,
            Source::Due => &LOCK_DUE,
        };
        if most == 1 && self.source == Source::Ready {
            match lock_first_ready(queue, task, (rank, from), from, last, now) {
                Seen::This(id) => return Ok(vec![id]),
                Seen::Nothing => return Ok(Vec::new()),
                Seen::Unknown => {}
            }
        }
        let params = params![now, queue, task, rank, from, last];
        Ok(session.run_at_most(lock, params, most)?.column(1))
    }

    /// The rank of the stretch that begins here, and its last id.
    fn stretch_to(&self, to: Position) -> Option<(i32, i64)> {
        Some((self.position.rank()?, to.previous()?.id))
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

impl Taken {
    fn none(rest: Position) -> Self {
        Self { jobs: Vec::new(), rest }
    }
}

/// Takes jobs that this call has locked. `ids` are in their order, as all of one rank are.
fn take(session: &Session, worker: i64, ids: Vec<i64>) -> Result<Rows, Error> {
    let _under_way = UnderWay::begin(&ids);
    // Not before what the claim has seen: jobs may have come since it began.
    let now = clock();
    match ids[..] {
        [id] => session.run(&TAKE_LOCKED, params![now, worker, id]),
        _ => session.run(&TAKE, params![now, worker, ids]),
    }
}

/// The same where triggers of users' may have changed the jobs after they were written, ended or removed them:
/// those that are active then, as they are then.
pub fn take_and_look(
    session: &Session,
    worker: i64,
    ids: Vec<i64>,
    lane: Option<&Lane>,
) -> Result<Vec<Claimed>, Error> {
    if take(session, worker, ids.clone())?.count() < ids.len() {
        return Err(Error::Refused { table: "jobs" });
    }
    let rows = as_owner_of_jobs(|| session.run(&TAKEN, params![ids, "active"]))?;
    Ok(claimed_in(session, &rows, lane))
}

/// With column 6, the queue: `lane` is where they were thought to be.
pub fn claimed_in(session: &Session, rows: &Rows, lane: Option<&Lane>) -> Vec<Claimed> {
    let mut jobs = claimed(session, rows);
    for (row, job) in jobs.iter_mut().enumerate() {
        let queue = rows.get(row, 6).expect("queue is NOT NULL");
        let is = Lane { queue, task: job.task.clone() };
        job.elsewhere = Some(is).filter(|is| Some(is) != lane);
    }
    jobs
}

fn claimed(session: &Session, rows: &Rows) -> Vec<Claimed> {
    (0..rows.count())
        .map(|row| Claimed {
            id: rows.get(row, 1).expect("id is NOT NULL"),
            args: session.keep(rows.get(row, 2).expect("args is NOT NULL")),
            retries: rows.get(row, 3).expect("retries is NOT NULL"),
            task: rows.get(row, 4).expect("task is NOT NULL"),
            rank: rows.get(row, 5).expect("priority is NOT NULL"),
            elsewhere: None,
        })
        .collect()
}
