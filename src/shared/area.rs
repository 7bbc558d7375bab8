//! The shared memory itself: one piece, asked for when the server starts with minion in
//! shared_preload_libraries. Without that there is none, and everything here does nothing.

use super::bounds::{BOUNDS, Bound};
use super::counts::{COUNTERS, Counter};
use super::slot::{Buckets, LongNames, Slot};
use super::waiters::Waiter;
use crate::settings;
use pgrx::pg_sys;
use pgrx::shmem::PgSharedMemoryInitialization;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Its name in the server, and that of its locks.
const NAME: &CStr = c"minion";

/// Where this process finds the shared memory.
pub struct Shared(AtomicPtr<Area>);

pub static SHARED: Shared = Shared(AtomicPtr::new(std::ptr::null_mut()));

impl Shared {
    pub fn get(&self) -> Option<&'static Area> {
        // SAFETY: set once, before this process was forked, to memory that lives as long as the server and
        // of which only atomics, and cells behind locks, are ever written.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }
}

/// What all backends share.
#[repr(C)]
pub struct Area {
    /// Held shared to use a slot, exclusively to add or take away one.
    lanes_lock: *mut pg_sys::LWLock,
    /// Held exclusively to come and go as a waiter, shared to wake one.
    waiters_lock: *mut pg_sys::LWLock,
    slots: *const Slot,
    slot_count: usize,
    long_names: *const LongNames,
    long_name_count: usize,
    waiters: *const Waiter,
    waiter_count: usize,
    /// Held exclusively to count, shared to ask.
    counts_lock: *mut pg_sys::LWLock,
    counters: *const Counter,
    pub buckets: Buckets,
    bounds: *const Bound,
    /// What those who choose names can't know.
    pub secret: [u64; 2],
    /// The first transaction after the last one that was prepared with bounds to lower.
    pub barrier: AtomicU32,
    /// Each change that makes a lane's earlier readings worthless takes the next number.
    pub versions: AtomicU64,
    /// Slots beyond this one were never used.
    pub used: AtomicU32,
    /// The first slot that was given back, plus one.
    pub free: AtomicU32,
    /// When room was last looked for in a full table.
    pub cleared: AtomicI64,
    /// How many jobs came to lanes that there was no room for.
    pub untracked: AtomicU64,
    /// How many backends wait, to spare a commit the look when none does.
    pub waiting: AtomicU32,
    /// How many of these wait for the end of a job.
    pub waiting_for_jobs: AtomicU32,
    /// How many transactions have changed jobs that others may have for a parent.
    pub ended: AtomicU64,
}

impl Area {
    pub fn slots(&self) -> &[Slot] {
        // SAFETY: both were set when the memory was made, and never since.
        unsafe { std::slice::from_raw_parts(self.slots, self.slot_count) }
    }

    pub fn long_names(&self) -> &[LongNames] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.long_names, self.long_name_count) }
    }

    pub fn bounds(&self) -> &[Bound] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.bounds, BOUNDS) }
    }

    /// Without those that no lane has ever had. Under the lock of the lanes.
    pub fn used_slots(&self) -> &[Slot] {
        &self.slots()[..self.used.load(Ordering::Relaxed) as usize]
    }

    pub fn waiters(&self) -> &[Waiter] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.waiters, self.waiter_count) }
    }

    pub fn counters(&self) -> &[Counter] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.counters, COUNTERS) }
    }

    pub fn counts(&self, mode: Mode) -> Held {
        Held::new(self.counts_lock, mode)
    }

    pub fn lanes(&self, mode: Mode) -> Held {
        Held::new(self.lanes_lock, mode)
    }

    pub fn waiting_room(&self, mode: Mode) -> Held {
        Held::new(self.waiters_lock, mode)
    }

    pub fn next_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[derive(Clone, Copy)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// A lock of the server's, held until this is dropped. Nothing that can fail is done meanwhile.
pub struct Held(*mut pg_sys::LWLock);

impl Held {
    fn new(lock: *mut pg_sys::LWLock, mode: Mode) -> Self {
        let mode = match mode {
            Mode::Shared => pg_sys::LWLockMode::LW_SHARED,
            Mode::Exclusive => pg_sys::LWLockMode::LW_EXCLUSIVE,
        };
        // SAFETY: the lock was initialised by the server.
        unsafe { pg_sys::LWLockAcquire(lock, mode) };
        Self(lock)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: acquired in new, and released nowhere else: nothing raises an error in between.
        unsafe { pg_sys::LWLockRelease(self.0) }
    }
}

/// A lock for a few instructions.
#[derive(Default)]
pub struct SpinLock(AtomicBool);

impl SpinLock {
    pub fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut spins = 0;
        while self.0.swap(true, Ordering::Acquire) {
            spins += 1;
            // Its holder may not be running: there are fewer processors than backends.
            match spins % 100 {
                0 => std::thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
        /// Gives it back also when the work panics.
        struct Release<'a>(&'a AtomicBool);
        impl Drop for Release<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        let _held = Release(&self.0);
        work()
    }
}

struct Layout {
    slots: usize,
    long_names: usize,
    buckets: usize,
    waiters: usize,
}

impl Layout {
    fn of_settings() -> Self {
        // A lane may need one for its queue as well.
        let slots = 2 * settings::max_lanes();
        // SAFETY: settings of the server, final by now; their sum, MaxBackends, is not in every version. The rest: autovacuum.
        let waiters = unsafe {
            pg_sys::MaxConnections + pg_sys::max_worker_processes + pg_sys::max_wal_senders + 128
        };
        Self {
            slots,
            long_names: (slots / 32).max(64),
            buckets: (2 * slots).next_power_of_two(),
            waiters: waiters.max(128) as usize,
        }
    }

    fn waiters_at(&self) -> usize {
        size_of::<Area>().next_multiple_of(64)
    }

    fn slots_at(&self) -> usize {
        self.waiters_at() + (self.waiters * size_of::<Waiter>()).next_multiple_of(64)
    }

    fn buckets_at(&self) -> usize {
        self.slots_at() + (self.slots * size_of::<Slot>()).next_multiple_of(64)
    }

    fn counters_at(&self) -> usize {
        self.buckets_at() + (self.buckets * size_of::<AtomicU32>()).next_multiple_of(64)
    }

    fn long_names_at(&self) -> usize {
        self.counters_at() + (COUNTERS * size_of::<Counter>()).next_multiple_of(64)
    }

    fn bounds_at(&self) -> usize {
        self.long_names_at() + (self.long_names * size_of::<LongNames>()).next_multiple_of(64)
    }

    fn size(&self) -> usize {
        self.bounds_at() + BOUNDS * size_of::<Bound>()
    }
}

impl PgSharedMemoryInitialization for Shared {
    type Value = ();

    unsafe fn on_shmem_request(&'static self) {
        // SAFETY: the caller vouches that the server is asking.
        unsafe {
            pg_sys::RequestAddinShmemSpace(Layout::of_settings().size());
            pg_sys::RequestNamedLWLockTranche(NAME.as_ptr(), 3);
        }
    }

    unsafe fn on_shmem_startup(&'static self, (): ()) {
        let layout = Layout::of_settings();
        let mut found = false;
        // SAFETY: called while the server starts, or starts again after a crash, and alone: the postmaster
        // runs it before it has children. The size is the one that was asked for, the offsets are multiples
        // of a cache line, and all zeroes is what slots, waiters, buckets, counters, names and bounds begin
        // as.
        unsafe {
            let memory =
                pg_sys::ShmemInitStruct(NAME.as_ptr(), layout.size(), &mut found).cast::<u8>();
            if !found {
                memory.write_bytes(0, layout.size());
                let locks = pg_sys::GetNamedLWLockTranche(NAME.as_ptr());
                let mut secret = [0_u64; 2];
                if !pg_sys::pg_strong_random(secret.as_mut_ptr().cast(), size_of_val(&secret)) {
                    pgrx::error!("could not generate a random number");
                }
                memory.cast::<Area>().write(Area {
                    lanes_lock: &raw mut (*locks).lock,
                    waiters_lock: &raw mut (*locks.add(1)).lock,
                    slots: memory.add(layout.slots_at()).cast(),
                    slot_count: layout.slots,
                    long_names: memory.add(layout.long_names_at()).cast(),
                    long_name_count: layout.long_names,
                    waiters: memory.add(layout.waiters_at()).cast(),
                    waiter_count: layout.waiters,
                    counts_lock: &raw mut (*locks.add(2)).lock,
                    counters: memory.add(layout.counters_at()).cast(),
                    buckets: Buckets::new(memory.add(layout.buckets_at()).cast(), layout.buckets),
                    bounds: memory.add(layout.bounds_at()).cast(),
                    secret,
                    barrier: AtomicU32::new(0),
                    versions: AtomicU64::new(1),
                    used: AtomicU32::new(0),
                    free: AtomicU32::new(0),
                    cleared: AtomicI64::new(0),
                    untracked: AtomicU64::new(0),
                    waiting: AtomicU32::new(0),
                    waiting_for_jobs: AtomicU32::new(0),
                    ended: AtomicU64::new(0),
                });
            }
            self.0.store(memory.cast(), Ordering::Relaxed);
        }
    }
}
