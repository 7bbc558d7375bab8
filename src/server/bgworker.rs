//! Background workers of the server: one that is started with it, those that this one starts, and what each of them is
//! told and asks while it runs.

use super::transaction::check_for_interrupts;
use pgrx::bgworkers::{BackgroundWorkerBuilder, BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::time::Duration;

unsafe extern "C-unwind" {
    // tcop/tcopprot.h and postmaster/interrupt.h: what the server's own processes do about signals. pgrx's bindings leave
    // one out, and have a function around the other.
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
}

/// What the processes do. Set when the library is loaded, and inherited by all processes.
#[derive(Clone, Copy)]
pub struct Mains {
    pub launcher: fn(),
    /// With the oid of its database.
    pub worker: fn(u32),
}

/// What hears of an error: its message, and whether it only says that the process was asked to end.
type Hear = fn(&CStr, bool);

thread_local! {
    static MAINS: Cell<Option<Mains>> = const { Cell::new(None) };
    static AT_EXIT: Cell<Option<fn()>> = const { Cell::new(None) };
    static AT_ERROR: Cell<Option<Hear>> = const { Cell::new(None) };
    static NEXT_LOG: Cell<pg_sys::emit_log_hook_type> = const { Cell::new(None) };
}

/// How long after its end the launcher is started again.
const RESTART: Duration = Duration::from_secs(2);

/// Has the launcher started with the server, or with the end of recovery. False while the server is only upgraded: it
/// starts none then.
pub fn register(mains: Mains) -> bool {
    MAINS.set(Some(mains));
    // SAFETY: a variable of the server, set before libraries are loaded.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return false;
    }
    builder("minion launcher", "minion_launcher_main").set_restart_time(Some(RESTART)).load();
    true
}

fn builder(name: &str, function: &str) -> BackgroundWorkerBuilder {
    // Also sets when it may start: after recovery.
    BackgroundWorkerBuilder::new(name)
        .set_library("minion")
        .set_function(function)
        .enable_spi_access()
}

/// A process that this one has started.
pub struct Child(DynamicBackgroundWorker);

impl Child {
    /// For a database. None if the server has no room for one more (max_worker_processes).
    pub fn start(database: u32) -> Option<Self> {
        // SAFETY: the handle is kept beyond any transaction; the pid is this process's.
        let pid = unsafe {
            pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            pg_sys::MyProcPid
        };
        builder(&format!("minion worker for database {database}"), "minion_worker_main")
            .set_type("minion worker")
            .set_restart_time(None)
            .set_argument(Some(pg_sys::Datum::from(database)))
            .set_notify_pid(pid)
            .load_dynamic()
            .ok()
            .map(Self)
    }

    pub fn is_over(&self) -> bool {
        matches!(self.0.pid(), Err(BackgroundWorkerStatus::Stopped))
    }
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn minion_launcher_main(_argument: pg_sys::Datum) {
    if let Some(mains) = MAINS.get() {
        (mains.launcher)();
    }
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn minion_worker_main(database: pg_sys::Datum) {
    if let Some(mains) = MAINS.get() {
        (mains.worker)(database.value() as u32);
    }
}

/// Has signals do what they do in the server's own processes, and `at_exit` done when this one ends, however it does.
/// It must not be able to fail.
pub fn begin(at_exit: fn()) {
    AT_EXIT.set(Some(at_exit));
    // SAFETY: the callback is a function of this library, which is never unloaded; the handlers are the server's.
    unsafe {
        pg_sys::before_shmem_exit(Some(exit), pg_sys::Datum::null());
        for (signal, handler) in [
            (pg_sys::SIGHUP, SignalHandlerForConfigReload as unsafe extern "C-unwind" fn(c_int)),
            (pg_sys::SIGTERM, die),
        ] {
            #[cfg(not(feature = "pg18"))]
            pg_sys::pqsignal(signal as c_int, Some(handler));
            #[cfg(feature = "pg18")]
            pg_sys::pqsignal_be(signal as c_int, Some(handler));
        }
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

extern "C-unwind" fn exit(_: c_int, _: pg_sys::Datum) {
    if let Some(work) = AT_EXIT.get() {
        work();
    }
}

/// Connects to a database, as the superuser that the cluster began with; without one, to what all of them share.
pub fn connect(database: Option<u32>) {
    // SAFETY: called once, by a background worker that is to be connected.
    unsafe {
        match database {
            Some(oid) => {
                pg_sys::BackgroundWorkerInitializeConnectionByOid(oid.into(), pg_sys::InvalidOid, 0)
            }
            None => {
                pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0)
            }
        }
    }
}

/// Has `hear` told of each error that is reported by this process. It must not be able to fail.
pub fn hear_errors(hear: Hear) {
    AT_ERROR.set(Some(hear));
    // SAFETY: the hook is chained, and its function never unloaded.
    unsafe {
        NEXT_LOG.set(pg_sys::emit_log_hook);
        pg_sys::emit_log_hook = Some(heard);
    }
}

unsafe extern "C-unwind" fn heard(error: *mut pg_sys::ErrorData) {
    // SAFETY: what the server reports; its message, if it has one, is a C string.
    unsafe {
        if let Some(next) = NEXT_LOG.get() {
            next(error);
        }
        let Some(error) = error.as_ref() else { return };
        if error.elevel >= PgLogLevel::ERROR as c_int
            && !error.message.is_null()
            && let Some(hear) = AT_ERROR.get()
        {
            let asked = error.sqlerrcode == PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN as c_int;
            hear(CStr::from_ptr(error.message), asked);
        }
    }
}

/// Less than deadlock_timeout: whoever waits for it in a circle is not the one to be cancelled.
pub const LOCK_TIMEOUT: &CStr = c"100";

/// What it goes by, whatever the configuration, the database and the role say.
const SETTINGS: [(&CStr, &CStr); 12] = [
    (c"role", c"none"),
    (c"session_replication_role", c"origin"),
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"lock_timeout", LOCK_TIMEOUT),
    (c"statement_timeout", c"0"),
    (c"idle_in_transaction_session_timeout", c"0"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    (c"default_transaction_deferrable", c"off"),
    // What is lost in a crash is done again.
    (c"synchronous_commit", c"off"),
    (c"row_security", c"on"),
    (c"application_name", c"minion worker"),
];

/// Makes it independent of the configuration.
pub fn settle() {
    // SAFETY: outside of a transaction, as RESET ALL does it: what others' triggers have set is no more.
    unsafe { pg_sys::ResetAllOptions() };
    for (name, value) in SETTINGS {
        set(name, value);
    }
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    set(c"transaction_timeout", c"0");
}

/// A setting of this process, whatever the database, the role and the configuration say.
pub fn set(name: &CStr, value: &CStr) {
    // SAFETY: C strings; settings that a superuser may change.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            // As a SET would, which it goes before.
            pg_sys::GucSource::PGC_S_SESSION,
        );
    }
}

/// Whether it is to end.
pub fn is_terminated() -> bool {
    // SAFETY: a variable of this process, which a signal handler sets.
    unsafe { (&raw const pg_sys::ProcDiePending).read_volatile() != 0 }
}

/// Sees to what has been asked of the process meanwhile; true if the settings were read anew.
pub fn see_to_interrupts() -> bool {
    // SAFETY: a variable of this process. Nothing runs that could be cancelled.
    unsafe { (&raw mut pg_sys::QueryCancelPending).write_volatile(0) };
    check_for_interrupts();
    // SAFETY: a variable of this process, which a signal handler sets.
    let reload = unsafe { (&raw mut pg_sys::ConfigReloadPending).replace(0) != 0 };
    if reload {
        // SAFETY: as the server's own processes do it, outside of a transaction.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
    }
    reload
}

/// Ends the process. One that was started with the server is started again if this is not 0.
pub fn leave(code: i32) -> ! {
    // SAFETY: the process ends, with all its callbacks.
    unsafe { pg_sys::proc_exit(code) };
    // pgrx's bindings do not know this of all versions.
    #[allow(unreachable_code)]
    {
        unreachable!("the process has ended")
    }
}
