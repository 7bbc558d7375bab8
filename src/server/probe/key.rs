//! A look for a unique key, committed or not.

use super::index::{Opened, dirty_snapshot};
use super::keys::is_name;
use pgrx::pg_sys;

/// A job that has a unique key, or will have it if a transaction commits that is under way.
pub struct Taken(pg_sys::TransactionId);

impl Taken {
    /// Whether that depends on a transaction that is not over.
    pub fn may_change(&self) -> bool {
        self.0 != pg_sys::InvalidTransactionId
    }

    /// Waits for the end of that transaction, if it was not over.
    pub fn wait(self) {
        if self.may_change() {
            // SAFETY: it is not this transaction; without a relation the error context has nothing to tell.
            unsafe {
                pg_sys::XactLockTableWait(
                    self.0,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    pg_sys::XLTW_Oper::XLTW_None,
                );
            }
        }
    }
}

/// Whether somebody has a unique key, committed or not.
pub fn taken(key: &str) -> Option<Taken> {
    let jobs = Opened::new(c"jobs", c"jobs_unique_key")?;
    let mut dirty = dirty_snapshot();
    let snapshot = &raw mut dirty;
    jobs.first(snapshot, &mut [is_name(1, key)], |_| {
        // SAFETY: such a snapshot tells of each row that it shows whose transaction is not over.
        let (xmin, xmax) = unsafe { ((*snapshot).xmin, (*snapshot).xmax) };
        Some(Taken(if xmin == pg_sys::InvalidTransactionId { xmax } else { xmin }))
    })
}
