//! The life of a worker: it sees to the duties of one database as long as there are any, and leaves.

use super::duties::{Duties, show};
use super::listeners;
use super::turn::AHEAD;
use crate::error::Error;
use crate::server::bgworker;
use crate::server::by_itself::{self, transaction};
use crate::server::session::{Session, doubt_version};
use crate::server::time::{Timestamp, clock};
use crate::server::{latch, relation};
use crate::settings;
use crate::shared::database::{Database, Known, task};
use crate::shared::databases::{self, DATABASES};
use crate::shared::launcher::{self, LAUNCHER};
use crate::shared::report::Activity;
use std::ffi::CStr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long it stays without anything to do.
const IDLE: Duration = Duration::from_secs(10);
const IDLE_IN_A_CROWD: Duration = Duration::from_secs(1);

/// When it tries again to tell listeners before it leaves.
const AGAIN: Duration = Duration::from_millis(100);

pub fn main(oid: u32) {
    bgworker::begin(at_exit);
    bgworker::hear_errors(at_error);
    if let Some(database) = DATABASES.get().and_then(|all| all.find(oid)) {
        // It may be about to be dropped.
        if database.is_left() {
            database.orderly.store(true, SeqCst);
            bgworker::leave(0);
        }
        // Settings are read when it is connected to: those that are changed from here on are read by another process.
        database.take(task::RESTART);
    }
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
    if !database.worker.begin() {
        // Another one is there, which a launcher has started that is no more.
        database.orderly.store(true, SeqCst);
        bgworker::leave(0);
    }
    database.orderly.store(false, SeqCst);
    database.wanted.store(false, SeqCst);
    database.take_owed();
    // Where nothing has happened, a look is all.
    let mut busy_at = database.is_asked(task::TRAFFIC).then(Instant::now);
    let began = Instant::now();
    look(database);
    // The next database may be looked at.
    launcher::wake();
    bgworker::see_to_interrupts();
    if !settings::background() {
        switch_off(database);
    }
    let mut duties = Duties::new(database);
    database.set_serves(true);
    loop {
        if is_to_leave(database) {
            leave(database);
        }
        if bgworker::see_to_interrupts() {
            database.touch(clock());
            duties.see_to_all();
        }
        if database.is_asked(task::LOOK) {
            look(database);
            duties.see_to_all();
        }
        if !settings::background() {
            switch_off(database);
        }
        // Whoever leaves in the middle leaves it to the next one.
        database.set_until(Timestamp::BEFORE_ALL);
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
        // One that is asked for, and left alone for a while, would have another process started at once.
        let is_idle = is_idle && left > 2 * AHEAD && !Duties::any_asked(database);
        if is_idle || is_crowded_out {
            leave(database);
        }
        // What was said meanwhile: whatever waits for a lock eats the latch.
        if left.is_zero() || is_to_leave(database) || database.is_asked(task::LOOK | task::DUE) {
            continue;
        }
        let most = if busy_at.is_some() { idle } else { Duration::MAX };
        latch::wait(Some(next.since(clock()).min(most)));
    }
}

/// The database wants no worker. What this one has been left already is done.
fn switch_off(database: &Database) -> ! {
    database.set_known(Known::SwitchedOff);
    database.set_serves(false);
    database.take_owed();
    let owed = database.begin(task::NOTIFY);
    while owed > 0 && !is_to_leave(database) {
        if listeners::tell(database).is_ok() {
            database.done(owed);
            break;
        }
        latch::wait(Some(AGAIN));
    }
    leave(database)
}

/// Somebody wants it to end, or to begin anew.
fn is_to_leave(database: &Database) -> bool {
    bgworker::is_terminated() || database.is_asked(task::RESTART) || database.is_left()
}

fn is_crowded() -> bool {
    LAUNCHER.get().is_some_and(|launcher| launcher.is_crowded.load(SeqCst))
}

/// Whether anything has happened.
fn has_come(database: &Database) -> bool {
    let traffic = database.take(task::TRAFFIC) > 0;
    if traffic {
        database.touch(clock());
    }
    traffic
}

/// Looks whether the extension is there, and fits this library; leaves if not.
fn look(database: &'static Database) {
    let begun = database.begin(task::LOOK);
    doubt_version();
    let found = transaction(c"minion: looks for the extension", || {
        let table = relation::installed();
        if table.is_some() {
            // Its version, too.
            Session::with(|_| Ok(()))?;
        }
        Ok::<_, Error>(table)
    });
    match found {
        Ok(Some(table)) => {
            database.has_table(table);
            database.set_known(Known::HasExtension);
            database.done(begun);
        }
        Ok(None) => {
            database.set_known(Known::HasNot);
            database.set_until(Timestamp::INFINITY);
            database.done(begun);
            database.report.with(|report| report.failures = 0);
            leave(database);
        }
        Err(failure) => {
            let message = failure.message();
            let is_known = database.report.with(|report| report.is_error(message.as_bytes()));
            if !is_known {
                pgrx::log!("the background worker of minion can't begin: {message}");
            }
            database.report.with(|report| report.set_error(message.as_bytes(), clock()));
            // Not 1, which the server would log each time.
            bgworker::leave(0);
        }
    }
}

/// Not because of an error.
fn leave(database: &Database) -> ! {
    database.set_serves(false);
    if database.take(task::RESTART) > 0 {
        database.doubt(clock());
    }
    database.orderly.store(true, SeqCst);
    bgworker::leave(0)
}

/// Can't fail.
fn at_exit() {
    if let Some(own) = databases::own().filter(|own| own.worker.is_own()) {
        own.end();
    }
    launcher::wake();
}

/// Keeps an error for people to see; `asked`: it only says that the process was asked to end. Can't fail.
fn at_error(message: &CStr, asked: bool) {
    let Some(own) = databases::own() else { return };
    match asked {
        true => own.orderly.store(true, SeqCst),
        false => own.report.with(|report| report.set_error(message.to_bytes(), clock())),
    }
}
