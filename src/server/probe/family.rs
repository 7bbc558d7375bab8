//! Looks for a job's parents and children.

use super::index::{Latest, Opened};
use super::keys::is_bigint;
use crate::server::row::{Column, JobState};
use crate::server::time::Timestamp;
use pgrx::pg_sys;

/// Whether a job waits for this one, or did, or is about to: false is certain.
pub fn may_have_waiting_child(id: i64) -> bool {
    let Some(jobs) = Opened::new(c"jobs", c"jobs_waits_for") else { return true };
    let any = &raw mut pg_sys::SnapshotAnyData;
    jobs.first(any, &mut [is_bigint(id)], |_| Some(())).is_some()
}

/// Whether a job that others wait for is not done.
pub enum Unresolved {
    /// It is not, before this time at the earliest: infinity, unless it expires.
    Until(Timestamp),
    /// It is done, or gone.
    Not,
    /// A statement has to look.
    Unknown,
}

/// What `minion.is_unresolved` says of a parent, as it is now.
pub fn unresolved(parent: i64, lax: bool, now: Timestamp) -> Unresolved {
    let Some(jobs) = Opened::new(c"jobs", c"jobs_pkey") else { return Unresolved::Unknown };
    let latest = Latest::new();
    let until = jobs.first(latest.get(), &mut [is_bigint(parent)], |found| {
        let job = found.row();
        let expires = job.get(Column::Expires).unwrap_or(Timestamp::INFINITY);
        Some(match job.state() {
            Some(JobState::Active) => Some(Timestamp::INFINITY),
            Some(JobState::Failed) => (!lax).then_some(Timestamp::INFINITY),
            Some(JobState::Inactive) => Some(expires).filter(|expires| *expires > now),
            _ => None,
        })
    });
    until.flatten().map_or(Unresolved::Not, Unresolved::Until)
}
