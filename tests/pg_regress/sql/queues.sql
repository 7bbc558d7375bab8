-- Pausing queues, and listing them.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT * FROM minion.list_queues();

-- Nothing is claimed from a paused queue; enqueue works.
SELECT minion.enqueue('work'), minion.enqueue('work', queue => 'other', priority => -1);
SELECT minion.pause_queue('default'), minion.pause_queue('default');
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1, queues => '{default,other}');
SELECT id FROM minion.dequeue(1, id => 1);
SELECT id FROM minion.dequeue(1, max_jobs => 10, tasks => '{work}');
SELECT minion.enqueue('work');
-- An active job goes on, and its retry waits.
SELECT minion.pause_queue('other'), minion.fail_job(2, 0), minion.retry_job(2, 0);
SELECT id FROM minion.dequeue(1, queues => '{default,other}');
-- A delayed job stays where it is, and a child as well.
SELECT minion.enqueue('delayed', delay => '0.01 s'), minion.enqueue('child', parents => '{1}'), pg_sleep(0.02) IS NOT NULL AS slept;
SELECT id FROM minion.dequeue(1);
SELECT minion.resume_queue('default'), minion.resume_queue('default');
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- What is rolled back was never paused.
BEGIN;
SELECT minion.pause_queue('default');
SELECT minion.enqueue('work');
SELECT id FROM minion.dequeue(1);
ROLLBACK;
SELECT minion.enqueue('work') > 0 AS enqueued;
SELECT task FROM minion.dequeue(1);
-- A savepoint likewise.
BEGIN;
SELECT minion.enqueue('work') > 0 AS enqueued;
SAVEPOINT before;
SELECT minion.pause_queue('default');
SELECT task FROM minion.dequeue(1);
ROLLBACK TO before;
SELECT task FROM minion.dequeue(1);
COMMIT;

-- Plain SQL on the table is heard of as well.
SELECT minion.enqueue('work') > 0 AS enqueued;
INSERT INTO minion.paused_queues VALUES ('default');
SELECT task FROM minion.dequeue(1);
TRUNCATE minion.paused_queues;
SELECT task FROM minion.dequeue(1);

-- Every queue that has jobs or is paused, by name.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.resume_queue('other'), minion.pause_queue('empty'), minion.pause_queue('b');
SELECT minion.enqueue('t', queue => queue, priority => priority)
FROM (VALUES ('a', 0), ('a', 5), ('a', 9), ('b', 0), ('a', 1), ('a', 2)) AS job (queue, priority);
SELECT minion.enqueue('t', queue => 'a', delay => '1 hour'), minion.enqueue('t', queue => 'c', expire => '0');
SELECT id FROM minion.dequeue(1, queues => '{a}', max_jobs => 3);
SELECT minion.finish_job(3, 0), minion.fail_job(2, 0);
UPDATE minion.jobs SET delayed = delayed - interval '1 hour' WHERE id = 1;
SELECT queue, paused, inactive, active, failed, finished, delayed, oldest_ready > '1 hour' AS oldest_ready FROM minion.list_queues();
-- One's own changes count.
BEGIN;
DELETE FROM minion.jobs WHERE queue = 'b';
UPDATE minion.jobs SET queue = 'd' WHERE state = 'failed';
SELECT queue, paused, inactive, active, failed, finished, delayed FROM minion.list_queues();
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT queue, paused, inactive, active, failed, finished, delayed FROM minion.list_queues();
COMMIT;

-- Jobs of a paused queue are not stuck.
UPDATE minion.jobs SET delayed = now() - interval '3 days' WHERE state = 'inactive';
SELECT jobs_stuck FROM minion.repair();
SELECT queue, state FROM minion.jobs WHERE result = '"Job appears stuck in queue"' ORDER BY id;

-- reset leaves queues paused.
SELECT minion.reset('all');
SELECT queue, paused FROM minion.list_queues();
SELECT minion.resume_queue('b'), minion.resume_queue('empty');

-- Wrong calls.
SELECT minion.pause_queue(NULL);
SELECT minion.pause_queue('');
SELECT minion.resume_queue(NULL);
