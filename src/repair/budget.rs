//! How long one call of repair works, and how much it takes at a time.

use crate::server::time::{Timestamp, clock, statement_ends};
use crate::settings;
use std::cell::Cell;
use std::time::Duration;

/// As many rows as the statements' LIMIT, which is one more where [`super::walk::Cursor`] says so. So many, for
/// each batch is a subtransaction, and a transaction with more than 64 slows down everybody's snapshots.
pub const MOST: usize = 10_000;

/// The time that a call, or a step of it, has. Each step does something even when it is over, so that every
/// call leaves less, however short its time.
pub struct Budget<'a> {
    ends: Option<Timestamp>,
    /// Whether anybody had to stop because of it.
    spent: &'a Cell<bool>,
}

impl<'a> Budget<'a> {
    /// minion.repair_limit, but at most half of what is left before statement_timeout cancels the call: then
    /// nothing of it would stay.
    pub fn of_call(spent: &'a Cell<bool>) -> Self {
        let now = clock();
        let limit = settings::repair_limit().map(|limit| now.0 + limit);
        let half = statement_ends().map(|ends| now.0 + (ends.0 - now.0).max(0) / 2);
        let ends = [limit, half].into_iter().flatten().min();
        Self { ends: ends.map(Timestamp), spent }
    }

    /// So much, for a transaction that is to be short.
    pub fn of(most: Duration, spent: &'a Cell<bool>) -> Self {
        Self { ends: Some(Timestamp(clock().0 + most.as_micros() as i64)), spent }
    }

    /// Half of what is left, for what may not use up the rest.
    pub fn half(&self) -> Budget<'a> {
        let now = clock();
        let ends = self.ends.map(|ends| Timestamp(now.0 + (ends.0 - now.0).max(0) / 2));
        Budget { ends, spent: self.spent }
    }

    /// A small part of what is left, for walks over all jobs that mostly find nothing. They say by themselves
    /// whether that they had to stop matters.
    pub fn share<'b>(&self, spent: &'b Cell<bool>) -> Budget<'b> {
        const PART: i64 = 32;
        let now = clock();
        let ends = self.ends.map(|ends| Timestamp(now.0 + (ends.0 - now.0).max(0) / PART));
        Budget { ends, spent }
    }

    /// Whether there is time for more; to be asked only where there is more to do.
    pub fn goes_on(&self) -> bool {
        let goes_on = self.ends.is_none_or(|ends| clock() < ends);
        if !goes_on {
            self.spent.set(true);
        }
        goes_on
    }

    /// For one who has to stop for another reason.
    pub fn end(&self) {
        self.spent.set(true);
    }

    /// How many rows to take next, after so many have taken from `began` to now: one batch shall be a small
    /// part of what is left, for a statement is not interrupted in its middle.
    pub fn next_size(&self, size: usize, began: Timestamp) -> usize {
        let now = clock();
        let took = now.0 - began.0;
        let left = self.ends.map_or(i64::MAX, |ends| ends.0 - now.0);
        match () {
            () if took > left / 8 => (size / 2).max(1),
            () if took < left / 16 => (size * 2).min(MOST),
            () => size,
        }
    }
}
