//! Named locks with a number of holders and an end.
//!
//! Whoever locks or unlocks a name first takes a lock of the server's on that name, to the end of the
//! transaction, and counts with a snapshot taken after that: the count is exact, and different names never
//! meet (but for a hash collision of 64 bits).
//!
//! Ids of one name come in order, so that those who count begin where the first holder was: see
//! [`crate::shared::bounds`].

use crate::argument::{self, given, span};
use crate::error::Error;
use crate::server::advisory::lock_name;
use crate::server::probe::holders::holders;
use crate::server::relation::{Relation, lock_to_write, oid_of};
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::must_be_writable;
use crate::server::trigger::{Event, answer};
use crate::shared::bounds::{self, Kind};
use crate::shared::commit;
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{AllocatedByPostgres, WhoAllocated};

/// SKIP LOCKED: another name's lock() may be at the same rows, and nobody counts them anyway.
static PURGE: Statement = Statement::latest(
    "DELETE FROM minion.locks
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM minion.locks
        WHERE expires <= $1
        ORDER BY expires
        LIMIT 1000
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TIMESTAMPTZOID],
);

/// How many rows that removes at most.
const PURGED: usize = 1_000;

static HOLDERS: Statement = Statement::latest(
    "SELECT expires, id FROM minion.locks WHERE name = $1 AND expires > $2",
    &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

static HOLD: Statement = Statement::latest(
    "INSERT INTO minion.locks (name, expires) VALUES ($1, $2 + $3) RETURNING id",
    &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID],
);

static RELEASE: Statement =
    Statement::latest("DELETE FROM minion.locks WHERE id = $1", &[pg_sys::INT8OID]);

/// The ends and ids of the first so many holders.
fn holders_of(
    session: &Session,
    name: &str,
    now: Timestamp,
    most: usize,
) -> Result<Vec<(Timestamp, i64)>, Error> {
    let looked = bounds::look(Kind::Locks, (name, ""), |from| {
        let found = holders(name, now, most, from);
        let seen = found
            .as_ref()
            .map(|found| (found.holders.first().map_or(bounds::END, |(_, id)| *id), found.xmin));
        (found, seen)
    });
    if let Some(looked) = looked {
        return Ok(looked.holders);
    }
    // As many as an int can say, or 0 for all.
    let most = i32::try_from(most).map_or(0, |_| most);
    let rows = session.run_at_most(&HOLDERS, params![name, now], most)?;
    let holder = |row| {
        let column = "is not NULL in this table";
        (rows.get(row, 1).expect(column), rows.get(row, 2).expect(column))
    };
    Ok((0..rows.count()).map(holder).collect())
}

/// Removes what has expired, of all names, once in a while.
fn purge(session: &Session, now: Timestamp) -> Result<(), Error> {
    if bounds::elects(Kind::Purge) && session.run(&PURGE, params![now])?.count() >= PURGED {
        bounds::elect_again(Kind::Purge);
    }
    Ok(())
}

/// Makes a row known to those who count the holders of its name.
#[pg_trigger]
fn lock_written<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, ErrorReport> {
    const ID: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN;
    const NAME: std::num::NonZeroUsize = ID.saturating_add(2);
    answer(trigger, Event::OfLocks, || {
        if let Some(row) = trigger.new()
            && let Ok(Some(id)) = row.get_by_index(ID)
            && let Ok(Some(name)) = row.get_by_index::<&str>(NAME)
        {
            commit::bounded(Kind::Locks, Relation::of(trigger).oid, (name, ""), id);
        }
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    })
}

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
    must_be_writable(c"minion.lock()");
    lock_to_write(c"locks");
    Ok(Session::with(|session| {
        lock_name(name);
        let now = clock();
        let most = usize::try_from(holders).unwrap_or(usize::MAX);
        let free = holders_of(session, name, now, most)?.len() < most;
        purge(session, now)?;
        if free && duration.as_micros() > 0 {
            let rows = session.run(&HOLD, params![name, now, duration])?.written("locks")?;
            // Also where triggers don't fire.
            if let Some(id) = rows.get(0, 1) {
                commit::bounded(Kind::Locks, oid_of(c"locks"), (name, ""), id);
            }
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
    Ok(Session::with(|session| Ok(!holders_of(session, name, clock(), 1)?.is_empty()))?)
}

/// Releases a named lock; of several holders, the one that would expire first. True if it was held.
///
/// Raises 22004 for NULL, 23514 for a bad name. Semantics: Minion's `unlock`.
#[pg_extern]
fn unlock(name: Option<&str>) -> Result<bool, ErrorReport> {
    let name = argument::name("name", given("name", name)?)?;
    must_be_writable(c"minion.unlock()");
    lock_to_write(c"locks");
    Ok(Session::with(|session| {
        lock_name(name);
        let first = holders_of(session, name, clock(), usize::MAX)?.into_iter().min();
        match first {
            Some((_, id)) => session.run(&RELEASE, params![id]).map(|rows| rows.count() > 0),
            None => Ok(false),
        }
    })?)
}
