//! Whose rights work is done with.

use super::relation::{Relation, oid_of};
use pgrx::pg_sys;

/// Runs `work` with the rights of a table's owner, as the server's own foreign keys do: what keeps the queue right
/// must reach every row, whatever the caller may see or change.
pub fn as_owner_of<T>(table: Relation, work: impl FnOnce() -> T) -> T {
    as_user(table.owner, work)
}

/// The same for what a function has to know or keep that its caller has no business with: who holds a
/// unique key, and what limits say.
pub fn as_owner_of_jobs<T>(work: impl FnOnce() -> T) -> T {
    match owner_of_jobs() {
        Some(owner) => as_user(owner, work),
        None => work(),
    }
}

/// The same until what is returned is dropped, after the transaction's end.
pub fn as_owner_until_commit() -> Option<Restore> {
    owner_of_jobs().map(become_user)
}

fn owner_of_jobs() -> Option<pg_sys::Oid> {
    // SAFETY: look-ups in the catalogue caches; the row is used before it is given back.
    unsafe {
        let row = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(oid_of(c"jobs")),
        );
        if row.is_null() {
            return None;
        }
        let owner = (*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_class>(row)).relowner;
        pg_sys::ReleaseSysCache(row);
        Some(owner)
    }
}

/// Puts back whose rights there were, when it is dropped.
pub struct Restore(pg_sys::Oid, i32);

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: puts back what was there.
        unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) }
    }
}

fn as_user<T>(user: pg_sys::Oid, work: impl FnOnce() -> T) -> T {
    let _caller = become_user(user);
    work()
}

fn become_user(user: pg_sys::Oid) -> Restore {
    let mut caller = Restore(pg_sys::InvalidOid, 0);
    // SAFETY: the identity is restored when `caller` is dropped, and by the server itself should the
    // transaction end first.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut caller.0, &mut caller.1);
        pg_sys::SetUserIdAndSecContext(
            user,
            // The owner sees all rows of his tables, FORCE ROW LEVEL SECURITY or not.
            caller.1 | (pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS) as i32,
        );
    }
    caller
}

/// Whether the caller may read all statistics.
pub fn may_read_all_stats() -> bool {
    // SAFETY: a variable of this backend, and look-ups in the catalogue caches.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::ROLE_PG_READ_ALL_STATS.into()) }
}
