//! What follows from a row of `minion.jobs` that is written: whoever writes one, and however, calls these with the row
//! as it was and as it is.
//!
//! A row may be anything before it is written: no constraint has seen it yet, and a trigger of somebody else's may
//! change it after ours. So what decides is the row that was written, and before that any value may be NULL.

use super::placing::{
    clear_parents, correct, move_to, parked_until, set_parents, wake_children, write,
};
use super::telling::{announce, free_places, take_places, tell};
use super::time_limit::tell_end;
use crate::claim::under_way::is_under_way;
use crate::error::Error;
use crate::server::identity::as_owner_of;
use crate::server::invalidation;
use crate::server::relation::Relation;
use crate::server::row::{Column, JobState, Row};
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::shared::commit;
use pgrx::pg_sys;

static HAS_PARENTS: Statement = Statement::latest("SELECT FROM minion.children LIMIT 1", &[]);

static CLEAR_ALL_PARENTS: Statement = Statement::new("TRUNCATE minion.children", &[]);

static CLEAR_ALL_PLACES: Statement =
    Statement::latest("UPDATE minion.active_slots SET job = NULL WHERE job IS NOT NULL", &[]);

static SET_FINISHED: Statement = Statement::new(
    "UPDATE minion.jobs SET finished = $2 WHERE id = $1",
    &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID],
);

fn has_ended(job: &Row) -> bool {
    matches!(job.state(), Some(JobState::Finished | JobState::Failed))
}

/// What a new row has to say, that says something else.
pub enum Amendment {
    ParkedUntil(Option<Timestamp>),
    WatchesNobody,
    Finished(Timestamp),
}

/// A job is about to be added: puts it where it belongs.
pub fn being_added(
    table: Relation,
    job: &Row,
    amend: &mut dyn FnMut(Amendment),
) -> Result<(), Error> {
    // The server's own check says what is missing.
    let columns = [Column::State, Column::Delayed, Column::Parents, Column::Lax];
    if columns.iter().any(|column| job.is_null(*column)) {
        return Ok(());
    }
    if job.state() == Some(JobState::Inactive) {
        let now = clock();
        let until = parked_until(table, job, now)?;
        if until != job.get(Column::ParkedUntil) {
            amend(Amendment::ParkedUntil(until));
        }
        if !job.is_null(Column::WaitsFor) {
            amend(Amendment::WatchesNobody);
        }
        announce(until, now);
    } else if has_ended(job) && job.is_null(Column::Finished) {
        amend(Amendment::Finished(clock()));
    }
    Ok(())
}

/// A job was added: makes it known, now that it is certain to be there, to its parents and to shared memory.
pub fn added(table: Relation, job: &Row) -> Result<(), Error> {
    if job.has_parents() {
        set_parents(table, job)?;
    }
    tell(table, None, Some(job))?;
    match job.state() {
        Some(JobState::Inactive) => correct(table, job, clock()).map(drop),
        Some(JobState::Active) => {
            tell_end(job);
            take_places(job)
        }
        _ => Ok(()),
    }
}

/// A job was changed: moves it if its facts have changed, and sees to its children when it is done.
pub fn updated(table: Relation, old: &Row, new: &Row) -> Result<(), Error> {
    if new.has_same(old, Column::Id) {
        return changed(table, old, new);
    }
    // To all who know a job by its id, this is another one.
    removed(table, old)?;
    added(table, new)?;
    if new.state() == Some(JobState::Inactive) {
        announce(new.get(Column::ParkedUntil), clock());
    }
    Ok(())
}

/// The same job, written anew.
fn changed(table: Relation, old: &Row, new: &Row) -> Result<(), Error> {
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
    let is_inactive = new.state() == Some(JobState::Inactive);
    let is_active = new.state() == Some(JobState::Active);
    // It may be its limit alone that has changed, or when it began.
    if is_active {
        tell_end(new);
    }
    if same_facts && same_lane && !is_inactive && is_same(Column::Finished) {
        return Ok(());
    }
    tell(table, Some(old), Some(new))?;
    if !same_parents {
        set_parents(table, new)?;
    }
    let was_active = old.state() == Some(JobState::Active);
    if was_active && !(same_state && same_lane) {
        free_places(table, old)?;
    }
    if is_active && !(same_state && same_lane) && !is_under_way(new.required(Column::Id)?) {
        take_places(new)?;
    }
    match new.state() {
        Some(JobState::Inactive) => {
            let now = clock();
            let until: Option<Timestamp> = new.get(Column::ParkedUntil);
            let same_place = is_same(Column::ParkedUntil) && is_same(Column::WaitsFor);
            let moved = if same_facts {
                !same_place && correct(table, new, now)?
            } else {
                let place = parked_until(table, new, now)?;
                let is_elsewhere = place != until || !new.is_null(Column::WaitsFor);
                if is_elsewhere {
                    move_to(table, new, place)?;
                }
                is_elsewhere
            };
            if !moved {
                announce(until, now);
            }
            // A parent that expires is done then, and the time may have changed.
            let may_differ = !same_state || !same_expiry;
            if may_differ && !new.is_null(Column::Expires) {
                wake_children(table, new, false, false)?;
            }
        }
        Some(ended @ (JobState::Finished | JobState::Failed)) => {
            let id: i64 = new.required(Column::Id)?;
            if !same_state {
                commit::ended(table.oid, id);
                wake_children(table, new, ended == JobState::Failed, true)?;
            }
            if new.is_null(Column::Finished) {
                write(table, &SET_FINISHED, params![id, clock()])?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A job was removed: its children go on without it. Nobody waits for a finished one.
pub fn removed(table: Relation, job: &Row) -> Result<(), Error> {
    tell(table, Some(job), None)?;
    let state = job.state();
    if state == Some(JobState::Active) {
        free_places(table, job)?;
    }
    commit::ended(table.oid, job.required(Column::Id)?);
    if state != Some(JobState::Finished) {
        wake_children(table, job, false, true)?;
    }
    if job.has_parents() {
        clear_parents(table, job)?;
    }
    Ok(())
}

/// All jobs were removed at once: without jobs there are no children.
pub fn emptied(table: Relation) -> Result<(), Error> {
    commit::truncated();
    // A statement that empties both is still at it.
    let any = as_owner_of(table, || {
        Session::with(|session| Ok(session.run(&HAS_PARENTS, &[])?.count() > 0))
    })?;
    if any {
        write(table, &CLEAR_ALL_PARENTS, &[])?;
    }
    if invalidation::exist() {
        write(table, &CLEAR_ALL_PLACES, &[])?;
        commit::unbounded();
    }
    Ok(())
}
