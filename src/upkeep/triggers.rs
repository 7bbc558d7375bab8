//! The triggers of `minion.jobs`, which hand the rows on, and of what is limited and what is scheduled.
//!
//! They have no WHEN clauses and there is no BEFORE UPDATE one, on purpose: the server parses a WHEN clause for every
//! statement and locks a row once more for a BEFORE UPDATE, and both cost far more than asking the row in
//! [`super::written`].

use super::written::{self, Amendment};
use crate::server::invalidation;
use crate::server::relation::Relation;
use crate::server::row::{Column, Row};
use crate::server::trigger::{Event, answer};
use crate::shared::commit;
use crate::shared::database::task;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{AllocatedByPostgres, AllocatedByRust, WhoAllocated};

/// Puts a new job where it belongs.
#[pg_trigger]
fn job_inserted<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByRust>>, ErrorReport> {
    answer(trigger, Event::BeforeInsert, || {
        let mut tuple = trigger.new().expect("the event is an INSERT of a row").into_owned();
        written::being_added(
            Relation::of(trigger),
            &Row::first(trigger),
            &mut |what| match what {
                Amendment::ParkedUntil(until) => set(&mut tuple, Column::ParkedUntil, until),
                Amendment::WatchesNobody => set(&mut tuple, Column::WaitsFor, None::<i64>),
                Amendment::Finished(at) => set(&mut tuple, Column::Finished, Some(at)),
            },
        )?;
        Ok(Some(tuple))
    })
}

fn set<T: IntoDatum>(tuple: &mut PgHeapTuple<AllocatedByRust>, column: Column, value: Option<T>) {
    let number = std::num::NonZeroUsize::new(column as usize).expect("columns count from 1");
    tuple.set_by_index(number, value).expect("the column has this type");
}

/// Makes a new job known.
#[pg_trigger]
fn job_added<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::AfterInsert, || {
        written::added(Relation::of(trigger), &Row::first(trigger))?;
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}

/// Moves a job whose facts have changed, and sees to its children when it is done.
#[pg_trigger]
fn job_updated<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::AfterUpdate, || {
        written::updated(Relation::of(trigger), &Row::first(trigger), &Row::second(trigger))?;
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}

/// Lets the children of a job go on without it.
#[pg_trigger]
fn job_deleted<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::AfterDelete, || {
        written::removed(Relation::of(trigger), &Row::first(trigger))?;
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}

/// Forgets what was kept of all jobs.
#[pg_trigger]
fn jobs_truncated<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::AfterTruncate, || {
        written::emptied(Relation::of(trigger))?;
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}

/// Tells the background worker that schedules have changed.
#[pg_trigger]
fn schedules_changed<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    answer(trigger, Event::OfSchedules, || {
        commit::asks(task::SCHEDULES);
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
        commit::limits_changed();
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}
