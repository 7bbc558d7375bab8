//! What a worker does, one thing after the other: when something is to be done, when it may be, and what becomes of it if
//! it fails.

use super::turn::{OTHERS, Turn, UNDONE};
use super::{listeners, upkeep};
use crate::error::Error;
use crate::failure::Failure;
use crate::server::by_itself::transaction;
use crate::server::relation;
use crate::server::time::{Timestamp, clock};
use crate::shared::database::{self, Database, task};
use crate::shared::report::Activity;
use pgrx::prelude::*;
use std::time::Duration;

struct Duty {
    /// What people see.
    name: &'static str,
    /// By which bits it is asked for.
    tasks: u32,
    run: Run,
    /// Whether there may be something to do though nobody has asked, as far as a new process knows.
    looks: bool,
    /// Whether it is worth a process of its own when its time comes.
    starts: bool,
    /// When its time comes, where that is kept beyond this process; else it says so itself.
    time: Option<fn(&Database) -> Timestamp>,
    /// Whether its time may come earlier because of what somebody commits, who then asks for [`task::DUE`].
    timed: bool,
}

impl Duty {
    const fn new(name: &'static str, tasks: u32, run: Run) -> Self {
        Self { name, tasks, run, looks: true, starts: true, time: None, timed: false }
    }

    /// When it has its turn at first.
    fn first(&self) -> Turn {
        if self.looks { Turn::at(Timestamp::BEFORE_ALL) } else { Turn::never() }
    }

    /// When it has its turn though nobody asks.
    fn at(&self, state: &State, database: &Database) -> Timestamp {
        self.time.map_or(state.turn.at, |time| time(database))
    }
}

type Run = fn(&Database) -> Result<Turn, Failure>;

/// Those first that take no time and that somebody waits for.
const DUTIES: [Duty; 8] = [
    Duty { timed: true, ..Duty::new("looks for what has come due", 0, listeners::hear_of_due) },
    Duty { looks: false, ..Duty::new("tells listeners", task::NOTIFY, listeners::tell) },
    Duty::new("ends attached workers", task::ENDED, upkeep::end_attached),
    Duty { timed: true, ..Duty::new("ends attempts", 0, upkeep::end_attempts) },
    Duty::new("dispatches schedules", task::SCHEDULES, upkeep::dispatch_schedules),
    Duty { looks: false, ..Duty::new("places blocked jobs", task::BLOCKED, upkeep::place_blocked) },
    Duty { starts: false, ..Duty::new("verifies heads", 0, listeners::verify) },
    Duty { time: Some(upkeep::time_of_repair), ..Duty::new("repairs", 0, upkeep::repair) },
];

const _: () = assert!(DUTIES.len() <= database::DUTIES);

struct State {
    turn: Turn,
    /// The last one, if it has failed: the next one is longer.
    pause: Duration,
}

pub struct Duties {
    states: [State; DUTIES.len()],
    before: Timestamp,
}

impl Duties {
    pub fn new(database: &Database) -> Self {
        let state = |number: usize| {
            let (until, pause) = database.pauses[number].get();
            // Unless the clock was wrong.
            let until = until.min(clock().after(UNDONE.1));
            State { turn: DUTIES[number].first().not_before(until), pause }
        };
        let states: [State; DUTIES.len()] = std::array::from_fn(state);
        if states.iter().all(|state| state.pause < UNDONE.0) {
            database.report.with(|report| report.failures = 0);
        }
        Self { states, before: clock() }
    }

    /// Each has its turn: settings, tables or the clock have changed.
    pub fn see_to_all(&mut self) {
        for (duty, state) in DUTIES.iter().zip(&mut self.states) {
            state.turn.at = state.turn.at.min(duty.first().at);
        }
    }

    /// Does what there is to do, until it is told to leave. Whether that was anything.
    pub fn see_to(&mut self, database: &Database, is_to_leave: impl Fn() -> bool) -> bool {
        let now = clock();
        if now < self.before {
            for (duty, state) in DUTIES.iter().zip(&mut self.states) {
                state.turn = duty.first();
            }
            database.take_owed();
        }
        self.before = now;
        // Whoever commits something for a time that is not known yet says so from here on, and what has been said is
        // in what is looked at now.
        if database.take(task::DUE) > 0 || self.due() <= now {
            database.set_due(Timestamp::INFINITY);
            for (_, state) in self.timed() {
                state.turn.at = Timestamp::BEFORE_ALL;
            }
        }
        let mut any = false;
        for (number, (duty, state)) in DUTIES.iter().zip(&mut self.states).enumerate() {
            if is_to_leave() {
                break;
            }
            let now = clock();
            let asked = database.is_asked(duty.tasks);
            if (asked || duty.at(state, database) <= now) && state.turn.not_before <= now {
                any |= asked;
                run(database, duty, state);
                database.pauses[number].set(state.turn.not_before, state.pause);
            }
        }
        database.set_due(self.due());
        any
    }

    /// Whether somebody waits for one.
    pub fn any_asked(database: &Database) -> bool {
        DUTIES.iter().any(|duty| database.is_asked(duty.tasks))
    }

    fn timed(&mut self) -> impl Iterator<Item = (&Duty, &mut State)> {
        DUTIES.iter().zip(&mut self.states).filter(|(duty, _)| duty.timed)
    }

    /// When the first of those has its turn that are timed.
    fn due(&mut self) -> Timestamp {
        self.timed()
            .map(|(_, state)| state.turn.at.max(state.turn.not_before))
            .min()
            .unwrap_or(Timestamp::INFINITY)
    }

    /// When one has its turn, by itself or because it is asked for. `starts`: only those that a process is started for.
    pub fn next(&self, database: &Database, starts: bool) -> Timestamp {
        let all = DUTIES.iter().zip(&self.states).filter(|(duty, _)| duty.starts || !starts);
        let next = all.map(|(duty, state)| match database.is_asked(duty.tasks) {
            true => state.turn.not_before,
            false => duty.at(state, database).max(state.turn.not_before),
        });
        next.min().unwrap_or(Timestamp::INFINITY)
    }
}

fn run(database: &Database, duty: &Duty, state: &mut State) {
    show(database, Activity::Does(duty.name));
    database.begin(duty.tasks);
    match (duty.run)(database) {
        Ok(turn) => {
            // Also what an earlier try has begun with.
            database.done(duty.tasks);
            state.turn = turn;
            match turn.pauses {
                None => {
                    if state.pause >= UNDONE.0 {
                        database.report.with(|report| report.failures = 0);
                    }
                    state.pause = Duration::ZERO;
                }
                // What else there is to do, or is asked for, has its turn as if nothing were in the way.
                Some(pauses) => state.turn.at = turn.at.min(state.pause_for(pauses)),
            }
        }
        Err(failure) => {
            database.owe(duty.tasks);
            let again = if failure.is_of_others() || has_gone(database) {
                state.pause_for(OTHERS)
            } else {
                tell(database, duty, &failure);
                state.pause_for(UNDONE)
            };
            state.turn = Turn::at(again).not_before(again);
        }
    }
}

impl State {
    /// Makes the pause longer, and says when it is over.
    fn pause_for(&mut self, (shortest, longest): (Duration, Duration)) -> Timestamp {
        self.pause = (self.pause * 2).clamp(shortest, longest);
        clock().after(self.pause)
    }
}

/// Whether the extension was dropped meanwhile, and created again maybe: no wonder.
fn has_gone(database: &Database) -> bool {
    let look = || Ok::<_, Error>(relation::installed());
    let is_there = transaction(c"minion: looks for the extension", look)
        .is_ok_and(|table| table.is_some_and(|table| database.is_table(table)));
    if !is_there {
        database.ask(task::LOOK);
    }
    !is_there
}

/// An error is logged once, not with each try.
fn tell(database: &Database, duty: &Duty, failure: &Failure) {
    let message = format!("{}: {}", duty.name, failure.message());
    let is_known = database.report.with(|report| {
        let is_known = report.is_error(message.as_bytes());
        report.set_error(message.as_bytes(), clock());
        report.failures = report.failures.saturating_add(1);
        is_known
    });
    if !is_known {
        ereport!(
            PgLogLevel::LOG,
            failure.code(),
            format!("the background worker of minion fails when it {message}"),
            "It tries again, less and less often."
        );
    }
}

/// What people see that the worker is at.
pub fn show(database: &Database, activity: Activity) {
    let now = clock();
    database.report.with(|report| {
        if report.activity != activity {
            (report.activity, report.since) = (activity, now);
        }
    });
}
