//! The server's own locks, in lock spaces of the extension's own.

use pgrx::{IntoDatum, pg_sys};

/// Takes the server's lock on a name of `minion.locks` until the transaction ends.
pub fn lock_name(name: &str) {
    lock(hash(name), LockSpace::Names, Mode::Alone, false);
}

/// A lock on a job's unique key, given up when dropped: one who holds it may look for the key, and put it
/// into the table for others to see.
pub struct KeyLock(u64);

impl KeyLock {
    pub fn new(key: &str) -> Self {
        let key = hash(key);
        lock(key, LockSpace::Keys, Mode::Alone, false);
        Self(key)
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // An error on its way through has the server release it.
        if !std::thread::panicking() {
            let tag = tag(self.0, LockSpace::Keys);
            // SAFETY: acquired in new, and released nowhere else.
            unsafe { pg_sys::LockRelease(&tag, Mode::Alone as i32, false) };
        }
    }
}

/// Takes the lock of the database's one dispatcher of schedules until the transaction ends, unless somebody
/// has it.
pub fn try_lock_dispatch() -> bool {
    lock(0, LockSpace::Dispatch, Mode::Alone, true)
}

/// Takes the lock on all limits until the transaction ends: they are changed one after the other.
pub fn lock_limits() {
    lock(0, LockSpace::Limits, Mode::Alone, false);
}

/// The same, unless somebody has it.
pub fn try_lock_limits() -> bool {
    lock(0, LockSpace::Limits, Mode::Alone, true)
}

fn hash(text: &str) -> u64 {
    // SAFETY: the hash function takes a varlena and a seed.
    let hash: Option<i64> = unsafe {
        pgrx::direct_function_call(
            pg_sys::hashvarlenaextended,
            &[text.into_datum(), 0i64.into_datum()],
        )
    };
    hash.expect("a hash is never NULL") as u64
}

/// Takes the lock of the database's one repair until the transaction ends, unless somebody has it.
pub fn try_lock_repair() -> bool {
    lock(0, LockSpace::Repair, Mode::Alone, true)
}

/// Shows until the transaction ends that a worker is there: it waits, and can say so in no other way.
pub fn lock_waiting_worker(id: i64) {
    lock(id as u64, LockSpace::Workers, Mode::Together, false);
}

/// False if a worker waits. Else nobody can be sure of it until the transaction ends.
pub fn try_lock_worker(id: i64) -> bool {
    lock(id as u64, LockSpace::Workers, Mode::Alone, true)
}

/// Lock spaces of our own: users' advisory locks have 1 and 2 in this field.
#[derive(Clone, Copy)]
enum LockSpace {
    Names = 3,
    Repair = 4,
    Workers = 5,
    Keys = 6,
    Dispatch = 7,
    Limits = 8,
}

#[derive(Clone, Copy)]
enum Mode {
    Alone = pg_sys::ExclusiveLock as isize,
    Together = pg_sys::ShareLock as isize,
}

fn tag(key: u64, space: LockSpace) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: a variable of this backend.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.into(),
        locktag_field2: (key >> 32) as u32,
        locktag_field3: key as u32,
        locktag_field4: space as u16,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

fn lock(key: u64, space: LockSpace, mode: Mode, at_once: bool) -> bool {
    let tag = tag(key, space);
    // SAFETY: the tag is plain data, and a lock of the transaction is released by the server when that ends.
    let result = unsafe { pg_sys::LockAcquire(&tag, mode as i32, false, at_once) };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}
