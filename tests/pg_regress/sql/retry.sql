-- Retry, by hand.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- A finished, failed, inactive or active job can be retried: retries + 1, retried = now, inactive, due now.
SELECT minion.enqueue('add') FROM generate_series(1, 4);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 3);
SELECT minion.finish_job(1, 0, '"one"'), minion.fail_job(2, 0, '"two"');
SELECT id, state FROM minion.jobs ORDER BY id;
SELECT id, minion.retry_job(id, 0) AS retried FROM unnest('{1,2,3,4}'::bigint[]) AS id;
SELECT id, state, retries, retried >= created AS retried, delayed = retried AS due_now
FROM minion.jobs
ORDER BY id;

-- Result, worker, started and finished are not cleared.
SELECT id, result, worker, started IS NOT NULL AS started, finished IS NOT NULL AS finished
FROM minion.jobs
ORDER BY id;

-- All of them are claimable at once.
SELECT id, retries FROM minion.dequeue(1, max_jobs => 10);

-- It needs the current retries.
SELECT minion.retry_job(1, 0), minion.retry_job(1, 2), minion.retry_job(1, -1);
SELECT state, retries FROM minion.jobs WHERE id = 1;
SELECT minion.retry_job(1, 1);
SELECT state, retries FROM minion.jobs WHERE id = 1;

-- A job that was removed, or never existed, can't be retried.
SELECT minion.remove_job(1);
SELECT minion.retry_job(1, 2), minion.retry_job(99, 0);

-- The delay counts from now.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add');
SELECT id FROM minion.dequeue(1);
SELECT minion.retry_job(1, 0, delay => '3 hours');
SELECT state, delayed - retried AS delay FROM minion.jobs;
SELECT id FROM minion.dequeue(1);
SELECT minion.retry_job(1, 1);
SELECT id FROM minion.dequeue(1);

-- attempts, parents, priority, queue, lax and expiry are kept unless given.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add', attempts => 5, parents => '{98,99}', priority => 4, queue => 'slow',
    lax => true, expire => '1 hour');
SELECT expires FROM minion.jobs \gset
SELECT minion.retry_job(1, 0);
SELECT attempts, parents, priority, queue, lax, expires = :'expires' AS same_expiry FROM minion.jobs;

-- Each of them is replaced when given, and the others stay; the expiry restarts from now.
SELECT minion.retry_job(1, 1, attempts => 6);
SELECT minion.retry_job(1, 2, parents => '{97}');
SELECT minion.retry_job(1, 3, priority => -4);
SELECT minion.retry_job(1, 4, queue => 'fast');
SELECT minion.retry_job(1, 5, expire => '2 hours');
SELECT attempts, parents, priority, queue, lax, expires - retried AS expire FROM minion.jobs;

-- 0, false and {} count as given.
SELECT minion.retry_job(1, 6, priority => 0, delay => '0', lax => false, parents => '{}');
SELECT attempts, parents, priority, queue, lax, delayed = retried AS due_now FROM minion.jobs;

-- The new priority, queue and parents count for the next claim.
SELECT minion.enqueue('add', queue => 'fast', priority => 1), minion.enqueue('parent', queue => 'slow');
SELECT id FROM minion.dequeue(1, queues => '{fast}');
SELECT minion.retry_job(2, 0, priority => -9);
SELECT id FROM minion.dequeue(1, queues => '{fast}');
SELECT minion.retry_job(2, 1, parents => '{3}');
SELECT id FROM minion.dequeue(1, queues => '{fast}');
SELECT minion.retry_job(2, 2, parents => '{}', queue => 'third');
SELECT id FROM minion.dequeue(1, queues => '{third}');

-- A job whose expiry has passed is claimable again once it is retried with a new one, not by a plain retry.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add', expire => '0');
SELECT minion.retry_job(1, 0);
SELECT id FROM minion.dequeue(1);
SELECT minion.retry_job(1, 1, expire => '1 hour');
SELECT id FROM minion.dequeue(1);

-- A retry never makes more than one job.
SELECT count(*) FROM minion.jobs;

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
