//! What sessions share: where jobs are, who waits for them, and how they tell each other.
//!
//! `area` is the memory itself, `lane` the words. What is known of each lane stands in a `slot`, which `room`
//! finds and makes room for; claims use it through `heads`, and `counts` adds up the jobs. `transaction` and
//! `changes` keep what is not committed yet. `bounds` is the same as `heads` for the holders of
//! locks. `waiters` are those who sleep, and `waiting` is how one of them does, until there is a job. `wake` works
//! without all this.

pub mod area;
pub mod bounds;
pub mod changes;
pub mod counts;
pub mod heads;
pub mod lane;
mod room;
mod slot;
pub mod transaction;
pub mod waiters;
pub mod waiting;
pub mod wake;
