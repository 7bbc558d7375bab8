//! Jobs, from enqueue to removal.

mod bulk;
pub mod change;
pub mod dequeue;
mod duration;
pub mod enqueue;
mod enqueue_many;
pub mod finish;
pub mod new_job;
pub mod outcome;
pub mod unique;
