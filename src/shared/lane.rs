//! What claims and shared memory both speak of: lanes, and places in them.

/// A place in the claim order: priority DESC (as `~priority` ASC), then id. Wider than a priority, so that there
/// is one after the last job that there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    rank: i64,
    pub id: i64,
}

impl Position {
    /// The first that a job can have.
    pub const FIRST: Position = Position { rank: i32::MIN as i64, id: i64::MIN };

    /// After every job: no job has it.
    pub const END: Position = Position { rank: i32::MAX as i64 + 1, id: i64::MIN };

    pub fn new(rank: i32, id: i64) -> Position {
        Position { rank: rank.into(), id }
    }

    /// Right after all jobs of a rank.
    pub fn after(rank: i32) -> Position {
        Position { rank: i64::from(rank) + 1, id: i64::MIN }
    }

    /// Right after all jobs of the same rank.
    pub fn end_of_rank(self) -> Position {
        Position { rank: self.rank + 1, id: i64::MIN }
    }

    /// None for the one that no job has.
    pub fn rank(self) -> Option<i32> {
        self.rank.try_into().ok()
    }

    /// The one right after it.
    pub fn next(self) -> Position {
        match self.id.checked_add(1) {
            Some(id) => Position { id, ..self },
            None => Position { rank: self.rank + 1, id: i64::MIN },
        }
    }

    /// The one right before it; there is none before the first.
    pub fn previous(self) -> Option<Position> {
        match self.id.checked_sub(1) {
            Some(id) => Some(Position { id, ..self }),
            None => Some(Position { rank: self.rank - 1, id: i64::MAX }),
        }
        .filter(|previous| *previous >= Position::FIRST)
    }
}

/// A (queue, task) pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub queue: String,
    pub task: String,
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn the_last_job_that_there_can_be_is_not_the_end() {
        let last = Position::new(i32::MAX, i64::MAX);
        assert!(last < Position::END);
        assert_eq!(last.next(), Position::END);
        assert_eq!(Position::END.previous(), Some(last));
        assert_eq!(Position::after(i32::MAX), Position::END);
        assert_eq!(Position::END.rank(), None);
    }

    #[test]
    fn after_the_last_id_comes_the_next_rank() {
        let last = Position::new(-1, i64::MAX);
        assert_eq!(last.next(), Position::new(0, i64::MIN));
        assert_eq!(last.next(), Position::after(-1));
        assert_eq!(last.next().previous(), Some(last));
        assert_eq!(Position::FIRST.previous(), None);
    }
}
