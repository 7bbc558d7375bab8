//! What a claim is asked for, and what comes of it.

use super::look::Eligible;
use super::parked::BATCH;
use super::take::Claimed;
use crate::server::time::Timestamp;
use crate::shared::lane::Lane;

/// What a worker asks for.
pub struct Wanted {
    pub worker: i64,
    pub eligible: Eligible,
    /// `~min_priority`, or the end of all ranks.
    pub worst: i32,
    pub id: Option<i64>,
    pub max_jobs: usize,
}

/// What came of a claim.
#[derive(Default)]
pub struct Outcome {
    pub jobs: Vec<Claimed>,
    /// Where they were, of a call that waits.
    pub lanes: Vec<Lane>,
    /// There was one that might have been claimed, but for others who were at it.
    pub saw_jobs: bool,
    /// There were some whose time has come, ready or not.
    pub saw_due: bool,
    /// When the next one is due, as far as the indexes were asked for that.
    pub next_due: Option<Timestamp>,
    /// Nobody knows when the next one is due.
    pub is_unsettled: bool,
    /// There was one that a limit did not let start.
    pub was_limited: bool,
    /// When time lets one start.
    pub limited_until: Option<Timestamp>,
}

impl Outcome {
    /// A limit lets none start before `until`, if time alone will.
    pub fn limit(&mut self, until: Option<Timestamp>) {
        self.was_limited = true;
        self.limited_until = self.limited_until.into_iter().chain(until).min();
    }
}

/// What a claim may lock besides the jobs that it returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MayLock {
    /// Nothing stays locked after it: batches of jobs that are due or misplaced.
    Many,
    /// What it locks stays locked for longer than the call: what such calls are likely to claim next.
    Few,
    /// It is in a transaction block, or may be followed by a wait.
    Nothing,
}

impl MayLock {
    /// How many jobs that are due, of those that one statement may lock.
    pub fn due(self, max_jobs: usize) -> usize {
        const FEW: usize = 32;
        match self {
            Self::Many => BATCH,
            Self::Few => (FEW + max_jobs).min(BATCH),
            Self::Nothing => 0,
        }
    }
}
