//! What a worker does, one thing after the other: when something is to be done, when it may be, and what becomes of it if
//! it fails.

use super::turn::Turn;
use super::{listeners, upkeep};
use crate::failure::Failure;
use crate::server::time::{Timestamp, clock};
use crate::shared::databases::{Database, task};
use crate::shared::report::Activity;
use pgrx::prelude::*;
use std::time::Duration;

struct Duty {
    /// What people see.
    name: &'static str,
    /// By which bits it is asked for.
    tasks: u32,
    run: Run,
    /// Whether it is worth a process of its own when its time comes.
    starts: bool,
    /// When its time comes, where that is kept beyond this process; else it says so itself.
    time: Option<fn(&Database) -> Timestamp>,
    /// Whether its time may come earlier because of what somebody commits, who then asks for [`task::DUE`].
    timed: bool,
}

impl Duty {
    /// One that is there for what people ask for.
    const fn asked(name: &'static str, tasks: u32, run: Run) -> Self {
        Self { name, tasks, run, starts: true, time: None, timed: false }
    }
}

type Run = fn(&Database) -> Result<Turn, Failure>;

/// Those first that take no time and that somebody waits for.
const DUTIES: [Duty; 7] = [
    Duty { timed: true, ..Duty::asked("looks for what has come due", 0, listeners::hear_of_due) },
    Duty::asked("tells listeners", task::NOTIFY, listeners::tell),
    Duty::asked("ends attached workers", task::ENDED, upkeep::end_attached),
    Duty::asked("dispatches schedules", task::SCHEDULES, upkeep::dispatch_schedules),
    Duty::asked("places blocked jobs", task::BLOCKED, upkeep::place_blocked),
    Duty { starts: false, ..Duty::asked("verifies heads", 0, listeners::verify) },
    Duty { time: Some(upkeep::time_of_repair), ..Duty::asked("repairs", 0, upkeep::repair) },
];

/// How long one is left alone that has failed, and at last; and one that others were in the way of.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const OTHERS: Duration = Duration::from_millis(100);

impl Duty {
    /// When it has its turn though nobody asks.
    fn at(&self, state: &State, database: &Database) -> Timestamp {
        self.time.map_or(state.turn.at, |time| time(database))
    }
}

#[derive(Clone)]
struct State {
    turn: Turn,
    pause: Duration,
    /// What it failed with the last time.
    failure: Option<String>,
}

pub struct Duties {
    states: [State; DUTIES.len()],
    before: Timestamp,
}

impl Duties {
    pub fn new() -> Self {
        let at_once = Turn::at(Timestamp::BEFORE_ALL);
        let state = State { turn: at_once, pause: Duration::ZERO, failure: None };
        Self { states: std::array::from_fn(|_| state.clone()), before: clock() }
    }

    /// Each has its turn: settings, tables or the clock have changed.
    pub fn see_to_all(&mut self) {
        for state in &mut self.states {
            state.turn = Turn::at(Timestamp::BEFORE_ALL);
        }
    }

    /// Does what there is to do, until it is told to leave. Whether that was anything.
    pub fn see_to(&mut self, database: &Database, is_to_leave: impl Fn() -> bool) -> bool {
        let now = clock();
        if now < self.before {
            self.see_to_all();
        }
        self.before = now;
        // Whoever commits something for a time that is not known yet says so from here on, and what has been said is
        // in what is looked at now.
        let asked = database.begin(task::DUE);
        if asked > 0 || self.due() <= now {
            database.set_due(Timestamp::INFINITY);
            for (_, state) in self.timed() {
                state.turn.at = Timestamp::BEFORE_ALL;
            }
        }
        database.done(asked);
        let mut any = false;
        for (duty, state) in DUTIES.iter().zip(&mut self.states) {
            if is_to_leave() {
                break;
            }
            let now = clock();
            let asked = database.is_asked(duty.tasks);
            if (asked || duty.at(state, database) <= now) && state.turn.not_before <= now {
                any |= asked;
                run(database, duty, state);
            }
        }
        database.set_due(self.due());
        any
    }

    fn timed(&mut self) -> impl Iterator<Item = (&Duty, &mut State)> {
        DUTIES.iter().zip(&mut self.states).filter(|(duty, _)| duty.timed)
    }

    /// When the first of those has its turn that are timed.
    fn due(&mut self) -> Timestamp {
        self.timed().map(|(_, state)| state.turn.at).min().unwrap_or(Timestamp::INFINITY)
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
            *state = State { turn, pause: Duration::ZERO, failure: None };
        }
        // What was asked for is asked for again when this process ends, if it does.
        Err(failure) if failure.is_of_others() => {
            let again = clock().after(OTHERS);
            state.turn = Turn::at(again).not_before(again);
        }
        Err(failure) => {
            state.pause = (state.pause * 2).clamp(SHORTEST, LONGEST);
            let again = clock().after(state.pause);
            state.turn = Turn::at(again).not_before(again);
            tell(database, duty, state, &failure);
        }
    }
}

/// An error is logged once, not with each try.
fn tell(database: &Database, duty: &Duty, state: &mut State, failure: &Failure) {
    let message = format!("{}: {}", duty.name, failure.message());
    database.report.with(|report| report.set_error(message.as_bytes(), clock()));
    if state.failure.as_ref() != Some(&message) {
        ereport!(
            PgLogLevel::LOG,
            failure.code(),
            format!("the background worker of minion fails when it {message}"),
            "It tries again, less and less often."
        );
        state.failure = Some(message);
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
