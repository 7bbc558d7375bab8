//! The library itself, as the server loads it.

use pgrx::pg_sys;

/// Whether this is one of shared_preload_libraries, being loaded while the server starts.
pub fn is_being_preloaded() -> bool {
    // SAFETY: a variable of the server, set while it starts.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// A misspelt minion.… setting is an error from here on, instead of a silent no-op.
pub fn reserve_settings() {
    #[cfg(not(feature = "pg14"))]
    // SAFETY: called from _PG_init with a constant, NUL-terminated prefix.
    unsafe {
        pg_sys::MarkGUCPrefixReserved(c"minion".as_ptr())
    };
}
