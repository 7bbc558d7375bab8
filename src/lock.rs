//! Named locks with a number of holders and an end.
//!
//! Whoever locks or unlocks a name first takes a lock of the server's on that name, to the end of the
//! transaction, and counts with a snapshot taken after that: the count is exact, and different names never
//! meet (but for a hash collision of 64 bits).

use crate::error::Error;
use crate::job::argument::{self, given, span};
use crate::statement::lock::lock_name;
use crate::statement::{Session, Statement, clock, params};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// SKIP LOCKED: another name's lock() may be at the same rows, and nobody counts them anyway.
static PURGE: Statement = Statement::latest(
    "DELETE FROM minion.locks
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM minion.locks
        WHERE expires <= $1
        ORDER BY expires
        LIMIT 100
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TIMESTAMPTZOID],
);

static HOLDERS: Statement = Statement::latest(
    "SELECT pg_catalog.count(*) FROM minion.locks WHERE name = $1 AND expires > $2",
    &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

static HOLD: Statement = Statement::latest(
    "INSERT INTO minion.locks (name, expires) VALUES ($1, $2 + $3)",
    &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID],
);

static RELEASE: Statement = Statement::latest(
    "DELETE FROM minion.locks
    WHERE id = (
        SELECT id FROM minion.locks WHERE name = $1 AND expires > $2 ORDER BY expires, id LIMIT 1)",
    &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

/// Takes a named lock, if fewer than `holders` hold it already.
///
/// `name`: 1 to 1000 bytes; `duration`: how long it is held unless unlocked; zero or negative only asks
/// whether there is room; `holders`: how many may hold it at a time. True if it was, or could be, taken.
/// Other calls for the same name wait until the caller's transaction ends.
///
/// Raises 22004 for NULL, 22023 for less than one holder or over 10000 years, 23514 for a bad name.
/// Semantics: Minion's `lock`.
#[pg_extern]
fn lock(
    name: Option<&str>,
    duration: Option<Interval>,
    holders: default!(Option<i32>, "1"),
) -> Result<bool, ErrorReport> {
    let name = argument::name("name", given("name", name)?)?;
    let duration = span("duration", given("duration", duration)?)?;
    let holders = given("holders", holders)?;
    if holders < 1 {
        let hint = "1 makes the lock exclusive.";
        return Err(Error::value("holders", holders, "must be at least 1", hint).into());
    }
    Ok(Session::with(|session| {
        lock_name(name);
        let now = clock();
        session.run(&PURGE, params![now])?;
        let held: Option<i64> = session.run(&HOLDERS, params![name, now])?.get(0, 1);
        let free = held.is_some_and(|held| held < i64::from(holders));
        if free && duration.as_micros() > 0 {
            session.run(&HOLD, params![name, now, duration])?.written("locks")?;
        }
        Ok(free)
    })?)
}

/// Whether somebody holds a named lock: the opposite of lock(name, '0').
///
/// Raises 22004 for NULL, 23514 for a bad name. Waits for nobody, changes nothing.
#[pg_extern]
fn is_locked(name: Option<&str>) -> Result<bool, ErrorReport> {
    let name = argument::name("name", given("name", name)?)?;
    Ok(Session::with(|session| {
        let held: Option<i64> = session.run(&HOLDERS, params![name, clock()])?.get(0, 1);
        Ok(held.is_some_and(|held| held > 0))
    })?)
}

/// Releases a named lock; of several holders, the one that would expire first. True if it was held.
///
/// Raises 22004 for NULL, 23514 for a bad name. Semantics: Minion's `unlock`.
#[pg_extern]
fn unlock(name: Option<&str>) -> Result<bool, ErrorReport> {
    let name = argument::name("name", given("name", name)?)?;
    Ok(Session::with(|session| {
        lock_name(name);
        session.run(&RELEASE, params![name, clock()]).map(|rows| rows.count() > 0)
    })?)
}
