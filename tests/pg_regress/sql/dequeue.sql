-- Dequeue: which job a worker gets, and when.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.register_worker() \g /dev/null

-- There is no row when there is nothing.
SELECT * FROM minion.dequeue(1);

-- It returns id, args, retries and task, and the job is then active, started, and this worker's.
SELECT minion.enqueue('add', '[1, 2]');
SELECT * FROM minion.dequeue(2);
SELECT state, started >= created AS started, worker FROM minion.jobs;
SELECT * FROM minion.dequeue(1);

-- A worker that is not registered can't claim, waiting or not, and leaves the job alone.
SELECT minion.enqueue('add');
SELECT * FROM minion.dequeue(7);
SELECT * FROM minion.dequeue(7, wait => '1 hour');
SELECT state FROM minion.jobs WHERE id = 2;
SELECT id FROM minion.dequeue(1);

-- Of priorities 5, 0 and -2, min_priority 6 gives nothing; 0 gives 5, then 0, then nothing; -10 gives -2.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add', priority => given) FROM unnest('{0,-2,5}'::int[]) AS given;
SELECT id FROM minion.dequeue(1, min_priority => 6);
SELECT id AS priority_5 FROM minion.dequeue(1, min_priority => 0);
SELECT id AS priority_0 FROM minion.dequeue(1, min_priority => 0);
SELECT id FROM minion.dequeue(1, min_priority => 0);
SELECT id AS priority_minus_2 FROM minion.dequeue(1, min_priority => -10);

-- min_priority is inclusive to both ends of the range.
SELECT minion.enqueue('add', priority => 2147483647), minion.enqueue('add', priority => -2147483648);
SELECT id AS highest FROM minion.dequeue(1, min_priority => 2147483647);
SELECT id FROM minion.dequeue(1, min_priority => -2147483647);
SELECT id AS lowest FROM minion.dequeue(1, min_priority => -2147483648);

-- Of the tasks foo, foo, bar, baz and bar, {foo,bar,baz} gives the 1st; {bar} the 3rd; {bar,baz} the 4th;
-- {bar,baz} the 5th; any the 2nd.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue(task) FROM unnest('{foo,foo,bar,baz,bar}'::text[]) AS task;
SELECT id, task FROM minion.dequeue(1, tasks => '{foo,bar,baz}');
SELECT id, task FROM minion.dequeue(1, tasks => '{bar}');
SELECT id, task FROM minion.dequeue(1, tasks => '{bar,baz}');
SELECT id, task FROM minion.dequeue(1, tasks => '{bar,baz}');
SELECT id, task FROM minion.dequeue(1, tasks => '{none}');
SELECT id, task FROM minion.dequeue(1);

-- The queue is default unless queues says otherwise, and several queues are one order.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add', queue => 'slow'), minion.enqueue('add', queue => 'fast'),
    minion.enqueue('add', queue => 'slow', priority => 1);
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1, queues => '{none}');
SELECT id FROM minion.dequeue(1, queues => '{fast,none,slow,fast}');
SELECT id FROM minion.dequeue(1, queues => '{fast,slow}');
SELECT id FROM minion.dequeue(1, queues => '{fast,slow}');

-- Empty arrays match nothing.
SELECT minion.enqueue('add');
SELECT id FROM minion.dequeue(1, queues => '{}');
SELECT id FROM minion.dequeue(1, tasks => '{}');
SELECT id FROM minion.dequeue(1, queues => '{}', id => 4);
SELECT id FROM minion.dequeue(1, tasks => '{}', id => 4);

-- id, min_priority, queues and tasks combine: each of them alone can refuse.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add', queue => 'slow', priority => 3),
    minion.enqueue('add', queue => 'slow', priority => 9);
SELECT id FROM minion.dequeue(1, id => 1, queues => '{slow}', tasks => '{add}', min_priority => 4);
SELECT id FROM minion.dequeue(1, id => 1, queues => '{fast}', tasks => '{add}', min_priority => 3);
SELECT id FROM minion.dequeue(1, id => 1, queues => '{slow}', tasks => '{sub}', min_priority => 3);
SELECT id FROM minion.dequeue(1, id => 1, tasks => '{add}', min_priority => 3);
SELECT id FROM minion.dequeue(1, id => 3, queues => '{slow}');
SELECT id FROM minion.dequeue(1, id => -1, queues => '{slow}');
SELECT id FROM minion.dequeue(1, id => 1, queues => '{slow}', tasks => '{add}', min_priority => 3);
SELECT id FROM minion.dequeue(1, id => 1, queues => '{slow}');
SELECT id FROM minion.dequeue(1, tasks => '{add}', queues => '{slow}', min_priority => 9);

-- A job that is too early, expired, or blocked by a parent is not returned, by id neither.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('early', delay => '1 hour'), minion.enqueue('expired', expire => '0'),
    minion.enqueue('parent', queue => 'slow'), minion.enqueue('blocked', parents => '{3}');
SELECT asked, id
FROM unnest('{1,2,4}'::bigint[]) AS asked
LEFT JOIN minion.dequeue(1, id => asked) ON true;
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- max_jobs returns at most that many, in claim order over all queues and tasks.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue(task, queue => queue, priority => priority)
FROM (VALUES ('a', 'x', 0), ('b', 'y', 2), ('a', 'y', 1), ('b', 'x', 2), ('a', 'x', 1), ('c', 'x', 0))
    AS job (task, queue, priority);
SELECT id FROM minion.dequeue(1, queues => '{x,y}', max_jobs => 4);
SELECT id FROM minion.dequeue(1, queues => '{x,y}', max_jobs => 4);
SELECT count(*) FROM minion.jobs WHERE state = 'active' AND worker = 1;

-- The order is the same for jobs that have just come due, in a transaction block and out of it.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('a', delay => '1 hour', priority => 1), minion.enqueue('b'),
    minion.enqueue('a', priority => 1), minion.enqueue('c', delay => '1 hour', priority => 7),
    minion.enqueue('a', delay => '1 hour');
UPDATE minion.jobs SET delayed = now() - interval '1 s' WHERE delayed > now();
BEGIN;
SELECT id FROM minion.dequeue(1, max_jobs => 10);
ROLLBACK;
BEGIN;
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1, max_jobs => 2);
ROLLBACK;
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- Inside a transaction block a claim holds no row but those it returns.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('a', delay => '1 hour') FROM generate_series(1, 3);
UPDATE minion.jobs SET delayed = now() - interval '1 s';
BEGIN;
SELECT id FROM minion.dequeue(1);
SELECT id
FROM minion.jobs
WHERE pg_current_xact_id()::xid IN (xmin, xmax)
ORDER BY id;
ROLLBACK;

-- A claim that is rolled back leaves the job as it was.
SELECT id, state, started, worker FROM minion.jobs ORDER BY id LIMIT 1;
SELECT id FROM minion.dequeue(1);

-- More than 1,000 jobs come in one call, none twice.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT count(id)
FROM generate_series(1, 2500) AS number, minion.enqueue('task ' || number % 3) AS id;
SELECT count(*), count(DISTINCT id) AS different, bool_and(id = place) AS in_order
FROM minion.dequeue(1, max_jobs => 2400) WITH ORDINALITY AS job (id, args, retries, task, place);
SELECT count(*), count(DISTINCT id) AS different FROM minion.dequeue(1, max_jobs => 2147483647);
SELECT count(*) FROM minion.jobs WHERE state = 'active';

-- wait => 0 returns at once, also from a transaction whose snapshot is fixed.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM minion.dequeue(1, wait => '0');
COMMIT;

-- With a fixed snapshot no new job could be seen, so a wait is an error.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM minion.dequeue(1, wait => '1 hour');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM minion.dequeue(1, wait => '1 hour');
ROLLBACK;

-- A job that is there already is returned without waiting.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('now');
SELECT id FROM minion.dequeue(1, wait => '1 hour');

-- A delayed job is returned when its time comes, and not before.
SELECT minion.enqueue('soon', delay => '0.2 s');
SELECT id FROM minion.dequeue(1, wait => '1 hour');
SELECT started >= delayed AS not_before FROM minion.jobs WHERE id = 2;

-- A wait for nothing ends, with no row and not too early.
SELECT clock_timestamp() AS begin \gset
SELECT * FROM minion.dequeue(1, wait => '0.05 s');
SELECT clock_timestamp() - :'begin' >= interval '0.05 s' AS waited;

-- statement_timeout ends a wait, and the session goes on.
SET statement_timeout = '50ms';
SELECT * FROM minion.dequeue(1, wait => '1 hour');
RESET statement_timeout;
SELECT minion.enqueue('after');
SELECT id FROM minion.dequeue(1);

-- A dequeue that finds nothing takes no transaction id.
SELECT minion.enqueue('early', delay => '1 hour'), minion.enqueue('elsewhere', queue => 'slow');
BEGIN;
SELECT * FROM minion.dequeue(1);
SELECT * FROM minion.dequeue(1, tasks => '{early}', max_jobs => 5);
SELECT * FROM minion.dequeue(1, id => 1);
SELECT pg_current_xact_id_if_assigned() AS transaction_id;
COMMIT;

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
