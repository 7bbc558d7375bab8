-- Settings.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- Their units and defaults; everybody may set them.
SELECT name, setting, unit, boot_val, min_val, context
FROM pg_settings
WHERE name IN (
    'minion.missing_after', 'minion.remove_after', 'minion.stuck_after', 'minion.repair_limit',
    'minion.backoff_base', 'minion.backoff_exponent', 'minion.backoff_max')
ORDER BY name COLLATE "C";

-- SET LOCAL works before the library's first use in a session, and ends with the transaction.
\c
BEGIN;
SET LOCAL minion.backoff_base = 1;
SELECT minion.backoff(0);
COMMIT;
SELECT minion.backoff(0);

-- set_config(…, true) does too.
\c
BEGIN;
SELECT set_config('minion.backoff_base', '2', true) \g /dev/null
SELECT minion.backoff(0);
COMMIT;
SELECT minion.backoff(0);

-- So does a setting for repair.
\c
BEGIN;
SELECT set_config('minion.missing_after', '0', true);
SELECT workers_removed FROM minion.repair();
ROLLBACK;
SELECT workers_removed FROM minion.repair();

-- SET before the first use lasts for the session, RESET brings the default back.
\c
SET minion.backoff_base = '2min';
SELECT minion.backoff(0);
RESET minion.backoff_base;
SELECT minion.backoff(0);

-- A setting of the database counts for its new sessions.
SELECT format('ALTER DATABASE %I SET minion.backoff_base = 100', current_database()) \gexec
\c
SELECT minion.backoff(0);
SELECT format('ALTER DATABASE %I RESET minion.backoff_base', current_database()) \gexec
\c
SELECT minion.backoff(0);

-- Negative values and non-numbers are refused, and the old value stays.
SELECT minion.backoff(0);
\set VERBOSITY sqlstate
SET minion.missing_after = -1;
SET minion.remove_after = '-1 s';
SET minion.stuck_after = 'soon';
SET minion.repair_limit = -1;
SET minion.backoff_base = -1;
SET minion.backoff_exponent = -0.5;
SET minion.backoff_max = -1;
\set VERBOSITY default
SELECT minion.backoff(0);

-- The backoff is backoff_base + retries ^ backoff_exponent seconds, at most backoff_max.
BEGIN;
SET LOCAL minion.backoff_base = 0;
SELECT retries, minion.backoff(retries) FROM unnest('{0,1,2,10}'::int[]) AS retries;
SET LOCAL minion.backoff_base = 100;
SET LOCAL minion.backoff_exponent = 2;
SELECT retries, minion.backoff(retries) FROM unnest('{0,1,2,10}'::int[]) AS retries;
SET LOCAL minion.backoff_exponent = 0.5;
SELECT retries, minion.backoff(retries) FROM unnest('{0,1,4,100}'::int[]) AS retries;
SET LOCAL minion.backoff_exponent = 2;
SET LOCAL minion.backoff_max = '3min';
SELECT retries, minion.backoff(retries) FROM unnest('{0,1,2,10,2147483647}'::int[]) AS retries;
COMMIT;

-- backoff_max 0 is no limit.
SELECT minion.backoff(25);

-- Without one the backoff ends at 100 years; it saturates and never fails.
SELECT extract(epoch FROM minion.backoff(237)) = 237 ^ 4 + 15 AS by_the_formula;
SELECT retries, now() + minion.backoff(retries) > now() AS is_a_date,
    extract(epoch FROM minion.backoff(retries)) = extract(epoch FROM interval '100 years') AS capped
FROM unnest('{238,1750,100000,2147483647}'::int[]) AS retries;
BEGIN;
SET LOCAL minion.backoff_exponent = 100;
SET LOCAL minion.backoff_base = 2147483647;
SELECT extract(epoch FROM minion.backoff(2147483647)) = extract(epoch FROM interval '100 years') AS capped;
COMMIT;

-- Every automatic retry obeys the settings: fail_job's and repair's.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('flaky', attempts => 2), minion.enqueue('flaky', attempts => 2);
SELECT id FROM minion.dequeue(1, max_jobs => 2);
SET minion.backoff_base = 100;
SELECT minion.fail_job(1, 0);
SELECT minion.unregister_worker(1);
SELECT jobs_abandoned FROM minion.repair();
SELECT id, state, delayed - retried AS delay FROM minion.jobs ORDER BY id;
RESET minion.backoff_base;

-- A manual retry does not, and a retry_delay of fail_job wins.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SET minion.backoff_base = 100;
SET minion.backoff_max = 50;
SELECT minion.enqueue('flaky', attempts => 2), minion.enqueue('flaky');
SELECT id FROM minion.dequeue(1, max_jobs => 2);
SELECT minion.fail_job(1, 0, retry_delay => '200 s'), minion.retry_job(2, 0);
SELECT id, state, delayed - retried AS delay FROM minion.jobs ORDER BY id;
RESET minion.backoff_base;
RESET minion.backoff_max;

-- A job with very many retries is retried like any other, by fail_job and by repair.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
INSERT INTO minion.jobs (task, attempts, retries) VALUES ('flaky', 3, 1000000), ('flaky', 3, 2000000000);
SELECT id, retries FROM minion.dequeue(1, max_jobs => 2);
SELECT minion.fail_job(1, 1000000);
SELECT minion.unregister_worker(1);
SELECT jobs_abandoned FROM minion.repair();
SELECT id, state, attempts, retries,
    extract(epoch FROM delayed - retried) = extract(epoch FROM interval '100 years') AS capped
FROM minion.jobs
ORDER BY id;

-- missing_after, remove_after and stuck_after may be 0.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add'), minion.enqueue('add'), minion.enqueue('add');
SELECT id FROM minion.dequeue(1, max_jobs => 2);
SELECT minion.finish_job(1, 0);
BEGIN;
SET LOCAL minion.missing_after = 0;
SET LOCAL minion.remove_after = 0;
SET LOCAL minion.stuck_after = 0;
SELECT * FROM minion.repair();
COMMIT;
SELECT id, state, result FROM minion.jobs ORDER BY id;

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
