//! Workers that were attached to a session that is gone.
//!
//! Whether it is gone is asked once more when the worker's row is locked: a session that takes the worker over writes the
//! row first, and has a claim on the worker until it commits. So it has the row, or it finds none.

use super::abandoned;
use super::budget::Budget;
use super::call::{Call, Did};
use super::walk::{Found, walk};
use crate::error::Error;
use crate::server::rows::Rows;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use crate::shared::attached::Workers;
use crate::shared::databases::DATABASES;
use pgrx::pg_sys;

/// From an id on: those that stay are not to be walked over again.
static FIND_ATTACHED: Statement = Statement::new(
    "SELECT id, attached
    FROM minion.workers
    WHERE attached IS NOT NULL AND id >= $1
    ORDER BY id
    LIMIT 10001",
    &[pg_sys::INT8OID],
);

static LOCK_ATTACHED: Statement = Statement::new(
    "SELECT id, attached
    FROM minion.workers
    WHERE id = ANY ($1) AND attached IS NOT NULL
    ORDER BY id
    FOR UPDATE SKIP LOCKED",
    &[pg_sys::INT8ARRAYOID],
);

static REMOVE: Statement = Statement::new(
    "DELETE FROM minion.workers WHERE id = ANY ($1) RETURNING id",
    &[pg_sys::INT8ARRAYOID],
);

/// What a session that has ended had written is there for all to see, or never will be.
static REMAINING: Statement = Statement::latest(
    "SELECT id FROM minion.workers WHERE id = ANY ($1) AND attached IS NOT NULL",
    &[pg_sys::INT8ARRAYOID],
);

/// Whose sessions are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of all workers.
    All,
    /// Of those that are known to have ended.
    Ended,
}

/// Some that have ended may have been forgotten for want of room.
pub fn whose(all: bool) -> Whose {
    match all | Workers::new().is_some_and(Workers::has_lost_any) {
        true => Whose::All,
        false => Whose::Ended,
    }
}

/// Removes those workers, whatever became of their sessions, and fails their active jobs, or has them tried again.
pub fn remove(call: &Call, budget: &Budget, did: &mut Did) -> Result<(), Error> {
    remove_those(call, budget, did, Whose::All)
}

pub fn remove_those(
    call: &Call,
    budget: &Budget,
    did: &mut Did,
    whose: Whose,
) -> Result<(), Error> {
    if !call.session.has_reached("0.5.0")? {
        return Ok(());
    }
    let workers = Workers::new();
    let began = DATABASES.get().map(|databases| databases.began());
    let mut ended = forget_removed(call, workers)?;
    let is_gone = |id: i64, attached: Option<Timestamp>| {
        attached != began || workers.is_none_or(|workers| !workers.is_there(id))
    };
    let gone_of = |rows: &Rows| -> Vec<i64> {
        let row = |row| (rows.get(row, 1).expect("id is NOT NULL"), rows.get(row, 2));
        let rows = (0..rows.count()).map(row);
        rows.filter(|(id, attached)| is_gone(*id, *attached)).map(|(id, _)| id).collect()
    };
    let mut last = i64::MIN;
    let find = |_| {
        if whose == Whose::Ended {
            return Ok(Found { ids: std::mem::take(&mut ended), is_last: true });
        }
        let rows = call.session.run(&FIND_ATTACHED, params![last])?;
        last = rows.count().checked_sub(1).and_then(|end| rows.get(end, 1)).unwrap_or(last);
        Ok(Found { ids: gone_of(&rows), is_last: rows.count() <= super::budget::MOST })
    };
    let (mut removed, mut skipped): (Vec<i64>, bool) = (Vec::new(), false);
    let work = |ids: Vec<i64>| {
        let count = ids.len();
        let locked = call.session.run(&LOCK_ATTACHED, params![ids])?;
        skipped |= locked.count() < count;
        let gone = gone_of(&locked);
        // One that somebody was about to take over may be nobody's in a moment.
        skipped |= gone.len() < locked.count();
        let ids: Vec<i64> = call.session.run(&REMOVE, params![gone])?.column(1);
        removed.extend(&ids);
        Ok(ids.len())
    };
    did.workers_removed += walk(call, &budget.half(), "worker", find, work)?.done;
    did.workers_skipped |= skipped;
    if !removed.is_empty() {
        abandoned::fail_of(call, budget, did, &removed)?;
    }
    Ok(())
}

/// The ended ones that have something to be removed. What has been in vain, or is not committed, is to be found again:
/// so the others are those that are seen here to be gone.
fn forget_removed(call: &Call, workers: Option<Workers>) -> Result<Vec<i64>, Error> {
    let Some(workers) = workers else { return Ok(Vec::new()) };
    let ended = workers.ended();
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ended.iter().map(|ended| ended.id).collect();
    let remaining: Vec<i64> = call.session.run(&REMAINING, params![ids])?.column(1);
    for ended in ended.iter().filter(|ended| !remaining.contains(&ended.id)) {
        workers.forget(ended);
    }
    Ok(remaining)
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use crate::repair::remove_attached;
    use crate::shared::attached::{Workers, end_session};
    use pgrx::prelude::*;
    use std::time::Duration;

    /// Tests run beside each other, and one at a time repairs.
    fn removed(all: bool) -> (i64, i64) {
        loop {
            let did = remove_attached(all, Duration::from_secs(60)).expect("it can be done");
            if let Some(did) = did {
                return (did.workers_removed, did.jobs_abandoned);
            }
            run("SELECT pg_sleep(0.01)");
        }
    }

    fn run(sql: &str) {
        Spi::run(sql).expect("SQL");
    }

    const WITH_JOBS: &str =
        "SELECT minion.register_worker(attached => true) FROM generate_series(1, 3);
        SELECT minion.enqueue('task') FROM generate_series(1, 2);
        SELECT minion.dequeue((SELECT max(id) FROM minion.workers), max_jobs => 2);
        SELECT minion.register_worker(), minion.enqueue('task');
        SELECT minion.dequeue((SELECT max(id) FROM minion.workers))";

    #[pg_test]
    fn workers_of_a_session_that_has_ended_are_removed_with_their_jobs_alone() {
        if Workers::new().is_none() {
            return;
        }
        run(WITH_JOBS);
        assert_eq!(removed(false), (0, 0));
        end_session();
        assert_eq!(removed(false), (3, 2));
        assert_eq!(removed(true), (0, 0));
        let active = "SELECT count(*) FROM minion.jobs WHERE state = 'active'";
        assert_eq!(Spi::get_one::<i64>(active), Ok(Some(1)));
    }

    #[pg_test]
    fn workers_of_an_earlier_start_are_removed_when_all_are_looked_at() {
        run(WITH_JOBS);
        run("UPDATE minion.workers SET attached = '2000-01-01' WHERE id IN (
            SELECT worker FROM minion.jobs WHERE state = 'active')");
        assert_eq!(removed(false), (0, 0));
        assert_eq!(removed(true), (2, 3));
    }
}
