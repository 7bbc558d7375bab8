//! When something has its turn.

use crate::server::time::Timestamp;
use std::time::Duration;

/// A worker is there so much sooner than it has something to do.
pub const AHEAD: Duration = Duration::from_secs(1);

/// When a duty has its turn again.
#[derive(Clone, Copy)]
pub struct Turn {
    /// Though nobody asks.
    pub at: Timestamp,
    /// Though somebody asks.
    pub not_before: Timestamp,
    /// Else it is to be tried again, after longer and longer pauses.
    pub is_done: bool,
}

impl Turn {
    pub fn at(at: Timestamp) -> Self {
        Self { at, not_before: Timestamp::BEFORE_ALL, is_done: true }
    }

    /// Only if somebody asks.
    pub fn never() -> Self {
        Self::at(Timestamp::INFINITY)
    }

    pub fn not_before(self, not_before: Timestamp) -> Self {
        Self { not_before, ..self }
    }

    /// Not all of it could be done.
    pub fn undone(self) -> Self {
        Self { is_done: false, ..self }
    }
}
