-- Expiring and delayed jobs.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- An expired inactive job is hidden from list_jobs and stats, is not dequeued, and stays a row until repair.
SELECT minion.enqueue('expiring', expire => '1 hour'), minion.enqueue('expiring', expire => '1 hour');
SELECT id, total FROM minion.list_jobs();
SELECT inactive_jobs FROM minion.stats();
UPDATE minion.jobs SET expires = now() - interval '1 s' WHERE id = 1;
SELECT id, total FROM minion.list_jobs();
SELECT id FROM minion.list_jobs(ids => '{1}');
SELECT id FROM minion.list_jobs(states => '{inactive}', before => 2);
SELECT inactive_jobs FROM minion.stats();
SELECT id FROM minion.dequeue(1, id => 1);
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT id, state FROM minion.jobs ORDER BY id;
SELECT jobs_expired FROM minion.repair();
SELECT id, state FROM minion.jobs ORDER BY id;

-- So is one whose time runs out by itself, with others behind it that are not expired.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('expiring', expire => '0.05 s', priority => 1) FROM generate_series(1, 3);
SELECT minion.enqueue('lasting', expire => '1 hour'), minion.enqueue('expiring', expire => '1 hour');
SELECT pg_sleep_until(max(expires)) FROM minion.jobs WHERE id <= 3;
SELECT inactive_jobs FROM minion.stats();
SELECT id, total FROM minion.list_jobs();
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT id FROM minion.dequeue(1, id => 1);
SELECT inactive_jobs FROM minion.stats();
SELECT id, state FROM minion.jobs ORDER BY id;

-- A job that expires while it is still delayed is never dequeued.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('late', delay => '2 hours', expire => '1 hour');
UPDATE minion.jobs SET delayed = now() - interval '1 s', expires = now() - interval '1 hour';
SELECT id FROM minion.dequeue(1);
SELECT inactive_jobs, delayed_jobs FROM minion.stats();

-- Active, failed and finished jobs with a past expiry survive repair, and are still listed.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('expiring', expire => '1 hour') FROM generate_series(1, 4);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 3);
SELECT minion.finish_job(1, 0), minion.fail_job(2, 0);
UPDATE minion.jobs SET expires = now() - interval '1 hour';
SELECT jobs_expired FROM minion.repair();
SELECT id, state FROM minion.list_jobs();
SELECT minion.finish_job(3, 0);

-- A failed job whose expiry has passed and is retried without a new one is an expired inactive job.
SELECT minion.retry_job(2, 0);
SELECT id FROM minion.dequeue(1);
SELECT jobs_expired FROM minion.repair();
SELECT id, state FROM minion.jobs ORDER BY id;

-- A delayed job is not dequeued before its time; stats counts it as inactive and as delayed.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('later', delay => '1 hour'), minion.enqueue('later', delay => '1 hour', priority => 9),
    minion.enqueue('now');
SELECT delayed - created AS delay FROM minion.jobs ORDER BY id;
SELECT inactive_jobs, delayed_jobs FROM minion.stats();
SELECT id FROM minion.dequeue(1, max_jobs => 10);
UPDATE minion.jobs SET delayed = now() WHERE id = 2;
SELECT inactive_jobs, delayed_jobs FROM minion.stats();
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- A blocked job is not a delayed one, and a delayed one that is active, failed or finished neither.
SELECT minion.enqueue('blocked', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(2, 0), minion.fail_job(3, 0);
UPDATE minion.jobs SET delayed = now() + interval '1 day' WHERE id IN (2, 3);
SELECT inactive_jobs, delayed_jobs FROM minion.stats();

-- A job waiting for its automatic retry is a delayed one.
SELECT minion.enqueue('flaky', attempts => 2);
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(5, 0);
SELECT inactive_jobs, delayed_jobs FROM minion.stats();

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
