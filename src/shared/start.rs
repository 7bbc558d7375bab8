//! Where the shared memory is asked for, and made: all parts in one piece.

use super::bounds::BOUNDS;
use super::counters::COUNTERS;
use super::databases::DATABASES;
use super::launcher::LAUNCHER;
use super::memory::{Content, LwLocks, Part};
use super::slots::SLOTS;
use super::tied::TIED;
use super::waiters::WAITERS;
use pgrx::pg_sys;
use pgrx::shmem::PgSharedMemoryInitialization;
use std::ffi::CStr;

/// Its name in the server, and that of its locks.
const NAME: &CStr = c"minion";

/// All of it, for `pg_shmem_init!`.
pub struct Shared;

pub static SHARED: Shared = Shared;

fn size() -> usize {
    fn of<T: Content>(_: &Part<T>) -> usize {
        Part::<T>::size()
    }
    of(&SLOTS)
        + of(&WAITERS)
        + of(&COUNTERS)
        + of(&BOUNDS)
        + of(&DATABASES)
        + of(&LAUNCHER)
        + of(&TIED)
}

impl PgSharedMemoryInitialization for Shared {
    type Value = ();

    unsafe fn on_shmem_request(&'static self) {
        // SAFETY: the caller vouches that the server is asking.
        unsafe {
            pg_sys::RequestAddinShmemSpace(size());
            pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), LwLocks::COUNT);
        }
    }

    unsafe fn on_shmem_startup(&'static self, (): ()) {
        let mut found = false;
        // SAFETY: called while the server starts, or starts again after a crash, and alone: the postmaster
        // runs it before it has children. The size is the one that was asked for, and the server begins each piece at
        // a cache line.
        unsafe {
            let memory = pg_sys::ShmemInitStruct(NAME.as_ptr(), size(), &mut found).cast::<u8>();
            if !found {
                memory.write_bytes(0, size());
            }
            let locks = LwLocks::new(pg_sys::GetNamedLWLockTranche(NAME.as_ptr()));
            let memory = SLOTS.start(memory, !found, &locks);
            let memory = WAITERS.start(memory, !found, &locks);
            let memory = COUNTERS.start(memory, !found, &locks);
            let memory = BOUNDS.start(memory, !found, &locks);
            let memory = DATABASES.start(memory, !found, &locks);
            let memory = LAUNCHER.start(memory, !found, &locks);
            TIED.start(memory, !found, &locks);
        }
    }
}
