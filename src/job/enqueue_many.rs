//! enqueue_many: an array of jobs, checked element by element, in one statement.

use super::duration::{Duration, Problem};
use super::enqueue;
use super::new_job::NewJob;
use crate::argument::{at_least_one, given, name};
use crate::error::{Error, excerpt, json_excerpt};
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::value::{BigintArray, Jsonb, Shape};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Parents go in as array literals, because SQL arrays can't be ragged; JSON goes in as its own text, so
/// that no digit is lost on the way.
macro_rules! insert {
    ($column:literal, $value:literal, $array:literal, $name:literal, $count:expr) => {
        Statement::new(
            concat!(
                "INSERT INTO minion.jobs (
                    created, delayed, expires,
                    args, attempts, lax, notes, parents, priority, queue, task",
                $column,
                ") SELECT $1, $1 + job.delay, $1 + job.expire,
                    job.args::pg_catalog.jsonb, job.attempts, job.lax, job.notes::pg_catalog.jsonb,
                    job.parents::pg_catalog.int8[], job.priority, job.queue, job.task",
                $value,
                " FROM ROWS FROM (
                    pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),
                    pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
                    pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10),
                    pg_catalog.unnest($11)",
                $array,
                ") WITH ORDINALITY AS job (
                    delay, expire, args, attempts, lax, notes, parents, priority, queue, task",
                $name,
                ", place)
                ORDER BY job.place
                RETURNING id"
            ),
            TYPES.split_at($count).0,
        )
    };
}

const TYPES: &[pg_sys::Oid] = &[
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INTERVALARRAYOID,
    pg_sys::INTERVALARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::INT4ARRAYOID,
    pg_sys::BOOLARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::INT4ARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::INTERVALARRAYOID,
];

/// An older version of the extension has no such column.
const WITHOUT_LIMIT: usize = TYPES.len() - 1;

static INSERT: Statement = insert!("", "", "", "", WITHOUT_LIMIT);
static INSERT_LIMITED: Statement = insert!(
    ", time_limit",
    ", job.time_limit",
    ", pg_catalog.unnest($12)",
    ", time_limit",
    TYPES.len()
);

static JSON: Statement = Statement::new("SELECT $1::pg_catalog.jsonb", &[pg_sys::TEXTOID]);
static BIGINTS: Statement = Statement::new("SELECT $1::pg_catalog.int8[]", &[pg_sys::TEXTOID]);

/// One element: the arguments of enqueue, with its defaults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job<'a> {
    task: String,
    #[serde(borrow, default = "empty_array")]
    args: &'a RawValue,
    #[serde(default = "default_queue")]
    queue: String,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    delay: Duration,
    #[serde(default)]
    expire: Option<Duration>,
    #[serde(default = "one")]
    attempts: i32,
    #[serde(default)]
    parents: Vec<i64>,
    #[serde(default)]
    lax: bool,
    #[serde(borrow, default = "empty_object")]
    notes: &'a RawValue,
    #[serde(default)]
    unique_key: Option<String>,
    #[serde(default)]
    time_limit: Option<Duration>,
}

fn empty_array<'a>() -> &'a RawValue {
    serde_json::from_str("[]").expect("an empty array is JSON")
}

fn empty_object<'a>() -> &'a RawValue {
    serde_json::from_str("{}").expect("an empty object is JSON")
}

fn default_queue() -> String {
    "default".into()
}

fn one() -> i32 {
    1
}

/// The columns of the jobs, ready to be unnested.
#[derive(Default)]
struct Columns {
    delay: Vec<Interval>,
    expire: Vec<Option<Interval>>,
    args: Vec<String>,
    attempts: Vec<i32>,
    lax: Vec<bool>,
    notes: Vec<String>,
    parents: Vec<String>,
    priority: Vec<i32>,
    queue: Vec<String>,
    task: Vec<String>,
    unique_key: Vec<Option<String>>,
    time_limit: Vec<Option<Interval>>,
}

impl Columns {
    fn push(&mut self, job: Job) -> Result<(), Problem> {
        let shaped = |key, value: &RawValue, first, must: &str| match value.get().starts_with(first)
        {
            true => Ok(value.get().to_owned()),
            false => Err(Problem::new(
                key,
                format!("expected {must}, not {}", json_excerpt(value.get())),
            )),
        };
        name("task", &job.task).map_err(Problem::with("task"))?;
        name("queue", &job.queue).map_err(Problem::with("queue"))?;
        at_least_one(job.attempts).map_err(Problem::with("attempts"))?;
        self.delay.push(job.delay.interval("delay")?);
        self.expire.push(job.expire.map(|expire| expire.interval("expire")).transpose()?);
        self.args.push(shaped("args", job.args, '[', "an array")?);
        self.attempts.push(job.attempts);
        self.lax.push(job.lax);
        self.notes.push(shaped("notes", job.notes, '{', "an object")?);
        let parents: Vec<_> = job.parents.iter().map(i64::to_string).collect();
        self.parents.push(["{", &parents.join(","), "}"].concat());
        self.priority.push(job.priority);
        self.queue.push(job.queue);
        self.task.push(job.task);
        if let Some(key) = &job.unique_key {
            name("unique_key", key).map_err(Problem::with("unique_key"))?;
        }
        self.unique_key.push(job.unique_key);
        let limit = job.time_limit.map(|limit| limit.interval("time_limit"));
        self.time_limit.push(limit.transpose()?);
        Ok(())
    }

    /// The first with a time limit.
    fn first_limited(&self) -> Option<usize> {
        self.time_limit.iter().position(Option::is_some)
    }

    /// All of them in one statement; none has a key.
    fn insert(self, session: &Session, now: Timestamp) -> Result<Vec<i64>, Error> {
        let count = self.task.len();
        let is_limited = self.first_limited().is_some();
        let params = params![
            now,
            self.delay,
            self.expire,
            self.args,
            self.attempts,
            self.lax,
            self.notes,
            self.parents,
            self.priority,
            self.queue,
            self.task,
            self.time_limit
        ];
        let rows = match is_limited {
            false => session.run(&INSERT, &params[..WITHOUT_LIMIT])?,
            true => session.run(&INSERT_LIMITED, params)?,
        };
        if rows.count() < count {
            return Err(Error::Refused { table: "jobs" });
        }
        Ok(rows.column(1))
    }

    /// One after the other, for each may be there already.
    fn insert_unique(self, session: &Session, now: Timestamp) -> Result<Vec<i64>, Error> {
        let json = |text: &str| {
            let rows = session.run(&JSON, params![text])?;
            Ok::<_, Error>(session.keep(given("json", rows.get(0, 1))?))
        };
        let bigints = |text: &str| {
            let rows = session.run(&BIGINTS, params![text])?;
            given("parents", rows.get::<Vec<i64>>(0, 1)).map(BigintArray::from)
        };
        let mut ids = Vec::new();
        for at in 0..self.task.len() {
            let job = NewJob {
                task: &self.task[at],
                args: json(&self.args[at])?,
                queue: &self.queue[at],
                priority: self.priority[at],
                delay: self.delay[at],
                expire: self.expire[at],
                attempts: self.attempts[at],
                parents: bigints(&self.parents[at])?,
                lax: self.lax[at],
                notes: json(&self.notes[at])?,
                unique_key: self.unique_key[at].as_deref(),
                time_limit: self.time_limit[at],
            };
            ids.push(enqueue::insert(session, now, &job)?);
        }
        Ok(ids)
    }
}

fn columns(jobs: &str) -> Result<Columns, Error> {
    let elements: Vec<&RawValue> = serde_json::from_str(jobs)
        .map_err(|error| Error::Element { path: "jobs".into(), problem: plain(&error) })?;
    let mut columns = Columns::default();
    for (at, element) in elements.into_iter().enumerate() {
        // serde would take an array as the values of a Job in order.
        if !element.get().starts_with('{') {
            let problem = format!("expected an object, not {}", json_excerpt(element.get()));
            return Err(Error::Element { path: format!("jobs[{at}]"), problem });
        }
        let mut text = serde_json::Deserializer::from_str(element.get());
        let job: Job = serde_path_to_error::deserialize(&mut text).map_err(|error| {
            let path = match error.path().to_string().as_str() {
                "." => format!("jobs[{at}]"),
                key => match error.inner().to_string().starts_with("unknown field") {
                    true => format!("jobs[{at}]"),
                    false => format!("jobs[{at}].{key}"),
                },
            };
            Error::Element { path, problem: plain(error.inner()) }
        })?;
        columns.push(job).map_err(|problem| Error::Element {
            path: format!("jobs[{at}].{}", problem.key),
            problem: problem.what,
        })?;
    }
    Ok(columns)
}

/// serde's words in JSON's: keys instead of fields, and no position in a text that nobody sees.
fn plain(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    match message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        Some(key) => format!("unknown key {}", excerpt(key)),
        None => message
            .replace("missing field", "missing key")
            .replace("sequence", "array")
            .replace("map", "object")
            .replace("expected i32", "expected an int")
            .replace("expected i64", "expected a bigint")
            .replace('`', "\""),
    }
}

/// Puts an array of jobs into their queues, all or none, and returns their ids in the array's order.
///
/// `jobs`: an array of objects whose keys are the arguments of `enqueue`; `task` is required, durations are
/// numbers of seconds or interval text, parents are ids that exist already. For a `unique_key` that a job
/// has, also an earlier one of the array, the id of that job is returned.
///
/// Raises 22032 for anything else, naming the element and the key; 22004 for NULL.
#[pg_extern]
fn enqueue_many(jobs: Option<Jsonb>) -> Result<SetOfIterator<'static, i64>, ErrorReport> {
    let jobs = given("jobs", jobs)?;
    if jobs.shape() != Shape::Array {
        let problem = format!("expected an array of objects, not {}", json_excerpt(&jobs.text()));
        return Err(Error::Element { path: "jobs".into(), problem }.into());
    }
    let jobs = columns(&jobs.text())?;
    let ids = Session::with(|session| {
        if let Some(at) = jobs.first_limited()
            && !session.has_time_limits()?
        {
            let problem = format!("unknown key {}", excerpt("time_limit"));
            return Err(Error::Element { path: format!("jobs[{at}]"), problem });
        }
        match jobs.unique_key.iter().all(Option::is_none) {
            true => jobs.insert(session, clock()),
            false => jobs.insert_unique(session, clock()),
        }
    })?;
    Ok(SetOfIterator::new(ids))
}
