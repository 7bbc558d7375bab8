//! Sleeping.

use super::transaction::check_for_interrupts;
use pgrx::pg_sys;
use std::ffi::c_long;
use std::time::Duration;

/// How long a waiting call sleeps before it looks again: short at first, for the job that comes at once.
pub struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(1);

    pub fn new() -> Self {
        Self { next: Self::FIRST, longest: Duration::from_millis(100) }
    }

    /// Sleeps, at most for `left`. Cancel, statement_timeout, termination and shutdown end it at once.
    pub fn pause(&mut self, left: Duration) {
        sleep(self.next(left, Duration::ZERO));
    }

    /// How long the next one is, at most `left`, after a look that took so long: where looks are dear, they come
    /// seldom.
    pub fn next(&mut self, left: Duration, took: Duration) -> Duration {
        let pause = self.next.max((10 * took).min(self.longest * 10)).min(left);
        self.next = (self.next * 2).min(self.longest);
        pause
    }
}

/// Until the latch is set or the time is over. Raises what interrupts there are.
pub fn sleep(most: Duration) {
    wait(Some(most));
    check_for_interrupts();
}

/// The same, and raises nothing; None: for ever. Rounded up to a millisecond: not to wake just before the time, and again and
/// again. Whatever waits for a lock has the latch reset: what it was set for is to be asked for before.
pub fn wait(most: Option<Duration>) {
    const LONGEST: u128 = 1 << 30;
    // SAFETY: MyLatch is this backend's own latch and lives as long as it does.
    unsafe {
        let timeout = if most.is_some() { pg_sys::WL_TIMEOUT } else { 0 };
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            (pg_sys::WL_LATCH_SET | timeout | pg_sys::WL_EXIT_ON_PM_DEATH) as i32,
            most.map_or(-1, |most| most.as_micros().div_ceil(1_000).clamp(1, LONGEST) as c_long),
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
}
