//! A process that others wake.

use crate::server::process;
use pgrx::pg_sys;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering::SeqCst};

/// All zeroes is none.
#[derive(Default)]
pub struct Process {
    pid: AtomicI32,
    latch: AtomicPtr<pg_sys::Latch>,
}

impl Process {
    /// It is this one from now on. False if there is another one.
    pub fn begin(&self) -> bool {
        let is_free = self.pid.compare_exchange(0, process::own(), SeqCst, SeqCst).is_ok();
        if is_free {
            // SAFETY: a variable of this process.
            self.latch.store(unsafe { &raw mut (*pg_sys::MyProc).procLatch }, SeqCst);
        }
        is_free
    }

    /// It is no more. The latch goes first: another one may begin at once.
    pub fn end(&self) {
        self.latch.store(std::ptr::null_mut(), SeqCst);
        self.pid.store(0, SeqCst);
    }

    /// 0 for none.
    pub fn pid(&self) -> i32 {
        self.pid.load(SeqCst)
    }

    pub fn is_there(&self) -> bool {
        self.pid() != 0
    }

    pub fn is_own(&self) -> bool {
        self.pid() == process::own()
    }

    pub fn wake(&self) {
        let latch = self.latch.load(SeqCst);
        if !latch.is_null() {
            // SAFETY: the latch of a server process, in the server's own shared memory; setting it can't fail, and
            // one that nobody waits on any more takes no harm.
            unsafe { pg_sys::SetLatch(latch) };
        }
    }
}
