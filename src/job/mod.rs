//! Jobs, from enqueue to removal.

pub mod argument;
mod change;
mod claim;
mod complete;
mod dequeue;
mod enqueue;
mod enqueue_many;
mod lanes;
mod look;
mod parked;
pub mod triggers;

pub use complete::fail;
pub use parked::place_due;
