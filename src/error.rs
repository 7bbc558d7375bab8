//! Every error the extension raises by itself: its SQLSTATE, its words and its remedy.

use crate::failure::Failure;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::{PgLogLevel, PgSqlErrorCode};
use std::fmt::Display;

/// What can be wrong with a call.
#[derive(Debug)]
pub enum Error {
    /// An argument is NULL that may not be.
    Null { argument: &'static str },
    /// An array has a NULL in it that may not.
    NullElement { argument: &'static str },
    /// A worker id that no row of `minion.workers` has.
    NotRegistered { worker: i64 },
    /// A worker that can't be tied to its session, as too many others are.
    TooManyAttached { worker: i64 },
    /// A worker id that no call of `register_worker` ever returned.
    NeverIssued { worker: i64 },
    /// A value outside of what its argument takes.
    Value { argument: &'static str, value: String, must: &'static str, hint: &'static str },
    /// A value that breaks a rule the table states as a CHECK, found before the row is made.
    Constraint { argument: &'static str, value: String, must: &'static str, hint: &'static str },
    /// An element of `enqueue_many` that is not a job.
    Element { path: String, problem: String },
    /// A wait where what it is for could never be seen.
    WaitNeedsReadCommitted { function: &'static str },
    /// A job id that no row of `minion.jobs` has.
    NoJob { id: i64 },
    /// A call for many jobs that does not say which.
    NoFilter,
    /// A unique key whose job can't be told, as others take and give it back again and again.
    KeyTaken { key: String },
    /// A schedule that is there, but that row-level security hides.
    ScheduleTaken { name: String },
    /// Why a schedule that is due does not run.
    NotDispatched { name: String, error: Box<Error> },
    /// What an upgrade has changed about a schedule.
    Rewritten { name: String, column: &'static str, from: String, to: String },
    /// What a call that serves all goes on without; `what` is such as "job 5".
    PassedOver { what: String, failure: Failure },
    /// A row that was not written, and no error raised: only a trigger or a rule of a user's can do that.
    Refused { table: &'static str },
    /// A time zone that the server does not know.
    NoTimeZone { name: String },
    /// A cron expression that means nothing, or no time.
    InvalidCron { cron: String, reason: String },
    /// A column that may not be NULL, but for a constraint that was taken away.
    NullInColumn { column: &'static str },
    /// A trigger function of ours on another table, or for another event, than it is made for.
    NoSuchTrigger,
    /// The session has loaded a library that is older than the extension's SQL.
    OldLibrary { library: &'static str, extension: String },
    /// A statement of ours that is called with parameters of other types than it has; never the caller's fault.
    ParameterTypes { types: Vec<u32>, sql: &'static str },
    /// A statement of ours that the server would not run; never the caller's fault.
    Statement { call: &'static str, code: i32, sql: &'static str },
}

impl Error {
    /// [`Error::Value`] with the value in PostgreSQL's own spelling.
    pub fn value(
        argument: &'static str,
        value: impl Display,
        must: &'static str,
        hint: &'static str,
    ) -> Self {
        Self::Value { argument, value: value.to_string(), must, hint }
    }

    /// [`Error::Constraint`]; text goes through [`excerpt`] first.
    pub fn constraint(
        argument: &'static str,
        value: impl Display,
        must: &'static str,
        hint: &'static str,
    ) -> Self {
        Self::Constraint { argument, value: value.to_string(), must, hint }
    }

    fn code(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            Self::Null { .. } | Self::NullElement { .. } => ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::NotRegistered { .. } | Self::NoJob { .. } => ERRCODE_UNDEFINED_OBJECT,
            Self::TooManyAttached { .. } => ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            Self::NullInColumn { .. } => ERRCODE_NOT_NULL_VIOLATION,
            Self::NoSuchTrigger => ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            Self::NeverIssued { .. }
            | Self::Value { .. }
            | Self::NoFilter
            | Self::InvalidCron { .. }
            | Self::NoTimeZone { .. } => ERRCODE_INVALID_PARAMETER_VALUE,
            Self::Constraint { .. } => ERRCODE_CHECK_VIOLATION,
            Self::NotDispatched { error, .. } => error.code(),
            Self::PassedOver { failure, .. } => failure.code(),
            Self::Refused { .. } => ERRCODE_TRIGGERED_ACTION_EXCEPTION,
            Self::Rewritten { .. } => ERRCODE_WARNING,
            Self::KeyTaken { .. } | Self::ScheduleTaken { .. } => ERRCODE_UNIQUE_VIOLATION,
            Self::Element { .. } => ERRCODE_INVALID_JSON_TEXT,
            Self::WaitNeedsReadCommitted { .. } => ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::OldLibrary { .. } => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::ParameterTypes { .. } | Self::Statement { .. } => ERRCODE_INTERNAL_ERROR,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Null { argument } => format!("{argument} may not be NULL"),
            Self::NullElement { argument } => format!("{argument} may not contain NULL"),
            Self::NotRegistered { worker } => format!("worker {worker} is not registered"),
            Self::TooManyAttached { worker } => {
                format!("worker {worker} cannot be attached: too many are")
            }
            Self::NeverIssued { worker } => format!("worker id {worker} was never issued"),
            Self::Value { argument, value, must, .. }
            | Self::Constraint { argument, value, must, .. } => {
                format!("{argument} {must}, not {value}")
            }
            Self::Element { path, problem } => format!("{path}: {problem}"),
            Self::WaitNeedsReadCommitted { function } => {
                format!("{function} cannot wait in a REPEATABLE READ or SERIALIZABLE transaction")
            }
            Self::NoFilter => "remove_jobs needs at least one filter".into(),
            Self::NotDispatched { name, error } => {
                format!("schedule {} does not run: {}", excerpt(name), error.message())
            }
            Self::Rewritten { name, column, from, to } => {
                format!("schedule {name}: {column} {from} is written {to} from now on")
            }
            Self::PassedOver { what, failure } => {
                format!("{what} is passed over: {}", failure.message())
            }
            Self::Refused { table } => format!("a trigger on minion.{table} has refused a row"),
            Self::NoTimeZone { name } => format!("time zone {name} does not exist"),
            Self::ScheduleTaken { name } => {
                format!("schedule {name} can be neither added nor changed")
            }
            Self::KeyTaken { key } => format!("unique_key {key} is taken"),
            Self::NullInColumn { column } => format!("column {column} of minion.jobs is NULL"),
            Self::NoSuchTrigger => {
                "a trigger function of minion was called for another table or event".into()
            }
            Self::NoJob { id } => format!("job {id} does not exist"),
            Self::InvalidCron { cron, reason } => format!("invalid cron {cron}: {reason}"),
            Self::OldLibrary { library, extension } => {
                format!(
                    "the extension is version {extension}, but this session uses library {library}"
                )
            }
            Self::ParameterTypes { types, sql } => {
                format!("parameters of types {types:?} do not fit: {sql}")
            }
            Self::Statement { call, code, sql } => format!("{call} returned {code} for: {sql}"),
        }
    }

    /// The message without the argument's name in front, for where the place says it.
    pub fn message_after(&self, argument: &str) -> String {
        let message = self.message();
        message.strip_prefix(argument).map_or(message.clone(), |rest| rest.trim_start().into())
    }

    /// Says it as a WARNING, and goes on.
    pub fn warn(self) {
        ErrorReport::from(self).report(PgLogLevel::WARNING);
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Null { .. } => "Leave the argument out to get its default, if it has one.",
            Self::NullElement { .. } => "Leave the NULL out of the array.",
            Self::NotRegistered { .. } => {
                "Call minion.register_worker() and use the id that it returns; with id => it \
                 registers a removed worker again."
            }
            Self::TooManyAttached { .. } => {
                "Register it without attached, have the sessions unregister workers that are gone, or raise \
                 max_connections: there is room for twice as many workers, and 1024."
            }
            Self::NeverIssued { .. } => "Call minion.register_worker() without an id to get one.",
            Self::Value { hint, .. } | Self::Constraint { hint, .. } => hint,
            Self::Element { .. } => {
                "Pass an array of objects such as {\"task\": \"mail\", \"args\": [1], \"priority\": 5}, \
                 with the argument names of minion.enqueue() as keys."
            }
            Self::WaitNeedsReadCommitted { .. } => {
                "Its snapshot would never show what others do: use READ COMMITTED, or do not wait."
            }
            Self::NoFilter => {
                "To remove all jobs that are not active, say states => '{inactive,failed,finished}'."
            }
            Self::NotDispatched { error, .. } => error.hint(),
            Self::Rewritten { .. } => {
                "It means what it did. Programs that set the schedule up with minion.schedule() have to write \
                 it so, too."
            }
            Self::PassedOver { .. } => {
                "All others are seen to. Change or remove what is in the way: its values, a trigger or a \
                 foreign key of yours."
            }
            Self::Refused { .. } => {
                "A BEFORE trigger has returned NULL, or a rule does something else instead; psql's \\d shows \
                 those of a table."
            }
            Self::NoTimeZone { .. } => {
                "Use a name such as 'Europe/Berlin' from pg_timezone_names, or an offset from UTC with sign, \
                 hours and minutes: '+02:00' is two hours ahead."
            }
            Self::ScheduleTaken { .. } => "Row-level security may hide it; use another name.",
            Self::KeyTaken { .. } => "Try again, or look for the job that has the key.",
            Self::NoJob { .. } => {
                "It was removed, or its id is wrong; list_jobs shows what there is."
            }
            Self::NullInColumn { .. } => {
                "Set the column, and make it NOT NULL again, as CREATE EXTENSION made it."
            }
            Self::NoSuchTrigger => {
                "Drop the trigger: these functions serve the triggers that CREATE EXTENSION has made."
            }
            Self::InvalidCron { .. } => {
                "Use five fields (minute, hour, day of month, month, day of week), for example \
                 '*/5 * * * *', or a nickname such as '@daily'; try it with minion.next_run()."
            }
            Self::OldLibrary { .. } => {
                "Connect again; if minion is in shared_preload_libraries, restart the server."
            }
            Self::ParameterTypes { .. } | Self::Statement { .. } => {
                "Please report this as a bug of minion."
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.message())
    }
}

impl Failure {
    /// Says, as a WARNING, that all others are seen to; `what` failed is such as "job 5".
    pub fn pass_over(self, what: impl Into<String>) {
        Error::PassedOver { what: what.into(), failure: self }.warn();
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        ErrorReport::new(error.code(), error.message(), "minion").set_hint(error.hint())
    }
}

/// A text in quotes, shortened: a megabyte of input shall not become a megabyte of message.
pub fn excerpt(value: &str) -> String {
    let (shown, rest) = shortened(value);
    format!("\"{shown}\"{rest}")
}

/// The same for JSON, which has quotes of its own.
pub fn json_excerpt(value: &str) -> String {
    let (shown, rest) = shortened(value);
    shown + &rest
}

fn shortened(value: &str) -> (String, String) {
    const MOST: usize = 60;
    match value.char_indices().nth(MOST) {
        None => (value.into(), String::new()),
        Some((end, _)) => (format!("{}…", &value[..end]), format!(" ({} bytes)", value.len())),
    }
}
