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
mod statement;
mod worker;

::pgrx::pg_module_magic!(name, version);

extension_sql_file!(
    "../sql/tables.sql",
    name = "tables",
    requires = [job::argument::is_name, job::argument::is_array, job::argument::is_object]
);
extension_sql_file!("../sql/place.sql", name = "place", requires = ["tables"]);
extension_sql_file!(
    "../sql/triggers.sql",
    name = "triggers",
    requires = [
        "place",
        job::triggers::job_inserted,
        job::triggers::job_added,
        job::triggers::job_updated,
        job::triggers::job_deleted,
        job::triggers::jobs_truncated,
        job::triggers::limits_changed
    ]
);
extension_sql_file!(
    "../sql/readers.sql",
    name = "readers",
    requires = ["tables", counts::job_counts, counts::queue_counts, job::outcome::await_job]
);
extension_sql_file!(
    "../sql/comments.sql",
    name = "comments",
    requires = [
        "triggers",
        "readers",
        job::enqueue::enqueue_unique,
        job::enqueue_many::enqueue_many,
        job::dequeue::dequeue,
        job::complete::finish_job,
        job::complete::finish_jobs,
        job::complete::fail_job,
        job::complete::backoff,
        job::change::retry_job,
        job::change::remove_job,
        job::change::note,
        job::change::cancel_job,
        job::bulk::retry_jobs,
        job::bulk::remove_jobs,
        worker::register_worker,
        worker::unregister_worker,
        worker::broadcast,
        worker::receive,
        lock::lock,
        lock::is_locked,
        lock::unlock,
        repair::repair,
        queue::reset,
        queue::pause_queue,
        queue::resume_queue,
        limit::limit_task,
        limit::limit_queue,
        schedule::schedule,
        schedule::unschedule,
        schedule::pause_schedule,
        schedule::resume_schedule,
        schedule::dispatch_schedules,
        schedule::next_run,
        lanes::lanes,
    ]
);
extension_sql_file!("../sql/grants.sql", name = "grants", finalize);

/// Runs once when a backend loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // SAFETY: a variable of the server, set while it starts.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        settings::define_shared();
        pg_shmem_init!(SHARED = ());
    }
    settings::define();
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
