-- Remove, and notes.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null

-- Inactive, failed and finished jobs are removed, an active one is not.
SELECT minion.enqueue('add') FROM generate_series(1, 4);
SELECT count(*) FROM minion.dequeue(1, max_jobs => 3);
SELECT minion.finish_job(1, 0), minion.fail_job(2, 0);
SELECT id, state FROM minion.jobs ORDER BY id;
SELECT id, minion.remove_job(id) AS removed FROM unnest('{1,2,3,4}'::bigint[]) AS id;
SELECT id, state FROM minion.jobs;

-- Afterwards the job is gone: remove, retry and note are false.
SELECT id, minion.remove_job(id) AS removed, minion.retry_job(id, 0) AS retried,
    minion.note(id, '{}') AS noted
FROM unnest('{1,2,4,99,-1}'::bigint[]) AS id;

-- The active one can be removed once it is done.
SELECT minion.finish_job(3, 0), minion.remove_job(3);
SELECT count(*) FROM minion.jobs;

-- Delayed, expired and blocked jobs are inactive ones.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.enqueue('add', delay => '1 hour'), minion.enqueue('add', expire => '0'),
    minion.enqueue('add', parents => '{1}');
SELECT minion.remove_job(3), minion.remove_job(2), minion.remove_job(1);

-- note merges top-level keys.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add', notes => '{"a": 1, "b": {"c": 2}}');
SELECT minion.note(1, '{"b": {"d": 3}, "☃": [4]}');
SELECT notes FROM minion.jobs;

-- A JSON null removes a key, also one that is not there.
SELECT minion.note(1, '{"a": null, "none": null, "e": 5}');
SELECT notes FROM minion.jobs;

-- Nested nulls are data, and so are those that enqueue put there.
SELECT minion.note(1, '{"b": {"c": null, "d": [null, {"e": null}]}}');
SELECT notes FROM minion.jobs;
SELECT minion.enqueue('add', notes => '{"kept": null}');
SELECT minion.note(2, '{"a": 1}');
SELECT notes FROM minion.jobs WHERE id = 2;
SELECT minion.note(2, '{"kept": null}');
SELECT notes FROM minion.jobs WHERE id = 2;

-- An empty object changes nothing and is true.
SELECT minion.note(2, '{}');
SELECT notes FROM minion.jobs WHERE id = 2;

-- note works in any state, and leaves everything else alone.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.enqueue('add') FROM generate_series(1, 3);
SELECT minion.enqueue('add', delay => '1 hour');
SELECT count(*) FROM minion.dequeue(1, max_jobs => 3);
SELECT minion.finish_job(1, 0), minion.fail_job(2, 0);
SELECT id, minion.note(id, jsonb_build_object('id', id)) AS noted
FROM unnest('{1,2,3,4}'::bigint[]) AS id;
SELECT id, state, notes, retries, delayed > now() AS delayed FROM minion.jobs ORDER BY id;
SELECT minion.finish_job(3, 0);

-- An unknown id is false.
SELECT minion.note(99, '{"a": 1}');

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
