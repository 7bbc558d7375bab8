-- From 0.3.0 to 0.4.0: rows that break nothing, rights column by column, a repair that works within bounds.

-- Schedules, time zones.

-- Repair, and rows that make no sense.

-- Jobs and their triggers.

-- Of all columns: those that a BEFORE trigger of somebody else's changes are not among those that a statement names.
CREATE OR REPLACE TRIGGER jobs_updated AFTER UPDATE ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_updated();

-- Limits.

-- Rights.

REVOKE INSERT ON minion.jobs FROM minion_producer;
GRANT INSERT (created, delayed, expires, args, attempts, lax, notes, parents, priority, queue, task, unique_key)
ON minion.jobs TO minion_producer;

-- Readers.

CREATE OR REPLACE FUNCTION minion.stats() RETURNS TABLE (
    active_jobs bigint, active_locks bigint, active_workers bigint, delayed_jobs bigint,
    enqueued_jobs bigint, failed_jobs bigint, finished_jobs bigint, inactive_jobs bigint,
    inactive_workers bigint, inactive_schedules bigint, schedules bigint, uptime interval,
    workers bigint
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT active.jobs,
        (SELECT count(*) FROM minion.locks AS lock WHERE lock.expires > clock.now),
        active.workers,
        counts.delayed,
        -- numeric, and within bounds: a sequence may be set to anything.
        (SELECT CASE WHEN given.is_called
            THEN least(greatest(
                div(given.last_value::numeric - sequence.seqstart, sequence.seqincrement) + 1,
                0), 9223372036854775807)::bigint
            ELSE 0 END
         FROM minion.jobs_id_seq AS given, pg_sequence AS sequence
         WHERE sequence.seqrelid = 'minion.jobs_id_seq'::regclass),
        counts.failed,
        counts.finished,
        counts.inactive - (
            SELECT count(*)
            FROM minion.jobs AS job
            WHERE job.state = 'inactive' AND job.expires IS NOT NULL AND job.expires <= clock.now),
        (SELECT count(*)
         FROM minion.workers AS worker
         WHERE NOT EXISTS (
            SELECT FROM minion.jobs AS job WHERE job.state = 'active' AND job.worker = worker.id)),
        (SELECT count(*) FROM minion.schedules AS schedule WHERE schedule.paused),
        (SELECT count(*) FROM minion.schedules AS schedule WHERE NOT schedule.paused),
        clock.now - pg_postmaster_start_time(),
        (SELECT count(*) FROM minion.workers)
    FROM (SELECT clock_timestamp() AS now OFFSET 0) AS clock
    CROSS JOIN (
        SELECT count(*) AS jobs, count(DISTINCT job.worker) AS workers
        FROM minion.jobs AS job
        WHERE job.state = 'active'
    ) AS active
    CROSS JOIN minion.job_counts() AS counts;
END;

COMMENT ON FUNCTION minion.reset(text) IS
'Empties the queue, with no way back. scope: all (jobs, workers, locks and schedules, whose ids start anew, but for those of workers) or locks; there is no default.
Stop the workers before: one that still works on job 1 of old may end the new job 1. Raises 22023 for any other scope, 22004 for NULL. Semantics: Minion''s reset.';

COMMENT ON FUNCTION minion.lanes() IS
'What shared memory knows of each lane, the jobs of one task in one queue, and for members of pg_read_all_stats those of all databases; no rows where minion is not in shared_preload_libraries.
priority, id: no job before this place in the order of claims is ready, NULL if not known; is_empty: none is ready at all; due: no parked job is due before;
waiters: calls of dequeue() that sleep until it has a job; hits: claims that looked here; heals: how often the place was found too far on, and put right.
A last row without names, if there is one: hits are the jobs that came to lanes for which minion.max_lanes left no room.';

COMMENT ON FUNCTION minion.stats() IS
'The queue in numbers, as one row: jobs by state, delayed ones (also among inactive_jobs), workers with and without a job, locks, schedules,
enqueued_jobs (ever; transactions that were rolled back count) and the server''s uptime. Expired jobs that never ran are not counted.
schedules: those that are not paused; inactive_schedules: the paused ones. Semantics: Minion''s stats.';

COMMENT ON SEQUENCE minion.jobs_id_seq IS 'Ids of jobs; enqueued_jobs of stats() is worked out from it.';
