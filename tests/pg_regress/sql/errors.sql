-- Bad input: a clear error with SQLSTATE and hint, and nothing is lost.
SELECT minion.reset('all'), minion.register_worker() \g /dev/null
CREATE FUNCTION pg_temp.error_of(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    hint text;
BEGIN
    EXECUTE call;
    RETURN format(E'%s\n  no error', left(call, 100));
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    RETURN format(E'%s\n  %s %s\n  %s', left(call, 100), SQLSTATE, message, hint);
END
$$;
CREATE FUNCTION pg_temp.errors_of_enqueue_many(VARIADIC jobs text[]) RETURNS SETOF text LANGUAGE sql
BEGIN ATOMIC
    SELECT pg_temp.error_of(format('SELECT minion.enqueue_many(%L)', job)) FROM unnest(jobs) AS job;
END;
\pset format unaligned
\pset tuples_only on

-- What is there now must be there afterwards.
SELECT minion.enqueue('kept', '[1]'), minion.enqueue('kept'), minion.enqueue('blocked', parents => '{1}'), minion.lock('kept', '1 day'), minion.broadcast('kept');
SELECT id FROM minion.dequeue(1);
CREATE TEMP TABLE jobs_before AS SELECT * FROM minion.jobs;
CREATE TEMP TABLE workers_before AS SELECT * FROM minion.workers;
CREATE TEMP TABLE locks_before AS SELECT * FROM minion.locks;

-- enqueue: NULL for anything but expire.
SELECT pg_temp.error_of(call) FROM (VALUES
    ('SELECT minion.enqueue(NULL)'),
    ('SELECT minion.enqueue(''a'', args => NULL)'),
    ('SELECT minion.enqueue(''a'', queue => NULL)'),
    ('SELECT minion.enqueue(''a'', priority => NULL)'),
    ('SELECT minion.enqueue(''a'', delay => NULL)'),
    ('SELECT minion.enqueue(''a'', attempts => NULL)'),
    ('SELECT minion.enqueue(''a'', parents => NULL)'),
    ('SELECT minion.enqueue(''a'', parents => ''{1,NULL}'')'),
    ('SELECT minion.enqueue(''a'', lax => NULL)'),
    ('SELECT minion.enqueue(''a'', notes => NULL)')
) AS bad (call);

-- enqueue: names that are empty or too long, a megabyte too; JSON of the wrong shape; bad numbers and durations.
SELECT pg_temp.error_of(call) FROM (VALUES
    ('SELECT minion.enqueue('''')'),
    ('SELECT minion.enqueue(repeat(''x'', 1001))'),
    ('SELECT minion.enqueue(repeat(''ä'', 501))'),
    ('SELECT minion.enqueue(repeat(''x'', 1000000))'),
    ('SELECT minion.enqueue(''a'', queue => '''')'),
    ('SELECT minion.enqueue(''a'', queue => repeat(''x'', 1000000))'),
    ('SELECT minion.enqueue(''a'', ''{}'')'),
    ('SELECT minion.enqueue(''a'', ''null'')'),
    ('SELECT minion.enqueue(''a'', ''1'')'),
    ('SELECT minion.enqueue(''a'', jsonb_build_object(''a'', repeat(''x'', 1000000)))'),
    ('SELECT minion.enqueue(''a'', ''['')'),
    ('SELECT minion.enqueue(''a'', notes => ''[]'')'),
    ('SELECT minion.enqueue(''a'', notes => ''"a"'')'),
    ('SELECT minion.enqueue(''a'', attempts => 0)'),
    ('SELECT minion.enqueue(''a'', attempts => -2147483648)'),
    ('SELECT minion.enqueue(''a'', delay => ''-1 s'')'),
    ('SELECT minion.enqueue(''a'', delay => ''-1 month'')'),
    ('SELECT minion.enqueue(''a'', delay => ''1 month -40 days'')'),
    ('SELECT minion.enqueue(''a'', delay => ''10001 years'')'),
    ('SELECT minion.enqueue(''a'', delay => ''178000000 years'')'),
    ('SELECT minion.enqueue(''a'', expire => ''-0.000001 s'')'),
    ('SELECT minion.enqueue(''a'', expire => ''178000000 years'')')
) AS bad (call);

-- The largest durations that are allowed work.
BEGIN;
SELECT minion.enqueue('a', delay => '9999 years', expire => '9999 years') > 0;
ROLLBACK;

-- enqueue_many: the array itself.
SELECT pg_temp.error_of('SELECT minion.enqueue_many(NULL)');
SELECT pg_temp.errors_of_enqueue_many('{}', '"a"', 'null', '1', '{"task": "a"}', '[1]', '[null]', '["a"]', '[[]]', '[{}]', '[');

-- enqueue_many: an unknown key is named with its element.
SELECT pg_temp.errors_of_enqueue_many(
    '[{"task": "a"}, {"task": "a"}, {"task": "a"}, {"task": "a", "prioritty": 1}]',
    '[{"task": "a", "Task": "b"}]',
    '[{"task": "a", "id": 1}]');
SELECT pg_temp.error_of('SELECT minion.enqueue_many(jsonb_build_array(jsonb_build_object(repeat(''x'', 1000000), 1)))');

-- enqueue_many: each key of the wrong type.
SELECT pg_temp.errors_of_enqueue_many(
    '[{"task": null}]', '[{"task": 1}]', '[{"task": ["a"]}]',
    '[{"task": "a", "args": {}}]', '[{"task": "a", "args": null}]', '[{"task": "a", "args": "[]"}]',
    '[{"task": "a", "queue": null}]', '[{"task": "a", "queue": 1}]',
    '[{"task": "a", "delay": null}]', '[{"task": "a", "delay": true}]', '[{"task": "a", "delay": []}]',
    '[{"task": "a", "expire": false}]', '[{"task": "a", "expire": {}}]',
    '[{"task": "a", "lax": null}]', '[{"task": "a", "lax": 1}]', '[{"task": "a", "lax": "true"}]',
    '[{"task": "a", "notes": []}]', '[{"task": "a", "notes": null}]', '[{"task": "a", "notes": "{}"}]');

-- enqueue_many: numbers are named as such, in the words of JSON.
SELECT pg_temp.errors_of_enqueue_many(
    '[{"task": "a", "priority": null}]', '[{"task": "a", "priority": "1"}]', '[{"task": "a", "priority": 1.5}]',
    '[{"task": "a", "priority": 2147483648}]', '[{"task": "a", "attempts": null}]', '[{"task": "a", "attempts": "3"}]',
    '[{"task": "a", "attempts": 1e30}]',
    '[{"task": "a", "parents": null}]', '[{"task": "a", "parents": 1}]', '[{"task": "a", "parents": [1, null]}]',
    '[{"task": "a", "parents": ["1"]}]', '[{"task": "a", "parents": [1.5]}]', '[{"task": "a", "parents": [9223372036854775808]}]');

-- enqueue_many: each key with a bad value.
SELECT pg_temp.errors_of_enqueue_many(
    '[{"task": ""}]', '[{"task": "a", "queue": ""}]',
    '[{"task": "a", "attempts": 0}]', '[{"task": "a", "attempts": -1}]',
    '[{"task": "a", "delay": -1}]', '[{"task": "a", "delay": "-1 s"}]', '[{"task": "a", "delay": "soon"}]', '[{"task": "a", "delay": ""}]',
    '[{"task": "a", "delay": 1e15}]', '[{"task": "a", "delay": "178000000 years"}]',
    '[{"task": "a", "expire": -0.5}]', '[{"task": "a", "expire": "1 foo"}]', '[{"task": "a", "expire": "10001 years"}]');
SELECT pg_temp.error_of('SELECT minion.enqueue_many(jsonb_build_array(jsonb_build_object(''task'', repeat(''x'', 1000000))))');
SELECT substr(result, strpos(result, E'\n') + 3, 5)
FROM pg_temp.errors_of_enqueue_many('[{"task": "a", "delay": "infinity"}]', '[{"task": "a", "delay": 1e400}]', '[{"task": "a", "expire": "-infinity"}]') AS result;

-- dequeue.
SELECT pg_temp.error_of(call) FROM (VALUES
    ('SELECT minion.dequeue(NULL)'),
    ('SELECT minion.dequeue(7)'),
    ('SELECT minion.dequeue(-1)'),
    ('SELECT minion.dequeue(7, id => 2)'),
    ('SELECT minion.dequeue(1, wait => NULL)'),
    ('SELECT minion.dequeue(1, wait => ''-1 s'')'),
    ('SELECT minion.dequeue(1, wait => ''178000000 years'')'),
    ('SELECT minion.dequeue(1, queues => NULL)'),
    ('SELECT minion.dequeue(1, queues => ''{default,NULL}'')'),
    ('SELECT minion.dequeue(1, tasks => ''{NULL}'')'),
    ('SELECT minion.dequeue(1, max_jobs => NULL)'),
    ('SELECT minion.dequeue(1, max_jobs => 0)'),
    ('SELECT minion.dequeue(1, max_jobs => -2147483648)')
) AS bad (call);

-- finish_job, finish_jobs, fail_job.
SELECT pg_temp.error_of(call) FROM (VALUES
    ('SELECT minion.finish_job(NULL, 0)'),
    ('SELECT minion.finish_job(1, NULL)'),
    ('SELECT minion.finish_job(1, 0, ''{'')'),
    ('SELECT minion.finish_jobs(NULL, ''{0}'')'),
    ('SELECT minion.finish_jobs(''{1}'', NULL)'),
    ('SELECT minion.finish_jobs(''{NULL}'', ''{0}'')'),
    ('SELECT minion.finish_jobs(''{1}'', ''{NULL}'')'),
    ('SELECT minion.finish_jobs(''{1}'', ''{}'')'),
    ('SELECT minion.finish_jobs(''{1}'', ''{0,0}'')'),
    ('SELECT minion.finish_jobs(''{1}'', ''{0}'', ARRAY[]::jsonb[])'),
    ('SELECT minion.fail_job(NULL, 0)'),
    ('SELECT minion.fail_job(1, NULL)'),
    ('SELECT minion.fail_job(1, 0, retry_delay => ''-1 s'')'),
    ('SELECT minion.fail_job(1, 0, retry_delay => ''178000000 years'')')
) AS bad (call);

-- retry_job, remove_job, note, backoff.
SELECT pg_temp.error_of(call) FROM (VALUES
    ('SELECT minion.retry_job(NULL, 0)'),
    ('SELECT minion.retry_job(1, NULL)'),
    ('SELECT minion.retry_job(1, 0, attempts => 0)'),
    ('SELECT minion.retry_job(1, 0, attempts => -1)'),
    ('SELECT minion.retry_job(1, 0, delay => NULL)'),
    ('SELECT minion.retry_job(1, 0, delay => ''-1 s'')'),
    ('SELECT minion.retry_job(1, 0, delay => ''178000000 years'')'),
    ('SELECT minion.retry_job(1, 0, expire => ''-1 s'')'),
    ('SELECT minion.retry_job(1, 0, expire => ''178000000 years'')'),
    ('SELECT minion.retry_job(1, 0, parents => ''{NULL}'')'),
    ('SELECT minion.retry_job(1, 0, queue => '''')'),
    ('SELECT minion.retry_job(1, 0, queue => repeat(''x'', 1000000))'),
    ('SELECT minion.remove_job(NULL)'),
    ('SELECT minion.note(NULL, ''{}'')'),
    ('SELECT minion.note(1, NULL)'),
    ('SELECT minion.note(1, ''[]'')'),
    ('SELECT minion.note(1, ''null'')'),
    ('SELECT minion.backoff(NULL)'),
    ('SELECT minion.backoff(-1)')
) AS bad (call);

-- Workers.
SELECT pg_temp.error_of(call) FROM (VALUES
    ('SELECT minion.register_worker(99)'),
    ('SELECT minion.register_worker(-1)'),
    ('SELECT minion.register_worker(status => NULL)'),
    ('SELECT minion.register_worker(1, status => ''[]'')'),
    ('SELECT minion.register_worker(status => ''1'')'),
    ('SELECT minion.register_worker(host => repeat(''x'', 1000000))'),
    ('SELECT minion.unregister_worker(NULL)'),
    ('SELECT minion.broadcast(NULL)'),
    ('SELECT minion.broadcast(''a'', NULL)'),
    ('SELECT minion.broadcast(''a'', ''{}'')'),
    ('SELECT minion.broadcast(''a'', workers => NULL)'),
    ('SELECT minion.broadcast(''a'', workers => ''{1,NULL}'')'),
    ('SELECT minion.receive(NULL)'),
    ('SELECT minion.receive(7)')
) AS bad (call);

-- Locks.
SELECT pg_temp.error_of(call) FROM (VALUES
    ('SELECT minion.lock(NULL, ''1 hour'')'),
    ('SELECT minion.lock(''a'', NULL)'),
    ('SELECT minion.lock(''a'', ''1 hour'', NULL)'),
    ('SELECT minion.lock('''', ''1 hour'')'),
    ('SELECT minion.lock(repeat(''x'', 1000000), ''1 hour'')'),
    ('SELECT minion.lock(''a'', ''178000000 years'')'),
    ('SELECT minion.lock(''a'', ''-178000000 years'')'),
    ('SELECT minion.lock(''a'', ''1 hour'', 0)'),
    ('SELECT minion.lock(''a'', ''1 hour'', -1)'),
    ('SELECT minion.is_locked(NULL)'),
    ('SELECT minion.is_locked('''')'),
    ('SELECT minion.is_locked(repeat(''x'', 1000000))'),
    ('SELECT minion.unlock(NULL)'),
    ('SELECT minion.unlock('''')'),
    ('SELECT minion.unlock(repeat(''x'', 1000000))')
) AS bad (call);

-- Lists and reset. A negative page is the server's own error.
SELECT pg_temp.error_of(call) FROM (VALUES
    ('SELECT minion.list_jobs(-1)'),
    ('SELECT minion.list_jobs(0, -1)'),
    ('SELECT minion.list_jobs(states => ''{lost}'')'),
    ('SELECT minion.list_workers(-1)'),
    ('SELECT minion.list_workers(0, -1)'),
    ('SELECT minion.list_locks(-1)'),
    ('SELECT minion.list_locks(0, -1)'),
    ('SELECT minion.reset(NULL)'),
    ('SELECT minion.reset(''everything'')'),
    ('SELECT minion.reset(repeat(''x'', 1000000))')
) AS bad (call);

-- After all of that everything is as it was.
SELECT count(*) FROM (TABLE minion.jobs EXCEPT TABLE jobs_before) AS jobs;
SELECT count(*) FROM (TABLE jobs_before EXCEPT TABLE minion.jobs) AS jobs;
SELECT count(*) FROM (TABLE minion.workers EXCEPT TABLE workers_before) AS workers;
SELECT count(*) FROM (TABLE minion.locks EXCEPT TABLE locks_before) AS locks;
DROP TABLE jobs_before, workers_before, locks_before;

-- An error outside of any handler leaves the session usable, and so does one in a transaction with a savepoint.
SELECT minion.enqueue(NULL);
SELECT minion.dequeue(7);
BEGIN;
SELECT minion.note(1, '{"in": "transaction"}');
SAVEPOINT here;
SELECT minion.enqueue_many('[{"task": "a"}, {"task": ""}]');
ROLLBACK TO here;
SELECT minion.finish_job(1, 0);
SELECT id FROM minion.dequeue(1, max_jobs => 10);
COMMIT;
SELECT minion.finish_jobs('{2,3}', '{0,0}');
SELECT id, state, notes FROM minion.jobs ORDER BY id;

-- An error at the end of a transaction takes everything back, the claims too.
SELECT minion.enqueue('again');
BEGIN;
SELECT minion.enqueue('gone') > 0;
SELECT task FROM minion.dequeue(1);
SELECT minion.backoff(-1);
COMMIT;
SELECT task FROM minion.dequeue(1, max_jobs => 10);

SELECT minion.reset('all') \g /dev/null
