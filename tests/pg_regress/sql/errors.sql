-- Bad input: a clear error with SQLSTATE and hint, and nothing is lost.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
CREATE FUNCTION pg_temp.error_of(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    hint text;
BEGIN
    EXECUTE 'SELECT minion.' || call;
    RETURN format(E'%s\n  no error', call);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    RETURN format(E'%s\n  %s %s\n  %s', call, SQLSTATE, message, hint);
END
$$;
\pset format unaligned
\pset tuples_only on

-- What is there now must be there afterwards.
SELECT minion.enqueue('kept', '[1]'), minion.enqueue('kept'), minion.enqueue('blocked', parents => '{1}');
SELECT minion.lock('kept', '1 day'), minion.broadcast('kept');
SELECT id FROM minion.dequeue(1);
CREATE TEMP TABLE jobs_before AS SELECT * FROM minion.jobs;
CREATE TEMP TABLE workers_before AS SELECT * FROM minion.workers;
CREATE TEMP TABLE locks_before AS SELECT * FROM minion.locks;

-- enqueue refuses NULL for anything but expire.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$enqueue(NULL)$$),
    ($$enqueue('a', args => NULL)$$),
    ($$enqueue('a', queue => NULL)$$),
    ($$enqueue('a', priority => NULL)$$),
    ($$enqueue('a', delay => NULL)$$),
    ($$enqueue('a', attempts => NULL)$$),
    ($$enqueue('a', parents => NULL)$$),
    ($$enqueue('a', parents => '{1,NULL}')$$),
    ($$enqueue('a', lax => NULL)$$),
    ($$enqueue('a', notes => NULL)$$)
) AS bad (call);

-- It refuses names that are empty or too long, a megabyte too.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$enqueue('')$$),
    ($$enqueue(repeat('x', 1001))$$),
    ($$enqueue(repeat('ä', 501))$$),
    ($$enqueue(repeat('x', 1000000))$$),
    ($$enqueue('a', queue => '')$$),
    ($$enqueue('a', queue => repeat('x', 1000000))$$)
) AS bad (call);

-- It refuses JSON that is malformed or of the wrong shape.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$enqueue('a', '[')$$),
    ($$enqueue('a', '{}')$$),
    ($$enqueue('a', 'null')$$),
    ($$enqueue('a', '1')$$),
    ($$enqueue('a', jsonb_build_object('a', repeat('x', 1000000)))$$),
    ($$enqueue('a', notes => '[]')$$),
    ($$enqueue('a', notes => '"a"')$$)
) AS bad (call);

-- It refuses absurd numbers and durations.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$enqueue('a', attempts => 0)$$),
    ($$enqueue('a', attempts => -2147483648)$$),
    ($$enqueue('a', delay => '-1 s')$$),
    ($$enqueue('a', delay => '-1 month')$$),
    ($$enqueue('a', delay => '1 month -40 days')$$),
    ($$enqueue('a', delay => '10001 years')$$),
    ($$enqueue('a', time_limit => '-1 s')$$),
    ($$enqueue('a', time_limit => '10001 years')$$),
    ($$enqueue('a', unique_key => 'k', time_limit => '178000000 years')$$),
    ($$retry_job(1, 0, time_limit => '-1 day')$$),
    ($$retry_job(1, 0, time_limit => '10001 years')$$),
    ($$schedule('s', '@daily', 'a', time_limit => '-1 s')$$),
    ($$schedule('s', '@daily', 'a', time_limit => '10001 years')$$),
    ($$enqueue('a', delay => '178000000 years')$$),
    ($$enqueue('a', expire => '-0.000001 s')$$),
    ($$enqueue('a', expire => '178000000 years')$$)
) AS bad (call);

-- The largest durations work.
BEGIN;
SELECT minion.enqueue('a', delay => '9999 years', expire => '9999 years') > 0;
ROLLBACK;

-- enqueue_many refuses what is not an array of objects with a task.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$enqueue_many(NULL)$$),
    ($$enqueue_many('[')$$),
    ($$enqueue_many('{}')$$),
    ($$enqueue_many('{"task": "a"}')$$),
    ($$enqueue_many('"a"')$$),
    ($$enqueue_many('null')$$),
    ($$enqueue_many('[1]')$$),
    ($$enqueue_many('[null]')$$),
    ($$enqueue_many('["a"]')$$),
    ($$enqueue_many('[["a"]]')$$),
    ($$enqueue_many('[{}]')$$)
) AS bad (call);

-- An unknown key is named with its element.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$enqueue_many('[{"task": "a"}, {"task": "a"}, {"task": "a"}, {"task": "a", "prioritty": 1}]')$$),
    ($$enqueue_many('[{"task": "a", "Task": "b"}]')$$),
    ($$enqueue_many('[{"task": "a", "id": 1}]')$$),
    ($$enqueue_many(jsonb_build_array(jsonb_build_object(repeat('x', 1000000), 1)))$$)
) AS bad (call);

-- So is each key with a value of the wrong type.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$enqueue_many('[{"task": null}]')$$),
    ($$enqueue_many('[{"task": 1}]')$$),
    ($$enqueue_many('[{"task": "a", "args": {}}]')$$),
    ($$enqueue_many('[{"task": "a", "args": null}]')$$),
    ($$enqueue_many('[{"task": "a", "args": "[]"}]')$$),
    ($$enqueue_many('[{"task": "a", "queue": null}]')$$),
    ($$enqueue_many('[{"task": "a", "queue": 1}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": null}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": true}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": []}]')$$),
    ($$enqueue_many('[{"task": "a", "expire": false}]')$$),
    ($$enqueue_many('[{"task": "a", "expire": {}}]')$$),
    ($$enqueue_many('[{"task": "a", "lax": null}]')$$),
    ($$enqueue_many('[{"task": "a", "lax": 1}]')$$),
    ($$enqueue_many('[{"task": "a", "lax": "true"}]')$$),
    ($$enqueue_many('[{"task": "a", "notes": []}]')$$),
    ($$enqueue_many('[{"task": "a", "notes": null}]')$$),
    ($$enqueue_many('[{"task": "a", "notes": "{}"}]')$$)
) AS bad (call);

-- So is each key with a bad value.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$enqueue_many('[{"task": ""}]')$$),
    ($$enqueue_many('[{"task": "a"}, {"task": "a", "queue": ""}]')$$),
    ($$enqueue_many(jsonb_build_array(jsonb_build_object('task', repeat('x', 1000000))))$$),
    ($$enqueue_many('[{"task": "a", "attempts": 0}]')$$),
    ($$enqueue_many('[{"task": "a", "attempts": -1}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": -1}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": "-1 s"}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": "soon"}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": ""}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": 1e15}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": "178000000 years"}]')$$),
    ($$enqueue_many('[{"task": "a", "expire": -0.5}]')$$),
    ($$enqueue_many('[{"task": "a"}, {"task": "a", "time_limit": -0.5}]')$$),
    ($$enqueue_many('[{"task": "a", "time_limit": true}]')$$),
    ($$enqueue_many('[{"task": "a", "time_limit": "soon"}]')$$),
    ($$enqueue_many('[{"task": "a", "time_limit": 1e15}]')$$),
    ($$enqueue_many('[{"task": "a", "expire": "1 foo"}]')$$),
    ($$enqueue_many('[{"task": "a", "expire": "10001 years"}]')$$)
) AS bad (call);

-- Numbers, ids and elements of another type are refused, in the words of JSON and SQL and not of a program.
SELECT format(E'%s\n  %s, a program''s words: %s', call, substring(error FROM '\n  (\d+|no error)'),
    error ~ '\m(i32|i64|usize|f64|seq|sequence|map|struct|tuple|invalid length)\M')
FROM (VALUES
    ($$enqueue_many('[[]]')$$),
    ($$enqueue_many('[["a"]]')$$),
    ($$enqueue_many('[["a", [], "default", 0, 0, null, 1, [], false, {}]]')$$),
    ($$enqueue_many('[{"task": ["a"]}]')$$),
    ($$enqueue_many('[{"task": "a", "priority": null}]')$$),
    ($$enqueue_many('[{"task": "a", "priority": "1"}]')$$),
    ($$enqueue_many('[{"task": "a", "priority": 1.5}]')$$),
    ($$enqueue_many('[{"task": "a", "priority": 2147483648}]')$$),
    ($$enqueue_many('[{"task": "a", "attempts": null}]')$$),
    ($$enqueue_many('[{"task": "a", "attempts": "3"}]')$$),
    ($$enqueue_many('[{"task": "a", "attempts": 1e30}]')$$),
    ($$enqueue_many('[{"task": "a", "parents": null}]')$$),
    ($$enqueue_many('[{"task": "a", "parents": 1}]')$$),
    ($$enqueue_many('[{"task": "a", "parents": [1, null]}]')$$),
    ($$enqueue_many('[{"task": "a", "parents": ["1"]}]')$$),
    ($$enqueue_many('[{"task": "a", "parents": [1.5]}]')$$),
    ($$enqueue_many('[{"task": "a", "parents": [9223372036854775808]}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": "infinity"}]')$$),
    ($$enqueue_many('[{"task": "a", "delay": 1e400}]')$$),
    ($$enqueue_many('[{"task": "a", "expire": "-infinity"}]')$$)
) AS bad (call),
pg_temp.error_of(call) AS error;

-- dequeue.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$dequeue(NULL)$$),
    ($$dequeue(7)$$),
    ($$dequeue(-1)$$),
    ($$dequeue(7, id => 2)$$),
    ($$dequeue(1, wait => NULL)$$),
    ($$dequeue(1, wait => '-1 s')$$),
    ($$dequeue(1, wait => '178000000 years')$$),
    ($$dequeue(1, queues => NULL)$$),
    ($$dequeue(1, queues => '{default,NULL}')$$),
    ($$dequeue(1, tasks => '{NULL}')$$),
    ($$dequeue(1, max_jobs => NULL)$$),
    ($$dequeue(1, max_jobs => 0)$$),
    ($$dequeue(1, max_jobs => -2147483648)$$)
) AS bad (call);

-- finish_job, finish_jobs, fail_job.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$finish_job(NULL, 0)$$),
    ($$finish_job(1, NULL)$$),
    ($$finish_job(1, 0, '{')$$),
    ($$finish_jobs(NULL, '{0}')$$),
    ($$finish_jobs('{1}', NULL)$$),
    ($$finish_jobs('{NULL}', '{0}')$$),
    ($$finish_jobs('{1}', '{NULL}')$$),
    ($$finish_jobs('{1}', '{}')$$),
    ($$finish_jobs('{1}', '{0,0}')$$),
    ($$finish_jobs('{1}', '{0}', '{}')$$),
    ($$fail_job(NULL, 0)$$),
    ($$fail_job(1, NULL)$$),
    ($$fail_job(1, 0, retry_delay => '-1 s')$$),
    ($$fail_job(1, 0, retry_delay => '178000000 years')$$)
) AS bad (call);

-- retry_job, remove_job, note, backoff.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$retry_job(NULL, 0)$$),
    ($$retry_job(1, NULL)$$),
    ($$retry_job(1, 0, attempts => 0)$$),
    ($$retry_job(1, 0, attempts => -1)$$),
    ($$retry_job(1, 0, delay => NULL)$$),
    ($$retry_job(1, 0, delay => '-1 s')$$),
    ($$retry_job(1, 0, delay => '178000000 years')$$),
    ($$retry_job(1, 0, expire => '-1 s')$$),
    ($$retry_job(1, 0, expire => '178000000 years')$$),
    ($$retry_job(1, 0, parents => '{NULL}')$$),
    ($$retry_job(1, 0, queue => '')$$),
    ($$retry_job(1, 0, queue => repeat('x', 1000000))$$),
    ($$remove_job(NULL)$$),
    ($$note(NULL, '{}')$$),
    ($$note(1, NULL)$$),
    ($$note(1, '[]')$$),
    ($$note(1, 'null')$$),
    ($$backoff(NULL)$$),
    ($$backoff(-1)$$)
) AS bad (call);

-- Workers.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$register_worker(99)$$),
    ($$register_worker(-1)$$),
    ($$register_worker(status => NULL)$$),
    ($$register_worker(1, status => '[]')$$),
    ($$register_worker(status => '1')$$),
    ($$register_worker(host => repeat('x', 1000000))$$),
    ($$unregister_worker(NULL)$$),
    ($$broadcast(NULL)$$),
    ($$broadcast('a', NULL)$$),
    ($$broadcast('a', '{}')$$),
    ($$broadcast('a', workers => NULL)$$),
    ($$broadcast('a', workers => '{1,NULL}')$$),
    ($$receive(NULL)$$),
    ($$receive(7)$$)
) AS bad (call);

-- Locks.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$lock(NULL, '1 hour')$$),
    ($$lock('a', NULL)$$),
    ($$lock('a', '1 hour', NULL)$$),
    ($$lock('', '1 hour')$$),
    ($$lock(repeat('x', 1000000), '1 hour')$$),
    ($$lock('a', '178000000 years')$$),
    ($$lock('a', '-178000000 years')$$),
    ($$lock('a', '1 hour', 0)$$),
    ($$lock('a', '1 hour', -1)$$),
    ($$is_locked(NULL)$$),
    ($$is_locked('')$$),
    ($$is_locked(repeat('x', 1000000))$$),
    ($$unlock(NULL)$$),
    ($$unlock('')$$),
    ($$unlock(repeat('x', 1000000))$$)
) AS bad (call);

-- Lists and reset. What is wrong with a page or a state the server says itself.
SELECT pg_temp.error_of(call) FROM (VALUES
    ($$list_jobs(-1)$$),
    ($$list_jobs(0, -1)$$),
    ($$list_jobs(states => '{lost}')$$),
    ($$list_workers(-1)$$),
    ($$list_workers(0, -1)$$),
    ($$list_locks(-1)$$),
    ($$list_locks(0, -1)$$),
    ($$reset(NULL)$$),
    ($$reset('everything')$$),
    ($$reset(repeat('x', 1000000))$$)
) AS bad (call);

-- After all of that everything is as it was.
SELECT count(*) FROM (TABLE minion.jobs EXCEPT TABLE jobs_before) AS added;
SELECT count(*) FROM (TABLE jobs_before EXCEPT TABLE minion.jobs) AS lost;
SELECT count(*) FROM (TABLE minion.workers EXCEPT TABLE workers_before) AS added;
SELECT count(*) FROM (TABLE workers_before EXCEPT TABLE minion.workers) AS lost;
SELECT count(*) FROM (TABLE minion.locks EXCEPT TABLE locks_before) AS added;
SELECT count(*) FROM (TABLE locks_before EXCEPT TABLE minion.locks) AS lost;
DROP TABLE jobs_before, workers_before, locks_before;

-- After an error that nobody caught the session goes on, in a transaction from a savepoint.
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
SELECT count(*) FROM minion.finish_jobs('{2,3}', '{0,0}');
SELECT id, state, notes FROM minion.jobs WHERE id <= 3 ORDER BY id;

-- An error at the end of a transaction takes everything back, the claims too.
SELECT minion.enqueue('again') > 0;
BEGIN;
SELECT minion.enqueue('gone') > 0;
SELECT task FROM minion.dequeue(1, tasks => '{again}');
SELECT minion.backoff(-1);
COMMIT;
SELECT task FROM minion.dequeue(1, tasks => '{again,gone}', max_jobs => 10);

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
