//! An attempt that keeps no lock if it comes to nothing.

use super::transaction::has_changed_anything;
use crate::error::Error;
use pgrx::pg_sys;

/// Runs `work`. If it returns nothing, the locks on tables, indexes and names that it has taken are given up
/// at once, as if it had never been; else they are the caller's, to the end of the transaction. So a call can
/// wait for something between two attempts without standing in the way of REINDEX, VACUUM FULL or ALTER
/// EXTENSION, and of all who come after those. (Not in a transaction that has changed or locked any row: what
/// it holds, it may hold for that. Unless `may_leave` says that nothing of it has lasted.)
pub fn attempt<T>(
    may_leave: impl FnOnce() -> bool,
    work: impl FnOnce() -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    // SAFETY: as the server does it for a subtransaction. After an error, whoever aborts the transaction or
    // subtransaction sets the current owner, and releases this one with its parent.
    unsafe {
        let caller = pg_sys::CurrentResourceOwner;
        let own = pg_sys::ResourceOwnerCreate(caller, c"minion".as_ptr());
        pg_sys::CurrentResourceOwner = own;
        let result = work();
        pg_sys::CurrentResourceOwner = caller;
        let keep = matches!(result, Ok(Some(_))) || (has_changed_anything() && may_leave());
        for phase in [
            pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_BEFORE_LOCKS,
            pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_LOCKS,
            pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_AFTER_LOCKS,
        ] {
            pg_sys::ResourceOwnerRelease(own, phase, keep, false);
        }
        pg_sys::ResourceOwnerDelete(own);
        result
    }
}
