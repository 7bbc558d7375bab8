-- From 0.3.0 to 0.4.0: rows that break nothing, rights column by column, a repair that works within bounds.

-- No table can be altered while deferred triggers of the user's have rows of it to see to.
SET CONSTRAINTS ALL IMMEDIATE;

-- Whoever reads for long, pg_dump for instance, is waited for before there is a lock on jobs, which all would wait for.
-- The locks that this takes are given back with its subtransaction.
DO $$
BEGIN
    LOCK TABLE minion.schedules, minion.limit_rules;
    RAISE EXCEPTION USING ERRCODE = 'MINON';
EXCEPTION
    WHEN SQLSTATE 'MINON' THEN NULL;
END
$$;

-- Each by itself, lest somebody who has one of them waits for another.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['children', 'locks', 'active_slots', 'start_slots'] LOOP
        BEGIN
            EXECUTE pg_catalog.format('LOCK TABLE minion.%I', wanted);
            RAISE EXCEPTION USING ERRCODE = 'MINON';
        EXCEPTION
            WHEN SQLSTATE 'MINON' THEN NULL;
        END;
    END LOOP;
END
$$;

-- Schedules, time zones.

-- As dispatch_schedules(), jobs before schedules: the trigger further down needs this lock, and the schedules are to
-- be as nobody changes them any more.
LOCK TABLE minion.jobs IN SHARE ROW EXCLUSIVE MODE;
LOCK TABLE minion.locks;
LOCK TABLE minion.schedules;
CREATE FUNCTION minion.upgrade_schedules() RETURNS void LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'upgrade_schedules_wrapper';
SELECT minion.upgrade_schedules();
DROP FUNCTION minion.upgrade_schedules();
ALTER TABLE minion.schedules
    ADD CONSTRAINT schedules_expire_has_0_to_10000_years CHECK (expire BETWEEN '0' AND '10000 years') NOT VALID,
    ADD CONSTRAINT schedules_unique_key_has_1_to_1000_bytes CHECK (octet_length(unique_key) BETWEEN 1 AND 1000) NOT VALID;
-- A trigger of the user's may have kept a row as it was: dispatch_schedules() passes over it.
DO $$
BEGIN
    ALTER TABLE minion.schedules
        VALIDATE CONSTRAINT schedules_expire_has_0_to_10000_years,
        VALIDATE CONSTRAINT schedules_unique_key_has_1_to_1000_bytes;
EXCEPTION
    WHEN check_violation THEN
        RAISE WARNING 'a schedule could not be changed: %', SQLERRM
        USING HINT = 'Change it, and validate the constraints of minion.schedules.';
END
$$;

COMMENT ON FUNCTION minion.schedule(
    text, text, text, jsonb, text, int, interval, int, bool, jsonb, text, text
) IS
'Says that a job is to be enqueued whenever a cron expression says so, and returns the schedule''s id. Somebody has to call dispatch_schedules().
A schedule of that name is changed: it keeps its id, its last run and whether it is paused, and, unless cron or timezone differs, its next run.
name: 1 to 1000 bytes; cron: five fields (minute, hour, day of month, month, day of week) or @yearly, @monthly, @weekly, @daily, @hourly;
timezone UTC: a name of pg_timezone_names or an offset from UTC such as +02:00; task and the others: as for enqueue(), for each job.
Raises 22023 for an invalid cron expression, time zone or interval, 22004 for a NULL other than expire and unique_key,
23514 for a value that the table does not take. Semantics: Minion''s schedule.';
COMMENT ON FUNCTION minion.dispatch_schedules() IS
'Enqueues one job for each schedule whose next run has come, however many were missed, and returns which; call it about once a minute.
One call at a time does it, others return at once, without rows. A schedule that can''t run (its expression, its time zone, a trigger in its job''s way) is passed over with a
WARNING, and stays due. One whose unique_key another transaction is about to take or to give back has its turn the next time.
Semantics: Minion''s dispatch_schedules.';
COMMENT ON FUNCTION minion.next_run(text, timestamptz, text) IS
'The first time after another at which a cron expression runs, for trying one out.
cron: as for schedule(); after now(); timezone UTC: a name of pg_timezone_names or an offset from UTC such as +02:00. A time that a change of the clock skips runs right after it,
one that it repeats runs once; where the hour is * or */n, real time counts, and such times are left out or run twice.
Raises 22023 for an expression that is invalid or matches no time within five years, for an unknown time zone and an infinite time, 22004 for NULL.';
COMMENT ON COLUMN minion.schedules.next_run IS 'When it is due. repair() works it out again if it is infinite or more than five years ahead, or if last_run lies in the future.';
COMMENT ON COLUMN minion.schedules.timezone IS 'The time zone that the cron expression is meant in: a name of pg_timezone_names or an offset such as +02:00.';
COMMENT ON CONSTRAINT schedules_expire_has_0_to_10000_years ON minion.schedules IS 'What can be added to the clock, and be waited for.';
COMMENT ON CONSTRAINT schedules_unique_key_has_1_to_1000_bytes ON minion.schedules IS 'Keys are index keys, and short.';

-- Repair, and rows that make no sense.

-- It has a column more, and keeps its owner and its rights.
DO $$
DECLARE
    owner name;
    acl aclitem[];
    granted record;
    initial aclitem[];
BEGIN
    SELECT pg_catalog.pg_get_userbyid(proowner), proacl
    INTO owner, acl
    FROM pg_catalog.pg_proc
    WHERE oid = 'minion.repair()'::pg_catalog.regprocedure;
    SELECT initprivs
    INTO initial
    FROM pg_catalog.pg_init_privs
    WHERE classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      AND objoid = 'minion.repair()'::pg_catalog.regprocedure;
    DROP FUNCTION minion.repair();
    CREATE FUNCTION minion.repair() RETURNS TABLE (
        workers_removed bigint,
        jobs_removed bigint,
        jobs_expired bigint,
        jobs_abandoned bigint,
        jobs_stuck bigint,
        more bool
    )
    STRICT
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'repair_within_limit_wrapper';
    EXECUTE pg_catalog.format('ALTER FUNCTION minion.repair() OWNER TO %I', owner);
    REVOKE ALL ON FUNCTION minion.repair() FROM PUBLIC;
    FOR granted IN
        SELECT grantee, is_grantable
        FROM pg_catalog.aclexplode(acl) WITH ORDINALITY AS one
        WHERE grantee <> grantor
        ORDER BY ordinality
    LOOP
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION minion.repair() TO %s%s',
            CASE granted.grantee WHEN 0 THEN 'PUBLIC'
                ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(granted.grantee)) END,
            CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
    -- A script's grants are taken for the extension's own, which a dump leaves out.
    UPDATE pg_catalog.pg_init_privs
    SET initprivs = initial
    WHERE classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      AND objoid = 'minion.repair()'::pg_catalog.regprocedure;
END
$$;

COMMENT ON FUNCTION minion.repair() IS
'Puts right what time and vanished workers leave behind; call it every few minutes. Returns one row that says how many of each:
workers_removed: silent for minion.missing_after; jobs_removed: finished for minion.remove_after, but no unfinished job''s parents;
jobs_expired: removed before they ever ran; jobs_abandoned: active without a worker, failed with "Worker went away" or retried;
jobs_stuck: unclaimed for minion.stuck_after, failed, unless their queue is paused or a limit of 0 keeps them from starting;
more: it stopped because of minion.repair_limit, or to be through before statement_timeout: call it again.
What can''t be done with a row is passed over with a WARNING. Failed jobs are never removed. One call at a time does it, others
return zeros at once. Semantics: Minion''s repair.';

-- The list of what is to be put into the index yet was read by each look-up.
LOCK TABLE minion.children;
ALTER INDEX minion.children_parents SET (fastupdate = off);
SELECT pg_catalog.gin_clean_pending_list('minion.children_parents');

-- Jobs and their triggers.

-- Of all columns: those that a BEFORE trigger of somebody else's changes are not among those that a statement names.
-- It goes on to fire when it did: a subscriber's fires always.
DO $$
DECLARE
    fires "char";
BEGIN
    SELECT tgenabled
    INTO fires
    FROM pg_catalog.pg_trigger
    WHERE tgrelid = 'minion.jobs'::pg_catalog.regclass AND tgname = 'jobs_updated';
    CREATE OR REPLACE TRIGGER jobs_updated AFTER UPDATE ON minion.jobs
    FOR EACH ROW EXECUTE FUNCTION minion.job_updated();
    CASE fires
        WHEN 'A' THEN ALTER TABLE minion.jobs ENABLE ALWAYS TRIGGER jobs_updated;
        WHEN 'R' THEN ALTER TABLE minion.jobs ENABLE REPLICA TRIGGER jobs_updated;
        WHEN 'D' THEN ALTER TABLE minion.jobs DISABLE TRIGGER jobs_updated;
        ELSE NULL;
    END CASE;
END
$$;

-- Limits.

-- Rules that mean nothing, or too much, become what claims have made of them so far, or the nearest that is allowed.
DO $$
DECLARE
    rule record;
    active int;
    starts int;
    span interval;
BEGIN
    FOR rule IN
        SELECT *
        FROM minion.limit_rules
        WHERE queue = '' AND task = ''
           OR pg_catalog.octet_length(queue) > 1000 OR pg_catalog.octet_length(task) > 1000
           OR max_active NOT BETWEEN 0 AND 100000 OR max_starts NOT BETWEEN 0 AND 100000
           OR (per IS NULL) <> (max_starts IS NULL) OR per <= '0' OR per > '10000 years'
    LOOP
        BEGIN
            IF rule.queue = '' AND rule.task = ''
                OR pg_catalog.octet_length(rule.queue) > 1000 OR pg_catalog.octet_length(rule.task) > 1000
            THEN
                DELETE FROM minion.limit_rules WHERE queue = rule.queue AND task = rule.task;
                DELETE FROM minion.active_slots WHERE queue = rule.queue AND task = rule.task;
                DELETE FROM minion.start_slots WHERE queue = rule.queue AND task = rule.task;
                RAISE WARNING 'the limit for queue "%", task "%" is removed: it had no effect',
                    pg_catalog.left(rule.queue, 60), pg_catalog.left(rule.task, 60);
            ELSE
                -- A NULL stays one.
                active := CASE WHEN rule.max_active IS NOT NULL THEN LEAST(GREATEST(rule.max_active, 0), 100000) END;
                starts := CASE WHEN rule.max_starts IS NOT NULL THEN LEAST(GREATEST(rule.max_starts, 0), 100000) END;
                span := CASE WHEN rule.per IS NOT NULL THEN LEAST(rule.per, '10000 years') END;
                IF span <= '0' AND starts = 0 THEN
                    -- Nothing starts, whatever the time.
                    span := '1 second';
                ELSIF span IS NULL OR starts IS NULL OR span <= '0' THEN
                    -- No limit.
                    starts := NULL;
                    span := NULL;
                END IF;
                UPDATE minion.limit_rules
                SET max_active = active, max_starts = starts, per = span
                WHERE queue = rule.queue AND task = rule.task;
                RAISE WARNING 'the limit for queue "%", task "%" is now max_active %, max_starts %, per %; it was %, %, %',
                    rule.queue, rule.task, active, starts, span, rule.max_active, rule.max_starts, rule.per;
            END IF;
        EXCEPTION
            WHEN raise_exception OR integrity_constraint_violation OR data_exception THEN
                RAISE WARNING 'the limit for queue "%", task "%" could not be changed: %',
                    pg_catalog.left(rule.queue, 60), pg_catalog.left(rule.task, 60), SQLERRM;
        END;
    END LOOP;
END
$$;

ALTER TABLE minion.limit_rules
    ADD CONSTRAINT limit_rules_names_something CHECK (queue <> '' OR task <> '') NOT VALID,
    ADD CONSTRAINT limit_rules_queue_has_at_most_1000_bytes CHECK (octet_length(queue) <= 1000) NOT VALID,
    ADD CONSTRAINT limit_rules_task_has_at_most_1000_bytes CHECK (octet_length(task) <= 1000) NOT VALID,
    ADD CONSTRAINT limit_rules_max_active_is_0_to_100000 CHECK (max_active BETWEEN 0 AND 100000) NOT VALID,
    ADD CONSTRAINT limit_rules_max_starts_is_0_to_100000 CHECK (max_starts BETWEEN 0 AND 100000) NOT VALID,
    ADD CONSTRAINT limit_rules_per_comes_with_max_starts CHECK ((per IS NULL) = (max_starts IS NULL)) NOT VALID,
    ADD CONSTRAINT limit_rules_per_is_up_to_10000_years CHECK (per > '0' AND per <= '10000 years') NOT VALID;
-- As above: a rule that a trigger of the user's has kept is passed over by repair().
DO $$
BEGIN
    ALTER TABLE minion.limit_rules
        VALIDATE CONSTRAINT limit_rules_names_something,
        VALIDATE CONSTRAINT limit_rules_queue_has_at_most_1000_bytes,
        VALIDATE CONSTRAINT limit_rules_task_has_at_most_1000_bytes,
        VALIDATE CONSTRAINT limit_rules_max_active_is_0_to_100000,
        VALIDATE CONSTRAINT limit_rules_max_starts_is_0_to_100000,
        VALIDATE CONSTRAINT limit_rules_per_comes_with_max_starts,
        VALIDATE CONSTRAINT limit_rules_per_is_up_to_10000_years;
EXCEPTION
    WHEN check_violation THEN
        RAISE WARNING 'a limit could not be changed: %', SQLERRM
        USING HINT = 'Change it, and validate the constraints of minion.limit_rules.';
END
$$;

COMMENT ON CONSTRAINT limit_rules_names_something ON minion.limit_rules IS 'There is no limit on everything.';
COMMENT ON CONSTRAINT limit_rules_queue_has_at_most_1000_bytes ON minion.limit_rules IS 'As the names of queues.';
COMMENT ON CONSTRAINT limit_rules_task_has_at_most_1000_bytes ON minion.limit_rules IS 'As the names of tasks.';
COMMENT ON CONSTRAINT limit_rules_max_active_is_0_to_100000 ON minion.limit_rules IS 'Each place is a row.';
COMMENT ON CONSTRAINT limit_rules_max_starts_is_0_to_100000 ON minion.limit_rules IS 'Each place is a row.';
COMMENT ON CONSTRAINT limit_rules_per_comes_with_max_starts ON minion.limit_rules IS 'Neither means anything without the other.';
COMMENT ON CONSTRAINT limit_rules_per_is_up_to_10000_years ON minion.limit_rules IS 'The next start must be a time to come.';

COMMENT ON COLUMN minion.active_slots.number IS 'From 0; one at or above max_active is from before the limit was lowered.';
COMMENT ON COLUMN minion.start_slots.number IS 'From 0; one at or above max_starts is from before the limit was lowered.';

-- Rights.

-- As with repair(): what others have granted stays in their dumps.
DO $$
DECLARE
    jobs oid := 'minion.jobs'::pg_catalog.regclass;
    producer oid := 'minion_producer'::pg_catalog.regrole;
    columns int[];
    initial text[];
BEGIN
    SELECT pg_catalog.array_agg(objsubid), pg_catalog.array_agg(initprivs::text)
    INTO columns, initial
    FROM pg_catalog.pg_init_privs
    WHERE classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objoid = jobs;
    REVOKE INSERT ON minion.jobs FROM minion_producer;
    GRANT INSERT (created, delayed, expires, args, attempts, lax, notes, parents, priority, queue, task, unique_key)
    ON minion.jobs TO minion_producer;
    DELETE FROM pg_catalog.pg_init_privs
    WHERE classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objoid = jobs;
    INSERT INTO pg_catalog.pg_init_privs (objoid, classoid, objsubid, privtype, initprivs)
    SELECT jobs, 'pg_catalog.pg_class'::pg_catalog.regclass, sub, 'e', pg_catalog.array_agg(item ORDER BY number)
    FROM (
        -- On the table itself it had INSERT alone.
        SELECT before.sub, one.item, one.number
        FROM ROWS FROM (pg_catalog.unnest(columns), pg_catalog.unnest(initial)) AS before (sub, items)
        CROSS JOIN LATERAL pg_catalog.unnest(before.items::aclitem[]) WITH ORDINALITY AS one (item, number)
        WHERE before.sub > 0 OR NOT EXISTS (
            SELECT FROM pg_catalog.aclexplode(ARRAY[one.item]) AS acl WHERE acl.grantee = producer)
      UNION ALL
        SELECT attribute.attnum, pg_catalog.makeaclitem(producer, class.relowner, 'INSERT', false), NULL
        FROM pg_catalog.pg_attribute AS attribute
        JOIN pg_catalog.pg_class AS class ON class.oid = attribute.attrelid
        WHERE attribute.attrelid = jobs AND attribute.attname = ANY (
            '{created,delayed,expires,args,attempts,lax,notes,parents,priority,queue,task,unique_key}')
    ) AS own
    GROUP BY sub;
    -- Since version 17 the server keeps account of these, too: whoever has none of them can be dropped.
    DELETE FROM pg_catalog.pg_shdepend AS depend
    WHERE depend.deptype = 'i'
      AND depend.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
      AND (depend.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND depend.objid = jobs
        OR depend.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
            AND depend.objid = 'minion.repair()'::pg_catalog.regprocedure)
      AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_init_privs AS own
        CROSS JOIN LATERAL pg_catalog.aclexplode(own.initprivs) AS acl
        WHERE own.classoid = depend.classid AND own.objoid = depend.objid AND own.objsubid = depend.objsubid
          AND acl.grantee = depend.refobjid);
END
$$;

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

CREATE OR REPLACE FUNCTION minion.list_queues() RETURNS TABLE (
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

CREATE OR REPLACE FUNCTION minion.history() RETURNS TABLE (
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

-- Waiting for the end of a job, without a lock on a table.

CREATE OR REPLACE FUNCTION minion.wait_for_job(id bigint, timeout interval) RETURNS TABLE (
    id bigint, args jsonb, attempts int, children bigint[], created timestamptz, delayed timestamptz,
    expires timestamptz, finished timestamptz, lax bool, notes jsonb, parents bigint[], priority int,
    queue text, result jsonb, retried timestamptz, retries int, started timestamptz,
    state minion.job_state, task text, "time" timestamptz, worker bigint
) LANGUAGE c AS 'MODULE_PATHNAME', 'wait_for_job_wrapper';
DROP FUNCTION minion.await_job(bigint, interval);

-- Locks: those who count holders begin where the first of them was.

CREATE FUNCTION minion.lock_written() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'lock_written_wrapper';
REVOKE ALL ON FUNCTION minion.lock_written() FROM PUBLIC;
CREATE TRIGGER locks_written AFTER INSERT OR UPDATE ON minion.locks
FOR EACH ROW EXECUTE FUNCTION minion.lock_written();
CREATE INDEX locks_holders ON minion.locks (name, id);
DROP INDEX minion.locks_name;
COMMENT ON FUNCTION minion.lock_written() IS
'Trigger: makes a row of a lock known to those who count the holders of its name. Raises 39P01 elsewhere.';
COMMENT ON TRIGGER locks_written ON minion.locks IS 'Tells those who count holders.';
COMMENT ON INDEX minion.locks_holders IS 'The holders of a name, those that took it last at the end.';

-- Limits: claims take the place that has been free for longest, and no unique index looks at all versions of a place.

-- A default that is worked out for each row, so that all have the column as those to come will.
ALTER TABLE minion.active_slots
    ADD COLUMN freed timestamptz NOT NULL DEFAULT clock_timestamp(),
    DROP CONSTRAINT active_slots_pkey;
ALTER TABLE minion.active_slots ALTER COLUMN freed SET DEFAULT '-infinity';
CREATE INDEX active_slots_number ON minion.active_slots (queue, task, number);
CREATE INDEX active_slots_freed ON minion.active_slots (queue, task, freed) WHERE job IS NULL;
DROP INDEX minion.active_slots_free;
ALTER TABLE minion.active_slots REPLICA IDENTITY FULL;
ALTER TABLE minion.start_slots DROP CONSTRAINT start_slots_pkey;
CREATE INDEX start_slots_number ON minion.start_slots (queue, task, number);
ALTER TABLE minion.start_slots REPLICA IDENTITY FULL;
COMMENT ON COLUMN minion.active_slots.freed IS 'Since when it is free, or was before its job took it.';
COMMENT ON INDEX minion.active_slots_number IS 'For changes of the limit.';
COMMENT ON INDEX minion.active_slots_freed IS 'For claims, to find a free one.';
COMMENT ON INDEX minion.start_slots_number IS 'For changes of the limit.';

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
