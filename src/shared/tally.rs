//! How many jobs there are of each kind.

use std::sync::atomic::{AtomicI64, Ordering};

/// What is counted: the states in their order, and the jobs parked until they are due.
pub const KINDS: usize = 5;
pub const INACTIVE: usize = 0;
pub const DELAYED: usize = 4;
pub type Counts = [i64; KINDS];

pub fn add(sum: &mut Counts, change: &Counts) {
    for (sum, change) in sum.iter_mut().zip(change) {
        *sum += change;
    }
}

/// The counters of a lane.
#[derive(Default)]
pub struct LaneCounts([AtomicI64; KINDS]);

impl LaneCounts {
    pub fn add(&self, change: &Counts) {
        for (count, change) in self.0.iter().zip(change) {
            count.fetch_add(*change, Ordering::Relaxed);
        }
    }

    pub fn set_zero(&self) {
        for count in &self.0 {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub fn are_zero(&self) -> bool {
        self.0.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }

    pub fn get(&self) -> Counts {
        std::array::from_fn(|kind| self.0[kind].load(Ordering::Relaxed))
    }
}
