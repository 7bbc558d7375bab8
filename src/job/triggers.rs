//! What keeps the queue right, whoever writes to `minion.jobs` and how: where a job stands is worked out
//! from its facts, its children are looked at when it is done, and waiting workers hear of it.
//!
//! The triggers have no WHEN clauses and there is no BEFORE UPDATE one, on purpose: the server parses a WHEN
//! clause for every statement and locks a row once more for a BEFORE UPDATE, and both cost far more than
//! asking the row here.

use super::limits;
use crate::error::Error;
use crate::shared::area::SHARED;
use crate::shared::counts::{Counts, DELAYED, KINDS};
use crate::shared::lane::Position;
use crate::shared::{transaction, wake};
use crate::statement::invalidation;
use crate::statement::probe::may_have_waiting_child;
use crate::statement::probe::slots::may_have_slot;
use crate::statement::row::{Column, Row};
use crate::statement::value::BigintArray;
use crate::statement::{Param, Session, Statement, Timestamp, as_owner_of_table, clock, params};
use pgrx::enum_helper::lookup_enum_by_oid;
use pgrx::prelude::*;
use pgrx::{AllocatedByPostgres, AllocatedByRust, WhoAllocated};

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
static WAKE: Statement = Statement::latest(
    "WITH child AS MATERIALIZED (
        SELECT id
        FROM minion.jobs
        WHERE waits_for = $1 AND state = 'inactive' AND (lax OR NOT $2)
          -- An expired child is only waiting for repair, which may be at it.
          AND (expires IS NULL OR expires > pg_catalog.clock_timestamp())
        ORDER BY id
        FOR UPDATE
    )
    UPDATE minion.jobs AS job
    SET waits_for = NULL,
        parked_until = CASE
            WHEN job.delayed > pg_catalog.clock_timestamp() THEN job.delayed
            WHEN NOT $3 OR pg_catalog.cardinality(job.parents) > 1 THEN pg_catalog.clock_timestamp()
        END
    FROM child
    WHERE job.id = child.id",
    &[pg_sys::INT8OID, pg_sys::BOOLOID, pg_sys::BOOLOID],
)
.in_index_order();

static SET_PARENTS: Statement = Statement::new(
    "INSERT INTO minion.children (id, parents)
    VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET parents = excluded.parents",
    &[pg_sys::INT8OID, pg_sys::INT8ARRAYOID],
);

static CLEAR_PARENTS: Statement =
    Statement::new("DELETE FROM minion.children WHERE id = $1", &[pg_sys::INT8OID]);

static CLEAR_ALL_PARENTS: Statement = Statement::new("TRUNCATE minion.children", &[]);

static CLEAR_ALL_SLOTS: Statement =
    Statement::latest("UPDATE minion.active_slots SET job = NULL WHERE job IS NOT NULL", &[]);

/// Where an inactive job stands by its facts: None is ready; infinity is expired; a time to come, delayed;
/// now, it has a parent that is not done, and the next claim looks closer. Locks nothing: an enqueue in a
/// long transaction must not hold up its parents.
fn place(trigger: &PgTrigger, job: &Row, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let delayed: Timestamp = job.get(Column::Delayed).expect("delayed is NOT NULL");
    if job.get(Column::Expires).is_some_and(|expires: Timestamp| expires <= now) {
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
    let blocked = as_owner_of_table(trigger, || {
        Session::with(|session| Ok(session.run(&IS_BLOCKED, params![parents, lax, now])?.get(0, 1)))
    })?;
    Ok((blocked == Some(true)).then_some(now))
}

/// "Due now" counts: its parents may all be done by the time a claim looks.
fn announce(parked_until: Option<Timestamp>, now: Timestamp) {
    if parked_until.is_none_or(|until| until <= now) {
        wake::notify();
    }
}

/// Tells shared memory what has become of a job.
fn tell(trigger: &PgTrigger, old: Option<&Row>, new: Option<&Row>) {
    if SHARED.get().is_none() {
        return;
    }
    let relation = relation(trigger);
    let lane = |job: &Row| -> (String, String) {
        let queue = job.get(Column::Queue).expect("queue is NOT NULL");
        (queue, job.get(Column::Task).expect("task is NOT NULL"))
    };
    let (from, to) =
        (old.map(|job| (lane(job), kinds(job))), new.map(|job| (lane(job), kinds(job))));
    if from != to {
        if let Some(((queue, task), kinds)) = from {
            transaction::counted(relation, &queue, &task, kinds.map(|count| -count));
        }
        if let Some(((queue, task), kinds)) = &to {
            transaction::counted(relation, queue, task, *kinds);
        }
    }
    let (Some(job), Some(((queue, task), _))) = (new, to) else { return };
    if state(job) != "inactive" {
        return;
    }
    match job.get(Column::ParkedUntil) {
        None => {
            let priority: i32 = job.get(Column::Priority).expect("priority is NOT NULL");
            let id = job.get(Column::Id).expect("id is NOT NULL");
            transaction::ready(relation, &queue, &task, Position { rank: !priority, id });
        }
        Some(Timestamp::INFINITY) => {}
        Some(until) => transaction::parked(relation, &queue, &task, until),
    }
}

/// What a job counts as.
fn kinds(job: &Row) -> Counts {
    let mut kinds = [0; KINDS];
    let states = ["inactive", "active", "failed", "finished"];
    let state = state(job);
    if let Some(kind) = states.iter().position(|name| *name == state) {
        kinds[kind] = 1;
    }
    let until: Option<Timestamp> = job.get(Column::ParkedUntil);
    let delayed = until.is_some() && until == job.get(Column::Delayed);
    kinds[DELAYED] = (delayed && state == "inactive").into();
    kinds
}

fn wake_children(trigger: &PgTrigger, job: &Row, failed: bool, gone: bool) -> Result<(), Error> {
    let id: i64 = job.get(Column::Id).expect("id is NOT NULL");
    if !may_have_waiting_child(id) {
        return Ok(());
    }
    write(trigger, &WAKE, params![id, failed, gone])
}

/// Keeps the look-up from parents to children as the job says.
fn set_parents(trigger: &PgTrigger, job: &Row) -> Result<(), Error> {
    let id: Option<i64> = job.get(Column::Id);
    if job.has_parents() {
        let parents: Option<BigintArray> = job.get(Column::Parents);
        return write(trigger, &SET_PARENTS, params![id, parents]);
    }
    write(trigger, &CLEAR_PARENTS, params![id])
}

/// Changes other rows than the one the trigger is called for.
fn write(trigger: &PgTrigger, statement: &Statement, params: &[Param]) -> Result<(), Error> {
    as_owner_of_table(trigger, || Session::with(|session| session.run(statement, params).map(drop)))
}

fn state(job: &Row) -> String {
    let value: pg_sys::Oid = job.get(Column::State).expect("state is NOT NULL");
    lookup_enum_by_oid(value).0
}

/// Gives back what a job that was active took under limits, and tells those who wait for it.
fn free_slots(trigger: &PgTrigger, job: &Row) -> Result<(), Error> {
    let id: i64 = job.get(Column::Id).expect("id is NOT NULL");
    if may_have_slot(id) && Session::with(|session| limits::free(session, id))? {
        let queue: &str = job.get(Column::Queue).expect("queue is NOT NULL");
        let task: &str = job.get(Column::Task).expect("task is NOT NULL");
        transaction::made_room(relation(trigger), queue, task);
    }
    Ok(())
}

fn relation(trigger: &PgTrigger) -> pg_sys::Oid {
    // SAFETY: the relation of a trigger call is open.
    unsafe { (*trigger.trigger_data().tg_relation).rd_id }
}

/// Puts a new job where it belongs.
#[pg_trigger]
fn job_inserted<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByRust>>, Error> {
    let mut tuple = trigger.new().expect("the trigger is FOR EACH ROW on INSERT").into_owned();
    let job = Row::first(trigger);
    if state(&job) == "inactive" {
        let now = clock();
        let place = place(trigger, &job, now)?;
        if place != job.get(Column::ParkedUntil) {
            set(&mut tuple, Column::ParkedUntil, place);
        }
        if job.get::<i64>(Column::WaitsFor).is_some() {
            set(&mut tuple, Column::WaitsFor, None::<i64>);
        }
        announce(place, now);
    }
    Ok(Some(tuple))
}

fn set<T: IntoDatum>(tuple: &mut PgHeapTuple<AllocatedByRust>, column: Column, value: Option<T>) {
    let number = std::num::NonZeroUsize::new(column as usize).expect("columns count from 1");
    tuple.set_by_index(number, value).expect("the column has this type");
}

/// Makes a new job known, now that it is certain to be there: to its parents, and to shared memory.
#[pg_trigger]
fn job_added<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, Error> {
    let job = Row::first(trigger);
    if job.has_parents() {
        set_parents(trigger, &job)?;
    }
    tell(trigger, None, Some(&job));
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}

/// Moves a job whose facts have changed, and sees to its children when it is done.
#[pg_trigger]
fn job_updated<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, Error> {
    let (old, new) = (Row::first(trigger), Row::second(trigger));
    tell(trigger, Some(&old), Some(&new));
    let same_state = new.has_same(&old, Column::State);
    let same_expiry = new.has_same(&old, Column::Expires);
    let same_parents = new.has_same(&old, Column::Parents);
    if !same_parents {
        set_parents(trigger, &new)?;
    }
    if !same_state && state(&old) == "active" {
        free_slots(trigger, &old)?;
    }
    match state(&new).as_str() {
        "inactive" => {
            let now = clock();
            let until: Option<Timestamp> = new.get(Column::ParkedUntil);
            let changed = !(same_state
                && same_expiry
                && same_parents
                && new.has_same(&old, Column::Delayed)
                && new.has_same(&old, Column::Lax));
            let place = if changed { place(trigger, &new, now)? } else { until };
            let watches = changed && new.get::<i64>(Column::WaitsFor).is_some();
            if place != until || watches {
                // Its own trigger call announces it.
                let id: Option<i64> = new.get(Column::Id);
                write(trigger, &MOVE, params![id, place])?;
            } else {
                announce(until, now);
            }
            // A parent that expires is done then, and the time may have changed.
            if new.get::<Timestamp>(Column::Expires).is_some() && !(same_state && same_expiry) {
                wake_children(trigger, &new, false, false)?;
            }
        }
        ended @ ("finished" | "failed") if !same_state => {
            transaction::ended(relation(trigger), new.get(Column::Id).expect("id is NOT NULL"));
            wake_children(trigger, &new, ended == "failed", true)?;
        }
        _ => {}
    }
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}

/// Lets the children of a job go on without it. Nobody waits for a finished one.
#[pg_trigger]
fn job_deleted<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, Error> {
    let job = Row::first(trigger);
    tell(trigger, Some(&job), None);
    let state = state(&job);
    if state == "active" {
        free_slots(trigger, &job)?;
    }
    transaction::ended(relation(trigger), job.get(Column::Id).expect("id is NOT NULL"));
    if state != "finished" {
        wake_children(trigger, &job, false, true)?;
    }
    if job.has_parents() {
        write(trigger, &CLEAR_PARENTS, params![job.get::<i64>(Column::Id)])?;
    }
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}

/// Without jobs there are no children.
#[pg_trigger]
fn jobs_truncated<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, Error> {
    transaction::truncated();
    write(trigger, &CLEAR_ALL_PARENTS, &[])?;
    if invalidation::exist() {
        write(trigger, &CLEAR_ALL_SLOTS, &[])?;
    }
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}

/// Tells every backend that what is paused or limited has changed, and everybody who waits for a job.
#[pg_trigger]
fn limits_changed<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, Error> {
    invalidation::tell(trigger);
    transaction::limits_changed();
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}
