//! Limits that the server keeps: how many jobs of a task or a queue may be active at once, or start within
//! a time. What claims make of them is in [`crate::claim::limits`].

pub mod places;

use crate::argument::{given, name, positive_span};
use crate::claim::limits::lock_places_to_write;
use crate::error::Error;
use crate::server::advisory::{LimitLock, lock_limits};
use crate::server::identity::as_owner_of_jobs;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::value::interval_text;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use places::Limit;

/// Each place is a row.
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
        match (self.max_active, self.max_starts) {
            (None, None) => session.run(&REMOVE, params![queue, task])?,
            (active, starts) => session
                .run(&SET, params![queue, task, active, starts, self.per])?
                .written("limit_rules")?,
        };
        // Claims get nothing as long as this is there: from here on nothing waits.
        let _places = LimitLock::alone(queue, task);
        // The jobs of all count, also those that the caller may not see.
        as_owner_of_jobs(|| self.set_places(session))
    }
}

/// Limits how many jobs of a task may be active at once, or start within a time, in one queue or in all.
/// Exact under any number of workers; jobs that are active already stay so, and count. (One whose claim has
/// not committed, or that somebody else has locked, when a limit is set for the first time is counted by the
/// next repair.)
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
/// not committed, or that somebody else has locked, when a limit is set for the first time is counted by the
/// next repair.)
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
