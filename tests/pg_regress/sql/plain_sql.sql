-- Plain SQL on the table leaves the queue right at once.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- INSERT of a task alone makes a job with the defaults, claimable at once.
INSERT INTO minion.jobs (task) VALUES ('plain');
SELECT id, args, attempts, delayed = created AS due_now, expires, lax, notes, parents, priority, queue,
    state
FROM minion.list_jobs();
SELECT * FROM minion.dequeue(1);

-- INSERT of a delayed, expired, blocked or finished job is not.
INSERT INTO minion.jobs (task, delayed) VALUES ('delayed', now() + interval '1 hour');
INSERT INTO minion.jobs (task, expires) VALUES ('expired', now() - interval '1 hour');
INSERT INTO minion.jobs (task, parents) VALUES ('blocked', '{1}');
INSERT INTO minion.jobs (task, state) VALUES ('finished', 'finished');
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_job(1, 0);
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- UPDATE of delayed into the past frees the job, into the future takes it back.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add', delay => '1 hour');
UPDATE minion.jobs SET delayed = now() - interval '1 hour';
UPDATE minion.jobs SET delayed = now() + interval '1 hour';
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET delayed = now() - interval '1 hour';
SELECT id FROM minion.dequeue(1);

-- UPDATE of expires: in the past the job can't be claimed, in the future or NULL it can.
SELECT minion.enqueue('add');
UPDATE minion.jobs SET expires = now() - interval '1 hour' WHERE id = 2;
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET expires = now() + interval '1 hour' WHERE id = 2;
SELECT id FROM minion.dequeue(1);
SELECT minion.enqueue('add', expire => '0');
UPDATE minion.jobs SET expires = NULL WHERE id = 3;
SELECT id FROM minion.dequeue(1);

-- UPDATE of a parent's expires frees its children, and blocks them again.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', queue => 'slow'), minion.enqueue('child', parents => '{1}'),
    minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET expires = now() - interval '1 hour' WHERE id = 1;
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET expires = now() + interval '1 hour' WHERE id = 1;
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET expires = now() - interval '1 hour' WHERE id = 1;
SELECT id FROM minion.dequeue(1);

-- An expiry that is moved nearer frees the waiting child when it comes.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', queue => 'slow', expire => '1 hour'),
    minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET expires = clock_timestamp() + interval '0.2 s' WHERE id = 1;
SELECT id FROM minion.dequeue(1, wait => '1 hour');
SELECT child.started >= parent.expires AS not_before
FROM minion.jobs AS child, minion.jobs AS parent
WHERE child.id = 2 AND parent.id = 1;

-- UPDATE of parents blocks and frees the job.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', queue => 'slow'), minion.enqueue('child');
UPDATE minion.jobs SET parents = '{1}' WHERE id = 2;
SELECT id FROM minion.dequeue(1);
SELECT children FROM minion.list_jobs(ids => '{1}');
UPDATE minion.jobs SET parents = '{}' WHERE id = 2;
SELECT id FROM minion.dequeue(1);

-- UPDATE of lax frees and blocks the child of a failed parent.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent'), minion.enqueue('child', parents => '{1}');
SELECT minion.fail_job(id, 0) FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET lax = true WHERE id = 2;
UPDATE minion.jobs SET lax = false WHERE id = 2;
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET lax = true WHERE id = 2;
SELECT id FROM minion.dequeue(1);

-- UPDATE of priority changes the order, and what min_priority lets through.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add') FROM generate_series(1, 3);
UPDATE minion.jobs SET priority = 5 WHERE id = 2;
UPDATE minion.jobs SET priority = -5 WHERE id = 1;
SELECT id FROM minion.dequeue(1, min_priority => 5);
SELECT id FROM minion.dequeue(1, max_jobs => 5);

-- UPDATE of queue and task moves the job, a delayed one too.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add'), minion.enqueue('add', delay => '1 hour');
UPDATE minion.jobs SET queue = 'slow', task = 'sub';
SELECT id FROM minion.dequeue(1);
SELECT id, task FROM minion.dequeue(1, queues => '{slow}', tasks => '{add}');
SELECT id, task FROM minion.dequeue(1, queues => '{slow}', tasks => '{sub}');
UPDATE minion.jobs SET queue = 'default', delayed = now() WHERE id = 2;
SELECT id, task FROM minion.dequeue(1);

-- UPDATE of state to inactive makes a job claimable whatever it was; in any other state it is not.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add') FROM generate_series(1, 4);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 3);
SELECT minion.finish_job(1, 0), minion.fail_job(2, 0);
UPDATE minion.jobs SET state = 'finished' WHERE id = 4;
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET state = 'inactive';
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- A delayed job that is finished by hand and put back is delayed still.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add', delay => '1 hour');
UPDATE minion.jobs SET state = 'finished';
UPDATE minion.jobs SET state = 'inactive';
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET delayed = now();
SELECT id FROM minion.dequeue(1);

-- UPDATE of a parent's state blocks and frees its children as the functions do.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', queue => 'slow'), minion.enqueue('strict', parents => '{1}'),
    minion.enqueue('lax', parents => '{1}', lax => true);
UPDATE minion.jobs SET state = 'active' WHERE id = 1;
BEGIN;
SELECT task FROM minion.dequeue(1, max_jobs => 10);
ROLLBACK;
UPDATE minion.jobs SET state = 'failed' WHERE id = 1;
BEGIN;
SELECT task FROM minion.dequeue(1, max_jobs => 10);
ROLLBACK;
UPDATE minion.jobs SET state = 'finished' WHERE id = 1;
BEGIN;
SELECT task FROM minion.dequeue(1, max_jobs => 10);
ROLLBACK;
UPDATE minion.jobs SET state = 'inactive' WHERE id = 1;
SELECT task FROM minion.dequeue(1, max_jobs => 10);
UPDATE minion.jobs SET state = 'failed' WHERE id = 1;
SELECT task FROM minion.dequeue(1, max_jobs => 10);
UPDATE minion.jobs SET state = 'finished' WHERE id = 1;
SELECT task FROM minion.dequeue(1, max_jobs => 10);

-- DELETE of a parent, in any state, frees its children.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', queue => 'slow') FROM generate_series(1, 3);
SELECT minion.enqueue('child', parents => ARRAY[parent]) FROM generate_series(1, 3) AS parent;
SELECT id FROM minion.dequeue(1, queues => '{slow}', max_jobs => 2);
SELECT minion.fail_job(2, 0);
SELECT id FROM minion.dequeue(1, max_jobs => 10);
DELETE FROM minion.jobs WHERE queue = 'slow';
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- One statement that changes many rows, parents and children among them, counts for all of them.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add', delay => '1 hour') FROM generate_series(1, 3);
SELECT minion.enqueue('child', parents => '{1,2,3}', delay => '1 hour');
UPDATE minion.jobs SET delayed = now();
SELECT id FROM minion.dequeue(1, max_jobs => 10);
UPDATE minion.jobs SET state = 'finished' WHERE state = 'active';
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- An UPDATE that is rolled back changes nothing.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', queue => 'slow'), minion.enqueue('child', parents => '{1}');
BEGIN;
UPDATE minion.jobs SET state = 'finished' WHERE id = 1;
SAVEPOINT before_claim;
SELECT id FROM minion.dequeue(1);
ROLLBACK TO before_claim;
SELECT id FROM minion.dequeue(1);
ROLLBACK;
SELECT id FROM minion.dequeue(1);

-- COPY puts jobs in as INSERT does.
COPY minion.jobs (task, delayed) FROM STDIN;
copied	2020-01-01 00:00:00+00
copied	2999-01-01 00:00:00+00
\.
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- The children of a parent are those that there are, whoever writes what.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
INSERT INTO minion.jobs (task) SELECT 'parent' FROM generate_series(1, 2);
INSERT INTO minion.jobs (id, task, parents) VALUES (7, 'child', '{1}'), (8, 'child', '{1,2}');
INSERT INTO minion.jobs (id, task, parents) VALUES (7, 'another', '{2}') ON CONFLICT DO NOTHING;
SELECT id, children FROM minion.list_jobs(ids => '{1,2}');
UPDATE minion.jobs SET parents = '{2}' WHERE id = 7;
DELETE FROM minion.jobs WHERE id = 8;
SELECT id, children FROM minion.list_jobs(ids => '{1,2}');
BEGIN;
TRUNCATE minion.jobs;
ROLLBACK;
SELECT id, children FROM minion.list_jobs(ids => '{1,2}');
TRUNCATE minion.jobs;
INSERT INTO minion.jobs (id, task) VALUES (2, 'parent'), (7, 'no child');
SELECT id, children FROM minion.list_jobs(ids => '{2}');

-- What the table can't take is refused by a constraint with a name that says why.
\set VERBOSITY terse
INSERT INTO minion.jobs (task) VALUES ('');
INSERT INTO minion.jobs (task) VALUES (repeat('x', 1001));
INSERT INTO minion.jobs (task, queue) VALUES ('a', '');
INSERT INTO minion.jobs (task, args) VALUES ('a', '{}');
INSERT INTO minion.jobs (task, notes) VALUES ('a', '[]');
INSERT INTO minion.jobs (task, attempts) VALUES ('a', 0);
INSERT INTO minion.jobs (task, parents) VALUES ('a', '{NULL}');
INSERT INTO minion.jobs (task, delayed) VALUES ('a', 'infinity');
INSERT INTO minion.locks (name, expires) VALUES ('', 'infinity');
INSERT INTO minion.workers (host, pid, status) VALUES ('a', 1, '[]');
\set VERBOSITY default

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
