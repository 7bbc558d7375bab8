//! repair: what time and vanished workers leave behind is put right.
//!
//! One repair at a time: another returns at once, having done nothing. Everything is done in batches whose
//! rows are locked with SKIP LOCKED, so that it waits for nobody who has one of them.

use crate::error::Error;
use crate::job;
use crate::limit;
use crate::settings;
use crate::statement::invalidation;
use crate::statement::lock::{lock_to_write, try_lock_repair, try_lock_worker};
use crate::statement::{Session, Statement, Timestamp, as_owner_of_jobs, clock, params};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// As many rows as the statements' LIMIT.
const BATCH: usize = 1_000;

/// How many thousand parked jobs one call looks at for wrong places, which hardly ever are.
const PARKED_BATCHES: usize = 100;

/// From an id on: those that wait are silent and stay.
static LOCK_SILENT: Statement = Statement::new(
    "SELECT id
    FROM minion.workers
    WHERE notified < ($1 - $2) AND id > $3
    ORDER BY id
    LIMIT 1000
    FOR UPDATE SKIP LOCKED",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID, pg_sys::INT8OID],
);

static REMOVE_WORKERS: Statement =
    Statement::new("DELETE FROM minion.workers WHERE id = ANY ($1)", &[pg_sys::INT8ARRAYOID]);

/// Old finished jobs after a place in the index, whether they go or stay: kept parents must not be walked
/// over again for each batch.
static FIND_FINISHED: Statement = Statement::new(
    "SELECT old.id, old.finished
    FROM minion.jobs AS old
    WHERE old.state = 'finished' AND old.finished <= ($1 - $2) AND (old.finished, old.id) > ($3, $4)
    ORDER BY old.finished, old.id
    LIMIT 1000",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
)
.in_index_order();

static REMOVE_FINISHED: Statement = Statement::new(
    "DELETE FROM minion.jobs
    WHERE id = ANY (ARRAY(
        SELECT old.id
        FROM minion.jobs AS old
        WHERE old.id = ANY ($1) AND old.state = $2::minion.job_state AND old.finished <= ($3 - $4)
          AND NOT EXISTS (
            SELECT
            FROM minion.children AS family
            JOIN minion.jobs AS child ON child.id = family.id
            WHERE family.parents @> ARRAY[old.id] AND child.state <> $2::minion.job_state)
        ORDER BY old.id
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID],
);

static REMOVE_EXPIRED: Statement = Statement::new(
    "DELETE FROM minion.jobs
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM minion.jobs
        WHERE state = 'inactive' AND expires <= $1
        ORDER BY expires, id
        LIMIT 1000
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TIMESTAMPTZOID],
)
.in_index_order();

/// From a place in the index on: what the last batches have changed must not be walked over again.
static LOCK_ABANDONED: Statement = Statement::new(
    "SELECT job.id, job.worker
    FROM minion.jobs AS job
    WHERE job.state = 'active' AND job.queue <> 'minion_foreground'
      AND (job.worker, job.id) > ($1, $2)
      AND NOT EXISTS (SELECT FROM minion.workers AS worker WHERE worker.id = job.worker)
    ORDER BY job.worker, job.id
    LIMIT 1000
    FOR UPDATE OF job SKIP LOCKED",
    &[pg_sys::INT8OID, pg_sys::INT8OID],
)
.in_index_order();

/// Those of the locked jobs that are still abandoned. A job that changed hands between the other statement's
/// snapshot and its lock is checked there against the new row, but not against the new worker.
static ABANDONED: Statement = Statement::new(
    "SELECT job.id, job.retries
    FROM minion.jobs AS job
    WHERE job.id = ANY ($1) AND job.state = $2::minion.job_state
      AND NOT EXISTS (SELECT FROM minion.workers AS worker WHERE worker.id = job.worker)",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID],
);

/// Whether nobody has said that the job is not to start.
macro_rules! unhindered {
    () => {
        "NOT EXISTS (
            SELECT
            FROM minion.paused_queues AS paused
            WHERE paused.queue = minion.jobs.queue)
         AND NOT EXISTS (
            SELECT
            FROM minion.limit_rules AS rule
            WHERE (rule.max_active = 0 OR rule.max_starts = 0)
              AND (rule.queue = '' OR rule.queue = minion.jobs.queue)
              AND (rule.task = '' OR rule.task = minion.jobs.task))"
    };
}

/// Ready and parked jobs stand in two indexes. Each batch starts where the last one ended, for the walk
/// over what it has just changed would grow with every batch.
static STUCK_READY: Statement = Statement::new(
    concat!(
        "SELECT id, queue, task, ~priority
    FROM minion.jobs
    WHERE state = 'inactive' AND parked_until IS NULL AND delayed < ($1 - $2)
      AND (queue, task, ~priority, id) > ($3, $4, $5, $6)
      AND ",
        unhindered!(),
        "
    ORDER BY queue, task, ~priority, id
    LIMIT 1000
    FOR UPDATE SKIP LOCKED"
    ),
    &[
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INTERVALOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
    ],
)
.in_index_order();

static STUCK_PARKED: Statement = Statement::new(
    concat!(
        "SELECT id, queue, task, parked_until
    FROM minion.jobs
    WHERE state = 'inactive' AND parked_until IS NOT NULL AND delayed < ($1 - $2)
      AND (queue, task, parked_until, id) > ($3, $4, $5, $6)
      AND ",
        unhindered!(),
        "
    ORDER BY queue, task, parked_until, id
    LIMIT 1000
    FOR UPDATE SKIP LOCKED"
    ),
    &[
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INTERVALOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INT8OID,
    ],
)
.in_index_order();

static FAIL_STUCK: Statement = Statement::new(
    "UPDATE minion.jobs
    SET state = 'failed', finished = $1, parked_until = NULL, waits_for = NULL,
        result = '\"Job appears stuck in queue\"'
    WHERE id = ANY ($2)",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID],
);

static WORKER_WENT_AWAY: Statement =
    Statement::new("SELECT '\"Worker went away\"'::pg_catalog.jsonb", &[]);

/// Repeats a batch until one is not full, and adds up what they did.
fn batches(mut batch: impl FnMut() -> Result<usize, Error>) -> Result<i64, Error> {
    let mut sum = 0;
    loop {
        let count = batch()?;
        sum += count as i64;
        if count < BATCH {
            return Ok(sum);
        }
        pgrx::check_for_interrupts!();
    }
}

fn remove_workers(session: &Session, now: Timestamp) -> Result<i64, Error> {
    let mut last = i64::MIN;
    let mut removed = 0;
    batches(|| {
        let missing = settings::missing_after();
        let silent: Vec<i64> = session.run(&LOCK_SILENT, params![now, missing, last])?.column(1);
        last = silent.last().copied().unwrap_or(last);
        let count = silent.len();
        let gone: Vec<i64> = silent.into_iter().filter(|id| try_lock_worker(*id)).collect();
        removed += session.run(&REMOVE_WORKERS, params![gone])?.count() as i64;
        Ok(count)
    })?;
    Ok(removed)
}

fn remove_finished(session: &Session, now: Timestamp) -> Result<i64, Error> {
    let (mut finished, mut last) = (Timestamp(i64::MIN), i64::MIN);
    let mut removed = 0;
    batches(|| {
        let keep = settings::remove_after();
        let rows = session.run(&FIND_FINISHED, params![now, keep, finished, last])?;
        let ids: Vec<i64> = rows.column(1);
        if let Some(&id) = ids.last() {
            last = id;
            finished = rows.get(ids.len() - 1, 2).expect("the index range excludes NULL");
            removed +=
                session.run(&REMOVE_FINISHED, params![ids, "finished", now, keep])?.count() as i64;
        }
        Ok(rows.count())
    })?;
    Ok(removed)
}

fn fail_abandoned(session: &Session, now: Timestamp) -> Result<i64, Error> {
    let message = session.run(&WORKER_WENT_AWAY, &[])?;
    let (mut worker, mut last) = (i64::MIN, i64::MIN);
    let mut failed = 0;
    batches(|| {
        let locked = session.run(&LOCK_ABANDONED, params![worker, last])?;
        let ids: Vec<i64> = locked.column(1);
        if let Some(&id) = ids.last() {
            last = id;
            worker = locked.get(ids.len() - 1, 2).expect("the index range excludes NULL");
            let rows = session.run(&ABANDONED, params![ids, "active"])?;
            for row in 0..rows.count() {
                let id = rows.get(row, 1).expect("id is NOT NULL");
                let retries = rows.get(row, 2).expect("retries is NOT NULL");
                job::fail(session, now, id, retries, message.get(0, 1), None)?;
                failed += 1;
            }
        }
        Ok(locked.count())
    })?;
    Ok(failed)
}

fn fail_stuck<T>(
    session: &Session,
    now: Timestamp,
    find: &Statement,
    before_all: T,
) -> Result<i64, Error>
where
    T: pgrx::FromDatum + pgrx::IntoDatum + Copy,
{
    let (mut queue, mut task, mut third, mut last) =
        (String::new(), String::new(), before_all, i64::MIN);
    batches(|| {
        let after = settings::stuck_after();
        let params = params![now, after, queue.as_str(), task.as_str(), third, last];
        let rows = session.run(find, params)?;
        let ids: Vec<i64> = rows.column(1);
        if let Some(&id) = ids.last() {
            let row = ids.len() - 1;
            last = id;
            queue = rows.get(row, 2).expect("queue is NOT NULL");
            task = rows.get(row, 3).expect("task is NOT NULL");
            third = rows.get(row, 4).expect("NOT NULL in this index");
            session.run(&FAIL_STUCK, params![now, ids])?;
        }
        Ok(rows.count())
    })
}

/// Removes workers that are silent for minion.missing_after, finished jobs older than minion.remove_after
/// and expired jobs; fails, or retries, the active jobs of workers that are gone; fails jobs that nobody
/// claimed for minion.stuck_after, unless their queue is paused or a limit of 0 holds them. Call it now and then from one of the workers.
///
/// Returns how many of each it found. Failed jobs are never removed. Semantics: Minion's `repair`.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn repair() -> Result<
    TableIterator<
        'static,
        (
            name!(workers_removed, i64),
            name!(jobs_removed, i64),
            name!(jobs_expired, i64),
            name!(jobs_abandoned, i64),
            name!(jobs_stuck, i64),
        ),
    >,
    ErrorReport,
> {
    let did = Session::with(|session| {
        // Two of them would wait for each other's rows by way of parents and children.
        if !try_lock_repair() {
            return Ok((0, 0, 0, 0, 0));
        }
        lock_to_write(c"workers");
        lock_to_write(c"jobs");
        let now = clock();
        let workers = remove_workers(session, now)?;
        let removed = remove_finished(session, now)?;
        let expired =
            batches(|| session.run(&REMOVE_EXPIRED, params![now]).map(|rows| rows.count()))?;
        let abandoned = fail_abandoned(session, now)?;
        let mut stuck = 0;
        // Not with an older version of the extension: there is nothing that could tell what is paused.
        if invalidation::exist() {
            stuck += fail_stuck(session, now, &STUCK_READY, i32::MIN)?;
            stuck += fail_stuck(session, now, &STUCK_PARKED, Timestamp(i64::MIN))?;
        }
        job::place_due(session, clock())?;
        let mut batches = 0..PARKED_BATCHES;
        job::correct_parked(session, clock(), || batches.next().is_some())?;
        as_owner_of_jobs(|| limit::recount(session))?;
        Ok((workers, removed, expired, abandoned, stuck))
    })?;
    Ok(TableIterator::once(did))
}
