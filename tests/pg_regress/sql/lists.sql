-- Lists.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- A listed job has the 22 fields and the total.
SELECT minion.enqueue('add', '[1]', queue => 'slow', priority => 3, attempts => 2, notes => '{"a": 1}',
    expire => '1 hour', time_limit => '90 seconds');
SELECT minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1, queues => '{slow}');
SELECT minion.retry_job(1, 0);
SELECT id FROM minion.dequeue(1, queues => '{slow}');
SELECT minion.finish_job(1, 1, '"done"');
\x on
SELECT id, args, attempts, children, created < delayed AS created, delayed = retried AS delayed,
    expires - created AS expires, finished > started AS finished, lax, notes, parents, priority, queue,
    result, retried > created AS retried, retries, started > retried AS started, state, task,
    "time" >= finished AS time, worker, total, time_limit
FROM minion.list_jobs(ids => '{1}');
\x off

-- Its time is the clock and not the start of the transaction.
BEGIN;
SELECT "time" > now() AS later FROM minion.list_jobs(ids => '{1}');
COMMIT;

-- Newest first, skip and take; the total counts all that match, whatever the page.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.enqueue('add') FROM generate_series(1, 5);
SELECT id, total FROM minion.list_jobs();
SELECT id, total FROM minion.list_jobs(1, 2);
SELECT id, total FROM minion.list_jobs(skip => 3);
SELECT id, total FROM minion.list_jobs(take => 1);
SELECT id, total FROM minion.list_jobs(4, 10);
SELECT count(*) FROM minion.list_jobs(skip => 5);
SELECT count(*) FROM minion.list_jobs(take => 0);

-- A page has 100 jobs by default.
SELECT count(id) FROM generate_series(6, 120), minion.enqueue('add') AS id;
SELECT count(*), min(id), max(id), min(total) FROM minion.list_jobs();

-- before pages by key: the next page begins below the last id, new jobs or not.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.enqueue('add') FROM generate_series(1, 5);
SELECT id FROM minion.list_jobs(take => 2);
SELECT minion.enqueue('add');
SELECT id FROM minion.list_jobs(take => 2, before => 4);
SELECT id FROM minion.list_jobs(take => 2, before => 2);
SELECT count(*) FROM minion.list_jobs(before => 1);

-- Each filter matches what it says.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('a', queue => 'x', notes => '{"red": 1, "green": null}'),
    minion.enqueue('b', queue => 'x', notes => '{"blue": {"red": 1}}'),
    minion.enqueue('a', queue => 'y'),
    minion.enqueue('c', queue => 'z', notes => '{"green": 2}'),
    minion.enqueue('c', queue => 'x');
SELECT id FROM minion.dequeue(1, id => 2, queues => '{x}');
SELECT id FROM minion.dequeue(1, id => 3, queues => '{y}');
SELECT id FROM minion.dequeue(1, id => 4, queues => '{z}');
SELECT minion.finish_job(3, 0), minion.fail_job(4, 0);
SELECT id, total FROM minion.list_jobs(before => 3);
SELECT id, total FROM minion.list_jobs(ids => '{4,1,99}');
SELECT id, total FROM minion.list_jobs(notes => '{red}');
SELECT id, total FROM minion.list_jobs(notes => '{blue,green,none}');
SELECT id, total FROM minion.list_jobs(queues => '{x,y}');
SELECT id, total FROM minion.list_jobs(states => '{active,failed}');
SELECT id, total FROM minion.list_jobs(states => '{inactive}');
SELECT id, total FROM minion.list_jobs(states => '{finished}');
SELECT id, total FROM minion.list_jobs(tasks => '{a,b}');

-- They are combined by AND.
SELECT id, total FROM minion.list_jobs(queues => '{x}', tasks => '{a,c}');
SELECT id, total FROM minion.list_jobs(queues => '{x}', tasks => '{a,c}', notes => '{red}');
SELECT id, total FROM minion.list_jobs(
    before => 5, ids => '{1,2,5}', notes => '{red,blue}', queues => '{x}', states => '{active,inactive}',
    tasks => '{b,c}');
SELECT id, total FROM minion.list_jobs(queues => '{y}', tasks => '{c}');
SELECT id, total FROM minion.list_jobs(skip => 1, take => 1, queues => '{x}');

-- An empty array matches nothing.
SELECT id FROM minion.list_jobs(ids => '{}');
SELECT id FROM minion.list_jobs(notes => '{}');
SELECT id FROM minion.list_jobs(queues => '{}');
SELECT id FROM minion.list_jobs(states => '{}');
SELECT id FROM minion.list_jobs(tasks => '{}');

-- NULL is no filter.
SELECT count(*)
FROM minion.list_jobs(
    before => NULL, ids => NULL, notes => NULL, queues => NULL, states => NULL, tasks => NULL);

-- Listing takes no transaction id.
BEGIN;
SELECT count(*) FROM minion.list_jobs(), minion.list_workers();
SELECT pg_current_xact_id_if_assigned() AS transaction_id;
COMMIT;

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
