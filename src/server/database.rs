//! Databases of the cluster.

use pgrx::pg_sys;
use std::ffi::CStr;

/// The name of a database of the cluster, unless it was dropped.
pub fn name_of(oid: u32) -> Option<String> {
    // SAFETY: a look-up in the catalogue caches; the name is a copy of the server's.
    unsafe {
        let name = pg_sys::get_database_name(oid.into());
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// The one that this session is in.
pub fn own() -> u32 {
    // SAFETY: a variable of this backend.
    unsafe { pg_sys::MyDatabaseId }.into()
}

/// Whether there is such a database.
pub fn exists(oid: u32) -> bool {
    is_cached(pg_sys::SysCacheIdentifier::DATABASEOID, oid)
}

/// Whether there is such a table in this database.
pub fn has_relation(oid: u32) -> bool {
    is_cached(pg_sys::SysCacheIdentifier::RELOID, oid)
}

fn is_cached(cache: pg_sys::SysCacheIdentifier::Type, oid: u32) -> bool {
    let (oid, none) = (pg_sys::Datum::from(oid), pg_sys::Datum::null());
    // SAFETY: a look-up by oid, in a transaction.
    unsafe { pg_sys::SearchSysCacheExists(cache as i32, oid, none, none, none) }
}
