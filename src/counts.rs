//! job_counts: how many jobs there are, for stats() and list_jobs().

use crate::error::Error;
use crate::shared::counts::{Counts, DELAYED, Known};
use crate::shared::heads::Heads;
use crate::statement::value::TextArray;
use crate::statement::{
    Rows, Session, Statement, Timestamp, clock, has_changed_anything, has_row_security, params,
    snapshot_is_fixed,
};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

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

/// MATERIALIZED: the planner knows little of small indexes, and would go through all that are parked.
static EXPIRED: Statement = Statement::new(
    "WITH expired AS MATERIALIZED (
        SELECT delayed, parked_until
        FROM minion.jobs
        WHERE state = 'inactive' AND expires IS NOT NULL AND expires <= $1
    )
    SELECT pg_catalog.count(*) FROM expired WHERE delayed > $1 AND parked_until = delayed",
    &[pg_sys::TIMESTAMPTZOID],
)
.in_index_order();

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
        let known = match Heads::here() {
            Some(heads) if !snapshot_is_fixed() && !has_row_security(heads.table.relation) => {
                known(session, heads, queues, tasks)?
            }
            _ => None,
        };
        match known {
            Some(counts) => Ok(counts),
            None => by_index(session, queues, tasks),
        }
    })?;
    let [inactive, active, failed, finished, delayed] = counts;
    Ok(TableIterator::once((inactive, active, failed, finished, delayed)))
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
    if matches!(heads.totals(), Known::InDoubt) && !session.has_prepared_transactions()? {
        heads.certain();
    }
    if matches!(heads.totals(), Known::Nobody) {
        count(session, heads)?;
    }
    if queues.is_some() || tasks.is_some() {
        let (queues, tasks) = (queues.map(TextArray::distinct), tasks.map(TextArray::distinct));
        let among = |names: &Option<Vec<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.iter().any(|other| other == name))
        };
        return Ok(heads.of_lanes(|lane| among(&queues, &lane.queue) && among(&tasks, &lane.task)));
    }
    let Known::Counts(mut counts) = heads.totals() else { return Ok(None) };
    counts[DELAYED] -= not_delayed(session, heads, clock())?;
    Ok(Some(counts))
}

/// Of the jobs that were parked until they are due, those that are due or have expired.
fn not_delayed(session: &Session, heads: Heads, now: Timestamp) -> Result<i64, Error> {
    let mut sum: i64 = session.run(&EXPIRED, params![now])?.get(0, 1).unwrap_or(0);
    for lane in heads.due_lanes(now) {
        let params = params![lane.queue.as_str(), lane.task.as_str(), now];
        sum += session.run(&DUE, params)?.get(0, 1).unwrap_or(0);
    }
    Ok(sum)
}

/// Counts the table, unless somebody else does.
fn count(session: &Session, heads: Heads) -> Result<(), Error> {
    // What we have changed ourselves is counted when we commit.
    if has_changed_anything() {
        return Ok(());
    }
    let Some(counting) = heads.count() else { return Ok(()) };
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
