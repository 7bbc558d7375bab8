//! Waiting for the end of one job, for wait_for_job.

use super::argument::{given, positive_span};
use crate::error::Error;
use crate::shared::heads::Heads;
use crate::shared::waiters::Waiting;
use crate::shared::wake::Pauses;
use crate::statement::{Session, Statement, clock, params, snapshot_is_fixed};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::time::{Duration, Instant};

static HAS_ENDED: Statement = Statement::new(
    "SELECT (state = 'finished' OR state = 'failed') FROM minion.jobs WHERE id = $1",
    &[pg_sys::INT8OID],
);

/// Waits until a job is finished or has failed, and true if it has. Of wait_for_job, which returns the row.
///
/// Raises 42704 for a job that does not exist, 22004 for NULL, 22023 for a bad duration, 0A000 under a fixed
/// snapshot.
#[pg_extern]
fn await_job(id: Option<i64>, timeout: Option<Interval>) -> Result<bool, ErrorReport> {
    let id = given("id", id)?;
    let timeout = positive_span("timeout", given("timeout", timeout)?)?;
    if snapshot_is_fixed() {
        return Err(Error::WaitNeedsReadCommitted { function: "wait_for_job" }.into());
    }
    let timeout = Duration::from_micros(u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX));
    let begin = Instant::now();
    let place = match timeout.is_zero() {
        true => None,
        false => Heads::here().and_then(|heads| Waiting::begin_for_job(heads, id)),
    };
    let mut pauses = Pauses::new();
    loop {
        if let Some(place) = &place {
            place.listen();
        }
        let looked = clock();
        let ended = Session::with(|session| {
            let rows = session.run(&HAS_ENDED, params![id])?;
            (rows.count() > 0).then(|| rows.get(0, 1) == Some(true)).ok_or(Error::NoJob { id })
        })?;
        let left = timeout.saturating_sub(begin.elapsed());
        if ended || left.is_zero() {
            return Ok(ended);
        }
        match &place {
            Some(place) => place.sleep(left, looked),
            None => pauses.pause(left),
        }
    }
}
