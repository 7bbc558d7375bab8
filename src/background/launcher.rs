//! The launcher: it starts a worker in each database that has something to do, one after the other where nobody knows yet
//! whether the extension is there, and less and less often where workers fail.

use super::turn::AHEAD;
use crate::error::Error;
use crate::server::bgworker::{self, Child};
use crate::server::by_itself::{self, transaction};
use crate::server::time::clock;
use crate::server::{database, latch};
use crate::settings;
use crate::shared::database::{Database, Known, task};
use crate::shared::databases::{DATABASES, Databases};
use crate::shared::launcher::{LAUNCHER, Launcher};
use crate::shared::report::Activity;
use pgrx::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long it waits after a worker has failed, and after it has failed again and again.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// One that has lived for so long had a good start.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// When it tries again though no process that it knows of has ended.
const NO_ROOM: Duration = Duration::from_secs(5);

/// What it knows of a database.
struct Local {
    child: Option<Child>,
    began: Instant,
    /// Not before this; of those who wait for a process, the first one is served first.
    next: Instant,
    pause: Duration,
}

/// How often it says so at most.
const SELDOM: Duration = Duration::from_secs(3_600);

struct Starting {
    own: &'static Launcher,
    databases: &'static Databases,
    known: HashMap<u32, Local>,
    /// When it has said that there is no room.
    warned: Option<Instant>,
}

pub fn main() {
    let Some(databases) = DATABASES.get() else { return };
    let Some(own) = LAUNCHER.get() else { return };
    bgworker::begin(|| {
        if let Some(own) = LAUNCHER.get() {
            own.process.end();
        }
    });
    bgworker::connect(None);
    by_itself::name(c"minion launcher");
    own.process.begin();
    own.looks.store(true, SeqCst);
    // There may have been one before this, and settings have changed since.
    see_anew(databases);
    let mut launcher = Starting { own, databases, known: HashMap::new(), warned: None };
    loop {
        if bgworker::is_terminated() {
            // Not 0: that would be for ever.
            bgworker::leave(1);
        }
        if bgworker::see_to_interrupts() {
            see_anew(databases);
        }
        let next = launcher.turn();
        latch::wait(next.map(|next| next.saturating_duration_since(Instant::now())));
    }
}

/// Settings have changed: a worker reads them in each database. Those that are there do so themselves.
fn see_anew(databases: &Databases) {
    let now = clock();
    for one in databases.all().filter(|one| !one.worker.is_there()) {
        if matches!(one.known(), Known::HasExtension | Known::SwitchedOff) {
            one.doubt(now);
        }
    }
}

impl Starting {
    /// Does what there is to do, and says when there will be more.
    fn turn(&mut self) -> Option<Instant> {
        for one in self.databases.all() {
            self.see_to_end(one);
        }
        let looks = self.own.looks.swap(false, SeqCst);
        let may_start = |one: &&Database| wants(one);
        let mut waiting: Vec<&Database> = self.databases.all().filter(may_start).collect();
        if looks || !waiting.is_empty() {
            let Ok(all) =
                transaction(c"minion: looks for databases", || Ok::<_, Error>(database::all()))
            else {
                self.own.looks.fetch_or(looks, SeqCst);
                return Some(Instant::now() + NO_ROOM);
            };
            self.know(&all, looks);
            waiting = self.databases.all().filter(may_start).collect();
        }
        // The clock may be set, and the machine sleep, meanwhile.
        let timed = self.databases.all().filter_map(time_of).min();
        let timed = timed.map(|at| at.min(Instant::now() + LONGEST));
        [self.start(waiting), timed].into_iter().flatten().min()
    }

    /// A worker has ended, maybe.
    fn see_to_end(&mut self, database: &Database) {
        let Some(local) = self.known.get_mut(&database.oid()) else { return };
        if local.child.take_if(|child| child.is_over()).is_none() {
            return;
        }
        let now = Instant::now();
        let is_orderly = database.orderly.swap(false, SeqCst);
        if is_orderly || local.began.elapsed() > LONG_LIFE {
            local.pause = Duration::ZERO;
        }
        local.next = now + local.pause;
        if !is_orderly {
            local.pause = (local.pause * 2).clamp(SHORTEST, LONGEST);
            local.next = now + local.pause;
            database.wanted.store(true, SeqCst);
        }
        database.report.with(|report| {
            report.since = clock();
            report.activity = match is_orderly {
                true => Activity::None,
                false => Activity::Failed,
            };
            report.failures = report.failures.saturating_add(i32::from(!is_orderly));
        });
    }

    /// There are these databases, and some of them are open. `looks`: it is to be seen which of them have the extension.
    fn know(&mut self, all: &[(u32, bool)], looks: bool) {
        let is_open = |oid: u32| all.iter().find(|one| one.0 == oid).map(|one| one.1);
        for one in self.databases.all() {
            match is_open(one.oid()) {
                Some(true) if looks && one.known() == Known::Closed => {
                    one.set_known(Known::Nothing);
                }
                Some(true) => {}
                Some(false) => {
                    one.set_known(Known::Closed);
                    if one.worker.is_there() {
                        one.ask(task::RESTART);
                    }
                }
                None => {
                    self.known.remove(&one.oid());
                    self.databases.forget(one);
                }
            }
        }
        for (oid, _) in all.iter().filter(|one| looks && one.1) {
            let one = self.databases.find_or_add(*oid);
            if let Some(one) = one.filter(|one| one.known() == Known::Nothing) {
                one.wanted.store(true, SeqCst);
            }
        }
    }

    /// Starts workers, those who have waited for longest first.
    fn start(&mut self, mut waiting: Vec<&'static Database>) -> Option<Instant> {
        let now = Instant::now();
        for one in &waiting {
            self.known.entry(one.oid()).or_insert_with(|| Local {
                child: None,
                began: now,
                next: now,
                pause: Duration::ZERO,
            });
        }
        waiting.sort_by_key(|one| self.known[&one.oid()].next);
        let mut next = None;
        // One after the other: a server with a thousand databases has not so many processes.
        let is_visited = |one: &Database| {
            let local = self.known.get(&one.oid());
            one.known() == Known::Nothing && local.is_some_and(|local| local.child.is_some())
        };
        let mut visits = self.databases.all().any(is_visited);
        for one in waiting {
            let is_visit = one.known() == Known::Nothing;
            let local = self.known.get_mut(&one.oid()).expect("added above");
            if local.child.is_some() || (is_visit && visits) {
                continue;
            }
            if local.next > now {
                next = Some(next.map_or(local.next, |next: Instant| next.min(local.next)));
                continue;
            }
            let before = one.report.with(|report| {
                let before = *report;
                (report.activity, report.since) = (Activity::Begins, clock());
                report.starts += 1;
                before
            });
            match Child::start(one.oid()) {
                Some(child) => {
                    (local.child, local.began) = (Some(child), now);
                    visits |= is_visit;
                }
                None => {
                    one.report.with(|report| *report = before);
                    self.find_no_room(one);
                    return Some(now + NO_ROOM);
                }
            }
        }
        self.own.is_crowded.store(false, SeqCst);
        next
    }

    /// The server has no process left: one that has nothing to do makes room.
    fn find_no_room(&mut self, database: &Database) {
        database.report.with(|report| {
            if report.activity != Activity::NoRoom {
                (report.activity, report.since) = (Activity::NoRoom, clock());
            }
        });
        self.own.is_crowded.store(true, SeqCst);
        self.databases.all().for_each(|one| one.worker.wake());
        if self.warned.is_none_or(|at| at.elapsed() > SELDOM) {
            self.warned = Some(Instant::now());
            ereport!(
                PgLogLevel::WARNING,
                PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "minion finds no room for a background worker",
                "Raise max_worker_processes. Until then workers take turns."
            );
        }
    }
}

/// Whether a worker is to be started in a database now, or as soon as that may be.
fn wants(database: &Database) -> bool {
    if database.worker.is_there() {
        return false;
    }
    if database.known() == Known::HasNot && database.is_asked(task::LOOK) {
        database.set_known(Known::Nothing);
    }
    let is_time = database.until() <= clock().after(AHEAD);
    // What a worker has been left before it was switched off is still done.
    let owes = database.owes(task::NOTIFY);
    let is_on = settings::background() || owes;
    let may_have = match database.known() {
        Known::Nothing | Known::HasExtension => true,
        Known::SwitchedOff => owes,
        Known::HasNot | Known::Closed => false,
    };
    (database.wanted.load(SeqCst) || is_time) && may_have && is_on && !database.is_left()
}

/// When a worker is to be started though nobody asks for it.
fn time_of(database: &Database) -> Option<Instant> {
    let (until, now) = (database.until().0, clock().after(AHEAD).0);
    // One whose time has passed waits for something else than time.
    let is_to_come = database.known() == Known::HasExtension
        && !database.worker.is_there()
        && (now + 1..i64::MAX).contains(&until);
    let left = u64::try_from(until.saturating_sub(now)).unwrap_or(0);
    is_to_come.then(|| Instant::now() + Duration::from_micros(left.min(1 << 50)))
}
