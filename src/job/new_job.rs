//! The data of a job that is to be.

use crate::server::statement::{Param, params};
use crate::server::time::Timestamp;
use crate::server::value::{BigintArray, Jsonb};
use pgrx::datum::Interval;
use pgrx::pg_sys;

/// What [`NewJob::params`] are; the last is the unique key.
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
];

/// Most jobs have no key, and an older version of the extension has no such column.
pub const WITHOUT_KEY: usize = TYPES.len() - 1;

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
            self.unique_key
        ]
    }
}
