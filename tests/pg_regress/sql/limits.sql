-- Limits: how many jobs are active at once, or start within a time.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- Never more active jobs of a task than its limit says; other tasks are not concerned.
SELECT minion.limit_task('mail', 2);
SELECT minion.enqueue(task) FROM unnest('{mail,mail,mail,mail,other}'::text[]) AS task;
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1, id => 3);
SELECT * FROM minion.limits;
-- However a job ends, its place is free again.
SELECT minion.finish_job(1, 0);
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.fail_job(3, 0);
SELECT id FROM minion.dequeue(1, id => 4);
SELECT minion.retry_job(4, 0), minion.retry_job(2, 0);
SELECT id FROM minion.dequeue(1), minion.finish_jobs('{}', '{}') UNION ALL SELECT id FROM minion.dequeue(1, max_jobs => 10);
DELETE FROM minion.jobs WHERE id = 2;
SELECT active FROM minion.limits;
UPDATE minion.jobs SET state = 'inactive' WHERE id = 4;
SELECT active FROM minion.limits;
SELECT id FROM minion.dequeue(1);
-- What is rolled back has taken no place, and given none back.
BEGIN;
SELECT minion.enqueue('mail');
SELECT id FROM minion.dequeue(1);
SELECT active FROM minion.limits;
ROLLBACK;
SELECT active FROM minion.limits;
BEGIN;
SELECT minion.finish_job(4, 1);
SELECT active FROM minion.limits;
ROLLBACK;
SELECT active FROM minion.limits;

-- NULL takes a limit away.
SELECT minion.limit_task('mail', NULL);
SELECT * FROM minion.limits;
SELECT count(*) FROM minion.active_slots WHERE task = 'mail';
SELECT minion.enqueue('mail') > 0 AS enqueued FROM generate_series(1, 3);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);

-- Jobs that are active already count; when there are more than the limit allows, none starts before enough have ended.
SELECT minion.limit_task('mail', 2);
SELECT max_active, active FROM minion.limits;
SELECT minion.enqueue('mail') > 0 AS enqueued FROM generate_series(1, 3);
SELECT count(*) FROM minion.dequeue(1);
SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE state = 'active' AND task = 'mail' ORDER BY id LIMIT 2;
SELECT active FROM minion.limits;
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE state = 'active' AND task = 'mail' ORDER BY id LIMIT 1;
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);
SELECT active FROM minion.limits;
SELECT count(*) FROM minion.active_slots WHERE task = 'mail';

-- A higher limit has effect at once; 0 lets none start.
SELECT minion.limit_task('mail', 3);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.limit_task('mail', 0);
SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE state = 'active';
SELECT minion.enqueue('mail') > 0 AS enqueued;
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);
-- Lowered while the jobs that are left have the last places: there is room at once.
SELECT minion.limit_task('mail', 3);
SELECT minion.enqueue('mail') > 0 AS enqueued FROM generate_series(1, 4);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE state = 'active' AND task = 'mail' ORDER BY id LIMIT 2;
SELECT minion.limit_task('mail', 2);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);
SELECT active FROM minion.limits;
SELECT minion.limit_task('mail', 0);
SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE state = 'active' AND task = 'mail';
SELECT active FROM minion.limits;
-- Jobs of a lane limited to 0 are not stuck.
UPDATE minion.jobs SET delayed = now() - interval '3 days' WHERE state = 'inactive';
SELECT jobs_stuck FROM minion.repair();
SELECT minion.limit_task('mail', 1);
SELECT jobs_stuck > 0 AS stuck FROM minion.repair();

-- Limits of a queue, a task, and a task in a queue all hold.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.limit_task('mail', NULL) \g /dev/null
SELECT minion.limit_queue('q', 3), minion.limit_task('a', 2), minion.limit_task('b', 1, queue => 'q');
SELECT minion.enqueue(task, queue => queue) FROM unnest('{q,r}'::text[]) AS queue, unnest('{a,a,a,b,b,c,c}'::text[]) AS task;
SELECT task, count(*) FROM minion.dequeue(1, queues => '{q}', max_jobs => 100) GROUP BY task ORDER BY task;
SELECT task, count(*) FROM minion.dequeue(1, queues => '{q,r}', max_jobs => 100) GROUP BY task ORDER BY task;
SELECT queue, task, max_active, active FROM minion.limits ORDER BY 1, 2;
-- The order of priorities stays, with what may not start left out.
SELECT minion.enqueue('a', queue => 'r', priority => 9), minion.enqueue('d', queue => 'r', priority => 8);
SELECT task FROM minion.dequeue(1, queues => '{q,r}');

-- Starts within a time: a slot serves one start, and the next when the time has passed.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.limit_queue('q'), minion.limit_task('a'), minion.limit_task('b', queue => 'q') \g /dev/null
SELECT minion.limit_task('call', max_starts => 2, per => '1 hour');
SELECT minion.enqueue('call') FROM generate_series(1, 4);
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_jobs('{1,2}', '{0,0}');
SELECT id FROM minion.dequeue(1);
SELECT * FROM minion.limits;
UPDATE minion.start_slots SET free_at = free_at - interval '1 hour' WHERE number = 0;
SELECT more FROM minion.repair();
SELECT id FROM minion.dequeue(1, max_jobs => 10);
-- A start that is rolled back was none; a shorter time holds for those that were.
SELECT minion.limit_task('call', max_starts => 3, per => '1 hour');
BEGIN;
SELECT id FROM minion.dequeue(1);
ROLLBACK;
SELECT starts FROM minion.limits;
SELECT minion.limit_task('call', max_starts => 1, per => '0.01 s'), pg_sleep(0.02) IS NOT NULL AS slept;
SELECT id FROM minion.dequeue(1, max_jobs => 10);
UPDATE minion.start_slots SET free_at = now();
-- All starts count, also when fewer are allowed.
SELECT minion.limit_task('call', max_starts => 4, per => '1 hour');
SELECT minion.enqueue('call') > 0 AS enqueued FROM generate_series(1, 6);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 3);
SELECT minion.limit_task('call', max_starts => 3, per => '1 hour'), minion.limit_task('call', max_starts => 2, per => '1 hour');
SELECT starts FROM minion.limits;
SELECT count(*) FROM minion.dequeue(1, max_jobs => 3);
SELECT minion.limit_task('call', max_starts => 5, per => '1 hour');
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.remove_jobs(tasks => '{call}', states => '{inactive}') >= 0 AS removed;
-- Both at once.
SELECT minion.limit_task('call', 1, max_starts => 100, per => '1 s');
SELECT minion.enqueue('call') FROM generate_series(1, 2);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE state = 'active' ORDER BY id;
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);

-- What triggers were not told of is set right by repair.
SET session_replication_role = replica;
UPDATE minion.jobs SET state = 'finished', finished = now() WHERE state = 'active';
RESET session_replication_role;
SELECT active FROM minion.limits;
SELECT workers_removed FROM minion.repair();
SELECT active FROM minion.limits;
UPDATE minion.jobs SET state = 'active', worker = 1 WHERE id = 1;
SELECT active FROM minion.limits;
SELECT workers_removed FROM minion.repair();
SELECT active FROM minion.limits;
SELECT count(*) FROM minion.dequeue(1);

-- A worker is under its limit, and can't change it.
SET ROLE minion_worker;
SELECT count(*) FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0);
SELECT count(*) FROM minion.dequeue(1);
UPDATE minion.active_slots SET job = NULL;
SELECT minion.limit_task('call', 5);
RESET ROLE;

-- reset leaves the limits, and nothing in use.
SELECT minion.reset('all');
SELECT task, max_active, active FROM minion.limits;
SELECT minion.limit_task('call');

-- Wrong calls.
SELECT minion.limit_task(NULL, 1);
SELECT minion.limit_task('', 1);
SELECT minion.limit_task('t', -1);
SELECT minion.limit_task('t', 100001);
SELECT minion.limit_task('t', 1, queue => '');
SELECT minion.limit_task('t', max_starts => 1);
SELECT minion.limit_task('t', per => '1 s');
SELECT minion.limit_task('t', max_starts => 1, per => '0');
SELECT minion.limit_task('t', max_starts => 1, per => '-1 s');
SELECT minion.limit_queue(NULL, 1);
SELECT count(*) FROM minion.limit_rules;
