//! What kind of transaction this is, and what has become of it so far.

use pgrx::pg_sys;
use std::ffi::CStr;

const REPEATABLE_READ: i32 = pg_sys::XACT_REPEATABLE_READ as i32;

/// Raises cancel, termination and the like, if there are any.
pub fn check_for_interrupts() {
    pgrx::check_for_interrupts!();
}

/// The server's own error where nothing may be written: in a read-only transaction, and on a standby.
pub fn must_be_writable(call: &CStr) {
    // SAFETY: takes a C string, and reads the transaction's state.
    unsafe { pg_sys::PreventCommandIfReadOnly(call.as_ptr()) };
}

/// Whether the transaction keeps one snapshot from its first statement on.
pub fn snapshot_is_fixed() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::XactIsoLevel >= REPEATABLE_READ }
}

/// Whether this transaction has written anything.
pub fn has_changed_anything() -> bool {
    // SAFETY: reads the backend's transaction state.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}

/// Inside BEGIN … COMMIT, or a subtransaction.
pub fn in_transaction_block() -> bool {
    // SAFETY: only reads the backend's transaction state.
    nest_level() > 1 || unsafe { pg_sys::IsTransactionBlock() }
}

/// How many transactions and subtransactions are open, each within the one before.
pub fn nest_level() -> i32 {
    // SAFETY: reads the backend's transaction state.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
}

/// Deferred triggers and constraints have their turn after each statement of the transaction from here on.
pub fn check_constraints_at_once() {
    let mut all = pg_sys::ConstraintsSetStmt {
        type_: pg_sys::NodeTag::T_ConstraintsSetStmt,
        constraints: std::ptr::null_mut(),
        deferred: false,
    };
    // SAFETY: a statement without names, which means all, as SET CONSTRAINTS hands it over.
    unsafe { pg_sys::AfterTriggerSetState(&mut all) };
}

/// On a standby.
pub fn is_in_recovery() -> bool {
    // SAFETY: reads the server's state.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// The next one's number, which is never 0.
pub fn next_transaction() -> u32 {
    // SAFETY: reads the server's counter.
    (unsafe { pg_sys::ReadNextFullTransactionId() }.value as u32).max(1)
}

/// Whether one transaction's number is before another's.
pub fn is_before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}
