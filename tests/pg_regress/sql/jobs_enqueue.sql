-- Enqueue: what a job is when it goes in.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- A job of which only the task is given has the defaults, and enqueue returns its id.
SELECT minion.enqueue('mail');
\x on
SELECT id, task, args, attempts, delayed - created AS delay, expires, lax, notes, parents, priority,
    queue, state, retries, result, retried, started, finished, worker
FROM minion.jobs;
\x off

-- Every argument is kept as it was given.
SELECT minion.enqueue(
    'sum', args => '[1, 2]', queue => 'slow', priority => -7, delay => '1 hour', expire => '2 days',
    attempts => 3, parents => '{1,99,1}', lax => true, notes => '{"for": "you"}');
\x on
SELECT id, task, args, attempts, delayed - created AS delay, expires - created AS expire, lax, notes,
    parents, priority, queue
FROM minion.jobs
WHERE id = 2;
\x off

-- The arguments in order are task, args, queue, priority, delay, expire, attempts, parents, lax, notes.
SELECT minion.enqueue('sum', '[3]', 'slow', 4, '5 s', '6 s', 7, '{8}', true, '{"nine": 9}');
SELECT task, args, queue, priority, delayed - created AS delay, expires - created AS expire, attempts,
    parents, lax, notes
FROM minion.jobs
WHERE id = 3;

-- created is the clock and not the start of the transaction.
BEGIN;
SELECT minion.enqueue('mail');
SELECT created > now() AS created_later, delayed = created AS due_at_once
FROM minion.jobs
WHERE id = 4;
COMMIT;

-- Nested JSON, unicode, null and every digit survive the round trip exactly.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue(
    'echo',
    '["☃", null, {"ä": {"b": [null, true, "𝄞", "\"\\\n"]}}, [], {}, 1.10, 12345678901234567890.123]',
    notes => '{"☃": {"nested": [1, {"null": null}]}, "null": null}');
SELECT args FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0, '{"result": ["☃", null, 1.10, {"x": null}]}');
SELECT args, notes, result FROM minion.list_jobs();
SELECT id FROM minion.enqueue_many(
    '[{"task": "echo",
       "args": ["☃", null, {"b": [null, "𝄞", "\"\\\n"]}, 1.10, 12345678901234567890.123],
       "notes": {"☃": {"null": null}, "null": null}}]') AS id;
SELECT args, notes FROM minion.jobs WHERE id = 2;

-- A large args array survives as well.
SELECT minion.enqueue('large', jsonb_build_array(repeat('0123456789', 100000)));
SELECT args = jsonb_build_array(repeat('0123456789', 100000)) AS same
FROM minion.dequeue(1, tasks => '{large}');

-- args must be an array and notes an object.
SELECT minion.enqueue('mail', '{"a": 1}');
SELECT minion.enqueue('mail', '"a"');
SELECT minion.enqueue('mail', notes => '["a"]');
SELECT minion.enqueue('mail', notes => 'null');

-- Any priority is allowed; the order is priority DESC, then id ASC.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('mail', priority => given)
FROM unnest('{0,-1,2147483647,5,-2147483648,5,0}'::int[]) AS given;
SELECT claim.id, job.priority
FROM minion.dequeue(1, max_jobs => 10) WITH ORDINALITY AS claim (id, args, retries, task, place)
JOIN minion.jobs AS job USING (id)
ORDER BY place;

-- Names of 1,000 bytes are allowed, and so is any character in them.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue(repeat('t', 1000), queue => repeat('q', 1000));
SELECT minion.enqueue('mäil "it", ''now''', queue => '{a,b} %');
SELECT length(task) FROM minion.dequeue(1, queues => ARRAY[repeat('q', 1000)]);
SELECT task FROM minion.dequeue(1, queues => ARRAY['{a,b} %']);

-- enqueue_many returns the ids in input order, and its keys are the arguments of enqueue.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT id FROM minion.enqueue_many(
    '[{"task": "first"},
      {"task": "second", "args": [2], "queue": "slow", "priority": -2, "delay": "1 hour",
       "expire": 7200.5, "attempts": 3, "parents": [1, 99], "lax": true, "notes": {"for": "you"}},
      {"task": "third", "delay": 0.25, "expire": null},
      {"task": "fourth"}]') AS id;
SELECT id, task, args, queue, priority, delayed - created AS delay, expires - created AS expire,
    attempts, parents, lax, notes
FROM minion.jobs
ORDER BY id;

-- An empty array enqueues nothing.
SELECT id FROM minion.enqueue_many('[]') AS id;

-- One bad element, and none is enqueued.
SELECT id FROM minion.enqueue_many('[{"task": "good"}, {"task": ""}]') AS id;
SELECT count(*) FROM minion.jobs WHERE task = 'good';

-- 100,000 jobs go in by one call, in order.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT count(*), bool_and(id = place) AS in_order
FROM (
    SELECT jsonb_agg(jsonb_build_object('task', 'bulk', 'args', jsonb_build_array(number)) ORDER BY number)
    FROM generate_series(1, 100000) AS number
) AS bulk (jobs),
minion.enqueue_many(jobs) WITH ORDINALITY AS job (id, place);
SELECT count(*), bool_and(args = jsonb_build_array(id)) AS same_args FROM minion.jobs;

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
