//! Limits that the server keeps: how many jobs of a task or a queue may be active at once, or start within
//! a time. What claims make of them is in job/limits.rs.
//!
//! Whoever ends a job has locked its row when he gives its slot back. So what is here never waits for a slot,
//! and locks the jobs that it moves to other slots first.

use crate::error::Error;
use crate::job::argument::{given, name, positive_span};
use crate::job::{give_places, lock_places_to_write};
use crate::shared::wake::Pauses;
use crate::statement::invalidation;
use crate::statement::lock::{LimitLock, lock_limits, try_lock_limits};
use crate::statement::value::interval_text;
use crate::statement::{Session, Statement, as_owner_of_jobs, params};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::time::Duration;

/// How often, and how long at most in between, repair tries to have a limit's places alone.
const TRIES: usize = 20;
const PATIENCE: Duration = Duration::from_millis(2);

/// Each slot is a row.
const MOST: i32 = 100_000;

static SET: Statement = Statement::new(
    "INSERT INTO minion.limit_rules (queue, task, max_active, max_starts, per)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (queue, task) DO UPDATE
    SET max_active = excluded.max_active, max_starts = excluded.max_starts, per = excluded.per",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID, pg_sys::INT4OID, pg_sys::INTERVALOID],
);

static REMOVE: Statement = Statement::new(
    "DELETE FROM minion.limit_rules WHERE queue = $1 AND task = $2",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID],
);

/// Those that somebody is at stay until there is such a limit again.
static REMOVE_ACTIVE_SLOTS: Statement = Statement::latest(
    "DELETE FROM minion.active_slots
    WHERE queue = $1 AND task = $2 AND number = ANY (ARRAY(
        SELECT number
        FROM minion.active_slots
        WHERE queue = $1 AND task = $2
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID],
);

/// Free ones beyond a limit.
static REMOVE_SURPLUS: Statement = Statement::latest(
    "DELETE FROM minion.active_slots
    WHERE queue = $1 AND task = $2 AND number = ANY (ARRAY(
        SELECT number
        FROM minion.active_slots
        WHERE queue = $1 AND task = $2 AND number >= $3 AND job IS NULL
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
);

static REMOVE_START_SLOTS: Statement = Statement::new(
    "DELETE FROM minion.start_slots WHERE queue = $1 AND task = $2",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID],
);

static ADD_ACTIVE_SLOTS: Statement = Statement::latest(
    "INSERT INTO minion.active_slots (queue, task, number)
    SELECT $1, $2, number FROM pg_catalog.generate_series(0, $3 - 1) AS number
    WHERE NOT EXISTS (
        SELECT
        FROM minion.active_slots AS slot
        WHERE slot.queue = $1 AND slot.task = $2 AND slot.number = number.number)
    ON CONFLICT DO NOTHING",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
);

static ADD_START_SLOTS: Statement = Statement::latest(
    "INSERT INTO minion.start_slots (queue, task, number)
    SELECT $1, $2, number FROM pg_catalog.generate_series(0, $3 - 1) AS number
    WHERE NOT EXISTS (
        SELECT
        FROM minion.start_slots AS slot
        WHERE slot.queue = $1 AND slot.task = $2 AND slot.number = number.number)
    ON CONFLICT DO NOTHING",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
);

static ACTIVE_SLOTS: Statement = Statement::latest(
    "SELECT pg_catalog.count(*) = $3
    FROM minion.active_slots
    WHERE queue = $1 AND task = $2 AND number >= 0 AND number < $3",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
);

static START_SLOTS: Statement = Statement::latest(
    "SELECT pg_catalog.count(*) = $3
    FROM minion.start_slots
    WHERE queue = $1 AND task = $2 AND number >= 0 AND number < $3",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
);

/// A start slot never waits for longer than the interval, also when that was shortened.
static SHORTEN: Statement = Statement::new(
    "UPDATE minion.start_slots
    SET free_at = pg_catalog.clock_timestamp() + $3
    WHERE queue = $1 AND task = $2 AND free_at > (pg_catalog.clock_timestamp() + $3)",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INTERVALOID],
);

/// Active jobs that have no slot below the limit: claimed before there was the limit, or when it was higher,
/// or made active by plain SQL. They are locked, so that none ends between this look and the commit that gives
/// it a slot.
macro_rules! lock_without_slot {
    ($wait:literal) => {
        Statement::latest(
            concat!(
                "SELECT job.id
                FROM minion.jobs AS job
                WHERE job.state = 'active'
                  AND ($1 = '' OR job.queue = $1) AND ($2 = '' OR job.task = $2)
                  AND NOT EXISTS (
                    SELECT
                    FROM minion.active_slots AS slot
                    WHERE slot.job = job.id AND slot.queue = $1 AND slot.task = $2 AND slot.number < $3)
                ORDER BY job.id
                FOR NO KEY UPDATE OF job",
                $wait
            ),
            &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
        )
    };
}

static LOCK_WITHOUT_SLOT: Statement = lock_without_slot!("");
static TRY_LOCK_WITHOUT_SLOT: Statement = lock_without_slot!(" SKIP LOCKED");

/// They move down, as far as there is room.
static TAKE_FROM_SURPLUS: Statement = Statement::latest(
    "DELETE FROM minion.active_slots
    WHERE queue = $1 AND task = $2 AND number >= $3 AND job = ANY ($4)",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID, pg_sys::INT8ARRAYOID],
);

/// The starts that count longest go into the slots that stay.
static KEEP_STARTS: Statement = Statement::latest(
    "WITH latest AS (
        SELECT free_at,
            (pg_catalog.row_number() OVER (ORDER BY free_at DESC) - 1)::pg_catalog.int4 AS number
        FROM minion.start_slots
        WHERE queue = $1 AND task = $2
    )
    UPDATE minion.start_slots AS slot
    SET free_at = latest.free_at
    FROM latest
    WHERE slot.queue = $1 AND slot.task = $2 AND slot.number = latest.number AND latest.number < $3",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
);

static REMOVE_SURPLUS_STARTS: Statement = Statement::latest(
    "DELETE FROM minion.start_slots WHERE queue = $1 AND task = $2 AND number >= $3",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
);

/// A limit that was lowered has such slots; without them the starts stay where they are.
static HAS_SURPLUS_STARTS: Statement = Statement::latest(
    "SELECT
    FROM minion.start_slots
    WHERE queue = $1 AND task = $2 AND number >= $3
    LIMIT 1",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
);

/// Slots of jobs that are not active, as plain SQL may leave them where triggers do not fire.
static FREE_SLOTS: Statement = Statement::latest(
    "WITH stale AS MATERIALIZED (
        SELECT slot.queue, slot.task, slot.number
        FROM minion.active_slots AS slot
        WHERE slot.job IS NOT NULL AND NOT EXISTS (
            SELECT
            FROM minion.jobs AS job
            WHERE job.id = slot.job AND job.state = $1::minion.job_state)
        FOR UPDATE SKIP LOCKED
    )
    UPDATE minion.active_slots AS slot
    SET job = NULL
    FROM stale
    WHERE slot.queue = stale.queue AND slot.task = stale.task AND slot.number = stale.number",
    &[pg_sys::TEXTOID],
);

static RULES: Statement = Statement::latest(
    "SELECT queue, task, max_active, max_starts, per FROM minion.limit_rules",
    &[],
);

/// What a limit says, checked.
struct Limit<'a> {
    /// An empty name stands for any.
    queue: &'a str,
    task: &'a str,
    max_active: Option<i32>,
    max_starts: Option<i32>,
    per: Option<Interval>,
}

impl<'a> Limit<'a> {
    fn new(
        queue: &'a str,
        task: &'a str,
        max_active: Option<i32>,
        max_starts: Option<i32>,
        per: Option<Interval>,
    ) -> Result<Self, Error> {
        for (argument, most) in [("max_active", max_active), ("max_starts", max_starts)] {
            if let Some(most) = most.filter(|most| !(0..=MOST).contains(most)) {
                let hint = "0 lets none start, NULL takes the limit away.";
                return Err(Error::value(argument, most, "must be from 0 to 100000", hint));
            }
        }
        if max_starts.is_some() != per.is_some() {
            return Err(Error::value(
                "per",
                per.map_or("NULL".into(), interval_text),
                "must be given with max_starts",
                "For example max_starts => 10, per => '1 minute'.",
            ));
        }
        let per = per.map(|per| positive_span("per", per)).transpose()?;
        if let Some(per) = per.filter(|per| per.as_micros() == 0) {
            let hint = "For example '1 minute'.";
            return Err(Error::value("per", interval_text(per), "must be longer than 0", hint));
        }
        Ok(Self { queue, task, max_active, max_starts, per })
    }

    fn set(&self, session: &Session) -> Result<(), Error> {
        lock_limits();
        lock_places_to_write();
        let (queue, task) = (self.queue, self.task);
        let _places = LimitLock::alone(queue, task);
        match (self.max_active, self.max_starts) {
            (None, None) => session.run(&REMOVE, params![queue, task])?,
            (active, starts) => session
                .run(&SET, params![queue, task, active, starts, self.per])?
                .written("limit_rules")?,
        };
        // The jobs of all count, also those that the caller may not see.
        as_owner_of_jobs(|| self.set_places(session))
    }

    fn set_places(&self, session: &Session) -> Result<(), Error> {
        let (queue, task) = (self.queue, self.task);
        match self.max_active {
            None => drop(session.run(&REMOVE_ACTIVE_SLOTS, params![queue, task])?),
            Some(most) => {
                session.run(&ADD_ACTIVE_SLOTS, params![queue, task, most])?;
                must_be(session, &ACTIVE_SLOTS, queue, task, most, "active_slots")?;
                session.run(&FREE_SLOTS, params!["active"])?;
                session.run(&REMOVE_SURPLUS, params![queue, task, most])?;
                count_active(session, &LOCK_WITHOUT_SLOT, queue, task, most)?;
            }
        }
        match (self.max_starts, self.per) {
            (Some(most), Some(per)) => {
                session.run(&ADD_START_SLOTS, params![queue, task, most])?;
                must_be(session, &START_SLOTS, queue, task, most, "start_slots")?;
                session.run(&SHORTEN, params![queue, task, per])?;
                if session.run(&HAS_SURPLUS_STARTS, params![queue, task, most])?.count() > 0 {
                    session.run(&KEEP_STARTS, params![queue, task, most])?;
                    session.run(&REMOVE_SURPLUS_STARTS, params![queue, task, most])?;
                }
            }
            _ => drop(session.run(&REMOVE_START_SLOTS, params![queue, task])?),
        }
        Ok(())
    }
}

/// Fails unless there are as many slots as the limit says.
fn must_be(
    session: &Session,
    slots: &Statement,
    queue: &str,
    task: &str,
    most: i32,
    table: &'static str,
) -> Result<(), Error> {
    match session.run(slots, params![queue, task, most])?.get(0, 1) {
        Some(true) => Ok(()),
        _ => Err(Error::Refused { table }),
    }
}

/// Sees to it that each active job has a slot.
fn count_active(
    session: &Session,
    lock: &Statement,
    queue: &str,
    task: &str,
    most: i32,
) -> Result<(), Error> {
    let without: Vec<i64> = session.run(lock, params![queue, task, most])?.column(1);
    if !without.is_empty() {
        // A copy: an array is handed over once.
        session.run(&TAKE_FROM_SURPLUS, params![queue, task, most, without.clone()])?;
        give_places(session, queue, task, most, without)?;
    }
    Ok(())
}

/// Sets right what nobody told of, for repair. Waits for nobody: a limit that claims are at all the time has
/// its turn the next time.
pub fn recount(session: &Session) -> Result<(), Error> {
    if !invalidation::exist() {
        return Ok(());
    }
    let rules = session.run(&RULES, &[])?;
    if rules.count() == 0 {
        return Ok(());
    }
    if !try_lock_limits() {
        return Ok(());
    }
    lock_places_to_write();
    session.run(&FREE_SLOTS, params!["active"])?;
    for row in 0..rules.count() {
        let queue: &str = rules.get(row, 1).expect("queue is NOT NULL");
        let task: &str = rules.get(row, 2).expect("task is NOT NULL");
        let Some(_places) = alone(queue, task) else { continue };
        // A rule that plain SQL has made has no slots yet.
        if let Some(most) = rules.get::<i32>(row, 3) {
            session.run(&ADD_ACTIVE_SLOTS, params![queue, task, most])?;
            session.run(&REMOVE_SURPLUS, params![queue, task, most])?;
            count_active(session, &TRY_LOCK_WITHOUT_SLOT, queue, task, most)?;
        }
        if let Some((most, per)) = rules.get::<i32>(row, 4).zip(rules.get::<Interval>(row, 5)) {
            session.run(&ADD_START_SLOTS, params![queue, task, most])?;
            session.run(&SHORTEN, params![queue, task, per])?;
        }
    }
    Ok(())
}

/// The places of a limit, as soon as no claim is at them for a moment.
fn alone(queue: &str, task: &str) -> Option<LimitLock> {
    let mut pauses = Pauses::new();
    for _ in 0..TRIES {
        if let Some(alone) = LimitLock::alone_at_once(queue, task) {
            return Some(alone);
        }
        pauses.pause(PATIENCE);
    }
    None
}

/// Limits how many jobs of a task may be active at once, or start within a time, in one queue or in all.
/// Exact under any number of workers; jobs that are active already stay so, and count. (One whose claim has
/// not committed when a limit is set for the first time is counted by the next repair.)
///
/// `task`: 1 to 1000 bytes; `max_active`: from 0, for none, to 100000; `queue`: NULL for the task in all
/// queues; `max_starts`, `per`: no more than so many starts within any such time. The limit is replaced by
/// what is given, and NULL takes it away. minion.limits shows all of them, and what is in use.
///
/// Raises 22023 for a number or a duration out of range, and for `max_starts` without `per`; 22004 for a
/// NULL task, 23514 for a name that is too long.
#[pg_extern]
fn limit_task(
    task: Option<&str>,
    max_active: default!(Option<i32>, "NULL"),
    queue: default!(Option<&str>, "NULL"),
    max_starts: default!(Option<i32>, "NULL"),
    per: default!(Option<Interval>, "NULL"),
) -> Result<(), ErrorReport> {
    let task = name("task", given("task", task)?)?;
    let queue = queue.map(|queue| name("queue", queue)).transpose()?.unwrap_or_default();
    let limit = Limit::new(queue, task, max_active, max_starts, per)?;
    Ok(Session::with(|session| limit.set(session))?)
}

/// Limits how many jobs of a queue may be active at once, or start within a time, whatever their task.
/// Exact under any number of workers; jobs that are active already stay so, and count. (One whose claim has
/// not committed when a limit is set for the first time is counted by the next repair.)
///
/// `queue`: 1 to 1000 bytes; the others as for limit_task.
///
/// Raises what limit_task does.
#[pg_extern]
fn limit_queue(
    queue: Option<&str>,
    max_active: default!(Option<i32>, "NULL"),
    max_starts: default!(Option<i32>, "NULL"),
    per: default!(Option<Interval>, "NULL"),
) -> Result<(), ErrorReport> {
    let queue = name("queue", given("queue", queue)?)?;
    let limit = Limit::new(queue, "", max_active, max_starts, per)?;
    Ok(Session::with(|session| limit.set(session))?)
}
