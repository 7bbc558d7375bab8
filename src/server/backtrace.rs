//! Backtraces, which have no place in an error's DETAIL.

use std::backtrace::Backtrace;
use std::env;

const VARIABLE: &str = "RUST_LIB_BACKTRACE";

/// Settles that there are none, whatever RUST_BACKTRACE says in the server's environment: pgrx would send them to
/// the client with each error. std asks the environment once, for this library's copy of std alone, so that the
/// variable can be put back for others.
pub fn settle_for_none() {
    let before = env::var_os(VARIABLE);
    // SAFETY: a backend, or the postmaster while it loads libraries, has one thread.
    unsafe { env::set_var(VARIABLE, "0") };
    drop(Backtrace::capture());
    // SAFETY: as above.
    unsafe {
        match before {
            Some(before) => env::set_var(VARIABLE, before),
            None => env::remove_var(VARIABLE),
        }
    }
}
