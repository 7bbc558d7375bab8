-- From 0.4.0 to 0.5.0: what is left to a background worker.

-- No table can be altered while deferred triggers of the user's have rows of it to see to.
SET CONSTRAINTS ALL IMMEDIATE;

-- Whoever reads for long, pg_dump for instance, is waited for before there is a lock on jobs, which all would wait for.
-- The locks that this takes are given back with its subtransaction.
DO $$
BEGIN
    LOCK TABLE minion.workers, minion.schedules;
    RAISE EXCEPTION USING ERRCODE = 'MINON';
EXCEPTION
    WHEN SQLSTATE 'MINON' THEN NULL;
END
$$;

-- In the order in which all lock them.
LOCK TABLE minion.jobs, minion.workers, minion.schedules;

-- Time limits.

CREATE FUNCTION minion.time_limit_ends(
    started timestamptz,
    time_limit interval
) RETURNS timestamptz
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'time_limit_ends_wrapper';
REVOKE ALL ON FUNCTION minion.time_limit_ends(timestamptz, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION minion.time_limit_ends(timestamptz, interval) TO minion_producer, minion_worker, minion_admin;
COMMENT ON FUNCTION minion.time_limit_ends(timestamptz, interval) IS
'Internal: when an attempt that began then is out of time, for an index. Days have 24 hours, months 30 days; NULL for NULL.';

ALTER TABLE minion.jobs ADD COLUMN time_limit interval;
CREATE INDEX jobs_time_limit ON minion.jobs (minion.time_limit_ends(started, time_limit), id)
    WHERE state = 'active' AND time_limit IS NOT NULL;
ALTER TABLE minion.schedules
    ADD COLUMN time_limit interval,
    ADD CONSTRAINT schedules_time_limit_has_0_to_10000_years CHECK (time_limit BETWEEN '0' AND '10000 years');
GRANT INSERT (time_limit) ON minion.jobs TO minion_producer;
COMMENT ON COLUMN minion.jobs.time_limit IS 'An attempt that is active for longer is failed; NULL: none. A negative one counts as 0, one over 100 years as 100 years.';
COMMENT ON INDEX minion.jobs_time_limit IS 'Active jobs with a time limit, by when it ends.';
COMMENT ON COLUMN minion.schedules.time_limit IS 'The time_limit of its jobs; NULL: none.';
COMMENT ON CONSTRAINT schedules_time_limit_has_0_to_10000_years ON minion.schedules IS 'As expire.';
COMMENT ON FUNCTION minion.repair() IS
'Puts right what time and vanished workers leave behind; call it every few minutes. Returns one row that says how many of each:
workers_removed: silent for minion.missing_after, or attached to a session that is gone; jobs_removed: finished for minion.remove_after, but no unfinished job''s parents;
jobs_expired: removed before they ever ran; jobs_abandoned: active without a worker, failed with "Worker went away" or retried;
jobs_stuck: unclaimed for minion.stuck_after, failed, unless their queue is paused or a limit of 0 keeps them from starting;
more: it stopped because of minion.repair_limit, or to be through before statement_timeout: call it again.
Jobs that are active for longer than their time_limit fail with "Job exceeded its time limit" or are retried, and their workers get ["stop", id].
What can''t be done with a row is passed over with a WARNING. Failed jobs are never removed. One call at a time does it, others
return zeros at once. Semantics: Minion''s repair.';
COMMENT ON FUNCTION minion.enqueue_many(jsonb) IS
'Puts an array of jobs into their queues, all of them or none, and returns their ids in the array''s order.
jobs: [{"task": "mail", "args": [1], "delay": "5 minutes"}, …]: objects with the arguments of enqueue() as keys, of which only task is required.
delay, expire and time_limit: a number of seconds, or interval text; parents: ids that exist already;
unique_key: the id of the job that has it, also an earlier one of the array, is returned in the place of a new one.
Raises 22032 for anything else, naming the element and the key, as in jobs[3].priority; 22004 for NULL.';

-- Workers that are attached to a session.

ALTER TABLE minion.workers ADD COLUMN attached timestamptz;
COMMENT ON TABLE minion.workers IS
'Who takes jobs. repair() removes workers that were silent for minion.missing_after, or whose session is gone that they were attached to.';
COMMENT ON COLUMN minion.workers.attached IS
'NULL: it is not attached to a session. Else when the server''s shared memory was made, at its start or after a crash: with that the session is gone, too.';

-- Functions with an argument or a column more. Those that were there are kept for a while, for their owners and rights.
ALTER FUNCTION minion.enqueue(text, jsonb, text, int, interval, interval, int, bigint[], bool, jsonb, text)
    RENAME TO former_enqueue;
ALTER FUNCTION minion.retry_job(bigint, int, int, interval, interval, bool, bigint[], int, text)
    RENAME TO former_retry_job;
ALTER FUNCTION minion.schedule(text, text, text, jsonb, text, int, interval, int, bool, jsonb, text, text)
    RENAME TO former_schedule;
ALTER FUNCTION minion.list_jobs(bigint, bigint, bigint, bigint[], text[], text[], minion.job_state[], text[])
    RENAME TO former_list_jobs;
ALTER FUNCTION minion.list_schedules(bigint, bigint, bigint, bigint[], text[])
    RENAME TO former_list_schedules;
ALTER FUNCTION minion.wait_for_job(bigint, interval)
    RENAME TO former_wait_for_job;
ALTER FUNCTION minion.register_worker(bigint, text, int, jsonb)
    RENAME TO former_register_worker;
ALTER FUNCTION minion.list_workers(bigint, bigint, bigint, bigint[])
    RENAME TO former_list_workers;

CREATE FUNCTION minion.register_worker(
    id bigint DEFAULT NULL,
    host text DEFAULT NULL,
    pid int DEFAULT NULL,
    status jsonb DEFAULT '{}',
    attached bool DEFAULT false
) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'register_attachable_wrapper';

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

CREATE FUNCTION minion.enqueue(
    task TEXT,
    args jsonb DEFAULT '[]',
    queue TEXT DEFAULT 'default',
    priority INT DEFAULT 0,
    delay interval DEFAULT '0',
    expire interval DEFAULT NULL,
    attempts INT DEFAULT 1,
    parents bigint[] DEFAULT '{}',
    lax bool DEFAULT false,
    notes jsonb DEFAULT '{}',
    unique_key TEXT DEFAULT NULL,
    time_limit interval DEFAULT NULL
) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'enqueue_limited_wrapper';

CREATE FUNCTION minion.retry_job(
    id bigint,
    retries INT,
    attempts INT DEFAULT NULL,
    delay interval DEFAULT '0',
    expire interval DEFAULT NULL,
    lax bool DEFAULT NULL,
    parents bigint[] DEFAULT NULL,
    priority INT DEFAULT NULL,
    queue TEXT DEFAULT NULL,
    time_limit interval DEFAULT NULL
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'retry_limited_wrapper';

CREATE FUNCTION minion.schedule(
    name TEXT,
    cron TEXT,
    task TEXT,
    args jsonb DEFAULT '[]',
    queue TEXT DEFAULT 'default',
    priority INT DEFAULT 0,
    expire interval DEFAULT NULL,
    attempts INT DEFAULT 1,
    lax bool DEFAULT false,
    notes jsonb DEFAULT '{}',
    unique_key TEXT DEFAULT NULL,
    timezone TEXT DEFAULT 'UTC',
    time_limit interval DEFAULT NULL
) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'schedule_limited_wrapper';

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

COMMENT ON FUNCTION minion.register_worker(bigint, text, int, jsonb, bool) IS
'Registers a worker and returns its id; with that id, says that the worker is still there (do that every few minutes).
id NULL (a new one): an id that this function returned before, also one that repair() has removed since; status {}: a JSON object, replaced by each call;
host, pid NULL (what the server knows of the connection): where the worker runs; those of the first call are kept;
attached false (what was said before stays): the worker is gone as soon as this session has ended, however it ends. Not behind a transaction pooler;
without minion in shared_preload_libraries it means nothing.
Raises 22023 for an id that was never issued, 22004 for a NULL status or attached, 23514 for a status that is not an object or a host over 1000 bytes,
53400 if too many workers are attached. Semantics: Minion''s register_worker.';
COMMENT ON FUNCTION minion.list_workers(bigint, bigint, bigint, bigint[]) IS
'Lists workers, newest first, with the ids of their active jobs, the number of all matches (total), and whether they are attached to a session.
skip 0, take 100: the page; before NULL: only ids below it; ids NULL (any): only these. Raises 2201X and 2201W for a negative skip or take.
Semantics: Minion''s list_workers.';
COMMENT ON FUNCTION minion.enqueue(
    text, jsonb, text, int, interval, interval, int, bigint[], bool, jsonb, text, interval
) IS
'Puts a job into a queue and returns its id. Part of your transaction: no worker sees the job before COMMIT.
task: the kind of work, 1 to 1000 bytes; args [] : a JSON array; queue default: 1 to 1000 bytes; priority 0: higher goes first;
delay 0: interval before it may start; expire NULL (never): interval after which it is not worth starting; attempts 1: how often it may be tried;
parents {}: ids of jobs to wait for; lax false: whether failed parents will do; notes {}: a JSON object;
unique_key NULL (none): 1 to 1000 bytes; while a job with this key is inactive or active, its id is returned, and nothing is changed.
time_limit NULL (none): interval after which an attempt that is active still is failed: see repair().
Raises 22004 for a NULL other than expire, unique_key and time_limit, 22023 for a negative or absurd interval, 23514 for a name, args, notes or attempts that the table does not take.
Semantics: Minion''s enqueue.';
COMMENT ON FUNCTION minion.retry_job(
    bigint, int, int, interval, interval, bool, bigint[], int, text, interval
) IS
'Puts a job back into its queue, from any state, and counts one retry. True if it was done; false if the job is gone or was retried since.
id, retries: which attempt is meant, so that nothing is retried twice by accident; delay 0: interval before it may start.
attempts, expire (counted from now), lax, parents, priority, queue, time_limit replace what the job has; NULL, their default, keeps it.
Result, worker, started and finished stay as they were. Attempts are not used up.
Raises 22004 for a NULL id, retries or delay, 22023 for a negative or absurd interval, 23514 for a value that the table does not take.
Semantics: Minion''s retry_job.';
COMMENT ON FUNCTION minion.schedule(
    text, text, text, jsonb, text, int, interval, int, bool, jsonb, text, text, interval
) IS
'Says that a job is to be enqueued whenever a cron expression says so, and returns the schedule''s id. Somebody has to call dispatch_schedules().
A schedule of that name is changed: it keeps its id, its last run and whether it is paused, and, unless cron or timezone differs, its next run.
name: 1 to 1000 bytes; cron: five fields (minute, hour, day of month, month, day of week) or @yearly, @monthly, @weekly, @daily, @hourly;
timezone UTC: a name of pg_timezone_names or an offset from UTC such as +02:00; task and the others: as for enqueue(), for each job.
Raises 22023 for an invalid cron expression, time zone or interval, 22004 for a NULL other than expire, unique_key and time_limit,
23514 for a value that the table does not take. Semantics: Minion''s schedule.';
COMMENT ON FUNCTION minion.list_jobs(
    bigint, bigint, bigint, bigint[], text[], text[], minion.job_state[], text[]
) IS
'Lists jobs, newest first, with their children and the number of all matches (total). Expired jobs that never ran are not shown.
skip 0, take 100: the page; before NULL: only ids below it, the fast way to the next page;
ids, notes (has any of these keys), queues, states, tasks: filters, all of which must hold; NULL, their default, means any, an empty array none.
time is the clock of the server, for telling ages without trusting the client''s. Raises 2201X and 2201W for a negative skip or take.
Semantics: Minion''s list_jobs.';
COMMENT ON FUNCTION minion.wait_for_job(bigint, interval) IS
'Waits until a job is finished, or has failed with no automatic retry ahead, and returns its row, as list_jobs() does; no row if that
takes longer than timeout. The caller''s transaction and snapshot stay open meanwhile.
Raises 42704 for a job that does not exist, or was removed meanwhile, 22004 for NULL, 22023 for a negative or absurd interval,
0A000 under REPEATABLE READ or SERIALIZABLE.';
COMMENT ON FUNCTION minion.list_schedules(bigint, bigint, bigint, bigint[], text[]) IS
'Lists schedules, newest first, with the number of all matches (total).
skip 0, take 100: the page; before NULL: only ids below it; ids, names NULL (any): only these. Raises 2201X and 2201W for a negative skip or take.
Semantics: Minion''s list_schedules.';

-- A script's grants are taken for the extension's own, which a dump leaves out: what others have granted stays in their
-- dumps, as it did with the functions that were there.
DO $$
DECLARE
    former record;
    granted record;
    function pg_catalog.regprocedure;
BEGIN
    FOR former IN
        SELECT proc.oid, proc.proname, pg_catalog.pg_get_userbyid(proc.proowner) AS owner, proc.proacl, (
            SELECT own.initprivs
            FROM pg_catalog.pg_init_privs AS own
            WHERE own.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND own.objoid = proc.oid) AS initial
        FROM pg_catalog.pg_proc AS proc
        WHERE proc.pronamespace = 'minion'::pg_catalog.regnamespace AND proc.proname = ANY (
            -- Whoever may write to jobs calls is_object(), and time_limit_ends() from now on.
            '{is_object,former_enqueue,former_retry_job,former_schedule,former_list_jobs,former_list_schedules,former_wait_for_job,
                former_register_worker,former_list_workers}')
    LOOP
        SELECT proc.oid
        INTO STRICT function
        FROM pg_catalog.pg_proc AS proc
        WHERE proc.pronamespace = 'minion'::pg_catalog.regnamespace
          AND proc.proname = CASE former.proname
            WHEN 'is_object' THEN 'time_limit_ends'
            ELSE pg_catalog.substr(former.proname, 8)
          END;
        EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO %I', function, former.owner);
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
        FOR granted IN
            SELECT grantee, is_grantable
            FROM pg_catalog.aclexplode(former.proacl) WITH ORDINALITY AS one
            WHERE grantee <> grantor
            ORDER BY ordinality
        LOOP
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %s%s', function,
                CASE granted.grantee WHEN 0 THEN 'PUBLIC'
                    ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(granted.grantee)) END,
                CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
        END LOOP;
        UPDATE pg_catalog.pg_init_privs
        SET initprivs = former.initial
        WHERE classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND objoid = function;
        -- Since version 17 the server keeps account of these, too: whoever has none of them can be dropped.
        DELETE FROM pg_catalog.pg_shdepend AS depend
        WHERE depend.deptype = 'i'
          AND depend.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
          AND depend.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND depend.objid = function
          AND NOT EXISTS (
            SELECT FROM pg_catalog.aclexplode(former.initial) AS acl WHERE acl.grantee = depend.refobjid);
        IF former.proname <> 'is_object' THEN
            EXECUTE pg_catalog.format('DROP FUNCTION %s', former.oid::pg_catalog.regprocedure);
        END IF;
    END LOOP;
END
$$;

-- Schedules.

CREATE FUNCTION minion.schedules_changed() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'schedules_changed_wrapper';
REVOKE ALL ON FUNCTION minion.schedules_changed() FROM PUBLIC;
COMMENT ON FUNCTION minion.schedules_changed() IS
'Tells the background worker of new and changed schedules.';

CREATE TRIGGER schedules_changed
AFTER INSERT OR UPDATE ON minion.schedules
FOR EACH STATEMENT EXECUTE FUNCTION minion.schedules_changed();

-- What people see.

CREATE FUNCTION minion.list_background_workers() RETURNS TABLE (
    database text, pid int, activity text, since timestamptz, starts bigint, failures int, last_error text,
    failed timestamptz, next_due timestamptz
) LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'list_background_workers_wrapper';
REVOKE ALL ON FUNCTION minion.list_background_workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION minion.list_background_workers() TO minion_reader, minion_worker, minion_admin;

CREATE VIEW minion.background_workers AS
SELECT worker.database, worker.pid, worker.activity, worker.since, worker.starts, worker.failures,
    worker.last_error, worker.failed, worker.next_due
FROM minion.list_background_workers() AS worker;
GRANT SELECT ON minion.background_workers TO minion_reader, minion_worker, minion_admin;

COMMENT ON FUNCTION minion.list_background_workers() IS
'What minion.background_workers shows.';
COMMENT ON VIEW minion.background_workers IS
'What runs by itself where minion is in shared_preload_libraries: the launcher, and the worker of this database; for members of pg_read_all_stats those of all databases.';
COMMENT ON COLUMN minion.background_workers.database IS 'NULL: the launcher.';
COMMENT ON COLUMN minion.background_workers.pid IS 'NULL: there is no process, for there is nothing to do, or see last_error.';
COMMENT ON COLUMN minion.background_workers.activity IS 'What it is at.';
COMMENT ON COLUMN minion.background_workers.since IS 'Since when.';
COMMENT ON COLUMN minion.background_workers.starts IS 'How many processes were started for the database since the start of the server.';
COMMENT ON COLUMN minion.background_workers.failures IS 'How often in a row a process, or one of its duties, has failed; it is tried the later.';
COMMENT ON COLUMN minion.background_workers.last_error IS 'The last error, of a start or of a single duty.';
COMMENT ON COLUMN minion.background_workers.failed IS 'When that was.';
COMMENT ON COLUMN minion.background_workers.next_due IS 'When there is something to do though nothing happens; NULL: never.';
