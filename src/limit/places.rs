//! The places of limits, made what the limits say.
//!
//! No place is moved: what is taken beyond a limit that was lowered counts until it is free again, and is removed
//! then. So nothing here waits for a job or a place, and whoever ends a job has to do with its own places alone.

use crate::claim::limits::{give, lock_places_to_write};
use crate::error::Error;
use crate::server::advisory::{LimitLock, try_lock_limits};
use crate::server::guard::guarded;
use crate::server::invalidation;
use crate::server::latch::Pauses;
use crate::server::relation::oid_of;
use crate::server::session::Session;
use crate::server::statement::{Param, Statement, params};
use crate::shared::bounds::{self, Kind};
use crate::shared::commit;
use pgrx::datum::Interval;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::time::Duration;

/// How often, and how long at most in between, repair tries to have a limit's places alone.
const TRIES: usize = 20;
const PATIENCE: Duration = Duration::from_millis(2);

/// Makes those that are missing below a limit, and says whether they are all there.
macro_rules! add {
    ($table:literal) => {
        Statement::latest(
            concat!(
                "WITH missing AS MATERIALIZED (
                    SELECT number FROM pg_catalog.generate_series(0, $3 - 1) AS number
                    WHERE NOT EXISTS (
                        SELECT
                        FROM ", $table, " AS slot
                        WHERE slot.queue = $1 AND slot.task = $2 AND slot.number = number.number)
                ), added AS (
                    INSERT INTO ", $table, " (queue, task, number)
                    SELECT $1, $2, number FROM missing
                    ON CONFLICT DO NOTHING
                    RETURNING number
                )
                SELECT (SELECT pg_catalog.count(*) FROM missing) = (SELECT pg_catalog.count(*) FROM added),
                    EXISTS (SELECT FROM added)"
            ),
            &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
        )
    };
}

static ADD_ACTIVE: Statement = add!("minion.active_slots");
static ADD_STARTS: Statement = add!("minion.start_slots");

/// By where the locked rows stand, here and below: there may be 100,000, and the planner does not know it.
/// Places of jobs that are not active, as plain SQL may leave them where triggers do not fire.
static FREE_STALE: Statement = Statement::latest(
    "UPDATE minion.active_slots
    SET job = NULL
    WHERE ctid = ANY (ARRAY(
        SELECT slot.ctid
        FROM minion.active_slots AS slot
        WHERE slot.queue = $1 AND slot.task = $2 AND slot.job IS NOT NULL AND NOT EXISTS (
            SELECT
            FROM minion.jobs AS job
            WHERE job.id = slot.job AND job.state = $3::minion.job_state)
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID],
);

/// Free ones beyond a limit. The others count until their jobs end.
static REMOVE_FREE: Statement = Statement::latest(
    "DELETE FROM minion.active_slots
    WHERE ctid = ANY (ARRAY(
        SELECT ctid
        FROM minion.active_slots
        WHERE queue = $1 AND task = $2 AND number >= $3 AND job IS NULL
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
);

/// Active jobs that have no slot: claimed before there was the limit, or made active by plain SQL. They are
/// locked, so that none ends between this look and the commit that gives it a slot.
static LOCK_WITHOUT_SLOT: Statement = Statement::latest(
    "SELECT job.id
    FROM minion.jobs AS job
    WHERE job.state = 'active'
      AND ($1 = '' OR job.queue = $1) AND ($2 = '' OR job.task = $2)
      -- A set that is hashed: there may be 100,000 of both.
      AND NOT (job.id = ANY (
        SELECT slot.job
        FROM minion.active_slots AS slot
        WHERE slot.queue = $1 AND slot.task = $2 AND slot.job IS NOT NULL))
    ORDER BY job.id
    FOR NO KEY UPDATE OF job SKIP LOCKED",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID],
);

/// A place for a start never waits for longer than the interval, also when that was shortened.
static SHORTEN: Statement = Statement::latest(
    "UPDATE minion.start_slots
    SET free_at = pg_catalog.clock_timestamp() + $3
    WHERE ctid = ANY (ARRAY(
        SELECT ctid
        FROM minion.start_slots
        WHERE queue = $1 AND task = $2 AND free_at > (pg_catalog.clock_timestamp() + $3)
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INTERVALOID],
);

/// Those beyond a limit whose time has passed, or all of them.
static REMOVE_STARTS: Statement = Statement::latest(
    "DELETE FROM minion.start_slots
    WHERE ctid = ANY (ARRAY(
        SELECT ctid
        FROM minion.start_slots
        WHERE queue = $1 AND task = $2 AND number >= $3
          AND ($4 OR free_at <= pg_catalog.clock_timestamp())
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID, pg_sys::BOOLOID],
);

/// All limits, and those that were taken away but for places that somebody was at. Rows from before the table had
/// CHECKs may say more than there can be places for.
static LIMITS: Statement = Statement::latest(
    "SELECT queue, task, LEAST(max_active, 100000), LEAST(max_starts, 100000),
        LEAST(per, '10000 years'::pg_catalog.interval)
    FROM minion.limit_rules
    UNION ALL
    SELECT place.queue, place.task, NULL, NULL, NULL
    FROM (
        SELECT queue, task FROM minion.active_slots
        UNION
        SELECT queue, task FROM minion.start_slots
    ) AS place
    WHERE NOT EXISTS (
        SELECT
        FROM minion.limit_rules AS rule
        WHERE rule.queue = place.queue AND rule.task = place.task)",
    &[],
)
.of_whole_table();

/// What a limit says, checked.
pub struct Limit<'a> {
    /// An empty name stands for any.
    pub queue: &'a str,
    pub task: &'a str,
    pub max_active: Option<i32>,
    pub max_starts: Option<i32>,
    pub per: Option<Interval>,
}

impl Limit<'_> {
    /// Makes the places what the limit says, as far as nobody is at them. As the tables' owner.
    pub fn set_places(&self, session: &Session) -> Result<(), Error> {
        let (queue, task) = (self.queue, self.task);
        let (active, starts) = (self.max_active.unwrap_or(0), self.max_starts.unwrap_or(0));
        let added = add(session, &ADD_ACTIVE, params![queue, task, active], "active_slots")?;
        let freed = session.run(&FREE_STALE, params![queue, task, "active"])?.count();
        look_again(Kind::Active, c"active_slots", (queue, task), added || freed > 0);
        session.run(&REMOVE_FREE, params![queue, task, active])?;
        if self.max_active.is_some() {
            let without: Vec<i64> =
                session.run(&LOCK_WITHOUT_SLOT, params![queue, task])?.column(1);
            if !without.is_empty() {
                give(session, queue, task, active, without)?;
            }
        }
        let mut sooner = add(session, &ADD_STARTS, params![queue, task, starts], "start_slots")?;
        if let Some(per) = self.per {
            sooner |= session.run(&SHORTEN, params![queue, task, per])?.count() > 0;
        }
        look_again(Kind::Starts, c"start_slots", (queue, task), sooner);
        session.run(&REMOVE_STARTS, params![queue, task, starts, self.per.is_none()])?;
        Ok(())
    }
}

/// Whether any were missing.
fn add(
    session: &Session,
    add: &Statement,
    params: &[Param],
    table: &'static str,
) -> Result<bool, Error> {
    let rows = session.run(add, params)?;
    match rows.get(0, 1) {
        Some(true) => Ok(rows.get(0, 2) == Some(true)),
        _ => Err(Error::Refused { table }),
    }
}

/// Has claims look for places wherever they stand, also for those that nobody has told of, and who waits for one if
/// there are more.
fn look_again(kind: Kind, table: &CStr, limit: bounds::Name, more: bool) {
    commit::bounded(kind, oid_of(table), limit, bounds::FIRST);
    if more {
        commit::limits_changed();
    }
}

/// Sets right what nobody told of, for repair. Waits for nobody: a limit that claims are at all the time has
/// its turn the next time.
pub fn recount(session: &Session, goes_on: impl Fn() -> bool) -> Result<(), Error> {
    if !invalidation::exist() {
        return Ok(());
    }
    lock_places_to_write();
    if session.run(&LIMITS, &[])?.count() == 0 || !try_lock_limits() {
        return Ok(());
    }
    // As they are now that nobody changes them.
    let limits = session.run(&LIMITS, &[])?;
    for row in 0..limits.count() {
        let limit = Limit {
            queue: limits.get(row, 1).expect("queue is NOT NULL"),
            task: limits.get(row, 2).expect("task is NOT NULL"),
            max_active: limits.get(row, 3),
            max_starts: limits.get(row, 4),
            per: limits.get(row, 5),
        };
        let Some(_places) = alone(limit.queue, limit.task, &goes_on) else { continue };
        if let Err(failure) = guarded(|| limit.set_places(session)) {
            failure
                .pass_over(format!("the limit on queue '{}', task '{}'", limit.queue, limit.task));
        }
    }
    Ok(())
}

/// The places of a limit, as soon as no claim is at them for a moment. Without time, it is tried once.
fn alone(queue: &str, task: &str, goes_on: impl Fn() -> bool) -> Option<LimitLock> {
    let mut pauses = Pauses::new();
    for _ in 0..TRIES {
        if let Some(alone) = LimitLock::alone_at_once(queue, task) {
            return Some(alone);
        }
        if !goes_on() {
            break;
        }
        pauses.pause(PATIENCE);
    }
    None
}
