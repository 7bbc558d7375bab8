-- Unique keys: one job at a time that is inactive or active.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- A second enqueue returns the id of the first and changes nothing, whatever it says.
SELECT minion.enqueue('mail', unique_key => 'a');
SELECT minion.enqueue('other', '[1]', queue => 'q', priority => 9, unique_key => 'a');
SELECT id, task, args, queue, priority, unique_key FROM minion.jobs;
-- Other keys, and none, are of no concern; and no id was used up.
SELECT minion.enqueue('mail', unique_key => 'b'), minion.enqueue('mail'), minion.enqueue('mail');
SELECT enqueued_jobs FROM minion.stats();

-- While it is active, too; when it has ended, the key is free.
SELECT id FROM minion.dequeue(1, id => 1);
SELECT minion.enqueue('mail', unique_key => 'a');
SELECT minion.finish_job(1, 0);
SELECT minion.enqueue('mail', unique_key => 'a');
SELECT id FROM minion.dequeue(1, id => 5);
SELECT minion.fail_job(5, 0);
SELECT minion.enqueue('mail', unique_key => 'a');
-- An automatic retry keeps it.
SELECT minion.retry_job(6, 0, attempts => 2);
SELECT id FROM minion.dequeue(1, id => 6);
SELECT minion.fail_job(6, 1, retry_delay => '1 hour');
SELECT minion.enqueue('mail', unique_key => 'a');
SELECT minion.remove_job(6);
SELECT minion.enqueue('mail', unique_key => 'a');

-- retry_job onto a taken key is an error, and changes nothing.
SELECT minion.retry_job(1, 0);
SELECT state, retries FROM minion.jobs WHERE id = 1;
SELECT minion.remove_job(7), minion.retry_job(1, 0);
SELECT minion.enqueue('mail', unique_key => 'a');

-- An expired job gives its key back, and is removed.
SELECT minion.enqueue('old', unique_key => 'c', expire => '0');
SELECT minion.enqueue('new', unique_key => 'c');
SELECT id, task FROM minion.jobs WHERE unique_key = 'c';

-- enqueue_many: ids of those that are there, and of earlier ones of the array.
SELECT minion.enqueue_many('[
    {"task": "many", "unique_key": "a"}, {"task": "many", "unique_key": "d", "args": ["ü", 1.50], "parents": [1, 2]},
    {"task": "many", "delay": "1 hour", "expire": 7200, "notes": {"n": null}, "attempts": 3, "lax": true},
    {"task": "many", "unique_key": "d"}, {"task": "many", "unique_key": null}]');
SELECT id, args, parents, delayed - created AS delay, expires - created AS expire, notes, attempts, lax, unique_key
FROM minion.jobs WHERE task = 'many' ORDER BY id;
SELECT minion.enqueue_many('[{"task": "many", "unique_key": ""}]');
SELECT minion.enqueue_many('[{"task": "many", "unique_key": 1}]');

-- What is rolled back to a savepoint has no key.
BEGIN;
SAVEPOINT before;
SELECT minion.enqueue('mail', unique_key => 'e');
SELECT minion.enqueue('mail', unique_key => 'e');
ROLLBACK TO before;
SELECT minion.enqueue('mail', unique_key => 'e');
COMMIT;
SELECT count(*) FROM minion.jobs WHERE unique_key = 'e';

-- Plain SQL can't have two either; those that have ended may share a key.
INSERT INTO minion.jobs (task, unique_key) VALUES ('plain', 'e');
INSERT INTO minion.jobs (task, unique_key, state, finished) VALUES ('plain', 'e', 'finished', now()), ('plain', 'e', 'failed', now());

-- A key has 1 to 1000 bytes.
SELECT minion.enqueue('mail', unique_key => '');
SELECT minion.enqueue('mail', unique_key => repeat('x', 1001));
SELECT minion.enqueue('mail', unique_key => repeat('ü', 500)) > 0 AS done;

-- A producer may not read jobs, and learns no more than the id.
SET ROLE minion_producer;
SELECT minion.enqueue('mail', unique_key => 'e') = minion.enqueue('again', unique_key => 'e') AS same;
SELECT unique_key FROM minion.jobs;
RESET ROLE;
