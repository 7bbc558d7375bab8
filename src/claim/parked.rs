//! Parked jobs: freed when they are due, given a parent to watch when they are blocked.
//!
//! The rules that keep a child from being forgotten:
//! - only a claim makes a child wait (`waits_for`), holding the child and, FOR SHARE, the parent; whoever
//!   finishes that parent then has to pass our lock, and looks for children afterwards;
//! - it never waits for a parent's row, for somebody who holds that may be waiting for the child: SKIP
//!   LOCKED, and a child whose parents are all busy is looked at again a moment later;
//! - the watched parent is the newest that is not done: parents mostly finish oldest first, so that a
//!   child of thousands is looked at a few times, not thousands of times.

use super::around::{Done, PassedOver};
use super::lane::{STRETCH_TYPES, blocked, misplaced, parked, ready, stretch};
use super::look::{Due, Eligible};
use crate::error::Error;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use crate::server::transaction::check_for_interrupts;
use crate::shared::lane::{Lane, Position};
use pgrx::pg_sys;

/// How many jobs one statement frees or parks.
pub const BATCH: usize = 1_000;

/// How many batches of a lane a claim looks through for jobs that are not blocked: with a million children whose
/// parents are not done, the next claim goes on.
const BATCHES: usize = 4;

/// In claim order, so that what is seen to of a long queue that has come due at once is its best part. As many as
/// [`BATCHES`] have; without a lock, which would have all of them sorted on disk for the sake of the best.
static FIND_DUE: Statement = Statement::new(
    concat!(
        "SELECT job.id
        FROM minion.jobs AS job
        WHERE ",
        parked!(),
        " AND job.queue = $1 AND job.task = $2 AND job.parked_until <= $3
        ORDER BY ~job.priority, job.id
        LIMIT 4000"
    ),
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

/// Those of them that are still due, and that nobody else has. The state is a parameter, for the key is the index
/// to use.
static LOCK_DUE: Statement = Statement::new(
    "SELECT id
    FROM minion.jobs
    WHERE id = ANY ($1) AND state = $2::minion.job_state AND parked_until <= $3
    ORDER BY id
    FOR UPDATE SKIP LOCKED",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

/// Of the first thousand ready jobs of a stretch, those that should not be ready: expired, delayed since, or
/// with a parent that was retried after they were freed. The state is compared as a text, for the key is the index to
/// use for the ids.
static LOCK_MISPLACED: Statement = Statement::new(
    concat!(
        "SELECT job.id
        FROM minion.jobs AS job
        WHERE job.id = ANY (ARRAY(
            SELECT job.id
            FROM minion.jobs AS job
            WHERE ",
        ready!(),
        " AND ",
        stretch!(),
        " ORDER BY ~job.priority, job.id
            LIMIT 1000
        )) AND job.state::pg_catalog.text = 'inactive' AND job.parked_until IS NULL AND ",
        misplaced!(),
        " FOR UPDATE SKIP LOCKED"
    ),
    STRETCH_TYPES,
)
.in_index_order();

/// Puts jobs that this transaction has locked where they belong. The newest parent that is not done is
/// looked for without locks first, so that a child whose thousands of parents are all done is gone through
/// once. $1 the clock, $2 their ids.
static PLACE: Statement = Statement::new(
    concat!(
        "WITH child AS MATERIALIZED (
        SELECT id, delayed, expires, parents, lax, ",
        blocked!(),
        " AS blocked
        FROM minion.jobs AS job
        WHERE id = ANY ($2)
    ),
    placed AS MATERIALIZED (
        SELECT child.id, child.delayed, child.expires, child.blocked,
            watched.id AS parent, watched.until
        FROM child
        LEFT JOIN LATERAL (
            SELECT parent.id,
                CASE WHEN parent.state = 'inactive' AND parent.expires IS NOT NULL
                    THEN parent.expires ELSE 'infinity' END AS until
            FROM minion.jobs AS parent
            WHERE child.blocked AND parent.id = ANY (child.parents)
              AND minion.is_unresolved(parent.state, parent.expires, child.lax, $1)
            ORDER BY parent.id DESC
            LIMIT 1
            FOR SHARE SKIP LOCKED
        ) AS watched ON true
    )
    UPDATE minion.jobs AS job
    SET waits_for = placed.parent,
        parked_until = CASE
            WHEN placed.expires <= $1 THEN 'infinity'
            WHEN placed.delayed > $1 THEN placed.delayed
            WHEN placed.parent IS NOT NULL THEN placed.until
            WHEN placed.blocked THEN ($1 + '100 milliseconds'::pg_catalog.interval)
        END
    FROM placed
    WHERE job.id = placed.id
    RETURNING job.parked_until IS NULL"
    ),
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID],
)
.in_index_order();

/// What has become of the due jobs of a lane.
pub struct Freed {
    /// None was passed over.
    pub all: bool,
    /// So many can't run that the rest of the lane is left to the next claims.
    pub is_exhausted: bool,
}

impl Eligible {
    /// Frees a batch of due jobs in each lane.
    pub fn free_due(
        &self,
        session: &Session,
        now: Timestamp,
        passed: &PassedOver,
    ) -> Result<(), Error> {
        let free = |due: &Due| due.lane.free_due(session, now, BATCH, 1, passed).map(drop);
        self.due(session, now)?.iter().try_for_each(free)
    }
}

impl Lane {
    /// Frees the best due jobs of the lane that nobody else is at, or gives them a parent to watch, until
    /// `enough` are ready: one call must not pay for a whole backlog that has come due. `batch`: how many are
    /// locked at a time, [`BATCH`] at the most; fewer are one batch.
    pub fn free_due(
        &self,
        session: &Session,
        now: Timestamp,
        batch: usize,
        enough: usize,
        passed: &PassedOver,
    ) -> Result<Freed, Error> {
        let params = params![self.queue.as_str(), self.task.as_str(), now];
        let batches = if batch == BATCH { BATCHES } else { 1 };
        let due: Vec<i64> = session.run_at_most(&FIND_DUE, params, batches * batch)?.column(1);
        let mut rest = due.as_slice();
        let (mut seen, mut ready) = (0, 0);
        let mut any_passed = false;
        for _ in 0..batches {
            let (first, others) = rest.split_at(batch.min(rest.len()));
            let lock = |most| {
                let free = first.iter().copied().filter(|id| !passed.has(*id));
                let params = params![free.collect::<Vec<i64>>(), "inactive", now];
                Ok(session.run_at_most(&LOCK_DUE, params, most)?.column(1))
            };
            let placed: Done<bool> =
                passed.around(batch, lock, |ids, look| place_all(session, now, ids, look))?;
            any_passed |= placed.passed;
            seen += placed.done.len();
            ready += placed.done.iter().filter(|&&is_ready| is_ready).count();
            // Around one that is passed over there are others, which have their turn next.
            if !placed.passed && (placed.stopped.is_none() || placed.done.len() >= first.len()) {
                rest = others;
            }
            if rest.is_empty() || ready >= enough {
                break;
            }
            check_for_interrupts();
        }
        Ok(Freed {
            all: !any_passed && !passed.any(),
            // Not where it is others who see to most of them, and may be freeing them.
            is_exhausted: ready == 0 && due.len() == BATCHES * BATCH && seen > due.len() / 2,
        })
    }

    /// Takes the jobs that can't run out of the way of claims, a batch of them.
    pub fn sweep(
        &self,
        session: &Session,
        now: Timestamp,
        from: Position,
        to: Position,
        batch: usize,
        passed: &PassedOver,
    ) -> Result<(), Error> {
        let stretch = self.stretch(now, from, to);
        let lock = |most| Ok(session.run_at_most(&LOCK_MISPLACED, &stretch, most)?.column(1));
        passed.around(batch, lock, |ids, look| place_all(session, now, ids, look)).map(drop)
    }
}

/// The same, for a claim: one that a trigger of users' keeps where it is would hide others for ever.
fn place_all(
    session: &Session,
    now: Timestamp,
    ids: Vec<i64>,
    look: bool,
) -> Result<Vec<bool>, Error> {
    let count = ids.len();
    let placed = place(session, now, ids)?;
    match look && placed.len() < count {
        true => Err(Error::Refused { table: "jobs" }),
        false => Ok(placed),
    }
}

/// Puts a locked batch where it belongs; whether each of them is ready then.
pub fn place(session: &Session, now: Timestamp, ids: Vec<i64>) -> Result<Vec<bool>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Ok(session.run(&PLACE, params![now, ids])?.column(1))
}
