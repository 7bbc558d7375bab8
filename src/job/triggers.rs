//! What keeps the queue right, whoever writes to `minion.jobs` and how: where a job stands is worked out
//! from its facts, its children are looked at when it is done, and waiting workers hear of it.
//!
//! A trigger may be anywhere before the row is what it will be: no constraint has seen it yet, and a trigger of
//! somebody else's may change it after ours. So what decides is the row that was written, and before that
//! any value may be NULL.
//!
//! The triggers have no WHEN clauses and there is no BEFORE UPDATE one, on purpose: the server parses a WHEN
//! clause for every statement and locks a row once more for a BEFORE UPDATE, and both cost far more than
//! asking the row here.

use super::limits;
use super::placing::{clear_parents, correct, move_to, place, set_parents, wake_children, write};
use super::under_way::{is_counted_later, is_under_way};
use crate::error::Error;
use crate::shared::area::SHARED;
use crate::shared::counts::{Counts, DELAYED, KINDS};
use crate::shared::lane::{Lane, Position};
use crate::shared::{transaction, wake};
use crate::statement::probe::slots::may_have_slot;
use crate::statement::row::{Column, Row, State};
use crate::statement::trigger::{Event, answer, relation};
use crate::statement::{
    Session, Statement, Timestamp, as_owner_of_table, clock, invalidation, params,
};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{AllocatedByPostgres, AllocatedByRust, WhoAllocated};

static HAS_PARENTS: Statement = Statement::latest("SELECT FROM minion.children LIMIT 1", &[]);

static CLEAR_ALL_PARENTS: Statement = Statement::new("TRUNCATE minion.children", &[]);

static CLEAR_ALL_SLOTS: Statement =
    Statement::latest("UPDATE minion.active_slots SET job = NULL WHERE job IS NOT NULL", &[]);

static SET_FINISHED: Statement = Statement::new(
    "UPDATE minion.jobs SET finished = $2 WHERE id = $1",
    &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID],
);

/// "Due now" counts: its parents may all be done by the time a claim looks.
fn announce(parked_until: Option<Timestamp>, now: Timestamp) {
    if parked_until.is_none_or(|until| until <= now) {
        wake::notify();
    }
}

/// None where a constraint was taken away, and a name with it.
fn lane(job: &Row) -> Option<Lane> {
    let name = |column| job.get(column).filter(|name: &String| !name.is_empty());
    Some(Lane { queue: name(Column::Queue)?, task: name(Column::Task)? })
}

/// Tells shared memory what has become of a job.
fn tell(trigger: &PgTrigger, old: Option<&Row>, new: Option<&Row>) -> Result<(), Error> {
    if SHARED.get().is_none() {
        return Ok(());
    }
    let relation = relation(trigger);
    let counts = |job: &Row| lane(job).map(|lane| (lane, kinds(job)));
    let (from, to) = (old.and_then(counts), new.and_then(counts));
    if from != to {
        if let Some((lane, kinds)) = from {
            transaction::counted(relation, &lane.queue, &lane.task, kinds.map(|count| -count));
        }
        if let Some((lane, kinds)) = &to {
            transaction::counted(relation, &lane.queue, &lane.task, *kinds);
        }
    }
    let (Some(job), Some((Lane { queue, task }, _))) = (new, to) else { return Ok(()) };
    if job.state() != Some(State::Inactive) {
        return Ok(());
    }
    match job.get(Column::ParkedUntil) {
        None => {
            let priority: i32 = job.required(Column::Priority)?;
            let position = Position::new(!priority, job.required(Column::Id)?);
            transaction::ready(relation, &queue, &task, position);
        }
        Some(Timestamp::INFINITY) => {}
        Some(until) => transaction::parked(relation, &queue, &task, until),
    }
    Ok(())
}

/// What a job counts as.
fn kinds(job: &Row) -> Counts {
    let mut kinds = [0; KINDS];
    let state = job.state();
    let states = [State::Inactive, State::Active, State::Failed, State::Finished];
    if let Some(kind) = states.iter().position(|one| Some(*one) == state) {
        kinds[kind] = 1;
    }
    let until: Option<Timestamp> = job.get(Column::ParkedUntil);
    let delayed = until.is_some() && until == job.get(Column::Delayed);
    kinds[DELAYED] = (delayed && state == Some(State::Inactive)).into();
    kinds
}

/// Gives back what a job that was active took under limits, and tells those who wait for it.
fn free_slots(trigger: &PgTrigger, job: &Row) -> Result<(), Error> {
    let id: i64 = job.required(Column::Id)?;
    if may_have_slot(id)
        && Session::with(|session| limits::free(session, id))?
        && let Some(lane) = lane(job)
    {
        transaction::made_room(relation(trigger), &lane.queue, &lane.task);
    }
    Ok(())
}

/// Counts an active job under the limits of a lane that it has not come into by a claim.
fn take_slots(job: &Row) -> Result<(), Error> {
    let Some(lane) = lane(job) else { return Ok(()) };
    let id = job.required(Column::Id)?;
    if is_counted_later(id) {
        return Ok(());
    }
    Session::with(|session| limits::count(session, &lane, id))
}

fn has_ended(job: &Row) -> bool {
    matches!(job.state(), Some(State::Finished | State::Failed))
}

/// Puts a new job where it belongs.
#[pg_trigger]
fn job_inserted<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByRust>>, ErrorReport> {
    answer(trigger, Event::BeforeInsert, || {
        let mut tuple = trigger.new().expect("the event is an INSERT of a row").into_owned();
        let job = Row::first(trigger);
        // The server's own check says what is missing.
        let columns = [Column::State, Column::Delayed, Column::Parents, Column::Lax];
        if columns.iter().any(|column| job.is_null(*column)) {
            return Ok(Some(tuple));
        }
        if job.state() == Some(State::Inactive) {
            let now = clock();
            let place = place(trigger, &job, now)?;
            if place != job.get(Column::ParkedUntil) {
                set(&mut tuple, Column::ParkedUntil, place);
            }
            if !job.is_null(Column::WaitsFor) {
                set(&mut tuple, Column::WaitsFor, None::<i64>);
            }
            announce(place, now);
        } else if has_ended(&job) && job.is_null(Column::Finished) {
            set(&mut tuple, Column::Finished, Some(clock()));
        }
        Ok(Some(tuple))
    })
}

fn set<T: IntoDatum>(tuple: &mut PgHeapTuple<AllocatedByRust>, column: Column, value: Option<T>) {
    let number = std::num::NonZeroUsize::new(column as usize).expect("columns count from 1");
    tuple.set_by_index(number, value).expect("the column has this type");
}

/// Makes a new job known, now that it is certain to be there: to its parents, and to shared memory.
#[pg_trigger]
fn job_added<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::AfterInsert, || {
        added(trigger, &Row::first(trigger))?;
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}

fn added(trigger: &PgTrigger, job: &Row) -> Result<(), Error> {
    if job.has_parents() {
        set_parents(trigger, job)?;
    }
    tell(trigger, None, Some(job))?;
    match job.state() {
        Some(State::Inactive) => correct(trigger, job, clock()).map(drop),
        Some(State::Active) => take_slots(job),
        _ => Ok(()),
    }
}

/// Moves a job whose facts have changed, and sees to its children when it is done.
#[pg_trigger]
fn job_updated<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::AfterUpdate, || {
        let (old, new) = (Row::first(trigger), Row::second(trigger));
        match new.has_same(&old, Column::Id) {
            true => changed(trigger, &old, &new)?,
            // To all who know a job by its id, this is another one.
            false => {
                removed(trigger, &old)?;
                added(trigger, &new)?;
                announce_if_inactive(&new);
            }
        }
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}

fn announce_if_inactive(job: &Row) {
    if job.state() == Some(State::Inactive) {
        announce(job.get(Column::ParkedUntil), clock());
    }
}

fn changed(trigger: &PgTrigger, old: &Row, new: &Row) -> Result<(), Error> {
    let is_same = |column| new.has_same(old, column);
    let same_state = is_same(Column::State);
    let same_expiry = is_same(Column::Expires);
    let same_parents = is_same(Column::Parents);
    let same_lane = is_same(Column::Queue) && is_same(Column::Task);
    let same_facts = same_state
        && same_expiry
        && same_parents
        && is_same(Column::Delayed)
        && is_same(Column::Lax);
    // Of an inactive job shared memory is told again even so: it may not have heard of it the first time.
    let is_inactive = new.state() == Some(State::Inactive);
    if same_facts && same_lane && !is_inactive && is_same(Column::Finished) {
        return Ok(());
    }
    tell(trigger, Some(old), Some(new))?;
    if !same_parents {
        set_parents(trigger, new)?;
    }
    let was_active = old.state() == Some(State::Active);
    let is_active = new.state() == Some(State::Active);
    if was_active && !(same_state && same_lane) {
        free_slots(trigger, old)?;
    }
    if is_active && !(same_state && same_lane) && !is_under_way(new.required(Column::Id)?) {
        take_slots(new)?;
    }
    match new.state() {
        Some(State::Inactive) => {
            let now = clock();
            let until: Option<Timestamp> = new.get(Column::ParkedUntil);
            let same_place = is_same(Column::ParkedUntil) && is_same(Column::WaitsFor);
            let moved = if same_facts {
                !same_place && correct(trigger, new, now)?
            } else {
                let place = place(trigger, new, now)?;
                let is_elsewhere = place != until || !new.is_null(Column::WaitsFor);
                if is_elsewhere {
                    move_to(trigger, new, place)?;
                }
                is_elsewhere
            };
            if !moved {
                announce(until, now);
            }
            // A parent that expires is done then, and the time may have changed.
            let may_differ = !same_state || !same_expiry;
            if may_differ && !new.is_null(Column::Expires) {
                wake_children(trigger, new, false, false)?;
            }
        }
        Some(ended @ (State::Finished | State::Failed)) => {
            let id: i64 = new.required(Column::Id)?;
            if !same_state {
                transaction::ended(relation(trigger), id);
                wake_children(trigger, new, ended == State::Failed, true)?;
            }
            if new.is_null(Column::Finished) {
                write(trigger, &SET_FINISHED, params![id, clock()])?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Lets the children of a job go on without it. Nobody waits for a finished one.
#[pg_trigger]
fn job_deleted<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::AfterDelete, || {
        removed(trigger, &Row::first(trigger))?;
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}

fn removed(trigger: &PgTrigger, job: &Row) -> Result<(), Error> {
    tell(trigger, Some(job), None)?;
    let state = job.state();
    if state == Some(State::Active) {
        free_slots(trigger, job)?;
    }
    transaction::ended(relation(trigger), job.required(Column::Id)?);
    if state != Some(State::Finished) {
        wake_children(trigger, job, false, true)?;
    }
    if job.has_parents() {
        clear_parents(trigger, job)?;
    }
    Ok(())
}

/// Without jobs there are no children.
#[pg_trigger]
fn jobs_truncated<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::AfterTruncate, || {
        transaction::truncated();
        // A statement that empties both is still at it.
        let any = as_owner_of_table(trigger, || {
            Session::with(|session| Ok(session.run(&HAS_PARENTS, &[])?.count() > 0))
        })?;
        if any {
            write(trigger, &CLEAR_ALL_PARENTS, &[])?;
        }
        if invalidation::exist() {
            write(trigger, &CLEAR_ALL_SLOTS, &[])?;
            transaction::unbounded();
        }
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}

/// Tells every backend that what is paused or limited has changed, and everybody who waits for a job.
#[pg_trigger]
fn limits_changed<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::OfLimits, || {
        invalidation::tell(trigger);
        transaction::limits_changed();
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}
