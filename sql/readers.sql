-- What only reads. The bodies are parsed here and now (BEGIN ATOMIC), so that no caller's search_path has a
-- say in what they mean, and the planner can put them in place of the call, where a filter that is NULL
-- falls away. Times are the clock's, not the transaction's.

-- The planner takes a thousand rows for granted, and compiles (JIT) for a quarter of a second what then
-- seems to be expensive.
ALTER FUNCTION minion.job_counts ROWS 1;

-- Of list_jobs: the jobs that its filters are for. The planner puts it in place of the calls.
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

CREATE FUNCTION minion.list_jobs(
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
    state minion.job_state, task text, "time" timestamptz, worker bigint, total bigint, time_limit interval
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT job.id, job.args, job.attempts,
        ARRAY(
            -- No join, and sorted outside: whatever statistics say, it begins with the index of children.
            SELECT family.id
            FROM (
                SELECT child.id
                FROM minion.children AS child
                WHERE child.parents @> ARRAY[job.id]
                  AND (SELECT true FROM minion.jobs AS visible WHERE visible.id = child.id)
                OFFSET 0
            ) AS family
            ORDER BY family.id
        ),
        job.created, job.delayed, job.expires, job.finished, job.lax, job.notes, job.parents,
        job.priority, job.queue, job.result, job.retried, job.retries, job.started, job.state, job.task,
        clock_timestamp(), job.worker, matches.total, job.time_limit
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

CREATE FUNCTION minion.wait_for_job(id bigint, timeout interval) RETURNS TABLE (
    id bigint, args jsonb, attempts int, children bigint[], created timestamptz, delayed timestamptz,
    expires timestamptz, finished timestamptz, lax bool, notes jsonb, parents bigint[], priority int,
    queue text, result jsonb, retried timestamptz, retries int, started timestamptz,
    state minion.job_state, task text, "time" timestamptz, worker bigint, time_limit interval
) LANGUAGE c AS 'MODULE_PATHNAME', 'wait_for_outcome_wrapper';

CREATE FUNCTION minion.list_queues() RETURNS TABLE (
    queue text, paused bool, inactive bigint, active bigint, failed bigint, finished bigint,
    delayed bigint, oldest_ready interval
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(counts.queue, paused.queue), paused.queue IS NOT NULL, coalesce(counts.inactive, 0),
        coalesce(counts.active, 0), coalesce(counts.failed, 0), coalesce(counts.finished, 0),
        coalesce(counts.delayed, 0),
        -- Infinite times, which some servers do not subtract, are taken for the ends of what is finite.
        CASE WHEN counts.oldest IS NOT NULL
            THEN GREATEST('0', clock_timestamp()
                - LEAST(GREATEST(counts.oldest, '4713-01-01 00:00:00+00 BC'), clock_timestamp()))
        END
    FROM minion.queue_counts() AS counts
    FULL JOIN minion.paused_queues AS paused ON paused.queue = counts.queue
    ORDER BY coalesce(counts.queue, paused.queue);
END;

-- What is limited, and what is in use of it now.
CREATE VIEW minion.limits AS
SELECT nullif(rule.queue, '') AS queue,
    nullif(rule.task, '') AS task,
    rule.max_active,
    CASE WHEN rule.max_active IS NOT NULL THEN (
        SELECT count(*)
        FROM minion.active_slots AS slot
        WHERE slot.queue = rule.queue AND slot.task = rule.task AND slot.job IS NOT NULL)
    END AS active,
    rule.max_starts,
    rule.per,
    CASE WHEN rule.max_starts IS NOT NULL THEN (
        SELECT count(*)
        FROM minion.start_slots AS slot
        WHERE slot.queue = rule.queue AND slot.task = rule.task AND slot.free_at > clock_timestamp())
    END AS starts
FROM minion.limit_rules AS rule;

CREATE FUNCTION minion.list_schedules(
    skip bigint DEFAULT 0,
    take bigint DEFAULT 100,
    before bigint DEFAULT NULL,
    ids bigint[] DEFAULT NULL,
    names text[] DEFAULT NULL
) RETURNS TABLE (
    id bigint, args jsonb, attempts int, created timestamptz, cron text, expire interval,
    last_job bigint, last_run timestamptz, lax bool, name text, next_run timestamptz, notes jsonb,
    paused bool, priority int, queue text, task text, timezone text, unique_key text, total bigint,
    time_limit interval
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT schedule.id, schedule.args, schedule.attempts, schedule.created, schedule.cron,
        schedule.expire, schedule.last_job, schedule.last_run, schedule.lax, schedule.name,
        schedule.next_run, schedule.notes, schedule.paused, schedule.priority, schedule.queue,
        schedule.task, schedule.timezone, schedule.unique_key, count(*) OVER (), schedule.time_limit
    FROM minion.schedules AS schedule
    WHERE (list_schedules.before IS NULL OR schedule.id < list_schedules.before)
      AND (list_schedules.ids IS NULL OR schedule.id = ANY (list_schedules.ids))
      AND (list_schedules.names IS NULL OR schedule.name = ANY (list_schedules.names))
    ORDER BY schedule.id DESC
    OFFSET list_schedules.skip
    LIMIT list_schedules.take;
END;

CREATE FUNCTION minion.list_workers(
    skip bigint DEFAULT 0,
    take bigint DEFAULT 100,
    before bigint DEFAULT NULL,
    ids bigint[] DEFAULT NULL
) RETURNS TABLE (
    id bigint, host text, pid int, started timestamptz, notified timestamptz, status jsonb,
    jobs bigint[], total bigint, attached bool
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT worker.id, worker.host, worker.pid, worker.started, worker.notified, worker.status,
        ARRAY(
            SELECT job.id
            FROM minion.jobs AS job
            WHERE job.state = 'active' AND job.worker = worker.id
            ORDER BY job.id
        ),
        count(*) OVER (),
        worker.attached IS NOT NULL
    FROM minion.workers AS worker
    WHERE (list_workers.before IS NULL OR worker.id < list_workers.before)
      AND (list_workers.ids IS NULL OR worker.id = ANY (list_workers.ids))
    ORDER BY worker.id DESC
    OFFSET list_workers.skip
    LIMIT list_workers.take;
END;

CREATE FUNCTION minion.list_locks(
    skip bigint DEFAULT 0,
    take bigint DEFAULT 100,
    names text[] DEFAULT NULL
) RETURNS TABLE (id bigint, name text, expires timestamptz, total bigint) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT lock.id, lock.name, lock.expires, count(*) OVER ()
    FROM minion.locks AS lock
    WHERE lock.expires > clock_timestamp()
      AND (list_locks.names IS NULL OR lock.name = ANY (list_locks.names))
    ORDER BY lock.id DESC
    OFFSET list_locks.skip
    LIMIT list_locks.take;
END;

CREATE FUNCTION minion.stats() RETURNS TABLE (
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
         -- One look into an index each, whatever statistics say.
         WHERE (
            SELECT true
            FROM minion.jobs AS job
            WHERE job.state = 'active' AND job.worker = worker.id
            LIMIT 1) IS NULL),
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

-- Hours are counted as 3,600 seconds back from the current one: a DST change neither repeats nor drops one.
CREATE FUNCTION minion.history() RETURNS TABLE (
    hour timestamptz, failed_jobs bigint, finished_jobs bigint
) LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH span AS MATERIALIZED (
        SELECT date_bin('1 hour', clock_timestamp(), 'epoch') - make_interval(hours => 23) AS begin
    ), ended AS (
        SELECT date_bin('1 hour', job.finished, 'epoch') AS hour, 1 AS failed, 0 AS finished
        FROM minion.jobs AS job
        WHERE job.state = 'failed' AND job.finished >= (SELECT span.begin FROM span)
          AND job.finished < (SELECT span.begin + make_interval(hours => 24) FROM span)
      UNION ALL
        SELECT date_bin('1 hour', job.finished, 'epoch'), 0, 1
        FROM minion.jobs AS job
        WHERE job.state = 'finished' AND job.finished >= (SELECT span.begin FROM span)
          AND job.finished < (SELECT span.begin + make_interval(hours => 24) FROM span)
    )
    SELECT hours.hour, coalesce(sum(ended.failed), 0), coalesce(sum(ended.finished), 0)
    FROM (
        SELECT span.begin + make_interval(hours => number) AS hour
        FROM span, generate_series(0, 23) AS number
    ) AS hours
    LEFT JOIN ended ON ended.hour = hours.hour
    GROUP BY hours.hour
    ORDER BY hours.hour;
END;

CREATE VIEW minion.background_workers AS
SELECT worker.database, worker.pid, worker.activity, worker.since, worker.starts, worker.failures,
    worker.last_error, worker.failed, worker.next_due
FROM minion.list_background_workers() AS worker;
