//! Telling that a job may have become claimable, and waiting for it.

use crate::settings;
use crate::statement::check_for_interrupts;
use pgrx::pg_sys;
use std::ffi::{c_char, c_long};
use std::time::Duration;

unsafe extern "C-unwind" {
    // commands/async.h, which pgrx's bindings leave out.
    fn Async_Notify(channel: *const c_char, payload: *const c_char);
}

/// `NOTIFY "minion.job"` when the transaction commits, unless minion.notify is off. However often it is
/// called, the server sends one per transaction, and it keeps count through savepoints better than we could.
pub fn notify() {
    if !settings::notify() {
        return;
    }
    // SAFETY: both strings are constant and NUL-terminated, and the server copies them; an error of the
    // server's unwinds through the guard as from any function of pg_sys.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(c"minion.job".as_ptr(), c"".as_ptr()))
    }
}

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
    // SAFETY: MyLatch is this backend's own latch and lives as long as it does.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as i32,
            most.as_millis().clamp(1, 1 << 30) as c_long,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    check_for_interrupts();
}
