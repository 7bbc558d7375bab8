//! What a backend keeps in mind of tables that seldom change: the server's invalidation messages, which
//! triggers on those tables ask for, tell every backend when they have.

use super::relation::oid_of;
use pgrx::{PgTrigger, pg_sys};
use std::cell::Cell;
use std::ffi::CStr;

/// What is paused and what is limited.
const TABLES: [&CStr; 2] = [c"paused_queues", c"limit_rules"];

thread_local! {
    static CURRENT: Cell<bool> = const { Cell::new(false) };
    static WATCHED: Cell<[pg_sys::Oid; 2]> = const { Cell::new([pg_sys::InvalidOid; 2]) };
    static JOBS: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) };
    static CHANGES_OF_JOBS: Cell<u64> = const { Cell::new(0) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Whether nothing has changed since `watch`.
pub fn is_current() -> bool {
    // SAFETY: reads messages that have come, as each lock on a table does.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    CURRENT.get()
}

/// To be called before the tables are read. False if there are none, as before an upgrade.
pub fn watch() -> bool {
    listen();
    WATCHED.set(tables());
    let found = exist();
    CURRENT.set(found);
    found
}

/// Counts the changes to the description of `minion.jobs` from now on.
pub fn watch_jobs(jobs: pg_sys::Oid) {
    listen();
    JOBS.set(jobs);
}

/// How many of them this backend has heard of.
pub fn changes_of_jobs() -> u64 {
    CHANGES_OF_JOBS.get()
}

fn listen() {
    if !REGISTERED.get() {
        // SAFETY: the callback is a function of this library, which is never unloaded.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(at_change), pg_sys::Datum::null());
        }
        REGISTERED.set(true);
    }
}

/// Whether there are such tables: an older version of the extension has none.
pub fn exist() -> bool {
    tables().iter().all(|table| *table != pg_sys::InvalidOid)
}

fn tables() -> [pg_sys::Oid; 2] {
    TABLES.map(oid_of)
}

/// Tells all backends, when the transaction commits, that a table has changed; this one at once.
pub fn tell(trigger: &PgTrigger) {
    // SAFETY: the relation of a trigger call is open.
    unsafe { pg_sys::CacheInvalidateRelcache(trigger.trigger_data().tg_relation) };
}

/// A table's description has changed, or all have. Touches nothing but what was initialised before: it may not
/// fail.
extern "C-unwind" fn at_change(_: pg_sys::Datum, table: pg_sys::Oid) {
    let is_any_of = |tables: &[pg_sys::Oid]| table == pg_sys::InvalidOid || tables.contains(&table);
    if is_any_of(&WATCHED.get()) {
        CURRENT.set(false);
    }
    if is_any_of(&[JOBS.get()]) {
        CHANGES_OF_JOBS.set(CHANGES_OF_JOBS.get().wrapping_add(1));
    }
}
