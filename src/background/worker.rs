//! The life of a worker: it sees to the duties of one database as long as there are any, and leaves.

use super::duties::{Duties, show};
use super::listeners;
use super::turn::AHEAD;
use crate::server::bgworker;
use crate::server::by_itself::{self, transaction};
use crate::server::relation;
use crate::server::session::{Session, doubt_version};
use crate::server::time::{Timestamp, clock};
use crate::settings;
use crate::shared::databases::{self, DATABASES, Database, Known, task};
use crate::shared::report::Activity;
use std::ffi::CStr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long it stays without anything to do.
const IDLE: Duration = Duration::from_secs(10);
const IDLE_IN_A_CROWD: Duration = Duration::from_secs(1);

pub fn main(oid: u32) {
    bgworker::begin(at_exit);
    bgworker::hear_errors(at_error);
    bgworker::connect(Some(oid));
    bgworker::settle();
    by_itself::name(c"minion worker");
    if let Some(database) = databases::own() {
        live(database);
    }
    bgworker::leave(0);
}

/// Until there is a reason to leave.
fn live(database: &'static Database) {
    database.worker.begin();
    database.wanted.store(false, SeqCst);
    // Where nothing has happened, a look is all.
    let mut busy_at = database.is_asked(task::TRAFFIC).then(Instant::now);
    let began = Instant::now();
    look(database);
    if let Some(databases) = DATABASES.get() {
        // The next database may be looked at.
        databases.launcher.wake();
    }
    let mut duties = Duties::new();
    loop {
        if is_to_leave(database) {
            leave(database);
        }
        if bgworker::see_to_interrupts() {
            duties.see_to_all();
        }
        if database.is_asked(task::LOOK) {
            look(database);
            duties.see_to_all();
        }
        if !settings::background() {
            switch_off(database);
        }
        let has_come = has_come(database);
        let has_done = duties.see_to(database, || is_to_leave(database));
        if has_come || has_done {
            busy_at = Some(Instant::now());
        }
        let until = duties.next(database, true);
        database.set_until(until);
        let next = duties.next(database, false);
        show(database, Activity::Waits);
        let left = until.since(clock());
        let idle = match is_crowded() {
            true => IDLE_IN_A_CROWD,
            false => IDLE,
        };
        let is_idle = busy_at.is_none_or(|at| at.elapsed() >= idle);
        let is_crowded_out = is_crowded() && began.elapsed() >= idle && left > Duration::ZERO;
        if (is_idle && left > 2 * AHEAD) || is_crowded_out {
            leave(database);
        }
        // What was said meanwhile: whatever waits for a lock eats the latch.
        if left.is_zero() || is_to_leave(database) || database.is_asked(task::LOOK | task::DUE) {
            continue;
        }
        let most = if busy_at.is_some() { idle } else { Duration::MAX };
        bgworker::sleep(Some(next.since(clock()).min(most)));
    }
}

/// The database wants no worker. What this one has been left already is done.
fn switch_off(database: &Database) -> ! {
    database.set_known(Known::SwitchedOff);
    let owed = database.begin(task::NOTIFY);
    if owed > 0 && listeners::tell(database).is_ok() {
        database.done(owed);
    }
    leave(database)
}

/// Somebody wants it to end, or to begin anew.
fn is_to_leave(database: &Database) -> bool {
    bgworker::is_terminated() || database.is_asked(task::RESTART) || database.is_left()
}

fn is_crowded() -> bool {
    DATABASES.get().is_some_and(|databases| databases.crowded.load(SeqCst))
}

/// Whether anything has happened.
fn has_come(database: &Database) -> bool {
    let traffic = database.begin(task::TRAFFIC);
    database.done(traffic);
    if traffic > 0 {
        database.touched.store(true, SeqCst);
    }
    traffic > 0
}

/// Looks whether the extension is there, and fits this library; leaves if not.
fn look(database: &'static Database) {
    let begun = database.begin(task::LOOK);
    doubt_version();
    let found = transaction(c"minion: looks for the extension", || {
        let is_there = relation::is_installed();
        if is_there {
            // Its version, too.
            Session::with(|_| Ok(()))?;
        }
        Ok(is_there)
    });
    match found {
        Ok(true) => {
            if begun > 0 || database.known() != Known::HasExtension {
                database.begin_anew();
            }
            database.set_known(Known::HasExtension);
            database.done(begun);
        }
        Ok(false) => {
            database.set_known(Known::HasNot);
            database.set_until(Timestamp::INFINITY);
            database.done(begun);
            leave(database);
        }
        Err(failure) => {
            at_error(&std::ffi::CString::new(failure.message()).unwrap_or_default(), false);
            pgrx::log!("the background worker of minion can't begin: {}", failure.message());
            bgworker::leave(1);
        }
    }
}

/// Not because of an error.
fn leave(database: &Database) -> ! {
    let restart = database.begin(task::RESTART);
    if restart > 0 {
        database.done(restart);
        database.wanted.store(true, SeqCst);
    }
    database.orderly.store(true, SeqCst);
    bgworker::leave(0)
}

/// Can't fail.
fn at_exit() {
    if let Some(databases) = DATABASES.get() {
        if let Some(own) = databases::own().filter(|own| own.worker.is_own()) {
            own.end();
        }
        databases.launcher.wake();
    }
}

/// Keeps an error for people to see; `asked`: it only says that the process was asked to end. Can't fail.
fn at_error(message: &CStr, asked: bool) {
    let Some(own) = databases::own() else { return };
    match asked {
        true => own.orderly.store(true, SeqCst),
        false => own.report.with(|report| report.set_error(message.to_bytes(), clock())),
    }
}
