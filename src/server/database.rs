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

/// All of them, and whether processes may be connected to them that are no templates. In a transaction.
pub fn all() -> Vec<(u32, bool)> {
    let mut all = Vec::new();
    // SAFETY: a scan of a catalogue that is shared by all databases; each row is looked at before the next one.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let table = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
        let scan = pg_sys::table_beginscan_catalog(table, 0, std::ptr::null_mut());
        loop {
            let row = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if row.is_null() {
                break;
            }
            let row = &*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_database>(row);
            let is_open = row.datallowconn && !row.datistemplate && row.datconnlimit != INVALID;
            all.push((row.oid.into(), is_open));
        }
        pg_sys::table_endscan(scan);
        pg_sys::table_close(table, lock);
    }
    all
}

/// The connection limit of one whose DROP DATABASE was interrupted.
const INVALID: i32 = -2;

/// Whether the caller owns it.
pub fn is_callers(oid: u32) -> bool {
    // SAFETY: look-ups in the catalogue caches.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        return pg_sys::pg_database_ownercheck(oid.into(), pg_sys::GetUserId());
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        return pg_sys::object_ownercheck(
            pg_sys::DatabaseRelationId,
            oid.into(),
            pg_sys::GetUserId(),
        );
    }
}

/// Whether the caller may create databases.
pub fn may_create() -> bool {
    // SAFETY: look-ups in the catalogue caches; the row is used before it is given back.
    unsafe {
        if pg_sys::superuser() {
            return true;
        }
        let user = pg_sys::Datum::from(pg_sys::GetUserId());
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::AUTHOID as i32, user);
        if row.is_null() {
            return false;
        }
        let may = (*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_authid>(row)).rolcreatedb;
        pg_sys::ReleaseSysCache(row);
        may
    }
}

/// Whether all who may create databases may copy it.
pub fn is_template(oid: u32) -> bool {
    // SAFETY: a look-up in the catalogue caches; the row is used before it is given back.
    unsafe {
        let key = pg_sys::Datum::from(oid);
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::DATABASEOID as i32, key);
        if row.is_null() {
            return false;
        }
        let is =
            (*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_database>(row)).datistemplate;
        pg_sys::ReleaseSysCache(row);
        is
    }
}
