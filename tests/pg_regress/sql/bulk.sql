-- Many jobs at once, cancelling, and waiting for a result.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('t', queue => queue, notes => notes::jsonb)
FROM (VALUES ('a', '{}'), ('a', '{"n": 1}'), ('b', '{}'), ('b', '{"n": 2}'), ('a', '{}'), ('a', '{}')) AS job (queue, notes);
SELECT minion.enqueue('u', expire => '0');
SELECT count(*) FROM minion.dequeue(1, queues => '{a,b}', max_jobs => 5);
SELECT minion.fail_job(id, 0) FROM unnest('{1,2,3}'::bigint[]) AS id;
SELECT minion.finish_job(4, 0);

-- retry_jobs retries failed ones with the filters of list_jobs; an empty array matches none.
SELECT minion.retry_jobs(queues => '{a}', notes => '{n,m}'), minion.retry_jobs(queues => '{}'), minion.retry_jobs(ids => '{}');
SELECT id, state, retries FROM minion.jobs ORDER BY id;
SELECT minion.retry_jobs(before => 3);
SELECT minion.retry_jobs();
SELECT minion.retry_jobs();
-- Other states when told so, but never active ones, nor expired ones.
SELECT minion.retry_jobs(states => '{inactive,active,failed,finished}', tasks => '{t,u}');
SELECT id, state, retries, delayed = retried AS at_once FROM minion.jobs ORDER BY id;
SELECT minion.retry_jobs(ids => '{4,4,5,99}', states => '{finished,inactive}');

-- It skips a key that another job has by now, and of several with one key it takes the oldest.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
INSERT INTO minion.jobs (task, state, finished, unique_key)
SELECT 't', 'failed', now(), key FROM unnest('{a,b,b,c,NULL}'::text[]) AS key;
SELECT minion.enqueue('t', unique_key => 'a');
SELECT minion.retry_jobs();
SELECT id, state, unique_key FROM minion.jobs ORDER BY id;
SELECT minion.retry_jobs();

-- remove_jobs: at least one filter, never active jobs.
SELECT minion.remove_jobs();
SELECT count(*) FROM minion.dequeue(1);
SELECT minion.remove_jobs(states => '{failed,active}'), minion.remove_jobs(ids => '{2,6}');
SELECT id, state FROM minion.jobs ORDER BY id;
-- Children go on without what is removed.
SELECT minion.enqueue('child', parents => '{5}', queue => 'c');
SELECT id FROM minion.dequeue(1, queues => '{c}');
SELECT minion.remove_jobs(before => 6, queues => '{default}', states => '{inactive}');
SELECT task FROM minion.dequeue(1, queues => '{c}');
-- More than one batch.
INSERT INTO minion.jobs (task, queue, state, finished, unique_key)
SELECT 't', 'bulk', 'failed', now(), 'key ' || number % 2500 FROM generate_series(1, 5000) AS number;
SELECT minion.retry_jobs(queues => '{bulk}');
SELECT state, count(*), count(DISTINCT unique_key) FROM minion.jobs WHERE queue = 'bulk' GROUP BY state ORDER BY state;
SELECT minion.remove_jobs(queues => '{bulk}');
-- Wrong calls.
SELECT minion.retry_jobs(ids => '{1,NULL}');
SELECT minion.remove_jobs(states => '{NULL}');
SELECT minion.remove_jobs(states => '{gone}');

-- cancel_job: an inactive job fails, with no retry; an active one is told to stop, and has no retries left.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('t', attempts => 5), minion.enqueue('t', attempts => 5, delay => '1 hour'), minion.enqueue('t', attempts => 5),
    minion.enqueue('child', parents => '{2}', lax => true);
SELECT id FROM minion.dequeue(1);
SELECT minion.cancel_job(1), minion.cancel_job(2), minion.cancel_job(3), minion.cancel_job(99);
SELECT id, state, result, attempts, finished IS NOT NULL AS finished FROM minion.jobs ORDER BY id;
SELECT minion.receive(1);
SELECT minion.fail_job(1, 0), minion.cancel_job(1), minion.cancel_job(2);
SELECT state FROM minion.jobs WHERE id = 1;
SELECT task FROM minion.dequeue(1);
-- An active job whose worker is gone.
SELECT minion.unregister_worker(1), minion.cancel_job(4);
SELECT attempts FROM minion.jobs WHERE id = 4;
SELECT minion.cancel_job(NULL);

-- wait_for_job: the row of a job that has ended; none when the time is over.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('t', '[1]'), minion.enqueue('t', attempts => 2), minion.enqueue('t'), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1, max_jobs => 3);
SELECT minion.finish_job(1, 0, '{"a": 1}'), minion.fail_job(2, 0), minion.fail_job(3, 0, '"bad"');
SELECT id, args, children, result, state, task FROM minion.wait_for_job(1, '1 minute');
SELECT id FROM minion.wait_for_job(2, '0.01 s');
SELECT id, result, state FROM minion.wait_for_job(3, '0');
SELECT id FROM minion.wait_for_job(4, '0');
SELECT * FROM minion.wait_for_job(99, '1 minute');
SELECT * FROM minion.wait_for_job(NULL, '1 minute');
SELECT * FROM minion.wait_for_job(1, NULL);
SELECT * FROM minion.wait_for_job(1, '-1 s');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM minion.wait_for_job(1, '1 minute');
ROLLBACK;
