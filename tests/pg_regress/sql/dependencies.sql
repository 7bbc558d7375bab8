-- Dependencies: when a child may run.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- A child is blocked while a parent is inactive or active, and claimable once all have finished.
SELECT minion.enqueue('parent'), minion.enqueue('parent');
SELECT minion.enqueue('child', parents => '{1,2}');
SELECT id FROM minion.dequeue(1, tasks => '{child}');
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0);
SELECT id FROM minion.dequeue(1, tasks => '{child}');
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1, tasks => '{child}');
SELECT id FROM minion.dequeue(1, id => 3);
SELECT minion.finish_job(2, 0);
SELECT id FROM minion.dequeue(1);

-- The order in which the parents finish does not matter.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent') FROM generate_series(1, 3);
SELECT minion.enqueue('child', parents => '{2,1,3}');
SELECT count(*) FROM minion.dequeue(1, max_jobs => 3);
SELECT minion.finish_job(3, 0);
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0);
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(2, 0);
SELECT id FROM minion.dequeue(1);

-- list_jobs shows the children of a parent, and parents as they were given.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.enqueue('parent'), minion.enqueue('parent'), minion.enqueue('child', parents => '{2,1,2,99}'),
    minion.enqueue('child', parents => '{1}'), minion.enqueue('grandchild', parents => '{3}');
SELECT id, children, parents FROM minion.list_jobs();

-- Ids that do not exist do not block, -1 neither.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('child', parents => '{-1}'),
    minion.enqueue('child', parents => '{99,9223372036854775807}');
SELECT id, state FROM minion.list_jobs();
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- A job that comes to have the id of a missing parent later blocks from then on.
SELECT minion.enqueue('child', parents => '{4}');
SELECT minion.enqueue('parent');
SELECT id FROM minion.dequeue(1, tasks => '{child}');
SELECT id FROM minion.dequeue(1, tasks => '{parent}');
SELECT minion.finish_job(4, 0);
SELECT id FROM minion.dequeue(1, tasks => '{child}');

-- A parent that has finished before does not block.
SELECT minion.enqueue('child', parents => '{4}');
SELECT id FROM minion.dequeue(1);

-- A failed parent blocks until it is retried and finishes.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent'), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(1, 0);
SELECT id FROM minion.dequeue(1);
SELECT minion.retry_job(1, 0);
SELECT id FROM minion.dequeue(1, tasks => '{child}');
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(1, 1);
SELECT id FROM minion.dequeue(1);

-- It blocks a child that is enqueued after it failed as well, until it is removed.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent');
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(1, 0);
SELECT minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT minion.remove_job(1);
SELECT id FROM minion.dequeue(1);

-- A parent that is retried automatically blocks until it finishes.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', attempts => 2), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(1, 0, retry_delay => '0');
SELECT id FROM minion.dequeue(1, tasks => '{child}');
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(1, 1);
SELECT id FROM minion.dequeue(1);

-- An inactive parent that is removed does not block any more.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', delay => '1 hour'), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT minion.remove_job(1);
SELECT id FROM minion.dequeue(1);

-- retry can replace parents.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent'), minion.enqueue('parent'), minion.enqueue('child', parents => '{1}');
SELECT minion.retry_job(3, 0, parents => '{2}');
SELECT id, children, parents FROM minion.list_jobs();
SELECT id FROM minion.dequeue(1, id => 1);
SELECT minion.finish_job(1, 0);
SELECT id FROM minion.dequeue(1, tasks => '{child}');
SELECT id FROM minion.dequeue(1, id => 2);
SELECT minion.finish_job(2, 0);
SELECT id FROM minion.dequeue(1, tasks => '{child}');
SELECT minion.enqueue('parent', delay => '1 hour'), minion.enqueue('child', parents => '{4}');
SELECT id FROM minion.dequeue(1);
SELECT minion.retry_job(5, 0, parents => '{}');
SELECT id FROM minion.dequeue(1);

-- A parent that is retried after it finished blocks a child that has not been claimed yet.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent'), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0);
SELECT minion.retry_job(1, 0, delay => '1 hour');
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1, id => 2);
SELECT minion.retry_job(1, 1);
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(1, 2);
SELECT id FROM minion.dequeue(1);

-- It does nothing to a child that has been claimed.
SELECT minion.retry_job(1, 2);
SELECT minion.finish_job(2, 0);

-- An expired inactive parent unblocks before repair deletes it.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', expire => '0'), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT id, state FROM minion.jobs ORDER BY id;

-- So does one whose expiry comes while the child waits.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', expire => '0.2 s', queue => 'slow'),
    minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1, wait => '1 hour');
SELECT child.started >= parent.expires AS not_before, parent.state
FROM minion.jobs AS child, minion.jobs AS parent
WHERE child.id = 2 AND parent.id = 1;

-- An expired parent that is retried with a new expiry blocks again.
SELECT minion.enqueue('child', parents => '{1}');
SELECT minion.retry_job(1, 0, expire => '1 hour');
SELECT id FROM minion.dequeue(1);
SELECT minion.remove_job(1);
SELECT id FROM minion.dequeue(1);

-- An active or failed parent whose expiry has passed still blocks.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', expire => '1 hour'), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET expires = now() - interval '1 hour' WHERE id = 1;
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(1, 0);
SELECT id FROM minion.dequeue(1);
SELECT minion.remove_job(1);
SELECT id FROM minion.dequeue(1);

-- For a lax child a failed parent will do, an inactive or active one will not.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent'), minion.enqueue('parent');
SELECT minion.enqueue('child', parents => '{1,2}', lax => true),
    minion.enqueue('strict', parents => '{1,2}');
SELECT id FROM minion.dequeue(1, tasks => '{child,strict}');
SELECT count(*) FROM minion.dequeue(1, max_jobs => 2);
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(1, 0);
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(2, 0);
SELECT id, task FROM minion.dequeue(1, max_jobs => 10);

-- A lax child that is enqueued after its parent failed is claimable at once.
SELECT minion.enqueue('child', parents => '{1}', lax => true);
SELECT id FROM minion.dequeue(1);

-- retry with lax true turns it on.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent'), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT minion.fail_job(1, 0);
SELECT id FROM minion.dequeue(1);
SELECT minion.retry_job(2, 0, lax => true);
SELECT id FROM minion.dequeue(1);

-- A plain retry keeps it.
SELECT minion.retry_job(2, 1);
SELECT lax FROM minion.jobs WHERE id = 2;
SELECT id FROM minion.dequeue(1);

-- false turns it off.
SELECT minion.retry_job(2, 2, lax => false);
SELECT lax FROM minion.jobs WHERE id = 2;
SELECT id FROM minion.dequeue(1);

-- A chain runs one after the other, and a delayed child waits for its parent and for its time.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('a'), minion.enqueue('b', parents => '{1}'),
    minion.enqueue('c', parents => '{2}', delay => '1 hour');
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_job(1, 0);
SELECT id FROM minion.dequeue(1, max_jobs => 10);
UPDATE minion.jobs SET delayed = now() WHERE id = 3;
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_job(2, 0);
SELECT id FROM minion.dequeue(1, max_jobs => 10);

-- A child whose parent finishes while it is delayed runs when its time comes.
SELECT minion.enqueue('a'), minion.enqueue('b', parents => '{4}', delay => '1 hour');
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(4, 0);
SELECT id FROM minion.dequeue(1);
UPDATE minion.jobs SET delayed = now() WHERE id = 5;
SELECT id FROM minion.dequeue(1);

-- Enqueue, claim and finish of parent and child in one transaction work as in several.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
BEGIN;
SELECT minion.enqueue('parent'), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1);
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0);
SELECT id FROM minion.dequeue(1);
COMMIT;
SELECT id, state FROM minion.jobs ORDER BY id;

-- A finish that is rolled back leaves the child blocked.
SELECT minion.enqueue('parent'), minion.enqueue('child', parents => '{3}');
SELECT id FROM minion.dequeue(1);
BEGIN;
SELECT minion.finish_job(3, 0);
SELECT id FROM minion.dequeue(1);
ROLLBACK;
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(3, 0);
SELECT id FROM minion.dequeue(1);

-- Five children of 20,000 parents are freed by the last of them, and not before.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
INSERT INTO minion.jobs (task) SELECT 'parent' FROM generate_series(1, 20000);
SELECT minion.enqueue('child', parents => ARRAY(
    SELECT number FROM generate_series(1, 20000) AS number ORDER BY number % 7, number))
FROM generate_series(1, 5);
CREATE TEMP TABLE claimed AS
SELECT id, retries FROM minion.dequeue(1, tasks => '{parent}', max_jobs => 30000);
SELECT count(*) FROM claimed;
SELECT count(*)
FROM minion.finish_jobs(
    ARRAY(SELECT id FROM claimed WHERE id <> 10007 ORDER BY id DESC),
    ARRAY(SELECT retries FROM claimed WHERE id <> 10007 ORDER BY id DESC));
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(10007, 0);
SELECT id FROM minion.dequeue(1, max_jobs => 100);
DROP TABLE claimed;

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
