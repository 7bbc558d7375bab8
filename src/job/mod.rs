//! Jobs, from enqueue to removal.

mod bulk;
mod change;
pub mod dequeue;
pub mod enqueue;
mod enqueue_many;
pub mod finish;
pub mod new_job;
pub mod outcome;
pub mod unique;
