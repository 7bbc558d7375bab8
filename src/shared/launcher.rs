//! The process that starts the background workers of all databases.

use super::memory::{Content, LwLocks, Part, Rest};
use super::process::Process;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

pub static LAUNCHER: Part<Launcher> = Part::new();

#[derive(Default)]
pub struct Launcher {
    pub process: Process,
    /// It is to look which databases there are.
    pub looks: AtomicBool,
    /// It finds no room for one more process: a worker that has nothing to do leaves.
    pub is_crowded: AtomicBool,
}

impl Content for Launcher {
    fn size() -> usize {
        0
    }

    fn new(_: Rest, _: &LwLocks) -> Self {
        Self::default()
    }
}

/// Can't fail.
pub fn wake() {
    if let Some(launcher) = LAUNCHER.get() {
        launcher.process.wake();
    }
}

/// Has it look which databases there are. Can't fail.
pub fn look() {
    if let Some(launcher) = LAUNCHER.get() {
        launcher.looks.store(true, SeqCst);
        launcher.process.wake();
    }
}
