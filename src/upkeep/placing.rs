//! Where an inactive job stands, as its facts say, and what becomes of its children.

use crate::error::Error;
use crate::server::identity::as_owner_of;
use crate::server::meanwhile::Meanwhile;
use crate::server::probe::family::{Unresolved, may_have_waiting_child, unresolved};
use crate::server::relation::Relation;
use crate::server::row::{Column, Row};
use crate::server::session::Session;
use crate::server::statement::{Param, Statement, params};
use crate::server::time::Timestamp;
use crate::server::value::BigintArray;
use crate::shared::commit;
use pgrx::pg_sys;
use std::cell::Cell;

/// Whether a parent is not done, as far as this snapshot shows. A long list is left to the next claim:
/// hundreds of such children may be changed at once. $1 the parents, $2 lax, $3 the clock.
static IS_BLOCKED: Statement = Statement::new(
    "SELECT pg_catalog.cardinality($1) > 100 OR EXISTS (
        SELECT
        FROM minion.jobs AS parent
        WHERE parent.id = ANY ($1)
          AND minion.is_unresolved(parent.state, parent.expires, $2, $3)
    )",
    &[pg_sys::INT8ARRAYOID, pg_sys::BOOLOID, pg_sys::TIMESTAMPTZOID],
);

static MOVE: Statement = Statement::latest(
    "UPDATE minion.jobs SET parked_until = $2, waits_for = NULL WHERE id = $1",
    &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID],
);

/// The children of a job that is done, in id order, so that two sessions never lock them crosswise. It
/// runs after the parent's row is locked, with a snapshot taken since: a child that was made to wait in
/// the meantime is seen, and one that is made to wait later finds its parent done. A child of several
/// parents is due now, and the next claim looks at the others.
/// $1 the parent, $2 whether it failed: only lax children go on then, $3 whether it is gone for good.
macro_rules! wake {
    ($lock:literal) => {
        Statement::latest(
            concat!(
                "WITH child AS MATERIALIZED (
        SELECT id
        FROM minion.jobs
        WHERE waits_for = $1 AND state = 'inactive' AND (lax OR NOT $2)
          -- An expired child is only waiting for repair, which may be at it.
          AND (expires IS NULL OR expires > pg_catalog.clock_timestamp())
        ORDER BY id
        ",
                $lock,
                "
    )
    UPDATE minion.jobs AS job
    SET waits_for = NULL,
        parked_until = CASE
            WHEN job.delayed > pg_catalog.clock_timestamp() THEN job.delayed
            WHEN NOT $3 OR pg_catalog.cardinality(job.parents) > 1 THEN pg_catalog.clock_timestamp()
        END
    FROM child
    WHERE job.id = child.id"
            ),
            &[pg_sys::INT8OID, pg_sys::BOOLOID, pg_sys::BOOLOID],
        )
        .in_index_order()
    };
}

static WAKE: Statement = wake!("FOR UPDATE");
static WAKE_AT_ONCE: Statement = wake!("FOR UPDATE NOWAIT");

static SET_PARENTS: Statement = Statement::new(
    "INSERT INTO minion.children (id, parents)
    VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET parents = excluded.parents",
    &[pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
);

static CLEAR_PARENTS: Statement =
    Statement::new("DELETE FROM minion.children WHERE id = $1", &[pg_sys::INT8OID]);

/// A child whose parents are all locked is parked for a moment, watching none of them: no longer than this.
const SOON_MICROS: i64 = 1_000_000;

/// Where an inactive job stands by its facts: None is ready; infinity is expired; a time to come, delayed;
/// now, it has a parent that is not done, and the next claim looks closer. Locks nothing: an enqueue in a
/// long transaction must not hold up its parents.
pub fn parked_until(
    table: Relation,
    job: &Row,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let delayed: Timestamp = job.required(Column::Delayed)?;
    if has_expired(job, now) {
        return Ok(Some(Timestamp::INFINITY));
    }
    if delayed > now {
        return Ok(Some(delayed));
    }
    if !job.has_parents() {
        return Ok(None);
    }
    let parents: Option<BigintArray> = job.get(Column::Parents);
    let lax: Option<bool> = job.get(Column::Lax);
    let blocked = as_owner_of(table, || {
        Session::with(|session| Ok(session.run(&IS_BLOCKED, params![parents, lax, now])?.get(0, 1)))
    })?;
    Ok((blocked == Some(true)).then_some(now))
}

fn has_expired(job: &Row, now: Timestamp) -> bool {
    job.get(Column::Expires).is_some_and(|expires: Timestamp| expires <= now)
}

/// Moves a job whose place hides it from claims, or shows it to them too early. `parked_until` and `waits_for`
/// are not for others to write, but they can. True if it was moved.
pub fn correct(table: Relation, job: &Row, now: Timestamp) -> Result<bool, Error> {
    if stands_right(job, now)? {
        return Ok(false);
    }
    let until = parked_until(table, job, now)?;
    move_to(table, job, until)?;
    Ok(true)
}

/// How often a job is moved again because a trigger of somebody's has changed it meanwhile: then it stays where it
/// is, and claims see to it.
const MOVES: u32 = 3;

thread_local!(static MOVING: Cell<u32> = const { Cell::new(0) });

/// Puts a job where it belongs, watching no parent. Its own trigger call announces it.
pub fn move_to(table: Relation, job: &Row, until: Option<Timestamp>) -> Result<(), Error> {
    if MOVING.get() >= MOVES {
        return Ok(());
    }
    let _moving = Meanwhile::set(&MOVING, MOVING.get() + 1);
    write(table, &MOVE, params![job.required::<i64>(Column::Id)?, until])
}

/// Whether a job will be looked at when its facts say so. Claims look at each ready job closely, and at those
/// that are due.
fn stands_right(job: &Row, now: Timestamp) -> Result<bool, Error> {
    let delayed: Timestamp = job.required(Column::Delayed)?;
    let watched: Option<i64> = job.get(Column::WaitsFor);
    let Some(until) = job.get::<Timestamp>(Column::ParkedUntil) else {
        return Ok(watched.is_none() && delayed <= now);
    };
    if until <= now || until == delayed || (until == Timestamp::INFINITY && has_expired(job, now)) {
        return Ok(true);
    }
    let Some(watched) = watched else {
        return Ok(job.has_parents() && until.0 <= now.0 + SOON_MICROS);
    };
    let parents: Vec<Option<i64>> = job.get(Column::Parents).unwrap_or_default();
    if !parents.contains(&Some(watched)) {
        return Ok(false);
    }
    Ok(match unresolved(watched, job.get(Column::Lax) == Some(true), now) {
        Unresolved::Until(end) => end == until,
        Unresolved::Not => false,
        Unresolved::Unknown => true,
    })
}

/// Looks at the children that watch a job. `failed`: only lax ones go on; `gone`: for good.
pub fn wake_children(table: Relation, job: &Row, failed: bool, gone: bool) -> Result<(), Error> {
    let id: i64 = job.required(Column::Id)?;
    // Also for those that nobody has placed yet, and that watch no parent.
    commit::parent_changed();
    if !may_have_waiting_child(id) {
        return Ok(());
    }
    let wake = if AT_ONCE.get() { &WAKE_AT_ONCE } else { &WAKE };
    write(table, wake, params![id, failed, gone])
}

thread_local!(static AT_ONCE: Cell<bool> = const { Cell::new(false) });

/// Does work in which no trigger waits for a child that somebody else has: what ends its parent fails instead. Who
/// holds many jobs, locked in any order, would else be waited for, and might wait for the waiter.
pub fn without_waiting<T>(work: impl FnOnce() -> T) -> T {
    let _at_once = Meanwhile::set(&AT_ONCE, true);
    work()
}

/// Keeps the look-up from parents to children as the job says.
pub fn set_parents(table: Relation, job: &Row) -> Result<(), Error> {
    if !job.has_parents() {
        return clear_parents(table, job);
    }
    let id: Option<i64> = job.get(Column::Id);
    let parents: Option<BigintArray> = job.get(Column::Parents);
    as_owner_of(table, || {
        Session::with(|session| {
            session.run(&SET_PARENTS, params![id, parents])?.written("children")
        })
    })?;
    Ok(())
}

pub fn clear_parents(table: Relation, job: &Row) -> Result<(), Error> {
    write(table, &CLEAR_PARENTS, params![job.get::<i64>(Column::Id)])
}

/// Changes other rows than the one the trigger is called for.
pub fn write(table: Relation, statement: &Statement, params: &[Param]) -> Result<(), Error> {
    as_owner_of(table, || Session::with(|session| session.run(statement, params).map(drop)))
}
