//! Telling listeners that a job may have become claimable.

use pgrx::pg_sys;
use std::ffi::c_char;

unsafe extern "C-unwind" {
    // commands/async.h, which pgrx's bindings leave out.
    fn Async_Notify(channel: *const c_char, payload: *const c_char);
}

/// `NOTIFY "minion.job"` when the transaction commits. However often it is called, the server sends one per transaction.
pub fn notify_now() {
    // SAFETY: both strings are constant and NUL-terminated, and the server copies them; an error of the
    // server's unwinds through the guard as from any function of pg_sys.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(c"minion.job".as_ptr(), c"".as_ptr()))
    }
}
