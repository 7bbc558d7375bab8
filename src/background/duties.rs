//! What a worker does, one thing after the other: when something is to be done, when it may be, and what becomes of it if
//! it fails.

use super::turn::Turn;
use super::{listeners, upkeep};
use crate::error::Failure;
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
    run: fn(&Database) -> Result<Turn, Failure>,
    /// Whether it is worth a process of its own when its time comes.
    starts: bool,
}

/// Those first that take no time and that somebody waits for.
const DUTIES: [Duty; 6] = [
    Duty {
        name: "looks for what has come due",
        tasks: task::DUE,
        run: listeners::hear_of_due,
        starts: true,
    },
    Duty { name: "tells listeners", tasks: task::NOTIFY, run: listeners::tell, starts: true },
    Duty {
        name: "dispatches schedules",
        tasks: task::SCHEDULES,
        run: upkeep::dispatch_schedules,
        starts: true,
    },
    Duty {
        name: "places blocked jobs",
        tasks: task::BLOCKED,
        run: upkeep::place_blocked,
        starts: true,
    },
    Duty { name: "verifies heads", tasks: 0, run: listeners::verify, starts: false },
    Duty { name: "repairs", tasks: 0, run: upkeep::repair, starts: true },
];

/// How long one is left alone that has failed, and at last; and one that others were in the way of.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
const OTHERS: Duration = Duration::from_millis(100);

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
        // Whoever commits something for a time that is not known yet says so from here on.
        let looks = &self.states[0];
        if database.is_asked(DUTIES[0].tasks) || looks.turn.at <= now {
            database.set_until(Timestamp::INFINITY);
        }
        let mut any = false;
        for (duty, state) in DUTIES.iter().zip(&mut self.states) {
            if is_to_leave() {
                break;
            }
            let now = clock();
            let asked = database.is_asked(duty.tasks);
            if (asked || state.turn.at <= now) && state.turn.not_before <= now {
                any |= asked;
                run(database, duty, state);
            }
        }
        any
    }

    /// When one has its turn, by itself or because it is asked for. `starts`: only those that a process is started for.
    pub fn next(&self, database: &Database, starts: bool) -> Timestamp {
        let all = DUTIES.iter().zip(&self.states).filter(|(duty, _)| duty.starts || !starts);
        let next = all.map(|(duty, state)| match database.is_asked(duty.tasks) {
            true => state.turn.not_before,
            false => state.turn.at.max(state.turn.not_before),
        });
        next.min().unwrap_or(Timestamp::INFINITY)
    }
}

fn run(database: &Database, duty: &Duty, state: &mut State) {
    show(database, Activity::Does(duty.name));
    let begun = database.begin(duty.tasks);
    match (duty.run)(database) {
        Ok(turn) => {
            database.done(begun);
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
