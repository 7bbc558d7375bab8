//! What sessions share: where jobs are, who waits for them, and how they tell each other.
//!
//! `area` is the memory; `lane` the words, `heads` the lanes in it, `counts` the jobs, `room` what happens when it is full;
//! `transaction` and `changes` what is not committed yet; `waiters` who sleeps; `wake` what works without all this.

pub mod area;
pub mod changes;
pub mod counts;
pub mod heads;
pub mod lane;
mod room;
pub mod transaction;
pub mod waiters;
pub mod wake;
