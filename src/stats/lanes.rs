//! lanes: what shared memory knows, for people to look at.

use crate::server::database;
use crate::server::time::Timestamp;
use crate::shared::lane::{Lane, Position};
use crate::shared::shown::{Shown, shown, untracked};
use crate::shared::waiters;
use pgrx::prelude::*;

/// One row for each lane of this database that shared memory keeps track of, and for members of
/// pg_read_all_stats also for those of other databases; none where minion is not in shared_preload_libraries.
///
/// `priority` and `id`: no job before this place is ready, NULL where
/// that is not known yet; `is_empty`: none is ready at all; `due`: no parked job is due before, `infinity`
/// for none that waits for a time; `waiters`: calls of dequeue that sleep until it has a job; `hits`: claims
/// that looked here; `heals`: how often the bound was found too high, and put right. If there was no room
/// for a lane, a last row without names says in `hits` how many jobs such lanes have got since the server
/// was started: minion.max_lanes is too small.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn lanes() -> TableIterator<
    'static,
    (
        name!(database, Option<String>),
        name!(queue, Option<String>),
        name!(task, Option<String>),
        name!(priority, Option<i32>),
        name!(id, Option<i64>),
        name!(is_empty, Option<bool>),
        name!(due, Option<TimestampWithTimeZone>),
        name!(waiters, Option<i64>),
        name!(hits, i64),
        name!(heals, Option<i64>),
    ),
> {
    let tracked = shown().into_iter().filter_map(|shown| {
        let Shown { table, lane: Lane { queue, task }, bound, due, hits, heals } = shown;
        let known = (Position::FIRST..Position::END).contains(&bound) && bound != Position::FIRST;
        let waiters = waiters::count(table, &queue, &task);
        // Otherwise it was dropped.
        let database = database::name_of(table.database)?;
        Some((
            Some(database),
            Some(queue),
            Some(task),
            bound.rank().filter(|_| known).map(|rank| !rank),
            known.then_some(bound.id),
            Some(bound == Position::END),
            (due > Timestamp::BEFORE_ALL).then(|| due.shown()),
            Some(waiters),
            hits as i64,
            Some(heals as i64),
        ))
    });
    let untracked = Some(untracked()).filter(|jobs| *jobs > 0);
    let without_slot =
        untracked.map(|jobs| (None, None, None, None, None, None, None, None, jobs as i64, None));
    TableIterator::new(tracked.chain(without_slot))
}
