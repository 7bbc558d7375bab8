//! Chance.

use super::time::clock;
use pgrx::pg_sys;

/// Numbers that nobody has to be unable to guess.
pub struct Chance(u64);

impl Chance {
    pub fn new() -> Self {
        Self(clock().0.unsigned_abs() | 1)
    }

    /// From 0 to below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % end as u64) as usize
    }
}

/// Numbers that nobody is able to guess.
pub fn strong_random() -> [u64; 2] {
    let mut random = [0_u64; 2];
    // SAFETY: so many bytes are written.
    if !unsafe { pg_sys::pg_strong_random(random.as_mut_ptr().cast(), size_of_val(&random)) } {
        pgrx::error!("could not generate a random number");
    }
    random
}
