//! Who has to hear of what has become of a job: shared memory, and by it those who wait; listeners; its limits.

use crate::claim::limits;
use crate::claim::under_way::is_counted_later;
use crate::error::Error;
use crate::server::notify::notify_now;
use crate::server::probe::places::may_have_place;
use crate::server::relation::Relation;
use crate::server::row::{Column, JobState, Row};
use crate::server::session::Session;
use crate::server::time::Timestamp;
use crate::settings;
use crate::shared::commit;
use crate::shared::lane::{Lane, Position};
use crate::shared::tally::{Counts, DELAYED, KINDS};

/// "Due now" counts: its parents may all be done by the time a claim looks.
pub fn announce(parked_until: Option<Timestamp>, now: Timestamp) {
    let is_due = parked_until.is_none_or(|until| until <= now);
    if is_due && settings::notify() && !commit::notify() {
        notify_now();
    }
}

/// None where a constraint was taken away, and a name with it.
fn lane_of(job: &Row) -> Option<Lane> {
    let name = |column| job.get(column).filter(|name: &String| !name.is_empty());
    Some(Lane { queue: name(Column::Queue)?, task: name(Column::Task)? })
}

/// Tells shared memory what has become of a job.
pub fn tell(table: Relation, old: Option<&Row>, new: Option<&Row>) -> Result<(), Error> {
    if !commit::is_heard() {
        return Ok(());
    }
    let relation = table.oid;
    let counts = |job: &Row| lane_of(job).map(|lane| (lane, kinds(job)));
    let (from, to) = (old.and_then(counts), new.and_then(counts));
    if from != to {
        if let Some((lane, kinds)) = from {
            commit::counted(relation, &lane.queue, &lane.task, kinds.map(|count| -count));
        }
        if let Some((lane, kinds)) = &to {
            commit::counted(relation, &lane.queue, &lane.task, *kinds);
        }
    }
    let (Some(job), Some((Lane { queue, task }, _))) = (new, to) else { return Ok(()) };
    if job.state() != Some(JobState::Inactive) {
        return Ok(());
    }
    match job.get(Column::ParkedUntil) {
        None => {
            let priority: i32 = job.required(Column::Priority)?;
            let position = Position::new(!priority, job.required(Column::Id)?);
            commit::ready(relation, &queue, &task, position);
        }
        Some(Timestamp::INFINITY) => {}
        Some(until) => commit::parked(relation, &queue, &task, until),
    }
    Ok(())
}

/// What a job counts as.
fn kinds(job: &Row) -> Counts {
    let mut kinds = [0; KINDS];
    let state = job.state();
    let states = [JobState::Inactive, JobState::Active, JobState::Failed, JobState::Finished];
    if let Some(kind) = states.iter().position(|one| Some(*one) == state) {
        kinds[kind] = 1;
    }
    let until: Option<Timestamp> = job.get(Column::ParkedUntil);
    let delayed = until.is_some() && until == job.get(Column::Delayed);
    kinds[DELAYED] = (delayed && state == Some(JobState::Inactive)).into();
    kinds
}

/// Gives back what a job that was active took under limits, and tells those who wait for it.
pub fn free_places(table: Relation, job: &Row) -> Result<(), Error> {
    let id: i64 = job.required(Column::Id)?;
    if may_have_place(id)
        && Session::with(|session| limits::free(session, id))?
        && let Some(lane) = lane_of(job)
    {
        commit::freed_place(table.oid, &lane.queue, &lane.task);
    }
    Ok(())
}

/// Counts an active job under the limits of a lane that it has not come into by a claim.
pub fn take_places(job: &Row) -> Result<(), Error> {
    let Some(lane) = lane_of(job) else { return Ok(()) };
    let id = job.required(Column::Id)?;
    if is_counted_later(id) {
        return Ok(());
    }
    Session::with(|session| limits::count(session, &lane, id))
}
