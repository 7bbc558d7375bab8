-- repair: what time and vanished workers leave behind.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;

-- Nothing to do is fine.
SELECT * FROM minion.repair();
SELECT * FROM minion.repair();

-- 1. Workers that were not heard of for minion.missing_after, 30 minutes, are removed; others stay.
SELECT minion.register_worker() FROM generate_series(1, 3);
UPDATE minion.workers SET notified = now() - interval '31 minutes' WHERE id = 1;
UPDATE minion.workers SET notified = now() - interval '29 minutes' WHERE id = 2;
SELECT workers_removed FROM minion.repair();
SELECT id FROM minion.workers ORDER BY id;
BEGIN;
SET LOCAL minion.missing_after = '28min';
SELECT workers_removed FROM minion.repair();
COMMIT;
SELECT id FROM minion.workers ORDER BY id;

-- 2. Finished jobs older than minion.remove_after, 2 days, are removed; failed ones never.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add') FROM generate_series(1, 4);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 4);
SELECT minion.finish_job(1, 0), minion.finish_job(2, 0), minion.fail_job(3, 0);
UPDATE minion.jobs SET finished = now() - interval '3 days' WHERE id IN (1, 3);
UPDATE minion.jobs SET finished = now() - interval '47 hours' WHERE id = 2;
SELECT jobs_removed FROM minion.repair();
SELECT id, state FROM minion.jobs ORDER BY id;
BEGIN;
SET LOCAL minion.remove_after = '1d';
SELECT jobs_removed FROM minion.repair();
COMMIT;
SELECT id, state FROM minion.jobs ORDER BY id;
UPDATE minion.jobs SET finished = now() - interval '100 years' WHERE id = 3;
SELECT * FROM minion.repair();
SELECT id, state FROM minion.jobs ORDER BY id;

-- The parents of a job that is not finished stay: of an inactive, an active and a failed one.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent') FROM generate_series(1, 4);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 4);
SELECT count(*) FROM minion.finish_jobs('{1,2,3,4}', '{0,0,0,0}');
SELECT minion.enqueue('finished', parents => '{1}'),
    minion.enqueue('inactive', parents => '{2}', delay => '1 hour'),
    minion.enqueue('active', parents => '{3}'), minion.enqueue('failed', parents => '{4}');
SELECT id FROM minion.dequeue(1, max_jobs => 4);
SELECT minion.finish_job(5, 0), minion.fail_job(8, 0);
UPDATE minion.jobs SET finished = now() - interval '3 days' WHERE id <= 4;
SELECT jobs_removed FROM minion.repair();
SELECT id, task, state FROM minion.jobs ORDER BY id;

-- With remove_after 0 the parents of an unfinished child stay, and all go once it has finished.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SET minion.remove_after = 0;
SELECT minion.enqueue('parent'), minion.enqueue('parent'), minion.enqueue('child', parents => '{1,2}'),
    minion.enqueue('other');
SELECT count(*) FROM minion.dequeue(1, max_jobs => 4);
SELECT count(*) FROM minion.finish_jobs('{1,2,4}', '{0,0,0}');
SELECT jobs_removed FROM minion.repair();
SELECT id, task FROM minion.jobs ORDER BY id;
SELECT id FROM minion.dequeue(1);
SELECT jobs_removed FROM minion.repair();
SELECT minion.finish_job(3, 0);
SELECT jobs_removed FROM minion.repair();
SELECT count(*) FROM minion.jobs;

-- Of a chain, only what an unfinished job needs is kept.
SELECT minion.enqueue('a'), minion.enqueue('b', parents => '{5}'),
    minion.enqueue('c', parents => '{6}');
SELECT minion.finish_job(id, 0) FROM minion.dequeue(1);
SELECT minion.finish_job(id, 0) FROM minion.dequeue(1);
SELECT jobs_removed FROM minion.repair();
SELECT id, task FROM minion.jobs ORDER BY id;
RESET minion.remove_after;

-- 3. Inactive jobs past their expiry are removed, others not.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.enqueue('add', expire => '0'), minion.enqueue('add', expire => '1 hour'), minion.enqueue('add'),
    minion.enqueue('add', expire => '0', delay => '1 hour'),
    minion.enqueue('add', expire => '0', parents => '{3}');
SELECT jobs_expired FROM minion.repair();
SELECT id FROM minion.jobs ORDER BY id;

-- 4. Active jobs whose worker is gone fail with "Worker went away"; with attempts left they are retried.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.register_worker() \g /dev/null
SELECT minion.enqueue('once'), minion.enqueue('twice', attempts => 2);
SELECT minion.enqueue('kept');
SELECT id FROM minion.dequeue(1, max_jobs => 2);
SELECT id FROM minion.dequeue(2);
SELECT minion.unregister_worker(1);
SELECT jobs_abandoned FROM minion.repair();
SELECT id, state, result, attempts, retries, finished IS NOT NULL AS finished,
    delayed - retried AS delay
FROM minion.jobs
ORDER BY id;

-- The retry obeys the backoff settings.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('twice', attempts => 2);
SELECT id FROM minion.dequeue(1);
SELECT minion.unregister_worker(1);
BEGIN;
SET LOCAL minion.backoff_base = 120;
SELECT jobs_abandoned FROM minion.repair();
COMMIT;
SELECT state, delayed - retried AS delay FROM minion.jobs;

-- A worker that is gone by silence loses its jobs in the same repair.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('once');
SELECT id FROM minion.dequeue(1);
UPDATE minion.workers SET notified = now() - interval '1 day';
SELECT * FROM minion.repair();
SELECT state, result FROM minion.jobs;

-- The jobs of the queue minion_foreground are left to whoever runs them.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('once', queue => 'minion_foreground');
SELECT id FROM minion.dequeue(1, queues => '{minion_foreground}');
SELECT minion.unregister_worker(1);
SELECT jobs_abandoned FROM minion.repair();
SELECT state FROM minion.jobs;
SELECT minion.finish_job(1, 0);

-- A child of an abandoned job goes on if it is lax, and stays blocked otherwise.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent'), minion.enqueue('lax', parents => '{1}', lax => true),
    minion.enqueue('strict', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(2);
SELECT minion.unregister_worker(1);
SELECT jobs_abandoned FROM minion.repair();
SELECT id, task FROM minion.dequeue(2, max_jobs => 10);

-- 5. Inactive jobs whose delayed is older than minion.stuck_after, 2 days, fail with "Job appears stuck in
-- queue" and a finished time, without automatic retry; ready, blocked and retried ones alike.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('ready', attempts => 5), minion.enqueue('blocked', parents => '{5}'),
    minion.enqueue('retried'), minion.enqueue('recent'), minion.enqueue('later', delay => '1 hour'),
    minion.enqueue('active');
SELECT minion.retry_job(3, 0);
SELECT id FROM minion.dequeue(1, tasks => '{active}');
UPDATE minion.jobs SET delayed = now() - interval '49 hours' WHERE id IN (1, 2, 3, 6);
UPDATE minion.jobs SET delayed = now() - interval '47 hours' WHERE id = 4;
SELECT jobs_stuck FROM minion.repair();
SELECT id, task, state, result, attempts, retries, finished IS NOT NULL AS finished
FROM minion.jobs
ORDER BY id;
BEGIN;
SET LOCAL minion.stuck_after = '46h';
SELECT jobs_stuck FROM minion.repair();
COMMIT;
SELECT state, result FROM minion.jobs WHERE id = 4;

-- History counts them as failed.
SELECT sum(failed_jobs) AS failed FROM minion.history();

-- A stuck job can be retried.
SELECT minion.retry_job(1, 0);
SELECT id, retries FROM minion.dequeue(1);

-- A stuck job frees its lax children.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('stuck'), minion.enqueue('lax', parents => '{1}', lax => true),
    minion.enqueue('strict', parents => '{1}');
UPDATE minion.jobs SET delayed = now() - interval '3 days' WHERE id = 1;
SELECT id FROM minion.dequeue(1, tasks => '{lax,strict}');
SELECT jobs_stuck FROM minion.repair();
SELECT id, task FROM minion.dequeue(1, max_jobs => 10);

-- Expired children go before finished parents are looked at, which then go as well.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent');
SELECT minion.finish_job(id, 0) FROM minion.dequeue(1);
SELECT minion.enqueue('child', parents => '{1}', expire => '0');
UPDATE minion.jobs SET finished = now() - interval '3 days' WHERE id = 1;
SELECT jobs_removed, jobs_expired FROM minion.repair();
SELECT jobs_removed, jobs_expired FROM minion.repair();

-- A stuck job that has expired is removed and not failed.
SELECT minion.enqueue('add', expire => '0');
UPDATE minion.jobs SET delayed = now() - interval '3 days';
SELECT jobs_expired, jobs_stuck FROM minion.repair();
SELECT count(*) FROM minion.jobs;

-- A child that was only met by claims in transaction blocks, which hold no other rows than they return, is
-- looked at again by each of them, until repair makes it watch its parent.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', queue => 'slow'), minion.enqueue('child', parents => '{1}');
BEGIN;
SELECT id FROM minion.dequeue(1);
COMMIT;
SELECT waits_for FROM minion.jobs WHERE id = 2;
SELECT * FROM minion.repair();
SELECT waits_for FROM minion.jobs WHERE id = 2;

-- repair does all there is, however much.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT count(id) FROM generate_series(1, 2500), minion.register_worker() AS id;
UPDATE minion.workers SET notified = now() - interval '1 day';
INSERT INTO minion.jobs (task, state, finished)
SELECT 'old', 'finished', now() - interval '3 days' FROM generate_series(1, 2500);
INSERT INTO minion.jobs (task, expires)
SELECT 'expired', now() - interval '1 s' FROM generate_series(1, 2500);
INSERT INTO minion.jobs (task, state, started, worker)
SELECT 'abandoned', 'active', now(), worker FROM generate_series(1, 2500) AS worker;
INSERT INTO minion.jobs (task, delayed)
SELECT 'stuck', now() - interval '3 days' FROM generate_series(1, 2500);
INSERT INTO minion.jobs (task, delayed, parents)
SELECT 'stuck and blocked', now() - interval '3 days', '{10000}' FROM generate_series(1, 2500);
SELECT * FROM minion.repair();
SELECT task, state, count(*) FROM minion.jobs GROUP BY task, state ORDER BY task;
SELECT * FROM minion.repair();

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
