//! Places that are left to chance. A walk that begins at the same place in each call, and never comes to its end in
//! time, would never get at what stands behind.

use super::budget::Budget;
use super::call::Call;
use super::walk::{Found, walk};
use crate::error::Error;
use crate::server::chance::Chance;
use crate::server::rows::Rows;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use crate::server::types::Typed;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::thread::LocalKey;

/// Goes through an index of all inactive jobs, however many there are and however few of them are meant: a part of
/// it in each call, from where this session has got to, and from a place left to chance, for sessions that come but
/// once. `look` gives the next ten thousand rows behind a place: id, queue, task, what they are ordered by in a lane, and
/// whether they are meant. Says with how many `work` has done something.
pub fn by_turns<T: Typed + Copy>(
    call: &Call,
    budget: &Budget,
    (reached, before_all): (&'static LocalKey<RefCell<Option<InLane<T>>>>, T),
    anywhere: impl FnOnce(&Call) -> Result<Option<InLane<T>>, Error>,
    look: impl Fn(&InLane<T>) -> Result<Rows, Error>,
    mut work: impl FnMut(Vec<i64>) -> Result<usize, Error>,
) -> Result<i64, Error> {
    let mut walk_from = |budget: &Budget, mut place: InLane<T>| {
        // What was found and not tried is found again.
        let mut before = None;
        let find = |_| {
            before = Some(place.clone());
            let rows = look(&place)?;
            if let Some(end) = rows.count().checked_sub(1) {
                let column = "is NOT NULL in this index";
                place = (
                    rows.get(end, 2).expect(column),
                    rows.get(end, 3).expect(column),
                    rows.get(end, 4).expect(column),
                    rows.get(end, 1).expect(column),
                );
            }
            Ok(Found::marked(&rows, 5))
        };
        let walked = walk(call, budget, "job", find, &mut work)?;
        Ok::<_, Error>((walked.done, walked.rest(before, place)))
    };
    // Of those who find nothing, nobody is to hear that they had to stop.
    let stopped = Cell::new(false);
    let mut done = 0;
    // What is found has all the time that there is, which tells itself when it was not enough.
    let mut turn = |begin: InLane<T>| {
        let (count, mut rest) = walk_from(&budget.share(&stopped), begin)?;
        done += count;
        if let Some(place) = rest.take_if(|_| count > 0) {
            let (count, next) = walk_from(&budget.half(), place)?;
            done += count;
            rest = next;
        }
        Ok::<_, Error>(rest)
    };
    let first = (String::new(), String::new(), before_all, i64::MIN);
    let rest = turn(reached.take().unwrap_or(first))?;
    if rest.is_some()
        && let Some(place) = anywhere(call)?
    {
        turn(place)?;
    }
    if rest.is_some() && done > 0 {
        budget.end();
    }
    reached.set(rest);
    Ok(done)
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
