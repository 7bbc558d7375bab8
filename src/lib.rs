//! The Minion job queue inside PostgreSQL. Rust changes state, waits and talks to the server's internals; SQL (under
//! `sql/`) declares tables, triggers and privileges, and reads.
//!
//! docs/internals.md says how it works, which room imports which, and where to change what; read it first.

use pgrx::pg_shmem_init;
use pgrx::prelude::*;
use shared::start::SHARED;

mod argument;
mod background;
mod claim;
mod cron;
mod error;
mod failure;
mod job;
mod legacy;
mod limit;
mod lock;
mod queue;
mod repair;
mod schedule;
mod server;
mod settings;
mod shared;
mod sql;
mod stats;
mod upkeep;
mod worker;

::pgrx::pg_module_magic!(name, version);

/// Runs once when a backend loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    server::backtrace::settle_for_none();
    if server::library::is_being_preloaded() {
        settings::define_shared();
        pg_shmem_init!(SHARED = ());
    }
    settings::define();
    server::library::reserve_settings();
    server::steer::install();
    server::sizes::install();
    if server::library::is_being_preloaded() {
        background::install();
    }
}

/// What `cargo pgrx test` looks for at the root of the crate.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        match std::env::var("MINION_PRELOAD").as_deref() {
            Ok("yes") => vec!["shared_preload_libraries = 'minion'", "minion.background = off"],
            _ => vec![],
        }
    }
}
