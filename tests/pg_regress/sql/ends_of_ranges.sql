-- Ids and priorities at the ends of their ranges: claimed in order, once, and nothing goes on for ever.
SELECT minion.reset('all'), setval('minion.workers_id_seq', 1, false), minion.register_worker() \g /dev/null
SET statement_timeout = '30s';

CREATE FUNCTION fill() RETURNS void LANGUAGE sql
BEGIN ATOMIC
    DELETE FROM minion.jobs;
    INSERT INTO minion.jobs (id, priority, task)
    VALUES (-9223372036854775808, 2147483647, 'x'), (-1, 2147483647, 'x'), (-2, 0, 'x'), (9223372036854775806, 0, 'x'),
        (9223372036854775805, -2147483648, 'x'), (9223372036854775807, -2147483648, 'x');
END;

-- The last id there is.
INSERT INTO minion.jobs (id, task) VALUES (9223372036854775807, 'x');
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1);

-- One job at a time, at top level.
SELECT fill();
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1);
SELECT count(*) FROM minion.jobs WHERE state = 'inactive';

-- All at once.
SELECT fill();
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- Only the last, which has the lowest priority and the highest id.
SELECT fill();
DELETE FROM minion.jobs WHERE id < 9223372036854775807;
UPDATE minion.jobs SET priority = -2147483648;
SELECT id FROM minion.dequeue(1, min_priority => -2147483648);
UPDATE minion.jobs SET state = 'inactive';
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET state = 'inactive';
SELECT id FROM minion.dequeue(1, min_priority => -2147483647);

-- In a block, due jobs, under a limit.
SELECT fill();
UPDATE minion.jobs SET delayed = clock_timestamp() + interval '10 ms';
SELECT pg_sleep(0.02) \g /dev/null
BEGIN;
SELECT id FROM minion.dequeue(1, max_jobs => 2);
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT id FROM minion.dequeue(1);
ROLLBACK;
SELECT minion.limit_task('x', 3) \g /dev/null
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_jobs(array_agg(id), array_agg(retries)) FROM minion.jobs WHERE state = 'active';
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.limit_task('x') \g /dev/null

-- The bulk calls leave none out.
SELECT minion.remove_jobs(states => '{inactive,finished}');
UPDATE minion.jobs SET state = 'failed';
SELECT minion.retry_jobs();
SELECT minion.remove_jobs(states => '{inactive}');
SELECT count(*) FROM minion.jobs;

DROP FUNCTION fill;
SELECT minion.reset('all') \g /dev/null
