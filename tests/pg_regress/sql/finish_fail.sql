-- Finish, fail, and the automatic retry.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- A finished job has its result and its time; it can't be finished or failed again.
SELECT minion.enqueue('add');
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0, '{"sum": 3}');
SELECT state, result, finished >= started AS finished, worker, retries FROM minion.jobs;
SELECT minion.finish_job(1, 0), minion.fail_job(1, 0);
SELECT state, result FROM minion.jobs;

-- A failed job has its result and its time; it can't be finished or failed again.
SELECT minion.enqueue('add');
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.fail_job(2, 0, '"Something went wrong"');
SELECT state, result, finished >= started AS finished, worker, retries, attempts
FROM minion.jobs
WHERE id = 2;
SELECT minion.finish_job(2, 0), minion.fail_job(2, 0);
SELECT state, result FROM minion.jobs WHERE id = 2;

-- A job that was not claimed, or does not exist, can't be finished or failed.
SELECT minion.enqueue('add');
SELECT minion.finish_job(3, 0), minion.fail_job(3, 0),
    minion.finish_job(99, 0), minion.fail_job(-1, 0);
SELECT state, result FROM minion.jobs WHERE id = 3;

-- retries must match.
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(3, 1), minion.fail_job(3, 1),
    minion.finish_job(3, -1), minion.fail_job(3, 2147483647);
SELECT state FROM minion.jobs WHERE id = 3;
SELECT minion.finish_job(3, 0);

-- Any JSON is a result; JSON null and SQL NULL are two things.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add') FROM generate_series(1, 10);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_job(1, 0, 'null'), minion.finish_job(2, 0, NULL), minion.finish_job(3, 0),
    minion.finish_job(4, 0, '[]'), minion.finish_job(5, 0, '"☃"');
SELECT minion.fail_job(6, 0, 'null'), minion.fail_job(7, 0, NULL), minion.fail_job(8, 0),
    minion.fail_job(9, 0, '1.50'), minion.fail_job(10, 0, 'false');
SELECT id, state, result, result IS NULL AS is_null FROM minion.jobs ORDER BY id;

-- After a retry, a handle with the old retries finishes and fails nothing.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add');
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.retry_job(1, 0);
SELECT minion.finish_job(1, 0), minion.fail_job(1, 0);
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0, '"old"'), minion.fail_job(1, 0, '"old"');
SELECT id FROM minion.finish_jobs('{1}', '{0}') AS id;
SELECT state, retries, result FROM minion.jobs;
SELECT minion.finish_job(1, 1, '"new"');
SELECT state, retries, result FROM minion.jobs;

-- finish_jobs returns the ids that were finished: those active with their retries, each once.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add') FROM generate_series(1, 6);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 5);
SELECT id
FROM minion.finish_jobs(
    '{4,2,6,99,3}', '{0,0,0,0,1}', ARRAY['{"of": 4}', 'null', '6', '99', '3']::jsonb[]) AS id
ORDER BY id;
SELECT id, state, result, finished IS NOT NULL AS finished FROM minion.jobs ORDER BY id;
SELECT id FROM minion.finish_jobs('{1,1}', '{0,0}', ARRAY[NULL, NULL]::jsonb[]) AS id;
SELECT id FROM minion.finish_jobs('{5}', '{0}') AS id;
SELECT id FROM minion.finish_jobs('{}', '{}') AS id;
SELECT id, state, result FROM minion.jobs ORDER BY id;

-- The backoff by retries: 0 gives 15 s, 1 16, 2 31, 3 96, 4 271, 5 640, 25 390640.
SELECT retries, extract(epoch FROM minion.backoff(retries))::bigint AS seconds
FROM unnest('{0,1,2,3,4,5,25}'::int[]) AS retries;

-- With 3 attempts a failure leads to a retry with 2, delayed by the backoff, with the result kept; the next
-- to one with 1; the third fails the job, with attempts 1.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('flaky', attempts => 3);
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.fail_job(1, 0, '"first"');
SELECT state, attempts, retries, result, delayed - retried AS delay, retried >= started AS retried
FROM minion.jobs;
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET delayed = now();
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.fail_job(1, 1, '"second"');
SELECT state, attempts, retries, result, delayed - retried AS delay, retried >= started AS retried
FROM minion.jobs;
UPDATE minion.jobs SET delayed = now();
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.fail_job(1, 2, '"third"');
SELECT state, attempts, retries, result, finished >= started AS finished FROM minion.jobs;

-- Retried by hand with attempts 2, the exhausted job gets exactly one more automatic retry, then it fails.
SELECT minion.retry_job(1, 2, attempts => 2);
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.fail_job(1, 3);
SELECT state, attempts, retries, delayed - retried AS delay FROM minion.jobs;
UPDATE minion.jobs SET delayed = now();
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.fail_job(1, 4);
SELECT state, attempts, retries FROM minion.jobs;

-- A manual retry does not use up attempts.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('flaky', attempts => 2);
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.retry_job(1, 0), minion.retry_job(1, 1);
SELECT state, attempts, retries FROM minion.jobs;
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.fail_job(1, 2);
SELECT state, attempts, retries FROM minion.jobs;

-- A finished job that had attempts left is finished.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('flaky', attempts => 3);
SELECT id, retries FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0);
SELECT state, attempts, retries FROM minion.jobs;

-- A retry_delay replaces the backoff; 0 is a delay too.
SELECT minion.enqueue('flaky', attempts => 3);
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(2, 0, retry_delay => '2 hours');
SELECT state, delayed - retried AS delay FROM minion.jobs WHERE id = 2;
UPDATE minion.jobs SET delayed = now() WHERE id = 2;
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(2, 1, retry_delay => '0');
SELECT state, delayed - retried AS delay FROM minion.jobs WHERE id = 2;

-- It never forces a retry when no attempts are left.
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(2, 2, retry_delay => '0');
SELECT state, attempts, retries FROM minion.jobs WHERE id = 2;

-- A job whose expiry passes while it runs can still be finished.
SELECT minion.enqueue('slow', expire => '1 hour');
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET expires = now() - interval '1 hour' WHERE id = 3;
SELECT minion.finish_job(3, 0);

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
