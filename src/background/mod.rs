//! What runs by itself, where minion is in shared_preload_libraries: one launcher, and a worker for each database that has
//! something to do.
//!
//! `launcher` knows which databases there are and starts workers, `worker` is the life of one, which goes through its
//! `duties`: `listeners` hear of jobs, also of those that come due, `upkeep` has what nobody else sees to. `commands` makes
//! room for what needs a database to itself, and `shown` is what people see. Nothing depends on any of them for being
//! right: while a database has no worker, its sessions do what they do without preloading.

mod commands;
mod duties;
mod launcher;
mod listeners;
pub mod shown;
mod turn;
mod upkeep;
mod worker;

use crate::server::bgworker::{self, Mains};
use crate::server::utility;

/// Once, while the server starts.
pub fn install() {
    if bgworker::register(Mains { launcher: launcher::main, worker: worker::main }) {
        utility::install(commands::before);
    }
}
