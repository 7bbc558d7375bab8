//! Places that are left to chance. A walk that begins at the same place in each call, and never comes to its end in
//! time, would never get at what stands behind.

use super::budget::Budget;
use super::call::Call;
use crate::error::Error;
use crate::server::chance::Chance;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use crate::server::types::Typed;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::thread::LocalKey;

/// Goes through an index of all inactive jobs, however many there are and however few of them are meant: a part of
/// it in each call, from where this session has got to, and from a place left to chance, for sessions that come but
/// once. `walk_from` says how many it did something with, and where it has got to, if that is not the end.
pub fn by_turns<T>(
    budget: &Budget,
    reached: &'static LocalKey<RefCell<Option<InLane<T>>>>,
    first: InLane<T>,
    anywhere: impl FnOnce() -> Result<Option<InLane<T>>, Error>,
    mut walk_from: impl FnMut(&Budget, InLane<T>) -> Result<(i64, Option<InLane<T>>), Error>,
) -> Result<(), Error> {
    // Of those who find nothing, nobody is to hear that they had to stop.
    let stopped = Cell::new(false);
    let mut done = 0;
    // What is found has all the time that there is, which tells itself when it was not enough.
    let mut walk = |begin: InLane<T>| -> Result<Option<InLane<T>>, Error> {
        let (count, rest) = walk_from(&budget.share(&stopped), begin)?;
        done += count;
        match rest {
            Some(place) if count > 0 => Ok(walk_from(&budget.half(), place)?.1),
            rest => Ok(rest),
        }
    };
    let rest = walk(reached.take().unwrap_or(first))?;
    if rest.is_some()
        && let Some(place) = anywhere()?
    {
        walk(place)?;
    }
    if rest.is_some() && done > 0 {
        budget.end();
    }
    reached.set(rest);
    Ok(())
}

static SPAN: Statement =
    Statement::new("SELECT pg_catalog.min(id), pg_catalog.max(id) FROM minion.jobs", &[]);

static SPAN_OF_WORKERS: Statement = Statement::new(
    "SELECT pg_catalog.min(worker), pg_catalog.max(worker) FROM minion.jobs WHERE state = 'active'",
    &[],
);

/// Looks at ten thousand ids at the most. The state is a parameter, for the key is the index to use.
macro_rules! near {
    ($third:literal, $source:literal) => {
        Statement::new(
            concat!(
                "SELECT queue, task, ",
                $third,
                ", id
                FROM minion.jobs
                WHERE id >= $1 AND id < ($1 + 10000) AND state = $2::minion.job_state AND ",
                $source,
                " ORDER BY id
                LIMIT 1"
            ),
            &[pg_sys::INT8OID, pg_sys::TEXTOID],
        )
    };
}

static READY: Statement = near!("~priority", "parked_until IS NULL");
static PARKED: Statement = near!("parked_until", "parked_until IS NOT NULL");

/// Ids may have gaps: so often is one tried.
const TRIES: usize = 8;

/// A place in an index of inactive jobs: queue, task, what they are ordered by in a lane, and id.
pub type InLane<T> = (String, String, T, i64);

pub fn ready(call: &Call) -> Result<Option<InLane<i32>>, Error> {
    near(call, &READY)
}

pub fn parked(call: &Call) -> Result<Option<InLane<Timestamp>>, Error> {
    near(call, &PARKED)
}

/// A worker's id, between those who have jobs.
pub fn worker(call: &Call) -> Result<Option<i64>, Error> {
    let rows = call.session.run(&SPAN_OF_WORKERS, &[])?;
    let span = rows.get(0, 1).zip(rows.get(0, 2));
    Ok(span.map(|span| between(&mut Chance::new(), span)))
}

fn near<T: Typed>(call: &Call, statement: &Statement) -> Result<Option<InLane<T>>, Error> {
    let rows = call.session.run(&SPAN, &[])?;
    let Some(span) = rows.get(0, 1).zip(rows.get(0, 2)) else { return Ok(None) };
    let mut chance = Chance::new();
    for _ in 0..TRIES {
        // Far from the end of the type, to which the statement adds.
        let id = between(&mut chance, span).min(i64::MAX - 10_000);
        let found = call.session.run(statement, params![id, "inactive"])?;
        if found.count() > 0 {
            let place = (found.get(0, 1), found.get(0, 2), found.get(0, 3), found.get(0, 4));
            let (Some(queue), Some(task), Some(third), Some(id)) = place else { return Ok(None) };
            return Ok(Some((queue, task, third, id)));
        }
    }
    Ok(None)
}

fn between(chance: &mut Chance, (first, last): (i64, i64)) -> i64 {
    let span = usize::try_from(last.saturating_sub(first)).unwrap_or(0).saturating_add(1);
    first.saturating_add(chance.below(span) as i64)
}
