//! The data of a job that is to be.

use crate::server::statement::{Param, params};
use crate::server::time::Timestamp;
use crate::server::value::{BigintArray, Jsonb};
use pgrx::datum::Interval;
use pgrx::pg_sys;

/// What [`NewJob::params`] are; the last are the unique key and the time limit.
pub const TYPES: &[pg_sys::Oid] = &[
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INTERVALOID,
    pg_sys::INTERVALOID,
    pg_sys::JSONBOID,
    pg_sys::INT4OID,
    pg_sys::BOOLOID,
    pg_sys::JSONBOID,
    pg_sys::INT8ARRAYOID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::INTERVALOID,
];

/// Most jobs have no limit, and no key, and an older version of the extension has no such columns.
pub const WITHOUT_LIMIT: usize = TYPES.len() - 1;
pub const WITHOUT_KEY: usize = TYPES.len() - 2;

/// Inserts a job with the first of [`NewJob::params`].
macro_rules! insert {
    ($columns:literal, $values:literal, $on_conflict:literal, $count:expr) => {
        Statement::new(
            concat!(
                "INSERT INTO minion.jobs (
                    created, delayed, expires,
                    args, attempts, lax, notes, parents, priority, queue, task",
                $columns,
                ") VALUES ($1, $1 + $2, $1 + $3, $4, $5, $6, $7, $8, $9, $10, $11",
                $values,
                ") ",
                $on_conflict,
                " RETURNING id"
            ),
            TYPES.split_at($count).0,
        )
    };
}
pub(super) use insert;

/// A job to be, as the arguments say.
pub struct NewJob<'a> {
    pub task: &'a str,
    pub args: Jsonb,
    pub queue: &'a str,
    pub priority: i32,
    pub delay: Interval,
    pub expire: Option<Interval>,
    pub attempts: i32,
    pub parents: BigintArray,
    pub lax: bool,
    pub notes: Jsonb,
    pub unique_key: Option<&'a str>,
    pub time_limit: Option<Interval>,
}

impl NewJob<'_> {
    pub fn params(&self, now: Timestamp) -> [Param; TYPES.len()] {
        *params![
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
            self.unique_key,
            self.time_limit
        ]
    }
}
