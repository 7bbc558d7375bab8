//! What the steps of one call share.

use super::budget::Budget;
use crate::error::Error;
use crate::server::session::Session;
use crate::server::time::Timestamp;
use std::cell::Cell;

/// A part of what repair does.
pub type Step = fn(&Call, &Budget, &mut Did) -> Result<(), Error>;

/// What all steps of a call share.
pub struct Call<'a> {
    pub session: &'a Session,
    pub now: Timestamp,
    /// Nobody has called it.
    pub by_itself: bool,
    pub has_done: Cell<bool>,
}

impl Call<'_> {
    pub fn has_done(&self, count: usize) {
        self.has_done.set(self.has_done.get() || count > 0);
    }
}

/// What a call has done, as its row says.
#[derive(Default)]
pub struct Did {
    pub workers_removed: i64,
    pub jobs_removed: i64,
    pub jobs_expired: i64,
    pub jobs_abandoned: i64,
    pub jobs_stuck: i64,
    pub more: bool,
    /// Somebody had a worker locked whose session is gone.
    pub workers_skipped: bool,
}
