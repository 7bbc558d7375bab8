//! This process and the server's others.

use pgrx::pg_sys;

/// The pid of this one.
pub fn own() -> i32 {
    // SAFETY: a variable of this backend.
    unsafe { pg_sys::MyProcPid }
}

/// Its number among the backends, which no two that live have at the same time; None for some that serve no client.
pub fn number() -> Option<usize> {
    // SAFETY: a variable of this backend.
    #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
    let number = unsafe { pg_sys::MyBackendId };
    // SAFETY: as above.
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    let number = unsafe { pg_sys::MyProcNumber };
    usize::try_from(number).ok()
}

/// How many numbers there are, and not many more. While the server starts.
pub fn most() -> usize {
    // SAFETY: settings of the server, final by now; their sum, MaxBackends, is not in every version. The rest: autovacuum.
    let most = unsafe {
        pg_sys::MaxConnections + pg_sys::max_worker_processes + pg_sys::max_wal_senders + 128
    };
    most.max(128) as usize
}

/// Whether there is a backend of this pid.
pub fn is_alive(pid: i32) -> bool {
    // SAFETY: a look at the server's list of processes.
    unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

/// Asks another one to end, as pg_terminate_backend() does.
pub fn terminate(pid: i32) {
    unsafe extern "C" {
        fn kill(pid: i32, signal: i32) -> i32;
    }
    // SAFETY: one of the server's own processes; one that has ended meanwhile is no harm.
    unsafe { kill(pid, pg_sys::SIGTERM as i32) };
}
