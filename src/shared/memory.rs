//! The shared memory itself, in parts: each layer has one, and knows what stands in it. They are asked for when the
//! server starts with minion in shared_preload_libraries (see [`super::start`]). Without that there are none, and
//! everything here does nothing.

use pgrx::pg_sys;
use std::cell::UnsafeCell;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Parts, and what is in them, begin at a cache line.
const LINE: usize = 64;

/// Where this process finds a part of the shared memory.
pub struct Part<T>(AtomicPtr<T>);

/// What stands in a part.
pub trait Content: Sized {
    /// How many bytes it needs besides itself, as [`bytes`] says.
    fn size() -> usize;

    /// What it begins as.
    fn new(rest: Rest, locks: &LwLocks) -> Self;
}

impl<T: Content> Part<T> {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: set once, before this process was forked, to memory that lives as long as the server and
        // of which only atomics, and cells behind locks, are ever written.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }

    /// How many bytes the part needs.
    pub fn size() -> usize {
        bytes::<T>(1) + T::size()
    }

    /// Makes the part, unless that was done before, and returns where the next one begins.
    ///
    /// # Safety
    ///
    /// Nobody uses the memory yet. It begins at a cache line, has as many bytes as the part needs, and is all zeroes
    /// if it is new.
    pub unsafe fn start(&self, memory: *mut u8, is_new: bool, locks: &LwLocks) -> *mut u8 {
        let part = memory.cast::<T>();
        // SAFETY: see above.
        unsafe {
            if is_new {
                part.write(T::new(Rest(memory.add(bytes::<T>(1))), locks));
            }
            self.0.store(part, Ordering::Relaxed);
            memory.add(Self::size())
        }
    }
}

/// How many bytes so many things in a row take.
pub fn bytes<T>(count: usize) -> usize {
    (count * size_of::<T>()).next_multiple_of(LINE)
}

/// What a part has besides its content: all zeroes.
pub struct Rest(*mut u8);

impl Rest {
    /// So many things in a row.
    pub fn many<T: Zeroes>(&mut self, count: usize) -> Many<T> {
        let first = self.0.cast();
        // SAFETY: the part has as many bytes as its content has asked for.
        self.0 = unsafe { self.0.add(bytes::<T>(count)) };
        Many(first, count)
    }
}

/// What is shared just as it is.
///
/// # Safety
///
/// All zeroes is a value of it, and of that only atomics, and cells behind locks, are ever written.
pub unsafe trait Zeroes {}

// SAFETY: it is an atomic.
unsafe impl Zeroes for std::sync::atomic::AtomicU32 {}

/// Things in a row.
pub struct Many<T>(*const T, usize);

impl<T> Deref for Many<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many follow each other in the shared memory, which lives as long as the server.
        unsafe { std::slice::from_raw_parts(self.0, self.1) }
    }
}

/// The locks of all parts.
pub struct LwLocks(*mut pg_sys::LWLockPadded);

/// Which of them is which part's.
#[derive(Clone, Copy)]
pub enum LwLockOf {
    Lanes,
    Waiters,
    Counts,
}

impl LwLocks {
    /// How many there are.
    pub const COUNT: i32 = LwLockOf::Counts as i32 + 1;

    /// # Safety
    ///
    /// The first of so many that the server has made.
    pub unsafe fn new(first: *mut pg_sys::LWLockPadded) -> Self {
        Self(first)
    }

    pub fn get(&self, of: LwLockOf) -> LwLock {
        // SAFETY: there are so many.
        LwLock(unsafe { &raw mut (*self.0.add(of as usize)).lock })
    }
}

/// A lock of the server's.
pub struct LwLock(*mut pg_sys::LWLock);

#[derive(Clone, Copy)]
pub enum Mode {
    Shared,
    Exclusive,
}

impl LwLock {
    pub fn hold(&self, mode: Mode) -> Held {
        let mode = match mode {
            Mode::Shared => pg_sys::LWLockMode::LW_SHARED,
            Mode::Exclusive => pg_sys::LWLockMode::LW_EXCLUSIVE,
        };
        // SAFETY: the lock was initialised by the server.
        unsafe { pg_sys::LWLockAcquire(self.0, mode) };
        Held(self.0)
    }
}

/// Held until this is dropped. Nothing that can fail is done meanwhile.
pub struct Held(*mut pg_sys::LWLock);

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: acquired in hold, and released nowhere else: nothing raises an error in between.
        unsafe { pg_sys::LWLockRelease(self.0) }
    }
}

/// A value behind a lock for a few instructions.
#[repr(C)]
#[derive(Default)]
pub struct Spin<T> {
    lock: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock lets one at a time at the value.
unsafe impl<T: Send> Sync for Spin<T> {}

impl<T> Spin<T> {
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut spins = 0;
        while self.lock.swap(true, Ordering::Acquire) {
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
        let _held = Release(&self.lock);
        // SAFETY: see above.
        work(unsafe { &mut *self.value.get() })
    }
}
