//! What claims and shared memory both speak of: lanes, and places in them.

/// A place in the claim order: priority DESC (as `~priority` ASC), then id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub rank: i32,
    pub id: i64,
}

impl Position {
    /// Before every job.
    pub const FIRST: Position = Position { rank: i32::MIN, id: i64::MIN };

    /// After every job.
    pub const END: Position = Position { rank: i32::MAX, id: i64::MAX };

    /// This position, or the end of a rank that comes before it.
    pub fn within(self, rank: i32) -> Position {
        if self.rank == rank { self } else { Position { rank, id: i64::MAX } }
    }

    /// The one right after it.
    pub fn next(self) -> Position {
        Position { id: self.id.saturating_add(1), ..self }
    }
}

/// A (queue, task) pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub queue: String,
    pub task: String,
}
