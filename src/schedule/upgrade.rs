//! What the upgrade from 0.3.0 to 0.4.0 does with the schedules that are there. Its script calls it, once.

use super::pass_over::pass_over;
use super::time::{Rules, next_time};
use crate::argument::{given, name, positive_span};
use crate::error::{Error, excerpt};
use crate::server::guard::guarded;
use crate::server::rows::Rows;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::check_for_interrupts;
use crate::server::value::interval_text;
use crate::server::zone::TimeZone;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::hash::{DefaultHasher, Hash, Hasher};

static ALL: Statement = Statement::new(
    "SELECT id, name, cron, timezone, next_run, expire, unique_key
    FROM minion.schedules
    ORDER BY id",
    &[],
);

static REWRITE: Statement = Statement::new(
    "UPDATE minion.schedules
    SET timezone = $2, next_run = $3, expire = $4, unique_key = $5
    WHERE id = $1",
    &[
        pg_sys::INT8OID,
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INTERVALOID,
        pg_sys::TEXTOID,
    ],
);

/// Writes time zones as 0.4.0 knows them, works out next_run again where an expression means something else
/// now, and brings values into the bounds that the table sets from now on. Each change but that of a next_run
/// is told as a WARNING, and so is a schedule that can run no more.
#[pg_extern(sql = false)]
fn upgrade_schedules() -> Result<(), ErrorReport> {
    Ok(Session::with(|session| {
        let now = clock();
        let all = session.run(&ALL, &[])?;
        for row in 0..all.count() {
            check_for_interrupts();
            let name: String = given("name", all.get(row, 2))?;
            match guarded(|| rewrite(session, now, &all, row)) {
                Ok(said) => said.into_iter().for_each(Error::warn),
                Err(failure) => pass_over(&name, failure),
            }
        }
        Ok(())
    })?)
}

fn rewrite(session: &Session, now: Timestamp, all: &Rows, row: usize) -> Result<Vec<Error>, Error> {
    let id: i64 = given("id", all.get(row, 1))?;
    let schedule: &str = given("name", all.get(row, 2))?;
    let cron: &str = given("cron", all.get(row, 3))?;
    let timezone: &str = given("timezone", all.get(row, 4))?;
    let next_run: Timestamp = given("next_run", all.get(row, 5))?;
    let expire: Option<Interval> = all.get(row, 6);
    let key: Option<&str> = all.get(row, 7);

    let mut said = Vec::new();
    let mut tell = |column, from: &str, to: &str| {
        if from != to {
            let (name, from, to) = (excerpt(schedule), excerpt(from), excerpt(to));
            said.push(Error::Rewritten { name, column, from, to });
        }
    };
    let known = TimeZone::named_by_0_3(timezone);
    let named = known.and_then(|zone| zone.name_since_0_4(timezone));
    let zone = named.as_deref().unwrap_or(timezone);
    tell("timezone", timezone, zone);
    let bounded = expire.map(within_bounds);
    if let (Some(expire), Some(bounded)) = (expire, bounded) {
        tell("expire", &interval_text(expire), &interval_text(bounded));
    }
    let short = key.map(shortened);
    if let (Some(key), Some(short)) = (key, &short) {
        tell("unique_key", key, short);
    }
    // What was no time zone has not run before either.
    if known.is_some() && named.is_none() {
        let error = Error::NoTimeZone { name: excerpt(timezone) };
        said.push(Error::NotDispatched { name: schedule.to_owned(), error: Box::new(error) });
    }

    // One that is due stays due, and one that plain SQL has set to another time stays as it is.
    let next = match (
        next_time(Rules::Of0_3, cron, timezone, now),
        next_time(Rules::Current, cron, zone, now),
    ) {
        (Ok(old), Ok(new)) if old == next_run => new,
        _ => next_run,
    };
    if !said.is_empty() || next != next_run {
        session.run(&REWRITE, params![id, zone, next, bounded, short])?;
    }
    Ok(said)
}

/// The same, as far as a job's life goes.
fn within_bounds(expire: Interval) -> Interval {
    if positive_span("expire", expire).is_ok() {
        expire
    } else if expire.as_micros() < 0 {
        Interval::from_micros(0)
    } else {
        Interval::from_months(10_000 * 12)
    }
}

/// A key that is none, or too long, becomes one that is as unique.
fn shortened(key: &str) -> String {
    if name("unique_key", key).is_ok() {
        return key.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let beginning: String = key.chars().take(200).collect();
    format!("{beginning}#{:016x}", hasher.finish())
}
