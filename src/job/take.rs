//! The jobs of one lane: the first that can run from a place on, and taking those up to another.

use super::lanes::{Head, STRETCH_TYPES, Source, blocked, parked, read_head, ready, stretch};
use super::look::Lanes;
use crate::error::Error;
use crate::shared::lane::Position;
use crate::statement::value::Jsonb;
use crate::statement::{
    Rows, Session, Statement, Timestamp, check_for_interrupts, clock, guarded, params, probe,
};
use pgrx::pg_sys;
use std::cell::RefCell;

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

/// All that allows it. Its parents are asked again: one may have been retried since the job was freed.
macro_rules! claimable {
    () => {
        concat!(startable!(), " AND NOT ", blocked!())
    };
}

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

static TAKE_ID: Statement = Statement::new(
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
const STATEMENT_LIMIT: usize = 1_000;

/// What was taken of a stretch, and where the rest of it begins.
pub struct Taken {
    pub jobs: Vec<Claimed>,
    pub rest: Position,
}

impl Head {
    /// Claims at most `missing` jobs between the head and `limit`, which is not after the end of its rank.
    pub fn take(
        &self,
        session: &Session,
        worker: i64,
        limit: Position,
        missing: usize,
    ) -> Result<Taken, Error> {
        if missing == 1
            && self.source == Source::Ready
            && let Some(taken) = self.take_one(session, worker, limit)?
        {
            return Ok(taken);
        }
        let (queue, task) = (self.lane.queue.as_str(), self.lane.task.as_str());
        let Some((rank, last)) = self.stretch_to(limit) else { return Ok(Taken::none(limit)) };
        let lock = match self.source {
            Source::Ready => &LOCK_READY,
            Source::Due => &LOCK_DUE,
        };
        let params = params![clock(), queue, task, rank, self.position.id, last];
        let ids: Vec<i64> = session.run_at_most(lock, params, missing)?.column(1);
        let rest = match ids.last() {
            // It was not the stretch that ended there.
            Some(&id) if ids.len() >= missing.min(STATEMENT_LIMIT) => {
                Position::new(rank, id).next()
            }
            _ => limit,
        };
        let mut jobs = take_locked(session, worker, ids)?;
        // UPDATE returns rows in any order.
        jobs.sort_unstable_by_key(Claimed::position);
        Ok(Taken { jobs, rest })
    }

    /// The same for one job, without a statement that looks for it; None if one has to.
    fn take_one(
        &self,
        session: &Session,
        worker: i64,
        limit: Position,
    ) -> Result<Option<Taken>, Error> {
        let (queue, task) = (self.lane.queue.as_str(), self.lane.task.as_str());
        let Some((rank, last)) = self.stretch_to(limit) else { return Ok(None) };
        let asked = self.position.id;
        let mut from = asked;
        loop {
            let found = probe::lock_first_ready(queue, task, (rank, from), asked, last, clock());
            let Some(id) = found else { return Ok(None) };
            let Some(id) = id else { return Ok(Some(Taken::none(limit))) };
            let (jobs, rest) =
                (take_locked(session, worker, vec![id])?, Position::new(rank, id).next());
            if !jobs.is_empty() || rest >= limit {
                return Ok(Some(Taken { jobs, rest }));
            }
            // It was passed over.
            from = rest.id;
            check_for_interrupts();
        }
    }

    /// The rank of the stretch that begins here, and its last id.
    fn stretch_to(&self, limit: Position) -> Option<(i32, i64)> {
        Some((self.position.rank()?, limit.previous()?.id))
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

thread_local! {
    /// The jobs that this backend is about to take. An error on the way, of a trigger of somebody's, leaves them
    /// here, and they are suspects from then on: each is taken by itself, and passed over if it fails again. So
    /// such a job costs the caller one error, and does not keep it from all the others; and taking a job that
    /// nothing is wrong with costs nothing more.
    static UNDER_WAY: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
    static SUSPECTS: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

/// Of more suspects than this the oldest are forgotten, and may cost an error again.
const SUSPECTED: usize = 2 * STATEMENT_LIMIT;

/// Takes jobs that this call has locked.
fn take_locked(session: &Session, worker: i64, ids: Vec<i64>) -> Result<Vec<Claimed>, Error> {
    let (suspects, ids): (Vec<i64>, _) = SUSPECTS.with_borrow_mut(|suspects| {
        suspects.extend(UNDER_WAY.take());
        suspects.drain(..suspects.len().saturating_sub(SUSPECTED));
        ids.into_iter().partition(|id| suspects.contains(id))
    });
    let mut jobs = take(session, worker, ids)?;
    for id in suspects {
        match guarded(|| take(session, worker, vec![id])) {
            Ok(taken) => {
                jobs.extend(taken);
                SUSPECTS.with_borrow_mut(|suspects| suspects.retain(|suspect| *suspect != id));
            }
            Err(failure) => Error::PassedOver { what: format!("job {id}"), failure }.warn(),
        }
    }
    Ok(jobs)
}

/// Whether a claim of this backend is taking a job at this moment, and sees to its limits itself.
pub fn is_under_way(job: i64) -> bool {
    UNDER_WAY.with_borrow(|under_way| under_way.binary_search(&job).is_ok())
}

/// A certain job, if it can run.
pub fn take_id(
    session: &Session,
    worker: i64,
    id: i64,
    lanes: &Lanes,
    worst: i32,
) -> Result<Taken, Error> {
    UNDER_WAY.set(vec![id]);
    let params = params![clock(), worker, id, lanes.queues, lanes.tasks, worst];
    let rows = session.run(&TAKE_ID, params)?;
    UNDER_WAY.with_borrow_mut(Vec::clear);
    Ok(Taken { jobs: claimed(session, &rows), rest: Position::END })
}

/// `ids` are in their order, as all of one rank are.
fn take(session: &Session, worker: i64, ids: Vec<i64>) -> Result<Vec<Claimed>, Error> {
    let one = match ids[..] {
        [] => return Ok(Vec::new()),
        [id] => Some(id),
        _ => None,
    };
    UNDER_WAY.with_borrow_mut(|under_way| under_way.clone_from(&ids));
    // Not before what the claim has seen: jobs may have come since it began.
    let now = clock();
    let rows = match one {
        Some(id) => session.run(&TAKE_LOCKED, params![now, worker, id])?,
        None => session.run(&TAKE, params![now, worker, ids])?,
    };
    UNDER_WAY.with_borrow_mut(Vec::clear);
    Ok(claimed(session, &rows))
}

fn claimed(session: &Session, rows: &Rows) -> Vec<Claimed> {
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
