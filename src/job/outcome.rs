//! wait_for_job: waiting for the end of one job.

use crate::argument::{given, positive_span};
use crate::error::Error;
use crate::server::attempt::attempt;
use crate::server::client;
use crate::server::latch::Pauses;
use crate::server::session::{Session, doubt_version};
use crate::server::statement::{Statement, params};
use crate::server::time::clock;
use crate::server::transaction::{has_changed_anything, snapshot_is_fixed};
use crate::server::value::Record;
use crate::shared::heads::Heads;
use crate::shared::waiting::Waiting;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::time::{Duration, Instant};

static HAS_ENDED: Statement = Statement::new(
    "SELECT (state = 'finished' OR state = 'failed') FROM minion.jobs WHERE id = $1",
    &[pg_sys::INT8OID],
);

macro_rules! outcome {
    ($time_limit:literal) => {
        Statement::new(
            concat!(
                "SELECT job.id, job.args, job.attempts, job.children, job.created, job.delayed, job.expires,
                    job.finished, job.lax, job.notes, job.parents, job.priority, job.queue, job.result, job.retried,
                    job.retries, job.started, job.state, job.task, job.\"time\", job.worker",
                $time_limit,
                " FROM minion.list_jobs(0, 1, NULL, ARRAY[$1]) AS job
                WHERE job.state = 'finished' OR job.state = 'failed'"
            ),
            &[pg_sys::INT8OID],
        )
    };
}

static OUTCOME: Statement = outcome!(", job.time_limit");
/// Of older versions of the extension.
static OUTCOME_WITHOUT_LIMIT: Statement = outcome!("");

/// Waits until a job is finished, or has failed with no automatic retry ahead, and returns its row, as list_jobs
/// does; no row if that takes longer than `timeout`. It holds no lock on a table while it sleeps.
///
/// Raises 42704 for a job that does not exist, or was removed meanwhile, 22004 for NULL, 22023 for a bad duration,
/// 0A000 under a fixed snapshot.
#[pg_extern(sql = false)]
fn wait_for_outcome(
    id: Option<i64>,
    timeout: Option<Interval>,
) -> Result<SetOfIterator<'static, Record>, ErrorReport> {
    Ok(SetOfIterator::new(outcome_within(id, timeout, &OUTCOME)?))
}

/// The same without the time limit.
pub fn outcome_without_limit(
    id: Option<i64>,
    timeout: Option<Interval>,
) -> Result<Option<Record>, Error> {
    outcome_within(id, timeout, &OUTCOME_WITHOUT_LIMIT)
}

fn outcome_within(
    id: Option<i64>,
    timeout: Option<Interval>,
    outcome: &Statement,
) -> Result<Option<Record>, Error> {
    match has_ended_within(id, timeout)? {
        true => Session::with(|session| Ok(session.run(outcome, params![id])?.record(0))),
        false => Ok(None),
    }
}

/// Whether a job has ended by then.
pub fn has_ended_within(id: Option<i64>, timeout: Option<Interval>) -> Result<bool, Error> {
    /// After so long, it is looked for what nobody tells of: a prepared transaction has been committed.
    const NOW_AND_THEN: Duration = Duration::from_secs(1);
    let id = given("id", id)?;
    let timeout = positive_span("timeout", given("timeout", timeout)?)?;
    if snapshot_is_fixed() {
        return Err(Error::WaitNeedsReadCommitted { function: "wait_for_job" });
    }
    let timeout = Duration::from_micros(u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX));
    let begin = Instant::now();
    let waiting = match timeout.is_zero() {
        true => None,
        false => Heads::here().and_then(|heads| Waiting::begin_for_job(heads, id)),
    };
    let had_changed = has_changed_anything();
    let mut pauses = Pauses::new();
    loop {
        if let Some(waiting) = &waiting {
            waiting.listen();
        }
        let looked = clock();
        let ended = attempt(
            || had_changed,
            || {
                Session::with(|session| {
                    let rows = session.run(&HAS_ENDED, params![id])?;
                    match rows.count() {
                        0 => Err(Error::NoJob { id }),
                        _ => Ok((rows.get(0, 1) == Some(true)).then_some(())),
                    }
                })
            },
        )?;
        let left = timeout.saturating_sub(begin.elapsed());
        if ended.is_some() || left.is_zero() {
            return Ok(ended.is_some());
        }
        match &waiting {
            Some(waiting) => waiting.sleep(left.min(NOW_AND_THEN), None, looked),
            None => pauses.pause(left),
        }
        client::must_be_there();
        doubt_version();
    }
}
