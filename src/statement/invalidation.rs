//! What a backend keeps in mind of tables that seldom change: the server's invalidation messages, which
//! triggers on those tables ask for, tell every backend when they have.

use super::{oid_of, users};
use pgrx::{PgTrigger, pg_sys};
use std::cell::Cell;
use std::ffi::CStr;

/// What is paused and what is limited.
const TABLES: [&CStr; 2] = [c"paused_queues", c"limit_rules"];

thread_local! {
    static CURRENT: Cell<bool> = const { Cell::new(false) };
    static WATCHED: Cell<[pg_sys::Oid; 2]> = const { Cell::new([pg_sys::InvalidOid; 2]) };
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

/// Hears of each change to a table's description from now on.
pub(super) fn listen() {
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

/// Touches nothing but what was initialised before: it may not fail.
extern "C-unwind" fn at_change(_: pg_sys::Datum, table: pg_sys::Oid) {
    if table == pg_sys::InvalidOid || WATCHED.get().contains(&table) {
        CURRENT.set(false);
    }
    users::at_change(table);
}
