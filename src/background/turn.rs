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
}

impl Turn {
    pub fn at(at: Timestamp) -> Self {
        Self { at, not_before: Timestamp::BEFORE_ALL }
    }

    /// Only if somebody asks.
    pub fn never() -> Self {
        Self::at(Timestamp::INFINITY)
    }

    pub fn not_before(self, not_before: Timestamp) -> Self {
        Self { not_before, ..self }
    }
}
