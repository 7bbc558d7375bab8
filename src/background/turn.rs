//! When something has its turn.

use crate::server::time::Timestamp;
use std::time::Duration;

/// A worker is there so much sooner than it has something to do.
pub const AHEAD: Duration = Duration::from_secs(1);

/// How long something is left alone that has failed, and at last; and something that others were in the way of.
pub const UNDONE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
pub const OTHERS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// When a duty has its turn again.
#[derive(Clone, Copy)]
pub struct Turn {
    /// Though nobody asks.
    pub at: Timestamp,
    /// Though somebody asks.
    pub not_before: Timestamp,
    /// If it is to be tried again, after longer and longer pauses: how long they are, at first and at last.
    pub pauses: Option<(Duration, Duration)>,
}

impl Turn {
    pub fn at(at: Timestamp) -> Self {
        Self { at, not_before: Timestamp::BEFORE_ALL, pauses: None }
    }

    /// Only if somebody asks.
    pub fn never() -> Self {
        Self::at(Timestamp::INFINITY)
    }

    pub fn not_before(self, not_before: Timestamp) -> Self {
        Self { not_before, ..self }
    }

    /// Others are at the same.
    pub fn busy() -> Self {
        Self { pauses: Some(OTHERS), ..Self::never() }
    }

    /// Not all of it could be done.
    pub fn undone(self) -> Self {
        Self { pauses: Some(UNDONE), ..self }
    }
}
