-- From 0.1.0 to 0.2.0: what shared memory knows of lanes and counts, and constraints in fewer words.

CREATE FUNCTION minion.is_name(value text) RETURNS bool
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', 'is_name_wrapper';

CREATE FUNCTION minion.is_array(value jsonb) RETURNS bool
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', 'is_array_wrapper';

CREATE FUNCTION minion.is_object(value jsonb) RETURNS bool
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', 'is_object_wrapper';

ALTER TABLE minion.jobs
    DROP CONSTRAINT jobs_queue_has_1_to_1000_bytes,
    DROP CONSTRAINT jobs_task_has_1_to_1000_bytes,
    DROP CONSTRAINT jobs_args_is_array,
    DROP CONSTRAINT jobs_notes_is_object,
    ADD CONSTRAINT jobs_queue_has_1_to_1000_bytes CHECK (minion.is_name(queue)),
    ADD CONSTRAINT jobs_task_has_1_to_1000_bytes CHECK (minion.is_name(task)),
    ADD CONSTRAINT jobs_args_is_array CHECK (minion.is_array(args)),
    ADD CONSTRAINT jobs_notes_is_object CHECK (minion.is_object(notes));

COMMENT ON CONSTRAINT jobs_queue_has_1_to_1000_bytes ON minion.jobs IS 'Names are index keys, and short.';
COMMENT ON CONSTRAINT jobs_task_has_1_to_1000_bytes ON minion.jobs IS 'Names are index keys, and short.';
COMMENT ON CONSTRAINT jobs_args_is_array ON minion.jobs IS 'Workers can rely on a list of arguments.';
COMMENT ON CONSTRAINT jobs_notes_is_object ON minion.jobs IS 'Notes are merged by key.';


CREATE FUNCTION minion.lanes() RETURNS TABLE (
    database text, queue text, task text, priority int, id bigint, is_empty bool, due timestamptz,
    waiters bigint, hits bigint, heals bigint
) STRICT LANGUAGE c AS 'MODULE_PATHNAME', 'lanes_wrapper';

CREATE FUNCTION minion.job_counts(queues text[] DEFAULT NULL, tasks text[] DEFAULT NULL) RETURNS TABLE (
    inactive bigint, active bigint, failed bigint, finished bigint, delayed bigint
) ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', 'job_counts_wrapper';

CREATE FUNCTION minion.matching_jobs(
    before bigint, ids bigint[], notes text[], queues text[], states minion.job_state[], tasks text[]
) RETURNS SETOF bigint LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT match.id
    FROM minion.jobs AS match
    WHERE (matching_jobs.before IS NULL OR match.id < matching_jobs.before)
      AND (matching_jobs.ids IS NULL OR match.id = ANY (matching_jobs.ids))
      AND (matching_jobs.notes IS NULL OR (match.notes ?| matching_jobs.notes AND match.notes <> '{}'))
      AND (matching_jobs.queues IS NULL OR match.queue = ANY (matching_jobs.queues))
      AND (matching_jobs.states IS NULL OR match.state = ANY (matching_jobs.states))
      AND (matching_jobs.tasks IS NULL OR match.task = ANY (matching_jobs.tasks))
      AND NOT (match.state = 'inactive' AND match.expires IS NOT NULL
               AND match.expires <= clock_timestamp());
END;

CREATE OR REPLACE FUNCTION minion.list_jobs(
    skip bigint DEFAULT 0,
    take bigint DEFAULT 100,
    before bigint DEFAULT NULL,
    ids bigint[] DEFAULT NULL,
    notes text[] DEFAULT NULL,
    queues text[] DEFAULT NULL,
    states minion.job_state[] DEFAULT NULL,
    tasks text[] DEFAULT NULL
) RETURNS TABLE (
    id bigint, args jsonb, attempts int, children bigint[], created timestamptz, delayed timestamptz,
    expires timestamptz, finished timestamptz, lax bool, notes jsonb, parents bigint[], priority int,
    queue text, result jsonb, retried timestamptz, retries int, started timestamptz,
    state minion.job_state, task text, "time" timestamptz, worker bigint, total bigint
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT job.id, job.args, job.attempts,
        ARRAY(
            SELECT child.id
            FROM minion.children AS child
            WHERE child.parents @> ARRAY[job.id]
              AND EXISTS (SELECT FROM minion.jobs AS visible WHERE visible.id = child.id)
            ORDER BY child.id
        ),
        job.created, job.delayed, job.expires, job.finished, job.lax, job.notes, job.parents,
        job.priority, job.queue, job.result, job.retried, job.retries, job.started, job.state, job.task,
        clock_timestamp(), job.worker, matches.total
    FROM (
        SELECT match AS id
        FROM minion.matching_jobs(
            list_jobs.before, list_jobs.ids, list_jobs.notes, list_jobs.queues, list_jobs.states,
            list_jobs.tasks) AS match
        ORDER BY match DESC
        OFFSET list_jobs.skip
        LIMIT list_jobs.take
    ) AS page
    JOIN minion.jobs AS job ON job.id = page.id
    CROSS JOIN (
        -- Without these filters nothing is counted where shared memory knows the counts, and on the first
        -- pages little; the planner sees only one of the two without before.
        SELECT CASE WHEN list_jobs.ids IS NULL AND list_jobs.notes IS NULL
                AND (list_jobs.before IS NULL
                     OR list_jobs.before > (SELECT given.last_value / 2 FROM minion.jobs_id_seq AS given))
            THEN (
                SELECT
                    CASE WHEN list_jobs.states IS NULL OR 'inactive' = ANY (list_jobs.states)
                        THEN counts.inactive - (
                            SELECT count(*)
                            FROM minion.jobs AS expired
                            WHERE expired.state = 'inactive' AND expired.expires IS NOT NULL
                              AND expired.expires <= clock_timestamp()
                              AND (list_jobs.queues IS NULL OR expired.queue = ANY (list_jobs.queues))
                              AND (list_jobs.tasks IS NULL OR expired.task = ANY (list_jobs.tasks)))
                        ELSE 0 END
                    + CASE WHEN list_jobs.states IS NULL OR 'active' = ANY (list_jobs.states)
                        THEN counts.active ELSE 0 END
                    + CASE WHEN list_jobs.states IS NULL OR 'failed' = ANY (list_jobs.states)
                        THEN counts.failed ELSE 0 END
                    + CASE WHEN list_jobs.states IS NULL OR 'finished' = ANY (list_jobs.states)
                        THEN counts.finished ELSE 0 END
                FROM minion.job_counts(list_jobs.queues, list_jobs.tasks) AS counts
            ) - CASE WHEN list_jobs.before IS NULL THEN 0 ELSE (
                SELECT count(*)
                FROM minion.matching_jobs(
                    NULL, NULL, NULL, list_jobs.queues, list_jobs.states, list_jobs.tasks) AS later
                WHERE later >= list_jobs.before)
            END
            ELSE (
                SELECT count(*)
                FROM minion.matching_jobs(
                    list_jobs.before, list_jobs.ids, list_jobs.notes, list_jobs.queues,
                    list_jobs.states, list_jobs.tasks))
            END AS total
        OFFSET 0
    ) AS matches
    ORDER BY job.id DESC;
END;

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
        (SELECT CASE WHEN given.is_called THEN given.last_value ELSE 0 END
         FROM minion.jobs_id_seq AS given),
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
        (SELECT count(*) FROM minion.schedules),
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

COMMENT ON FUNCTION minion.is_name(text) IS
'Internal: whether a text has 1 to 1000 bytes, for CHECKs.';

COMMENT ON FUNCTION minion.is_array(jsonb) IS
'Internal: whether it is a JSON array, for CHECKs.';

COMMENT ON FUNCTION minion.is_object(jsonb) IS
'Internal: whether it is a JSON object, for CHECKs.';

COMMENT ON FUNCTION minion.lanes() IS
'What shared memory knows of each lane, the jobs of one task in one queue, in all databases; no rows where minion is not in shared_preload_libraries.
priority, id: no job before this place in the order of claims is ready, NULL if not known; is_empty: none is ready at all; due: no parked job is due before;
waiters: calls of dequeue() that sleep until it has a job; hits: claims that looked here; heals: how often the place was found too far on, and put right.
A last row without names, if there is one: hits are the jobs that came to lanes for which minion.max_lanes left no room.';

COMMENT ON FUNCTION minion.job_counts(text[], text[]) IS
'Internal: how many jobs there are by state, and how many of the inactive ones are delayed, for stats() and list_jobs().';

COMMENT ON FUNCTION minion.matching_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]) IS
'Internal: the ids of the jobs that list_jobs() is to list, for its page and its total.';

REVOKE ALL ON FUNCTION
    minion.is_name(text),
    minion.is_array(jsonb),
    minion.is_object(jsonb),
    minion.lanes(),
    minion.job_counts(text[], text[]),
    minion.matching_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[])
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    minion.lanes(),
    minion.job_counts(text[], text[]),
    minion.matching_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[])
TO minion_reader, minion_worker, minion_admin;
GRANT EXECUTE ON FUNCTION
    minion.is_name(text),
    minion.is_array(jsonb),
    minion.is_object(jsonb)
TO minion_producer, minion_worker, minion_admin;
