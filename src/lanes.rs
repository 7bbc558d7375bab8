//! lanes: what shared memory knows, for people to look at.

use crate::shared::area::SHARED;
use crate::shared::heads::{Heads, Shown};
use crate::shared::lane::Position;
use crate::shared::waiters;
use crate::statement::{Timestamp, database_name};
use pgrx::prelude::*;

/// One row for each lane that shared memory keeps track of, in all databases; none where minion is not in
/// shared_preload_libraries.
///
/// `database`: NULL if it was dropped; `priority` and `id`: no job before this place is ready, NULL where
/// that is not known yet; `is_empty`: none is ready at all; `due`: no parked job is due before, `infinity`
/// for none that waits for a time; `waiters`: calls of dequeue that sleep until it has a job; `hits`: claims
/// that looked here; `heals`: how often the bound was found too high, and put right.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn lanes() -> TableIterator<
    'static,
    (
        name!(database, Option<String>),
        name!(queue, String),
        name!(task, String),
        name!(priority, Option<i32>),
        name!(id, Option<i64>),
        name!(is_empty, bool),
        name!(due, Option<TimestampWithTimeZone>),
        name!(waiters, i64),
        name!(hits, i64),
        name!(heals, i64),
    ),
> {
    let Some(area) = SHARED.get() else { return TableIterator::new(Vec::new()) };
    TableIterator::new(Heads::shown(area).into_iter().map(move |lane| {
        let Shown { table, queue, task, bound, due, hits, heals } = lane;
        let known = (Position::FIRST..Position::END).contains(&bound) && bound != Position::FIRST;
        let waiters = waiters::count(area, table, &queue, &task);
        (
            database_name(table.database),
            queue,
            task,
            known.then_some(!bound.rank),
            known.then_some(bound.id),
            bound == Position::END,
            (due > Timestamp(i64::MIN)).then(|| due.shown()),
            waiters,
            hits as i64,
            heals as i64,
        )
    }))
}
