//! The Minion job queue inside PostgreSQL: this page says where everything is.
//!
//! Rust changes state, waits and talks to the server's internals; SQL (under `sql/`) declares tables,
//! triggers and privileges, and reads. Imports run one way:
//! `job, worker, lock, schedule, limit, repair, queue, lanes, counts → statement, shared, settings, error`; cron
//! depends on nothing.

use pgrx::pg_shmem_init;
use pgrx::prelude::*;
use shared::area::SHARED;

mod counts;
mod cron;
mod error;
mod job;
mod lanes;
mod limit;
mod lock;
mod queue;
mod repair;
mod schedule;
mod settings;
mod shared;
mod sql;
mod statement;
mod worker;

::pgrx::pg_module_magic!(name, version);

/// Runs once when a backend loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    statement::backtrace::settle_for_none();
    // SAFETY: a variable of the server, set while it starts.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        settings::define_shared();
        pg_shmem_init!(SHARED = ());
    }
    settings::define();
    statement::steer::install();
    statement::sizes::install();
}

/// What `cargo pgrx test` looks for at the root of the crate.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        match std::env::var("MINION_PRELOAD").as_deref() {
            Ok("yes") => vec!["shared_preload_libraries = 'minion'"],
            _ => vec![],
        }
    }
}
