//! The SQL of the extension, in the order in which it is installed: what comes before names the functions that
//! it needs.

use pgrx::prelude::*;

extension_sql_file!("../sql/schema.sql", name = "schema", bootstrap);
extension_sql_file!(
    "../sql/tables.sql",
    name = "tables",
    requires = [
        argument::is_name,
        argument::is_array,
        argument::is_object,
        upkeep::time_limit::time_limit_ends
    ]
);
extension_sql_file!("../sql/place.sql", name = "place", requires = ["tables"]);
extension_sql_file!(
    "../sql/triggers.sql",
    name = "triggers",
    requires = [
        "place",
        upkeep::triggers::job_inserted,
        upkeep::triggers::job_added,
        upkeep::triggers::job_updated,
        upkeep::triggers::job_deleted,
        upkeep::triggers::jobs_truncated,
        upkeep::triggers::limits_changed,
        upkeep::triggers::schedules_changed,
        lock::lock_written
    ]
);
extension_sql_file!(
    "../sql/readers.sql",
    name = "readers",
    requires = [
        "tables",
        stats::counts::job_counts,
        stats::counts::queue_counts,
        background::shown::list_background_workers
    ]
);
extension_sql_file!(
    "../sql/comments.sql",
    name = "comments",
    requires = [
        "triggers",
        "readers",
        job::enqueue::enqueue_limited,
        job::enqueue_many::enqueue_many,
        job::dequeue::dequeue,
        job::finish::finish_job,
        job::finish::finish_jobs,
        job::finish::fail_job,
        job::finish::backoff,
        job::change::retry_limited,
        job::change::remove_job,
        job::change::note,
        job::change::cancel_job,
        job::bulk::retry_jobs,
        job::bulk::remove_jobs,
        worker::register::register_attachable,
        worker::unregister_worker,
        worker::broadcast,
        worker::receive,
        lock::lock,
        lock::is_locked,
        lock::unlock,
        repair::repair_within_limit,
        queue::reset,
        queue::pause_queue,
        queue::resume_queue,
        limit::limit_task,
        limit::limit_queue,
        schedule::schedule_limited,
        schedule::unschedule,
        schedule::pause_schedule,
        schedule::resume_schedule,
        schedule::dispatch::dispatch_schedules,
        schedule::time::next_run,
        stats::lanes::lanes,
    ]
);
extension_sql_file!("../sql/grants.sql", name = "grants", finalize);
