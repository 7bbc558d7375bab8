//! What is known of one name: from which place on an index may have rows of it that count.

use super::memory::{Spin, Zeroes};
use crate::server::time::Timestamp;

/// After so long all of a name's rows are looked at once more, if that takes less than a hundredth of the time: some
/// may have been written while triggers did not fire.
pub const VERIFY_MICROS: i64 = 1_000_000;

/// How long at least what was lowered is remembered, and how many times as long as a look takes. Twice that is what a
/// bound lags behind at most where others lower it all the time.
pub const PERIOD_MICROS: i64 = 50_000;
pub const LOOKS: i64 = 3;

/// Before every row.
pub const FIRST: i64 = i64::MIN;

/// After every row.
pub const END: i64 = i64::MAX;

/// Nobody can choose two names that have the same one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub u64, pub u64);

/// Nothing is kept in mind of it: the key of a place that was never used.
pub const NOBODY: Key = Key(0, 0);

#[derive(Clone, Copy)]
pub struct State {
    pub key: Key,
    pub bound: i64,
    pub version: u64,
    /// What was lowered since a version, and in the period before that.
    low: Lowered,
    low_before: Lowered,
    /// When this period began, and how long it lasts.
    began: Timestamp,
    pub period: i64,
    /// Not raised as long as a transaction before this one is under way; 0 for none.
    pub barrier: u32,
    pub verify_at: Timestamp,
}

/// The first place that was lowered to since a version.
#[derive(Clone, Copy)]
struct Lowered {
    since: u64,
    to: i64,
}

impl State {
    pub fn new(key: Key, version: u64, barrier: u32, now: Timestamp) -> Self {
        let low = Lowered { since: version, to: END };
        Self {
            key,
            bound: FIRST,
            version,
            low,
            low_before: low,
            began: now,
            period: PERIOD_MICROS,
            barrier,
            verify_at: Timestamp(now.0 + VERIFY_MICROS),
        }
    }

    /// A row is there that may stand before the bound.
    pub fn lower(&mut self, version: u64, to: i64, now: Timestamp) {
        self.bound = self.bound.min(to);
        self.low.to = self.low.to.min(to);
        self.version = version;
        // Nothing can be said of a look that began before everything was.
        if to == FIRST || now.0.saturating_sub(self.began.0) >= self.period {
            self.low_before = self.low;
            self.low = Lowered { since: version, to: END };
            self.began = now;
        }
    }

    /// Where the first row may be that a look did not see which began with a version; None if nobody knows any more.
    pub fn lowered_since(&self, version: u64) -> Option<i64> {
        match version {
            _ if version >= self.low.since => Some(self.low.to),
            _ if version >= self.low_before.since => Some(self.low.to.min(self.low_before.to)),
            _ => None,
        }
    }
}

/// All zeroes is one of nobody.
#[repr(C, align(64))]
pub struct Bound {
    state: Spin<State>,
}

// SAFETY: see above; the state is behind its lock.
unsafe impl Zeroes for Bound {}

impl Bound {
    pub fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        self.state.with(work)
    }
}
