//! Parked jobs whose time has come, and those at a wrong place.

use super::anywhere::{self, InLane, by_turns};
use super::budget::Budget;
use super::call::{Call, Did};
use super::walk::{Cursor, Found, walk};
use crate::claim::lane::{parked, read_lane};
use crate::claim::parked::place;
use crate::error::Error;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use crate::shared::heads::Heads;
use crate::shared::lane::Lane;
use pgrx::pg_sys;
use std::cell::RefCell;

/// A skip scan over the parked jobs of all queues, for the lanes in which one is due.
static DUE_ANYWHERE: Statement = Statement::new(
    concat!(
        "WITH RECURSIVE head AS (
            SELECT first.*
            FROM (
                SELECT job.queue, job.task, job.parked_until
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " ORDER BY job.queue, job.task, job.parked_until
                LIMIT 1
            ) AS first
          UNION ALL
            SELECT next.*
            FROM head
            CROSS JOIN LATERAL (
                SELECT job.queue, job.task, job.parked_until
                FROM minion.jobs AS job
                WHERE ",
        parked!(),
        " AND (job.queue, job.task) > (head.queue, head.task)
                ORDER BY job.queue, job.task, job.parked_until
                LIMIT 1
            ) AS next
        )
        SELECT queue, task FROM head WHERE parked_until <= $1"
    ),
    &[pg_sys::TIMESTAMPTZOID],
)
.in_index_order();

/// The lanes of all queues in which a parked job's time has come.
pub fn all_due(session: &Session, now: Timestamp) -> Result<Vec<Lane>, Error> {
    let rows = session.run(&DUE_ANYWHERE, params![now])?;
    Ok((0..rows.count()).map(|row| read_lane(&rows, row)).collect())
}

/// In the index's order, from where the last look ended: repair sees to all of them, and must not walk over
/// what it has just moved again. $1 the clock, $4 and $5 that place.
macro_rules! next_due {
    ($condition:expr) => {
        Statement::new(
            concat!(
                "SELECT job.id, job.parked_until
                FROM minion.jobs AS job
                WHERE ",
                parked!(),
                " AND job.queue = $2 AND job.task = $3 AND job.parked_until <= $1
                  AND (job.parked_until, job.id) >= ($4, $5)",
                $condition,
                " ORDER BY job.parked_until, job.id
                LIMIT 10001"
            ),
            &[
                pg_sys::TIMESTAMPTZOID,
                pg_sys::TEXTOID,
                pg_sys::TEXTOID,
                pg_sys::TIMESTAMPTZOID,
                pg_sys::INT8OID,
            ],
        )
        .in_index_order()
    };
}

static NEXT_DUE: Statement = next_due!("");

/// Claims pass over what is locked. So what can run is left to them; and so is what would have to watch a parent that they
/// can take.
static NEXT_BLOCKED: Statement = next_due!(
    " AND job.parents <> '{}' AND (
        SELECT parent.state <> 'inactive' OR parent.parked_until > $1
        FROM minion.jobs AS parent
        WHERE parent.id = ANY (job.parents)
          AND minion.is_unresolved(parent.state, parent.expires, job.lax, $1)
        ORDER BY parent.id DESC
        LIMIT 1)"
);

/// The next ten thousand parked jobs after a place in the index, and whether their place hides them from claims for
/// longer than their facts do. What triggers correct at once, and only where they don't fire is left to this.
static NEXT_PARKED: Statement = Statement::new(
    concat!(
        "SELECT job.id, job.queue, job.task, job.parked_until,
            (job.parked_until > ($1 + '1 second'::pg_catalog.interval)
             AND job.parked_until <> job.delayed
             AND NOT (job.parked_until = 'infinity' AND job.expires IS NOT NULL AND job.expires <= $1)
             AND (job.waits_for IS NULL
                  OR NOT (job.waits_for = ANY (job.parents) AND EXISTS (
                    SELECT
                    FROM minion.jobs AS parent
                    WHERE parent.id = job.waits_for
                      AND minion.is_unresolved(parent.state, parent.expires, job.lax, $1)
                      AND job.parked_until = CASE
                        WHEN parent.state = 'inactive' AND parent.expires IS NOT NULL THEN parent.expires
                        ELSE 'infinity' END))))
        FROM minion.jobs AS job
        WHERE ",
        parked!(),
        " AND (job.queue, job.task, job.parked_until, job.id) > ($2, $3, $4, $5)
        ORDER BY job.queue, job.task, job.parked_until, job.id
        LIMIT 10000"
    ),
    &[
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INT8OID,
    ],
)
.in_index_order();

/// Those of them that are still parked, and that nobody else has. The state is a parameter, for the key is the
/// index to use.
static LOCK_PARKED: Statement = Statement::new(
    "SELECT id
    FROM minion.jobs
    WHERE id = ANY ($1) AND state = $2::minion.job_state AND parked_until IS NOT NULL
    ORDER BY id
    FOR UPDATE SKIP LOCKED",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID],
);

/// Puts those of some parked jobs that nobody else is at where they belong.
fn place_unlocked(call: &Call, ids: Vec<i64>) -> Result<usize, Error> {
    let locked = call.session.run(&LOCK_PARKED, params![ids, "inactive"])?.column(1);
    Ok(place(call.session, call.now, locked)?.len())
}

/// Puts every job whose time has come where it belongs, whatever its lane: a worker that claims inside of
/// transaction blocks alone never makes a child watch a parent, and would look at it again each time.
pub fn place_due(call: &Call, budget: &Budget, _: &mut Did) -> Result<(), Error> {
    // What nobody has called has a duty of its own for that.
    if call.by_itself {
        return Ok(());
    }
    place_of(call, budget, all_due(call.session, call.now)?, &NEXT_DUE)
}

/// Makes children watch a parent, in those lanes in which somebody has looked in vain at what is due.
pub fn place_blocked(call: &Call, budget: &Budget, _: &mut Did) -> Result<(), Error> {
    let lanes = Heads::here().map(|heads| heads.vain_lanes()).unwrap_or_default();
    place_of(call, budget, lanes, &NEXT_BLOCKED)
}

fn place_of(
    call: &Call,
    budget: &Budget,
    lanes: Vec<Lane>,
    next_due: &Statement,
) -> Result<(), Error> {
    let Call { session, now, .. } = *call;
    let first = (Timestamp(i64::MIN), i64::MIN);
    let mut lanes = lanes.into_iter();
    let mut lane = lanes.next();
    let (mut cursor, mut from) = (Cursor::default(), first);
    // Of several lanes, if they have few each: each batch is a subtransaction.
    let find = |most| {
        let mut ids = Vec::new();
        while let Some(Lane { queue, task }) = &lane
            && ids.len() < most
        {
            let params = params![now, queue.as_str(), task.as_str(), from.0, from.1];
            let rows = session.run_at_most(next_due, params, most + 1)?;
            let found = cursor.next(&rows, most);
            if let Some(&id) = found.ids.last() {
                let due = rows.get(rows.count() - 1, 2).expect("the index range excludes NULL");
                from = (due, id);
            }
            ids.extend(found.ids);
            if found.is_last {
                lane = lanes.next();
                (cursor, from) = (Cursor::default(), first);
            }
        }
        Ok(Found { ids, is_last: lane.is_none() })
    };
    walk(call, budget, "job", find, |ids| place_unlocked(call, ids)).map(drop)
}

thread_local! {
    /// Where the walk over all parked jobs has got to.
    static CHECKED: RefCell<Option<InLane<Timestamp>>> = const { RefCell::new(None) };
}

/// Puts the parked jobs where they belong that a write without triggers has left hidden at a wrong place.
pub fn check_places(call: &Call, budget: &Budget, _: &mut Did) -> Result<(), Error> {
    let look = |(queue, task, until, id): &InLane<Timestamp>| {
        let params = params![call.now, queue.as_str(), task.as_str(), *until, *id];
        call.session.run(&NEXT_PARKED, params)
    };
    let place = |ids| place_unlocked(call, ids);
    by_turns(call, budget, (&CHECKED, Timestamp::BEFORE_ALL), anywhere::parked, look, place)
        .map(drop)
}
