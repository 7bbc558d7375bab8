-- Rows that make no sense, as plain SQL may write them, stop no call that serves all.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- The end of retries is where they stay: for repair, fail_job, retry_job and retry_jobs.
INSERT INTO minion.jobs (task, state, worker, retries, attempts) VALUES
    ('repair', 'active', 999, 2147483647, 5),
    ('fail', 'active', 1, 2147483647, 5),
    ('retry', 'failed', 1, 2147483647, 1),
    ('retry all', 'failed', 1, 2147483647, 1),
    ('nearly', 'failed', 1, 2147483646, 1),
    ('as ever', 'active', 999, 0, 2);
SELECT jobs_abandoned, more FROM minion.repair();
SELECT minion.fail_job(2, 2147483647), minion.retry_job(3, 2147483647), minion.retry_jobs();
SELECT id, task, state, retries, attempts FROM minion.jobs ORDER BY id;

-- Active jobs that are nobody's are those of a worker that is gone, and hold no place of a limit for ever.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.limit_task('limited', 1) \g /dev/null
INSERT INTO minion.jobs (task, queue, state, worker, attempts) VALUES
    ('limited', 'default', 'active', NULL, 1),
    ('twice', 'default', 'active', NULL, 2),
    ('foreground', 'minion_foreground', 'active', NULL, 1);
SELECT minion.enqueue('limited');
SELECT id FROM minion.dequeue(1, tasks => '{limited}');
SELECT jobs_abandoned FROM minion.repair();
SELECT id, task, state, result, retries FROM minion.jobs ORDER BY id;
SELECT id FROM minion.dequeue(1, tasks => '{limited}');
SELECT minion.limit_task('limited') \g /dev/null

-- Jobs that have ended without a time get one, where no trigger gave it to them, and are old some day.
SELECT minion.reset('all') \g /dev/null
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO minion.jobs (task, state) VALUES ('a', 'finished'), ('b', 'failed');
COMMIT;
SELECT jobs_removed FROM minion.repair();
SELECT id, state, finished BETWEEN now() - interval '1 minute' AND clock_timestamp() AS dated
FROM minion.jobs
ORDER BY id;
SET minion.remove_after = 0;
SELECT jobs_removed FROM minion.repair();
RESET minion.remove_after;

-- The ends of all ranges: everything that repair walks over, first and last ids, infinite times.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT (-9223372036854775808)::text AS first, 9223372036854775807::text AS last \gset
INSERT INTO minion.workers (id, pid, host, notified) VALUES (:first, 1, 'first', '-infinity'), (:last, 1, 'last', '-infinity');
INSERT INTO minion.jobs (id, task, state, worker) VALUES (:first, 'abandoned', 'active', :first), (:last, 'abandoned', 'active', :last);
SELECT workers_removed, jobs_abandoned FROM minion.repair();
DELETE FROM minion.jobs;
INSERT INTO minion.jobs (id, task, state) VALUES (:first, 'nobody''s', 'active'), (:last, 'nobody''s', 'active');
SELECT jobs_abandoned FROM minion.repair();
DELETE FROM minion.jobs;
INSERT INTO minion.jobs (id, task, expires) VALUES (:first, 'expired', '-infinity'), (:last, 'expired', '-infinity');
SELECT jobs_expired FROM minion.repair();
INSERT INTO minion.jobs (id, task, priority, delayed) VALUES
    (:first, 'stuck', 2147483647, '-infinity'), (:last, 'stuck', -2147483648, '-infinity');
SELECT jobs_stuck FROM minion.repair();
DELETE FROM minion.jobs;
INSERT INTO minion.jobs (id, task, delayed, parents) VALUES
    (0, 'parent', now(), '{}'), (:first, 'stuck', '-infinity', '{0}'), (:last, 'stuck', '-infinity', '{0}');
SELECT jobs_stuck FROM minion.repair();
DELETE FROM minion.jobs;
INSERT INTO minion.jobs (id, task, state, finished) VALUES
    (:first, 'old', 'finished', '-infinity'), (:last, 'old', 'finished', '-infinity'), (1, 'new', 'finished', 'infinity');
SELECT jobs_removed FROM minion.repair();
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO minion.jobs (id, task, state) VALUES (:first, 'undated', 'finished'), (:last, 'undated', 'failed');
COMMIT;
SELECT jobs_removed, more FROM minion.repair();
SELECT id, task, finished > now() - interval '1 minute' AS dated FROM minion.jobs ORDER BY id;
SELECT minion.retry_jobs(states => '{failed,finished}', tasks => '{undated}');
SELECT minion.remove_jobs(tasks => '{undated}');

-- A worker that was heard of in the future counts as heard of now; a moment ahead is no matter.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(host => 'here', pid => 1) FROM generate_series(1, 5) \g /dev/null
UPDATE minion.workers AS worker
SET notified = odd.notified
FROM (VALUES (1, 'infinity'::timestamptz), (2, '294276-12-31 00:00+00'), (3, '-infinity'), (4, now() + interval '1 hour'),
    (5, now() + interval '30 seconds')) AS odd (id, notified)
WHERE worker.id = odd.id;
SELECT id FROM minion.list_workers();
SELECT workers_removed FROM minion.repair();
SELECT id, notified <= clock_timestamp() AS mended FROM minion.workers ORDER BY id;
UPDATE minion.workers SET notified = notified - interval '31 minutes' WHERE id < 5;
SELECT workers_removed FROM minion.repair();

-- A start that counts for longer than any can is shortened to what its limit says, and is over then.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.limit_task('limited', max_starts => 1, per => '1 second'), minion.enqueue('limited') \g /dev/null
UPDATE minion.start_slots SET free_at = '2050-01-01';
SELECT id FROM minion.dequeue(1);
SELECT workers_removed FROM minion.repair();
SELECT free_at <= clock_timestamp() + interval '1 second' AS within FROM minion.start_slots;
SELECT id FROM minion.dequeue(1, wait => '1 minute');
UPDATE minion.start_slots SET free_at = 'infinity';
SELECT workers_removed FROM minion.repair();
SELECT free_at <= clock_timestamp() + interval '1 second' AS within FROM minion.start_slots;
SELECT minion.limit_task('limited') \g /dev/null

-- Lists, counts and sums show them, and all others.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
INSERT INTO minion.jobs (task, queue, delayed) VALUES ('x', 'ancient', '-infinity'), ('x', 'usual', now());
INSERT INTO minion.jobs (task, queue, state, finished) VALUES
    ('x', 'usual', 'finished', '294276-12-31 00:00+00'), ('x', 'usual', 'failed', 'infinity'),
    ('x', 'usual', 'finished', '-infinity'), ('x', 'usual', 'finished', now());
INSERT INTO minion.jobs (task, queue, state, worker) VALUES ('x', 'usual', 'active', NULL);
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO minion.jobs (task, queue, delayed) VALUES ('x', 'future', 'infinity');
INSERT INTO minion.jobs (task, queue, state) VALUES ('x', 'usual', 'finished');
COMMIT;
-- Whether the job of the future counts as delayed can't be said: no trigger told of it.
SELECT queue, inactive, active, failed, finished, CASE WHEN queue <> 'future' THEN delayed END AS delayed,
    oldest_ready >= '0' AS since, oldest_ready > '6700 years' AS ancient
FROM minion.list_queues();
SELECT count(*), sum(failed_jobs) AS failed, sum(finished_jobs) AS finished FROM minion.history();
SELECT active_jobs, failed_jobs, finished_jobs FROM minion.stats();
SELECT count(*) FROM minion.list_jobs();
SELECT count(*) FROM minion.limits;

-- Limits that mean nothing, or too much, are refused, whoever writes them.
\set VERBOSITY terse
INSERT INTO minion.limit_rules (max_active) VALUES (1);
INSERT INTO minion.limit_rules (task, max_active) VALUES ('t', -1);
INSERT INTO minion.limit_rules (task, max_active) VALUES ('t', 100001);
INSERT INTO minion.limit_rules (task, max_starts, per) VALUES ('t', -1, '1 day');
INSERT INTO minion.limit_rules (task, max_starts, per) VALUES ('t', 100001, '1 day');
INSERT INTO minion.limit_rules (task, max_starts) VALUES ('t', 1);
INSERT INTO minion.limit_rules (task, per) VALUES ('t', '1 day');
INSERT INTO minion.limit_rules (task, max_starts, per) VALUES ('t', 1, '-1 day');
INSERT INTO minion.limit_rules (task, max_starts, per) VALUES ('t', 1, '0');
INSERT INTO minion.limit_rules (task, max_starts, per) VALUES ('t', 1, '178000000 years');
INSERT INTO minion.limit_rules (task, max_active) SELECT repeat('t', 1001), 1;
INSERT INTO minion.limit_rules (queue, max_active) SELECT repeat('q', 1001), 1;
\set VERBOSITY default
INSERT INTO minion.limit_rules (queue, task, max_active, max_starts, per)
SELECT repeat('q', 1000), repeat('t', 1000), 100000, 100000, '10000 years';
DELETE FROM minion.limit_rules;

-- What a user's foreign key keeps does not keep repair from anything else.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
CREATE TABLE audit (job bigint REFERENCES minion.jobs);
INSERT INTO minion.jobs (task, state, finished)
SELECT 'old', 'finished', now() - interval '3 days' FROM generate_series(1, 5);
INSERT INTO audit VALUES (3);
INSERT INTO minion.jobs (task, state, worker) VALUES ('abandoned', 'active', 999);
SELECT jobs_removed, jobs_abandoned, more FROM minion.repair();
SELECT id, state FROM minion.jobs ORDER BY id;
DROP TABLE audit;
SELECT jobs_removed FROM minion.repair();

-- Nor does a trigger that raises for one job of each kind, or a key that enqueue would not take.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
INSERT INTO minion.jobs (id, task, state, worker, attempts) VALUES
    (11, 'abandoned', 'active', 999, 1), (12, 'abandoned', 'active', 999, 1), (13, 'abandoned', 'active', NULL, 1);
INSERT INTO minion.jobs (id, task, state, worker, attempts, unique_key) VALUES
    (14, 'odd key', 'active', 999, 2, ''), (15, 'odd key', 'active', 999, 2, repeat('k', 2000));
INSERT INTO minion.jobs (id, task, expires) VALUES (21, 'expired', now()), (22, 'expired', now()), (23, 'expired', now());
INSERT INTO minion.jobs (id, task, delayed) SELECT id, 'stuck', now() - interval '3 days' FROM generate_series(31, 33) AS id;
INSERT INTO minion.jobs (id, task, state, finished) SELECT id, 'old', 'finished', now() - interval '3 days' FROM generate_series(41, 43) AS id;
INSERT INTO minion.jobs (id, task, parents) VALUES (50, 'parent', '{}'), (51, 'due', '{50}'), (52, 'due', '{50}'), (53, 'due', '{50}');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.id % 10 = 2 THEN
        RAISE EXCEPTION 'not %', OLD.id;
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT jobs_removed, jobs_expired, jobs_abandoned, jobs_stuck, more FROM minion.repair();
SELECT id, task, state, waits_for FROM minion.jobs ORDER BY id;
DROP TRIGGER refuse ON minion.jobs;
DROP FUNCTION refuse;
SELECT jobs_removed, jobs_expired, jobs_abandoned, jobs_stuck, more FROM minion.repair();

-- Where nothing may be written it says so, even if there is nothing to write.
BEGIN READ ONLY;
SELECT * FROM minion.repair();
ROLLBACK;

SELECT minion.reset('all') \g /dev/null
