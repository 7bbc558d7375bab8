//! Says that the worker is there, also during long jobs: in a thread, and on connections of its own.

use crate::server::{Answer, say};
use postgres::{Config, NoTls};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Much shorter than minion.missing_after, after which `minion.repair()` takes a silent worker for dead.
const BEAT: Duration = Duration::from_secs(1);

/// Unregisters the worker when it is dropped.
pub struct Heart {
    thread: Option<JoinHandle<()>>,
    over: Option<Sender<()>>,
}

impl Heart {
    /// `stopping` becomes true when somebody sends the command `stop`.
    pub fn new(address: Config, worker: i64, stopping: Arc<AtomicBool>) -> Self {
        let (over, is_over) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut goes_on = true;
            while goes_on {
                goes_on = is_over.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout);
                match beat(&address, worker, goes_on) {
                    Ok(false) => {}
                    Ok(true) => stopping.store(true, Ordering::Relaxed),
                    Err(error) => say(&format!("worker {worker}"), &error),
                }
            }
        });
        Self { thread: Some(thread), over: Some(over) }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.over = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic, and if it did, its words are on stderr.
            let _ = thread.join();
        }
    }
}

/// Whether the worker is told to stop.
fn beat(address: &Config, worker: i64, goes_on: bool) -> Answer<bool> {
    let mut client = address.connect(NoTls)?;
    if !goes_on {
        client.execute("SELECT minion.unregister_worker($1)", &[&worker])?;
        return Ok(false);
    }
    client.execute("SELECT minion.register_worker($1)", &[&worker])?;
    // Commands come as `[[command, argument, …], …]`.
    let inbox: Value = client.query_one("SELECT minion.receive($1)", &[&worker])?.get(0);
    // With a job's id behind it, the command is about that job.
    let stop = serde_json::json!(["stop"]);
    Ok(inbox.as_array().is_some_and(|commands| commands.contains(&stop)))
}
