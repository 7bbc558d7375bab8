//! Jobs, from enqueue to removal.

pub mod argument;
mod around;
mod bulk;
mod change;
mod claim;
mod complete;
mod dequeue;
pub mod enqueue;
mod enqueue_many;
mod lanes;
mod limits;
mod look;
mod outcome;
mod parked;
mod placing;
mod take;
pub mod triggers;
mod under_way;
pub mod unique;

pub use complete::fail;
pub use lanes::all_due;
pub use limits::{give as give_places, lock_places_to_write};
pub use parked::{ParkedPlace, next_parked, place_parked};
pub use placing::without_waiting;
