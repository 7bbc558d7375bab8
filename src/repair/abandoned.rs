//! Active jobs whose worker is gone.

use super::anywhere;
use super::budget::Budget;
use super::call::{Call, Did};
use super::walk::{Cursor, Found, walk};
use crate::error::Error;
use crate::job::finish::fail as fail_attempt;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use pgrx::pg_sys;

/// The next ten thousand active jobs from a place in the index on, and which of them are abandoned: a look that
/// may have to go through all the others would not end in time.
static NEXT_ACTIVE: Statement = Statement::new(
    "WITH next AS MATERIALIZED (
        SELECT id, worker, queue
        FROM minion.jobs
        WHERE state = 'active' AND (worker, id) >= ($1, $2)
        ORDER BY worker, id
        LIMIT 10001
    )
    SELECT id, worker, (queue <> 'minion_foreground'
        AND NOT EXISTS (SELECT FROM minion.workers AS worker WHERE worker.id = next.worker))
    FROM next",
    &[pg_sys::INT8OID, pg_sys::INT8OID],
)
.in_index_order();

/// Those that plain SQL has made active, without saying whose they are. They stand at the end of the index,
/// where the comparison above does not get.
static NEXT_NOBODYS: Statement = Statement::new(
    "SELECT id
    FROM minion.jobs
    WHERE state = 'active' AND worker IS NULL AND id >= $1 AND queue <> 'minion_foreground'
    ORDER BY worker, id
    LIMIT 10001",
    &[pg_sys::INT8OID],
)
.in_index_order();

/// Those of some workers, who are gone.
static NEXT_OF: Statement = Statement::new(
    "SELECT id
    FROM minion.jobs
    WHERE state = 'active' AND worker = ANY ($1) AND id >= $2 AND queue <> 'minion_foreground'
    ORDER BY id
    LIMIT 10001",
    &[pg_sys::INT8ARRAYOID, pg_sys::INT8OID],
);

static LOCK: Statement = Statement::new(
    "SELECT id
    FROM minion.jobs
    WHERE id = ANY ($1) AND state = $2::minion.job_state
    ORDER BY id
    FOR UPDATE SKIP LOCKED",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID],
);

/// Those of the locked jobs that are still abandoned: one may have been given to another worker meanwhile.
static ABANDONED: Statement = Statement::new(
    "SELECT job.id, job.retries
    FROM minion.jobs AS job
    WHERE job.id = ANY ($1) AND job.state = $2::minion.job_state
      AND NOT EXISTS (SELECT FROM minion.workers AS worker WHERE worker.id = job.worker)
    ORDER BY job.id",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID],
);

static WORKER_WENT_AWAY: Statement =
    Statement::new("SELECT '\"Worker went away\"'::pg_catalog.jsonb", &[]);

/// Those of some jobs that are active, and that nobody else has.
pub fn lock_active(session: &Session, ids: Vec<i64>) -> Result<Vec<i64>, Error> {
    Ok(session.run(&LOCK, params![ids, "active"])?.column(1))
}

/// Of some jobs, those that are abandoned.
fn fail_abandoned(call: &Call, ids: Vec<i64>) -> Result<usize, Error> {
    let session = call.session;
    let locked = lock_active(session, ids)?;
    let rows = session.run(&ABANDONED, params![locked, "active"])?;
    if rows.count() == 0 {
        return Ok(0);
    }
    let message = session.run(&WORKER_WENT_AWAY, &[])?;
    for row in 0..rows.count() {
        let id = rows.get(row, 1).expect("id is NOT NULL");
        let retries = rows.get(row, 2).expect("retries is NOT NULL");
        fail_attempt(session, call.now, id, retries, message.get(0, 1), None)?;
    }
    Ok(rows.count())
}

/// Fails the jobs of workers that have just been removed, or has them tried again.
pub fn fail_of(call: &Call, budget: &Budget, did: &mut Did, workers: &[i64]) -> Result<(), Error> {
    let (mut cursor, mut last) = (Cursor::default(), i64::MIN);
    let find = |most| {
        let params = params![workers.to_vec(), last];
        let found = cursor.next(&call.session.run_at_most(&NEXT_OF, params, most + 1)?, most);
        last = found.ids.last().copied().unwrap_or(last);
        Ok(found)
    };
    let fail = |ids| fail_abandoned(call, ids);
    did.jobs_abandoned += walk(call, budget, "job", find, fail)?.done;
    Ok(())
}

/// Fails all of them, or has them tried again.
pub fn fail(call: &Call, budget: &Budget, did: &mut Did) -> Result<(), Error> {
    let session = call.session;
    let mut fail = |ids: Vec<i64>| fail_abandoned(call, ids);
    let mut fail_from = |budget: &Budget, mut worker: i64| {
        let mut last = i64::MIN;
        let find = |_| {
            let rows = session.run(&NEXT_ACTIVE, params![worker, last])?;
            if let Some(row) = rows.count().checked_sub(1) {
                last = rows.get(row, 1).expect("id is NOT NULL");
                worker = rows.get(row, 2).expect("the comparison excludes NULL");
            }
            Ok(Found::marked(&rows, 3))
        };
        let walked = walk(call, budget, "job", find, &mut fail)?;
        did.jobs_abandoned += walked.done;
        Ok(walked.is_through)
    };
    if !fail_from(&budget.half(), i64::MIN)?
        && let Some(worker) = anywhere::worker(call)?
    {
        fail_from(budget, worker)?;
    }
    let (mut cursor, mut last) = (Cursor::default(), i64::MIN);
    let find = |most| {
        let found =
            cursor.next(&session.run_at_most(&NEXT_NOBODYS, params![last], most + 1)?, most);
        last = found.ids.last().copied().unwrap_or(last);
        Ok(found)
    };
    did.jobs_abandoned += walk(call, budget, "job", find, &mut fail)?.done;
    Ok(())
}
