//! job_counts: how many jobs there are, for stats() and list_jobs().

use crate::error::Error;
use crate::server::rows::Rows;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::{has_changed_anything, snapshot_is_fixed};
use crate::server::value::TextArray;
use crate::shared::counted::{Counted, Totals};
use crate::shared::heads::Heads;
use crate::shared::tally::{Counts, DELAYED, INACTIVE, KINDS, add};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::collections::HashMap;

static COUNT: Statement = Statement::new(
    "SELECT queue, task,
        pg_catalog.count(*) FILTER (WHERE state = 'inactive'),
        pg_catalog.count(*) FILTER (WHERE state = 'active'),
        pg_catalog.count(*) FILTER (WHERE state = 'failed'),
        pg_catalog.count(*) FILTER (WHERE state = 'finished'),
        pg_catalog.count(*) FILTER (WHERE state = 'inactive' AND parked_until = delayed)
    FROM minion.jobs
    GROUP BY queue, task",
    &[],
)
.of_whole_table();

/// Those whose time has come, and that nobody has claimed since.
static DUE: Statement = Statement::new(
    "SELECT pg_catalog.count(*)
    FROM minion.jobs
    WHERE state = 'inactive' AND parked_until IS NOT NULL AND queue = $1 AND task = $2
      AND parked_until <= $3 AND parked_until = delayed",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

/// Each count goes through the partial index that holds just those jobs.
static BY_INDEX: Statement = Statement::new(
    "SELECT
        (SELECT pg_catalog.count(*)
         FROM minion.jobs
         WHERE state = 'inactive' AND parked_until IS NULL)
        + (SELECT pg_catalog.count(*)
           FROM minion.jobs
           WHERE state = 'inactive' AND parked_until IS NOT NULL),
        (SELECT pg_catalog.count(*) FROM minion.jobs WHERE state = 'active'),
        (SELECT pg_catalog.count(*) FROM minion.jobs WHERE state = 'failed'),
        (SELECT pg_catalog.count(*) FROM minion.jobs WHERE state = 'finished'),
        (SELECT pg_catalog.count(*)
         FROM minion.jobs
         WHERE state = 'inactive' AND parked_until IS NOT NULL AND delayed > $1
           AND (expires IS NULL OR expires > $1))",
    &[pg_sys::TIMESTAMPTZOID],
);

static OF_QUEUES: Statement = Statement::new(
    "SELECT queue,
        pg_catalog.count(*) FILTER (
            WHERE state = 'inactive' AND (expires IS NULL OR expires > $1)),
        pg_catalog.count(*) FILTER (WHERE state = 'active'),
        pg_catalog.count(*) FILTER (WHERE state = 'failed'),
        pg_catalog.count(*) FILTER (WHERE state = 'finished'),
        pg_catalog.count(*) FILTER (
            WHERE state = 'inactive' AND delayed > $1 AND (expires IS NULL OR expires > $1))
    FROM minion.jobs
    GROUP BY queue",
    &[pg_sys::TIMESTAMPTZOID],
)
.of_whole_table();

/// MATERIALIZED: the planner knows little of small indexes, and would go through all that are parked.
static EXPIRED: Statement = Statement::new(
    "WITH expired AS MATERIALIZED (
        SELECT queue, delayed, parked_until
        FROM minion.jobs
        WHERE state = 'inactive' AND expires IS NOT NULL AND expires <= $1
    )
    SELECT queue, pg_catalog.count(*),
        pg_catalog.count(*) FILTER (WHERE delayed > $1 AND parked_until = delayed)
    FROM expired
    GROUP BY queue",
    &[pg_sys::TIMESTAMPTZOID],
)
.in_index_order();

/// A skip scan over tasks and priorities; only the first job of each is looked at.
static OLDEST: Statement = Statement::new(
    "WITH RECURSIVE head AS (
        (SELECT queue, task, ~priority AS rank, delayed
        FROM minion.jobs
        WHERE state = 'inactive' AND parked_until IS NULL
        ORDER BY queue, task, ~priority, id
        LIMIT 1)
      UNION ALL
        SELECT next.*
        FROM head
        CROSS JOIN LATERAL (
            SELECT job.queue, job.task, ~job.priority, job.delayed
            FROM minion.jobs AS job
            WHERE job.state = 'inactive' AND job.parked_until IS NULL
              AND (job.queue, job.task, ~job.priority) > (head.queue, head.task, head.rank)
            ORDER BY job.queue, job.task, ~job.priority, job.id
            LIMIT 1
        ) AS next
    )
    SELECT queue, pg_catalog.min(delayed) FROM head GROUP BY queue",
    &[],
)
.in_index_order();

static OF_LANES: Statement = Statement::new(
    "SELECT
        pg_catalog.count(*) FILTER (WHERE state = 'inactive'),
        pg_catalog.count(*) FILTER (WHERE state = 'active'),
        pg_catalog.count(*) FILTER (WHERE state = 'failed'),
        pg_catalog.count(*) FILTER (WHERE state = 'finished'),
        pg_catalog.count(*) FILTER (
            WHERE state = 'inactive' AND delayed > $1 AND (expires IS NULL OR expires > $1))
    FROM minion.jobs
    WHERE ($2 IS NULL OR queue = ANY ($2)) AND ($3 IS NULL OR task = ANY ($3))",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TEXTARRAYOID, pg_sys::TEXTARRAYOID],
)
.of_whole_table();

/// The jobs of all lanes, or of those of some queues and tasks, by state, `delayed` those of the inactive
/// ones whose time is to come. From shared memory, or counted in the table: without shared memory, under a
/// fixed snapshot or row-level security, and while they are being counted anew.
///
/// For stats() and list_jobs(). `queues`, `tasks`: NULL for any.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn job_counts(
    queues: default!(Option<TextArray>, "NULL"),
    tasks: default!(Option<TextArray>, "NULL"),
) -> Result<
    TableIterator<
        'static,
        (
            name!(inactive, i64),
            name!(active, i64),
            name!(failed, i64),
            name!(finished, i64),
            name!(delayed, i64),
        ),
    >,
    ErrorReport,
> {
    let counts = Session::with(|session| {
        let known = match trusted() {
            Some(heads) => known(session, heads, queues, tasks)?,
            None => None,
        };
        match known {
            Some(counts) => Ok(counts),
            None => by_index(session, queues, tasks),
        }
    })?;
    let [inactive, active, failed, finished, delayed] = counts;
    Ok(TableIterator::once((inactive, active, failed, finished, delayed)))
}

/// How many jobs there are in each queue that has any, as for job_counts, but without those that have
/// expired; `oldest`: since when the first of those that are ready could run, of all that are the first of
/// their task and priority.
///
/// For list_queues().
#[pg_extern]
#[allow(clippy::type_complexity)]
fn queue_counts() -> Result<
    TableIterator<
        'static,
        (
            name!(queue, String),
            name!(inactive, i64),
            name!(active, i64),
            name!(failed, i64),
            name!(finished, i64),
            name!(delayed, i64),
            name!(oldest, Option<TimestampWithTimeZone>),
        ),
    >,
    ErrorReport,
> {
    let queues = Session::with(|session| {
        let now = clock();
        let mut queues = match trusted() {
            Some(heads) => known_by_queue(session, heads, now)?,
            None => None,
        };
        if queues.is_none() {
            queues = Some(counted_by_queue(session, now)?);
        }
        let mut oldest: HashMap<String, TimestampWithTimeZone> = HashMap::new();
        let rows = session.run(&OLDEST, &[])?;
        for row in 0..rows.count() {
            let queue = rows.get(row, 1).expect("queue is NOT NULL");
            oldest.insert(queue, rows.get(row, 2).expect("delayed is NOT NULL"));
        }
        let queues = queues.unwrap_or_default().into_iter();
        Ok(queues
            .filter(|(_, counts)| counts.iter().any(|count| *count != 0))
            .map(|(queue, [inactive, active, failed, finished, delayed])| {
                let oldest = oldest.remove(&queue);
                (queue, inactive, active, failed, finished, delayed, oldest)
            })
            .collect::<Vec<_>>())
    })?;
    Ok(TableIterator::new(queues))
}

/// What shared memory knows, for those who see the jobs as they are now.
fn trusted() -> Option<Heads> {
    Heads::here().filter(|_| !snapshot_is_fixed())
}

fn known_by_queue(
    session: &Session,
    heads: Heads,
    now: Timestamp,
) -> Result<Option<HashMap<String, Counts>>, Error> {
    // Has them counted if need be.
    if known(session, heads, None, None)?.is_none() {
        return Ok(None);
    }
    let Some(lanes) = Counted::of(heads.lanes).and_then(|counted| counted.by_lane()) else {
        return Ok(None);
    };
    let mut queues: HashMap<String, Counts> = HashMap::new();
    for (lane, counts) in lanes {
        add(queues.entry(lane.queue).or_default(), &counts);
    }
    for (queue, change) in passed(session, heads, now)? {
        let counts = queues.entry(queue).or_default();
        counts[INACTIVE] -= change.expired;
        counts[DELAYED] -= change.not_delayed;
    }
    Ok(Some(queues))
}

fn counted_by_queue(session: &Session, now: Timestamp) -> Result<HashMap<String, Counts>, Error> {
    let rows = session.run(&OF_QUEUES, params![now])?;
    let queue = |row| {
        let queue: String = rows.get(row, 1).expect("queue is NOT NULL");
        (queue, row_of_counts(&rows, row, 2))
    };
    Ok((0..rows.count()).map(queue).collect())
}

fn by_index(
    session: &Session,
    queues: Option<TextArray>,
    tasks: Option<TextArray>,
) -> Result<Counts, Error> {
    let now = clock();
    let rows = match (queues, tasks) {
        (None, None) => session.run(&BY_INDEX, params![now])?,
        _ => session.run(&OF_LANES, params![now, queues, tasks])?,
    };
    Ok(row_of_counts(&rows, 0, 1))
}

/// The counts that begin at a column.
fn row_of_counts(rows: &Rows, row: usize, column: i32) -> Counts {
    std::array::from_fn(|kind| rows.get(row, column + kind as i32).expect("a count is never NULL"))
}

fn known(
    session: &Session,
    heads: Heads,
    queues: Option<TextArray>,
    tasks: Option<TextArray>,
) -> Result<Option<Counts>, Error> {
    let Some(counted) = Counted::of(heads.lanes) else { return Ok(None) };
    if matches!(counted.totals(), Totals::InDoubt) && !session.has_prepared_transactions()? {
        counted.certain();
    }
    if matches!(counted.totals(), Totals::Nobody) {
        count(session, counted)?;
    }
    if queues.is_some() || tasks.is_some() {
        let (queues, tasks) = (queues.map(TextArray::distinct), tasks.map(TextArray::distinct));
        let among = |names: &Option<Vec<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.iter().any(|other| other == name))
        };
        let Some(lanes) = counted.by_lane() else { return Ok(None) };
        let mut sum = [0; KINDS];
        for (lane, counts) in lanes {
            if among(&queues, &lane.queue) && among(&tasks, &lane.task) {
                add(&mut sum, &counts);
            }
        }
        return Ok(Some(sum));
    }
    let Totals::Known(mut counts) = counted.totals() else { return Ok(None) };
    for (_, change) in passed(session, heads, clock())? {
        counts[DELAYED] -= change.not_delayed;
    }
    Ok(Some(counts))
}

/// What time alone has made of some jobs of a queue, which no trigger sees.
struct Passed {
    expired: i64,
    /// Of the jobs that were parked until they are due, those that are due or have expired.
    not_delayed: i64,
}

fn passed(session: &Session, heads: Heads, now: Timestamp) -> Result<Vec<(String, Passed)>, Error> {
    let mut passed = Vec::new();
    let rows = session.run(&EXPIRED, params![now])?;
    for row in 0..rows.count() {
        let queue = rows.get(row, 1).expect("queue is NOT NULL");
        let count = |column| rows.get(row, column).expect("a count is never NULL");
        passed.push((queue, Passed { expired: count(2), not_delayed: count(3) }));
    }
    for (lane, _) in heads.due_lanes(now) {
        let params = params![lane.queue.as_str(), lane.task.as_str(), now];
        let not_delayed = session.run(&DUE, params)?.get(0, 1).expect("a count is never NULL");
        passed.push((lane.queue, Passed { expired: 0, not_delayed }));
    }
    Ok(passed)
}

/// Counts the table, unless somebody else does.
fn count(session: &Session, counted: Counted) -> Result<(), Error> {
    // What we have changed ourselves is counted when we commit.
    if has_changed_anything() {
        return Ok(());
    }
    let Some(counting) = counted.count() else { return Ok(()) };
    // Who was prepared before we began will not tell of his end; who is from now on ends the count.
    if session.has_prepared_transactions()? {
        counting.doubt();
        return Ok(());
    }
    let tell = |xmax, running: &[u32]| counting.with_snapshot(xmax, running);
    let Some(rows) = session.run_with_snapshot(&COUNT, tell)? else { return Ok(()) };
    let mut lanes = Vec::new();
    for row in 0..rows.count() {
        let queue: String = rows.get(row, 1).expect("queue is NOT NULL");
        let task: String = rows.get(row, 2).expect("task is NOT NULL");
        lanes.push((queue, task, row_of_counts(&rows, row, 3)));
    }
    counting.finish(&lanes);
    Ok(())
}
