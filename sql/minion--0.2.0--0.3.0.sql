-- From 0.2.0 to 0.3.0: schedules, limits, unique keys, paused queues, bulk changes, cancelling, waiting for a result.

ALTER TABLE minion.jobs ADD COLUMN unique_key text COLLATE "C";

CREATE UNIQUE INDEX jobs_unique_key ON minion.jobs (unique_key)
    WHERE unique_key IS NOT NULL AND (state = 'inactive' OR state = 'active');

ALTER TABLE minion.schedules ADD COLUMN unique_key text COLLATE "C";

-- Queues that nothing is claimed from.
CREATE TABLE minion.paused_queues (
    queue  text COLLATE "C" NOT NULL,
    paused timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT paused_queues_pkey PRIMARY KEY (queue)
);

-- How many jobs may be active at once, or start within a time; an empty name stands for any.
CREATE TABLE minion.limit_rules (
    queue      text COLLATE "C" NOT NULL DEFAULT '',
    task       text COLLATE "C" NOT NULL DEFAULT '',
    max_active int,
    max_starts int,
    per        interval,
    CONSTRAINT limit_rules_pkey PRIMARY KEY (queue, task)
);

-- A claim takes one of these for each limit that its job is under, and locks it with SKIP LOCKED: so claims
-- that have not committed count as well, and none waits for another. A slot beyond max_active is that of a
-- job that was active when the limit was lowered.
CREATE TABLE minion.active_slots (
    queue  text COLLATE "C" NOT NULL,
    task   text COLLATE "C" NOT NULL,
    number int NOT NULL,
    job    bigint,
    CONSTRAINT active_slots_pkey PRIMARY KEY (queue, task, number)
) WITH (fillfactor = 50);

CREATE INDEX active_slots_free ON minion.active_slots (queue, task, number) WHERE job IS NULL;
CREATE INDEX active_slots_job ON minion.active_slots (job) WHERE job IS NOT NULL;

-- The same for starts: each slot serves one start, and the next one when its time has passed.
CREATE TABLE minion.start_slots (
    queue   text COLLATE "C" NOT NULL,
    task    text COLLATE "C" NOT NULL,
    number  int NOT NULL,
    free_at timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT start_slots_pkey PRIMARY KEY (queue, task, number)
) WITH (fillfactor = 50);

CREATE INDEX start_slots_free_at ON minion.start_slots (queue, task, free_at);

SELECT pg_catalog.pg_extension_config_dump('minion.paused_queues', '');
SELECT pg_catalog.pg_extension_config_dump('minion.limit_rules', '');
SELECT pg_catalog.pg_extension_config_dump('minion.active_slots', '');
SELECT pg_catalog.pg_extension_config_dump('minion.start_slots', '');

DROP FUNCTION minion.enqueue(text, jsonb, text, int, interval, interval, int, bigint[], bool, jsonb);

CREATE FUNCTION minion.limits_changed()
    RETURNS TRIGGER
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'limits_changed_wrapper';

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
    unique_key TEXT DEFAULT NULL
) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'enqueue_unique_wrapper';

CREATE FUNCTION minion.cancel_job(
    id bigint
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'cancel_job_wrapper';

CREATE FUNCTION minion.retry_jobs(
    before bigint DEFAULT NULL,
    ids bigint[] DEFAULT NULL,
    notes TEXT[] DEFAULT NULL,
    queues TEXT[] DEFAULT NULL,
    states minion.job_state[] DEFAULT NULL,
    tasks TEXT[] DEFAULT NULL
) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'retry_jobs_wrapper';

CREATE FUNCTION minion.remove_jobs(
    before bigint DEFAULT NULL,
    ids bigint[] DEFAULT NULL,
    notes TEXT[] DEFAULT NULL,
    queues TEXT[] DEFAULT NULL,
    states minion.job_state[] DEFAULT NULL,
    tasks TEXT[] DEFAULT NULL
) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'remove_jobs_wrapper';

CREATE FUNCTION minion.await_job(
    id bigint,
    timeout interval
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'await_job_wrapper';

CREATE FUNCTION minion.queue_counts() RETURNS TABLE (
    queue TEXT,
    inactive bigint,
    active bigint,
    failed bigint,
    finished bigint,
    delayed bigint,
    oldest timestamp with time zone
)
STRICT
LANGUAGE c
AS 'MODULE_PATHNAME', 'queue_counts_wrapper';

CREATE FUNCTION minion.limit_task(
    task TEXT,
    max_active INT DEFAULT NULL,
    queue TEXT DEFAULT NULL,
    max_starts INT DEFAULT NULL,
    per interval DEFAULT NULL
) RETURNS VOID
LANGUAGE c
AS 'MODULE_PATHNAME', 'limit_task_wrapper';

CREATE FUNCTION minion.limit_queue(
    queue TEXT,
    max_active INT DEFAULT NULL,
    max_starts INT DEFAULT NULL,
    per interval DEFAULT NULL
) RETURNS VOID
LANGUAGE c
AS 'MODULE_PATHNAME', 'limit_queue_wrapper';

CREATE FUNCTION minion.pause_queue(
    queue TEXT
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'pause_queue_wrapper';

CREATE FUNCTION minion.resume_queue(
    queue TEXT
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'resume_queue_wrapper';

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
    timezone TEXT DEFAULT 'UTC'
) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'schedule_wrapper';

CREATE FUNCTION minion.unschedule(
    name TEXT
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'unschedule_wrapper';

CREATE FUNCTION minion.pause_schedule(
    name TEXT
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'pause_schedule_wrapper';

CREATE FUNCTION minion.resume_schedule(
    name TEXT
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'resume_schedule_wrapper';

CREATE FUNCTION minion.dispatch_schedules() RETURNS TABLE (
    id bigint,
    name TEXT,
    job bigint
)
STRICT
LANGUAGE c
AS 'MODULE_PATHNAME', 'dispatch_schedules_wrapper';

CREATE FUNCTION minion.next_run(
    cron TEXT,
    after timestamp with time zone DEFAULT now(),
    timezone TEXT DEFAULT 'UTC'
) RETURNS timestamp with time zone
STABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'next_run_wrapper';

-- Every backend keeps in mind what is paused and limited, until it is told of a change.
CREATE TRIGGER paused_queues_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON minion.paused_queues
FOR EACH STATEMENT EXECUTE FUNCTION minion.limits_changed();

CREATE TRIGGER limit_rules_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON minion.limit_rules
FOR EACH STATEMENT EXECUTE FUNCTION minion.limits_changed();

CREATE FUNCTION minion.wait_for_job(id bigint, timeout interval) RETURNS TABLE (
    id bigint, args jsonb, attempts int, children bigint[], created timestamptz, delayed timestamptz,
    expires timestamptz, finished timestamptz, lax bool, notes jsonb, parents bigint[], priority int,
    queue text, result jsonb, retried timestamptz, retries int, started timestamptz,
    state minion.job_state, task text, "time" timestamptz, worker bigint
) LANGUAGE sql
BEGIN ATOMIC
    SELECT minion.await_job($1, $2);
    SELECT job.id, job.args, job.attempts, job.children, job.created, job.delayed, job.expires,
        job.finished, job.lax, job.notes, job.parents, job.priority, job.queue, job.result, job.retried,
        job.retries, job.started, job.state, job.task, job."time", job.worker
    FROM minion.list_jobs(ids => ARRAY[$1]) AS job
    WHERE job.state = 'finished' OR job.state = 'failed';
END;

CREATE FUNCTION minion.list_queues() RETURNS TABLE (
    queue text, paused bool, inactive bigint, active bigint, failed bigint, finished bigint,
    delayed bigint, oldest_ready interval
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(counts.queue, paused.queue), paused.queue IS NOT NULL, coalesce(counts.inactive, 0),
        coalesce(counts.active, 0), coalesce(counts.failed, 0), coalesce(counts.finished, 0),
        coalesce(counts.delayed, 0), clock_timestamp() - counts.oldest
    FROM minion.queue_counts() AS counts
    FULL JOIN minion.paused_queues AS paused ON paused.queue = counts.queue
    ORDER BY coalesce(counts.queue, paused.queue);
END;

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
    paused bool, priority int, queue text, task text, timezone text, unique_key text, total bigint
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT schedule.id, schedule.args, schedule.attempts, schedule.created, schedule.cron,
        schedule.expire, schedule.last_job, schedule.last_run, schedule.lax, schedule.name,
        schedule.next_run, schedule.notes, schedule.paused, schedule.priority, schedule.queue,
        schedule.task, schedule.timezone, schedule.unique_key, count(*) OVER ()
    FROM minion.schedules AS schedule
    WHERE (list_schedules.before IS NULL OR schedule.id < list_schedules.before)
      AND (list_schedules.ids IS NULL OR schedule.id = ANY (list_schedules.ids))
      AND (list_schedules.names IS NULL OR schedule.name = ANY (list_schedules.names))
    ORDER BY schedule.id DESC
    OFFSET list_schedules.skip
    LIMIT list_schedules.take;
END;

COMMENT ON FUNCTION minion.enqueue(
    text, jsonb, text, int, interval, interval, int, bigint[], bool, jsonb, text
) IS
'Puts a job into a queue and returns its id. Part of your transaction: no worker sees the job before COMMIT.
task: the kind of work, 1 to 1000 bytes; args [] : a JSON array; queue default: 1 to 1000 bytes; priority 0: higher goes first;
delay 0: interval before it may start; expire NULL (never): interval after which it is not worth starting; attempts 1: how often it may be tried;
parents {}: ids of jobs to wait for; lax false: whether failed parents will do; notes {}: a JSON object;
unique_key NULL (none): 1 to 1000 bytes; while a job with this key is inactive or active, its id is returned, and nothing is changed.
Raises 22004 for a NULL other than expire and unique_key, 22023 for a negative or absurd interval, 23514 for a name, args, notes or attempts that the table does not take.
Semantics: Minion''s enqueue.';
COMMENT ON FUNCTION minion.enqueue_many(jsonb) IS
'Puts an array of jobs into their queues, all of them or none, and returns their ids in the array''s order.
jobs: [{"task": "mail", "args": [1], "delay": "5 minutes"}, …]: objects with the arguments of enqueue() as keys, of which only task is required.
delay and expire: a number of seconds, or interval text; parents: ids that exist already;
unique_key: the id of the job that has it, also an earlier one of the array, is returned in the place of a new one.
Raises 22032 for anything else, naming the element and the key, as in jobs[3].priority; 22004 for NULL.';
COMMENT ON FUNCTION minion.cancel_job(bigint) IS
'Keeps a job from being run, or from being run again. True if it was done; false if the job has ended, or does not exist.
An inactive job fails with the result "Canceled". For an active one the command ["stop", id] is put into its worker''s inbox,
and its automatic retries are used up: it can still finish, but when it fails, it has failed for good.
Raises 22004 for NULL. Semantics of the command: Minion''s stop.';
COMMENT ON FUNCTION minion.retry_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]) IS
'Puts many jobs back into their queues: those that list_jobs() would list with the same filters. Returns how many.
before, ids, notes, queues, states, tasks: as for list_jobs(), but states NULL means {failed}. Active jobs are never touched.
A job whose unique_key another job has by now is left alone; of several with one key, the oldest is retried.
Raises 22004 for a NULL in an array.';
COMMENT ON FUNCTION minion.remove_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]) IS
'Deletes many jobs: those that list_jobs() would list with the same filters, but no active ones. Returns how many.
before, ids, notes, queues, states, tasks: as for list_jobs(), at least one of them. Their children go on without them.
Raises 22004 for a NULL in an array, 22023 without any filter.';
COMMENT ON FUNCTION minion.wait_for_job(bigint, interval) IS
'Waits until a job is finished, or has failed with no automatic retry ahead, and returns its row, as list_jobs() does; no row if that
takes longer than timeout. The caller''s transaction and snapshot stay open meanwhile.
Raises 42704 for a job that does not exist, or was removed meanwhile, 22004 for NULL, 22023 for a negative or absurd interval,
0A000 under REPEATABLE READ or SERIALIZABLE.';
COMMENT ON FUNCTION minion.await_job(bigint, interval) IS
'Internal: of wait_for_job(), which waits with this and returns the row. True if the job has ended.';
COMMENT ON FUNCTION minion.schedule(
    text, text, text, jsonb, text, int, interval, int, bool, jsonb, text, text
) IS
'Says that a job is to be enqueued whenever a cron expression says so, and returns the schedule''s id. Somebody has to call dispatch_schedules().
A schedule of that name is changed: it keeps its id, its last run and whether it is paused, and, unless cron or timezone differs, its next run.
name: 1 to 1000 bytes; cron: five fields (minute, hour, day of month, month, day of week) or @yearly, @monthly, @weekly, @daily, @hourly;
timezone UTC: a name of pg_timezone_names; task and the others: as for enqueue(), for each job.
Raises 22023 for an invalid cron expression, time zone or interval, 22004 for a NULL other than expire and unique_key,
23514 for a value that the table does not take. Semantics: Minion''s schedule.';
COMMENT ON FUNCTION minion.unschedule(text) IS
'Deletes a schedule; jobs that it has enqueued stay. True if it existed. Raises 22004 for NULL. Semantics: Minion''s unschedule.';
COMMENT ON FUNCTION minion.pause_schedule(text) IS
'Keeps a schedule from enqueueing jobs. True if it exists. Raises 22004 for NULL. Semantics: Minion''s pause_schedule.';
COMMENT ON FUNCTION minion.resume_schedule(text) IS
'Lets a schedule enqueue jobs again, at once if its next run has passed. True if it exists. Raises 22004 for NULL. Semantics: Minion''s resume_schedule.';
COMMENT ON FUNCTION minion.list_schedules(bigint, bigint, bigint, bigint[], text[]) IS
'Lists schedules, newest first, with the number of all matches (total).
skip 0, take 100: the page; before NULL: only ids below it; ids, names NULL (any): only these. Raises 2201X and 2201W for a negative skip or take.
Semantics: Minion''s list_schedules.';
COMMENT ON FUNCTION minion.dispatch_schedules() IS
'Enqueues one job for each schedule whose next run has come, however many were missed, and returns which; call it about once a minute.
One call at a time does it, others return at once, without rows. A schedule whose row has an invalid expression or time zone is passed over with a WARNING.
Semantics: Minion''s dispatch_schedules.';
COMMENT ON FUNCTION minion.next_run(text, timestamptz, text) IS
'The first time after another at which a cron expression runs, for trying one out.
cron: as for schedule(); after now(); timezone UTC: a name of pg_timezone_names. A time that a change of the clock skips runs right after it,
one that it repeats runs once; where the hour is * or */n, real time counts, and such times are left out or run twice.
Raises 22023 for an expression that is invalid or matches no time within five years, for an unknown time zone and an infinite time, 22004 for NULL.';
COMMENT ON FUNCTION minion.list_queues() IS
'Lists the queues that have jobs or are paused, by name: whether they are paused, and how many jobs of each state they have;
delayed ones are also among the inactive. oldest_ready: how long the one that is ready longest has been, of the jobs that are the first of
their task and priority; NULL if none is ready.';
COMMENT ON FUNCTION minion.pause_queue(text) IS
'Keeps jobs of a queue from being claimed; active ones go on, and enqueue() works as ever. True if it was not paused before.
Raises 22004 for NULL, 23514 for a name that is not 1 to 1000 bytes.';
COMMENT ON FUNCTION minion.resume_queue(text) IS
'Lets jobs of a queue be claimed again. True if it was paused. Raises 22004 for NULL.';
COMMENT ON FUNCTION minion.limit_task(text, int, text, int, interval) IS
'Limits how many jobs of a task are active at once, or start within a time. Exact under any number of workers; jobs that are active already go on, and count.
task; max_active NULL (no such limit): 0 (none starts) to 100000; queue NULL (all together): only in this queue;
max_starts, per NULL (no such limit): at most so many starts within any such interval.
What is given replaces the limit that there was; minion.limits shows all of them, with what is in use.
Raises 22023 for a number or interval out of range, and for max_starts without per, 22004 for a NULL task, 23514 for a name that is not 1 to 1000 bytes.';
COMMENT ON FUNCTION minion.limit_queue(text, int, int, interval) IS
'Limits how many jobs of a queue are active at once, or start within a time, whatever their tasks. See limit_task(), and minion.limits for what is in use.
queue; max_active NULL (no such limit): 0 (none starts) to 100000; max_starts, per NULL (no such limit): at most so many starts within any such interval.
Raises what limit_task() does.';
COMMENT ON FUNCTION minion.repair() IS
'Puts right what time and vanished workers leave behind; call it every few minutes. Returns one row that says how many of each:
workers_removed: silent for minion.missing_after; jobs_removed: finished for minion.remove_after, but no unfinished job''s parents;
jobs_expired: removed before they ever ran; jobs_abandoned: active without a worker, failed with "Worker went away" or retried;
jobs_stuck: unclaimed for minion.stuck_after, failed, unless their queue is paused or a limit of 0 keeps them from starting.
Failed jobs are never removed. One call at a time does it, others return zeros at once. Semantics: Minion''s repair.';
COMMENT ON FUNCTION minion.queue_counts() IS
'Internal: how many jobs each queue has, and since when its oldest ready one could run, for list_queues().';
COMMENT ON FUNCTION minion.limits_changed() IS
'Internal: trigger function that tells all sessions that what is paused or limited has changed.';
COMMENT ON COLUMN minion.jobs.unique_key IS 'No other job that is inactive or active has the same; NULL: none.';
COMMENT ON INDEX minion.jobs_unique_key IS 'Lets one job at a time have a key, until it has finished or failed.';
COMMENT ON TABLE minion.schedules IS
'Jobs to be enqueued at certain times, when somebody calls dispatch_schedules(). To add or change one, call schedule(): it works out next_run.';
COMMENT ON COLUMN minion.schedules.unique_key IS 'The unique_key of its jobs: while one is inactive or active, there is no second one.';
COMMENT ON TABLE minion.paused_queues IS 'Queues that nothing is claimed from; see pause_queue(). Open to plain SQL.';
COMMENT ON COLUMN minion.paused_queues.queue IS 'Its name; it need not have jobs.';
COMMENT ON COLUMN minion.paused_queues.paused IS 'Since when.';
COMMENT ON TABLE minion.limit_rules IS
'What limit_task() and limit_queue() were told; minion.limits shows it with what is in use. To change a limit, call them: they see to its slots.';
COMMENT ON COLUMN minion.limit_rules.queue IS 'The queue, or an empty text for all.';
COMMENT ON COLUMN minion.limit_rules.task IS 'The task, or an empty text for all.';
COMMENT ON COLUMN minion.limit_rules.max_active IS 'How many of its jobs may be active at once; NULL: any number.';
COMMENT ON COLUMN minion.limit_rules.max_starts IS 'How many of its jobs may start within "per"; NULL: any number.';
COMMENT ON COLUMN minion.limit_rules.per IS 'The time that max_starts counts for.';
COMMENT ON TABLE minion.active_slots IS 'Written by minion alone: what each job that is active under a limit has taken.';
COMMENT ON COLUMN minion.active_slots.queue IS 'The limit, as in minion.limit_rules.';
COMMENT ON COLUMN minion.active_slots.task IS 'The limit, as in minion.limit_rules.';
COMMENT ON COLUMN minion.active_slots.number IS 'From 0; one at or above max_active is that of a job that was active when the limit was lowered.';
COMMENT ON COLUMN minion.active_slots.job IS 'The active job that has it; NULL: free.';
COMMENT ON INDEX minion.active_slots_free IS 'For claims, to find a free one.';
COMMENT ON INDEX minion.active_slots_job IS 'For the end of a job.';
COMMENT ON TABLE minion.start_slots IS 'Written by minion alone: when each of the starts that a limit allows may be used again.';
COMMENT ON COLUMN minion.start_slots.queue IS 'The limit, as in minion.limit_rules.';
COMMENT ON COLUMN minion.start_slots.task IS 'The limit, as in minion.limit_rules.';
COMMENT ON COLUMN minion.start_slots.number IS 'From 0 to max_starts - 1.';
COMMENT ON COLUMN minion.start_slots.free_at IS 'When the next job may start with it.';
COMMENT ON INDEX minion.start_slots_free_at IS 'For claims, to find a free one.';
COMMENT ON VIEW minion.limits IS 'What limit_task() and limit_queue() have limited, and what is in use of it now.';
COMMENT ON COLUMN minion.limits.queue IS 'NULL: in all queues.';
COMMENT ON COLUMN minion.limits.task IS 'NULL: all tasks.';
COMMENT ON COLUMN minion.limits.max_active IS 'How many jobs may be active at once; NULL: any number.';
COMMENT ON COLUMN minion.limits.active IS 'How many are.';
COMMENT ON COLUMN minion.limits.max_starts IS 'How many may start within "per"; NULL: any number.';
COMMENT ON COLUMN minion.limits.per IS 'The time that max_starts counts for.';
COMMENT ON COLUMN minion.limits.starts IS 'How many have started in the last "per".';
COMMENT ON TRIGGER paused_queues_changed ON minion.paused_queues IS 'Tells all sessions.';
COMMENT ON TRIGGER limit_rules_changed ON minion.limit_rules IS 'Tells all sessions.';

REVOKE ALL ON FUNCTION
    minion.enqueue(text, jsonb, text, int, interval, interval, int, bigint[], bool, jsonb, text),
    minion.next_run(text, timestamptz, text),
    minion.cancel_job(bigint),
    minion.retry_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]),
    minion.remove_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]),
    minion.dispatch_schedules(),
    minion.list_schedules(bigint, bigint, bigint, bigint[], text[]),
    minion.list_queues(),
    minion.wait_for_job(bigint, interval),
    minion.await_job(bigint, interval),
    minion.queue_counts(),
    minion.schedule(text, text, text, jsonb, text, int, interval, int, bool, jsonb, text, text),
    minion.unschedule(text),
    minion.pause_schedule(text),
    minion.resume_schedule(text),
    minion.pause_queue(text),
    minion.resume_queue(text),
    minion.limit_task(text, int, text, int, interval),
    minion.limit_queue(text, int, int, interval),
    minion.limits_changed()
FROM PUBLIC;

REVOKE ALL ON minion.paused_queues, minion.limit_rules, minion.active_slots, minion.start_slots, minion.limits FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
    minion.enqueue(text, jsonb, text, int, interval, interval, int, bigint[], bool, jsonb, text),
    minion.next_run(text, timestamptz, text)
TO minion_producer, minion_worker, minion_admin;

GRANT EXECUTE ON FUNCTION
    minion.cancel_job(bigint),
    minion.retry_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]),
    minion.remove_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]),
    minion.dispatch_schedules()
TO minion_worker, minion_admin;

GRANT UPDATE (last_job, last_run, next_run) ON minion.schedules TO minion_worker;

GRANT EXECUTE ON FUNCTION
    minion.next_run(text, timestamptz, text),
    minion.list_schedules(bigint, bigint, bigint, bigint[], text[]),
    minion.list_queues(),
    minion.wait_for_job(bigint, interval),
    minion.await_job(bigint, interval),
    minion.queue_counts()
TO minion_reader, minion_worker, minion_admin;

GRANT SELECT ON minion.paused_queues, minion.limit_rules, minion.active_slots, minion.start_slots, minion.limits
TO minion_reader, minion_worker, minion_admin;

GRANT EXECUTE ON FUNCTION
    minion.schedule(text, text, text, jsonb, text, int, interval, int, bool, jsonb, text, text),
    minion.unschedule(text),
    minion.pause_schedule(text),
    minion.resume_schedule(text),
    minion.pause_queue(text),
    minion.resume_queue(text),
    minion.limit_task(text, int, text, int, interval),
    minion.limit_queue(text, int, int, interval)
TO minion_admin;

GRANT INSERT, UPDATE, DELETE ON minion.paused_queues, minion.limit_rules, minion.active_slots, minion.start_slots
TO minion_admin;
