//! Looks for the first ready job of a lane.

use super::index::{Found, Latest, Opened};
use super::keys::{at_least, is_name};
use crate::server::row::Column;
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::snapshot_is_fixed;
use pgrx::pg_sys;

/// A ready job, as far as a claim has to know it.
pub struct ReadyJob {
    pub rank: i32,
    pub id: i64,
    /// It has parents, has expired or is delayed: a closer look is needed.
    pub may_be_misplaced: bool,
}

impl ReadyJob {
    fn of(found: &Found, now: Timestamp) -> Self {
        let job = found.row();
        Self {
            rank: !job.get::<i32>(Column::Priority).expect("priority is NOT NULL"),
            id: job.get(Column::Id).expect("id is NOT NULL"),
            may_be_misplaced: job.has_parents()
                || job.get(Column::Expires).is_some_and(|expires: Timestamp| expires <= now)
                // One that was enqueued after `now` was read has come since.
                || job.get(Column::Delayed).is_none_or(|due: Timestamp| due > now && due > clock()),
        }
    }
}

/// What a look came to.
pub enum Seen<T> {
    This(T),
    Nothing,
    /// A statement has to look.
    Unknown,
}

/// The first ready job of a lane from a position on.
pub fn first_ready(queue: &str, task: &str, from: (i32, i64), now: Timestamp) -> Seen<ReadyJob> {
    ready(queue, task, from, |found| Some(ReadyJob::of(found, now)))
}

/// Locks the first ready job of a lane that nobody else has, from a position to a last one of the same rank, and
/// returns its id. `asked`: the job whose parents were asked a moment ago.
pub fn lock_first_ready(
    queue: &str,
    task: &str,
    (rank, id): (i32, i64),
    asked: i64,
    last: i64,
    now: Timestamp,
) -> Seen<i64> {
    let locked = ready(queue, task, (rank, id), |found| {
        let job = ReadyJob::of(found, now);
        if job.rank != rank || job.id > last {
            return Some(Seen::Nothing);
        }
        if job.may_be_misplaced && job.id != asked {
            return Some(Seen::Unknown);
        }
        found.lock().then_some(Seen::This(job.id))
    });
    match locked {
        Seen::This(seen) => seen,
        Seen::Nothing => Seen::Nothing,
        Seen::Unknown => Seen::Unknown,
    }
}

fn ready<T>(
    queue: &str,
    task: &str,
    (rank, id): (i32, i64),
    take: impl FnMut(&Found) -> Option<T>,
) -> Seen<T> {
    let Some(jobs) = Opened::new(c"jobs", c"jobs_ready") else { return Seen::Unknown };
    if snapshot_is_fixed() || !jobs.is_readable() {
        return Seen::Unknown;
    }
    let latest = Latest::new();
    // A row comparison: its columns, and one key that stands for it.
    let mut columns = [
        at_least(3, pg_sys::F_BTINT4CMP, rank.into(), false),
        at_least(4, pg_sys::F_BTINT8CMP, id.into(), true),
    ];
    let from = pg_sys::ScanKeyData {
        sk_flags: pg_sys::SK_ROW_HEADER as i32,
        sk_attno: 3,
        sk_strategy: pg_sys::BTGreaterEqualStrategyNumber as pg_sys::StrategyNumber,
        sk_argument: pg_sys::Datum::from(columns.as_mut_ptr()),
        ..Default::default()
    };
    let mut keys = [is_name(1, queue), is_name(2, task), from];
    jobs.first(latest.get(), &mut keys, take).map_or(Seen::Nothing, Seen::This)
}
