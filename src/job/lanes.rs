//! Lanes, the (queue, task) pairs, and where in them the jobs stand.
//!
//! One ORDER BY over `queue = ANY (…)` would sort the whole backlog; each lane by itself is in order in the
//! index `jobs_ready`, so the first entry of each lane is one index probe, and the best of them is the
//! first job of all.

use crate::error::Error;
use crate::shared::heads::{Heads, Known, Reading};
use crate::shared::lane::{Lane, Position};
use crate::shared::waiters::Waiting;
use crate::statement::probe;
use crate::statement::value::TextArray;
use crate::statement::{Param, Rows, Session, Statement, Timestamp, params};
use pgrx::pg_sys;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

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
    /// A job stands there. Misplaced: it is expired, or has a parent that was retried after it was freed.
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

/// The lanes that a claim may look at: every task of the queues, or the tasks given.
pub struct Lanes {
    pub queues: TextArray,
    pub tasks: Option<TextArray>,
    pub tracked: Option<Tracked>,
}

/// The same for shared memory.
pub struct Tracked {
    pub heads: Heads,
    pub queues: Vec<String>,
    pub tasks: Option<Vec<String>>,
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

/// The lanes of a queue that have any job that is ready or parked.
static TASKS_OF_QUEUE: Statement = Statement::new(
    concat!(
        "WITH RECURSIVE of_ready AS (
            (SELECT job.task
            FROM minion.jobs AS job
            WHERE ",
        ready!(),
        " AND job.queue = $1
            ORDER BY job.queue, job.task
            LIMIT 1)
          UNION ALL
            SELECT next.task
            FROM of_ready
            CROSS JOIN LATERAL (
                SELECT job.task
                FROM minion.jobs AS job
                WHERE ",
        ready!(),
        " AND job.queue = $1 AND job.task > of_ready.task
                ORDER BY job.queue, job.task
                LIMIT 1
            ) AS next
        ), of_parked AS (
            (SELECT job.task
            FROM minion.jobs AS job
            WHERE ",
        parked!(),
        " AND job.queue = $1
            ORDER BY job.queue, job.task
            LIMIT 1)
          UNION ALL
            SELECT next.task
            FROM of_parked
            CROSS JOIN LATERAL (
                SELECT job.task
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " AND job.queue = $1 AND job.task > of_parked.task
                ORDER BY job.queue, job.task
                LIMIT 1
            ) AS next
        )
        SELECT task FROM of_ready UNION ALL SELECT task FROM of_parked"
    ),
    &[pg_sys::TEXTOID],
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

static IN_DOUBT: Statement = Statement::new(
    "SELECT
    FROM pg_catalog.pg_prepared_xacts
    WHERE database = pg_catalog.current_database()
    LIMIT 1",
    &[],
);

/// What a first look at the lanes shows.
#[derive(Default)]
pub struct Look {
    pub heads: BinaryHeap<Head>,
    /// Lanes in which a parked job's time has come.
    pub due: Vec<Lane>,
    /// A lane that it is for this claim to verify.
    pub verify: Option<(Lane, Reading)>,
}

impl Lanes {
    pub fn new(queues: TextArray, tasks: Option<TextArray>) -> Self {
        let tracked = Heads::here().map(|heads| Tracked {
            heads,
            queues: queues.distinct(),
            tasks: tasks.map(TextArray::distinct),
        });
        Self { queues, tasks, tracked }
    }

    /// The heads of all lanes whose first job is not worse than `worst`, and the lanes with due jobs.
    pub fn look(&self, session: &Session, now: Timestamp, worst: i32) -> Result<Look, Error> {
        let mut look = Look::default();
        let Some(tracked) = &self.tracked else {
            look.by_index(session, now, worst, self.queues.into(), self.tasks)?;
            return Ok(look);
        };
        let mut unknown = Vec::new();
        // Of what there is to verify, a claim does one thing.
        let mut verify = true;
        for queue in &tracked.queues {
            let Some(known) = tracked.lanes(session, queue, now, &mut verify)? else {
                unknown.push(queue.as_str());
                continue;
            };
            look.verify = look.verify.or(known.verify);
            for (lane, reading) in known.lanes {
                if reading.due <= now && tracked.is_due(session, &lane, &reading, now)? {
                    look.due.push(lane.clone());
                }
                let (position, front) = (reading.bound, Front::Unseen(reading));
                if position < Position::END && position.rank <= worst {
                    look.heads.push(Head { position, lane, source: Source::Ready, front });
                }
            }
        }
        if !unknown.is_empty() {
            look.by_index(session, now, worst, unknown.into(), self.tasks)?;
        }
        Ok(look)
    }

    /// Whether shared memory does not know that there are none.
    pub fn may_have_jobs(&self, now: Timestamp) -> bool {
        self.tracked.as_ref().is_none_or(|tracked| {
            tracked.queues.iter().any(|queue| {
                let tasks = tracked.tasks.as_deref();
                let lanes = tracked.heads.lanes(queue, tasks, now, &mut false);
                lanes.is_none_or(|known| !known.lanes.is_empty())
            })
        })
    }

    /// The lanes in which a parked job's time has come.
    pub fn due(&self, session: &Session, now: Timestamp) -> Result<Vec<Lane>, Error> {
        let mut look = Look::default();
        match self.tracked {
            // No priority is better than this one.
            Some(_) => look = self.look(session, now, i32::MIN)?,
            None => look.due_by_index(session, now, self.queues.into(), self.tasks)?,
        }
        Ok(look.due)
    }
}

impl Look {
    fn by_index(
        &mut self,
        session: &Session,
        now: Timestamp,
        worst: i32,
        queues: Param,
        tasks: Option<TextArray>,
    ) -> Result<(), Error> {
        self.due_by_index(session, now, queues, tasks)?;
        let (clock, worst) = (Param::from(now), Param::from(worst));
        let rows = match tasks {
            None => session.run(&READY_OF_QUEUES, &[clock, queues, worst])?,
            Some(tasks) => session.run(&READY_OF_TASKS, &[clock, queues, worst, tasks.into()])?,
        };
        let mut heads: Vec<_> = (0..rows.count()).map(|row| read_head(&rows, row)).collect();
        heads.sort_unstable_by_key(|head| head.position);
        // A queue or task that was named twice.
        heads.dedup_by_key(|head| head.position);
        self.heads.extend(heads);
        Ok(())
    }

    fn due_by_index(
        &mut self,
        session: &Session,
        now: Timestamp,
        queues: Param,
        tasks: Option<TextArray>,
    ) -> Result<(), Error> {
        let clock = Param::from(now);
        let rows = match tasks {
            None => session.run(&DUE_OF_QUEUES, &[clock, queues])?,
            Some(tasks) => session.run(&DUE_OF_TASKS, &[clock, queues, tasks.into()])?,
        };
        self.due.extend((0..rows.count()).map(|row| lane(&rows, row)));
        Ok(())
    }
}

impl Tracked {
    /// A place among those who sleep until there is a job for them.
    pub fn wait(&self) -> Option<Waiting> {
        Waiting::begin(self.heads, &self.queues, self.tasks.as_deref())
    }

    /// The lanes of a queue that may have jobs; None if they can't be told from shared memory.
    fn lanes(
        &self,
        session: &Session,
        queue: &str,
        now: Timestamp,
        verify: &mut bool,
    ) -> Result<Option<Known>, Error> {
        let tasks = self.tasks.as_deref();
        if let Some(known) = self.heads.lanes(queue, tasks, now, verify) {
            return Ok(Some(known));
        }
        // The first claim since the server was started, or it is time to look again.
        let begin = Instant::now();
        let Some(version) = self.heads.learn(queue) else { return Ok(None) };
        let mut found: Vec<String> = session.run(&TASKS_OF_QUEUE, params![queue])?.column(1);
        found.sort_unstable();
        found.dedup();
        Ok(match self.heads.know(queue, version, &found, begin.elapsed()) {
            // The queue has had its turn: one of its lanes gets one as well.
            true => self.heads.lanes(queue, tasks, now, &mut true),
            false => None,
        })
    }

    fn is_due(
        &self,
        session: &Session,
        lane: &Lane,
        reading: &Reading,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let first = lane.first_parked(session)?;
        self.heads.raise_due(reading, first);
        Ok(first <= now)
    }

    /// Looks whether a lane has jobs that nobody told us of: a prepared transaction has been committed, or
    /// triggers were switched off. True if it has.
    pub fn verify(
        &self,
        session: &Session,
        (lane, reading): (Lane, Reading),
        now: Timestamp,
    ) -> Result<bool, Error> {
        let begin = Instant::now();
        let ready = lane.ready(session, now, Position::FIRST, reading.bound)?;
        let due = lane.first_parked(session)?;
        let in_doubt = session.run(&IN_DOUBT, &[])?.count() > 0;
        let ready = ready.map(|head| head.position);
        Ok(self.heads.verified(&reading, ready, due, in_doubt, begin.elapsed()))
    }
}

impl Lane {
    /// The parameters of [`STRETCH_TYPES`].
    pub fn stretch(&self, now: Timestamp, from: Position, to: Position) -> Vec<Param> {
        let (queue, task) = (self.queue.as_str(), self.task.as_str());
        params![now, queue, task, from.rank, from.id, to.rank, to.id].into()
    }

    /// When the first parked job is due, INFINITY if none waits for a time.
    fn first_parked(&self, session: &Session) -> Result<Timestamp, Error> {
        let rows = session.run(&FIRST_PARKED, params![self.queue.as_str(), self.task.as_str()])?;
        Ok(match rows.count() {
            0 => Timestamp::INFINITY,
            _ => rows.get(0, 1).expect("parked_until is not NULL in this index"),
        })
    }

    /// The first ready job of a stretch.
    pub fn ready(
        &self,
        session: &Session,
        now: Timestamp,
        from: Position,
        to: Position,
    ) -> Result<Option<Head>, Error> {
        match probe::first_ready(&self.queue, &self.task, (from.rank, from.id), now) {
            Some(None) => return Ok(None),
            Some(Some(job)) if !job.may_be_misplaced => {
                let position = Position { rank: job.rank, id: job.id };
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
        source: Source::Ready,
        front: Front::Job {
            misplaced: rows.get(row, 5).expect("OR of expressions that are not NULL"),
        },
    }
}
