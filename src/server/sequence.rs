//! What SQL can do to a sequence only as its owner.

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    // commands/sequence.h, which pgrx's bindings leave out.
    fn ResetSequence(sequence: pg_sys::Oid);
}

/// Lets a sequence start anew as it says itself, as TRUNCATE … RESTART IDENTITY does: unlike setval, it is undone
/// with the transaction. Asks for no right.
pub fn restart(sequence: pg_sys::Oid) {
    // SAFETY: the sequence exists, and is locked until the transaction ends, as the function demands; an error of
    // the server's unwinds through the guard as from any function of pg_sys.
    unsafe {
        pg_sys::LockRelationOid(sequence, pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE);
        pg_sys::ffi::pg_guard_ffi_boundary(|| ResetSequence(sequence));
    }
}
