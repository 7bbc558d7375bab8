-- Named locks.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;

-- An exclusive lock is taken once, and released once.
SELECT minion.lock('foo', '1 hour');
SELECT minion.lock('foo', '1 hour');
SELECT minion.unlock('foo');
SELECT minion.unlock('foo');
SELECT minion.lock('foo', '1 hour');
SELECT minion.unlock('foo');

-- A name that nobody locked can't be released.
SELECT minion.unlock('bar');

-- Different names are different locks.
SELECT minion.lock('foo', '1 hour'), minion.lock('bar', '1 hour'), minion.lock('Foo', '1 hour');
SELECT minion.unlock('bar');
SELECT minion.is_locked('foo'), minion.is_locked('bar');
SELECT minion.unlock('foo'), minion.unlock('Foo');

-- A negative or zero duration on a free name is true, and holds nothing.
SELECT minion.lock('foo', '-1 hour'), minion.lock('foo', '0'), minion.lock('foo', '-1 hour');
SELECT count(*) FROM minion.locks;

-- On a held one it is false.
SELECT minion.lock('foo', '1 hour');
SELECT minion.lock('foo', '-1 hour'), minion.lock('foo', '0');

-- is_locked is the opposite of lock(name, '0').
SELECT minion.is_locked('foo'), NOT minion.lock('foo', '0') AS opposite;
SELECT minion.unlock('foo');
SELECT minion.is_locked('foo'), NOT minion.lock('foo', '0') AS opposite;

-- With 3 holders: two locks, one with -1 hour that is true without a slot, and a third lock; then with
-- 2 holders it is false, three unlocks are true and the fourth is false.
SELECT minion.lock('bar', '1 hour', 3);
SELECT minion.lock('bar', '1 hour', 3);
SELECT minion.is_locked('bar');
SELECT minion.lock('bar', '-1 hour', 3);
SELECT minion.lock('bar', '1 hour', 3);
SELECT minion.lock('bar', '1 hour', 2);
SELECT minion.lock('bar', '1 hour', 3);
SELECT minion.lock('bar', '-1 hour', 3);
SELECT minion.unlock('bar'), minion.unlock('bar'), minion.unlock('bar'), minion.unlock('bar');
SELECT minion.is_locked('bar');

-- A higher limit than before makes room.
SELECT minion.lock('bar', '1 hour'), minion.lock('bar', '1 hour'), minion.lock('bar', '1 hour', 2);
SELECT minion.unlock('bar'), minion.unlock('bar');

-- The duration counts from now.
SELECT minion.lock('bar', '3 hours');
SELECT expires > now() + interval '2 hours' AND expires <= clock_timestamp() + interval '3 hours' AS in_3_hours
FROM minion.list_locks();

-- unlock frees the holder that expires first.
SELECT minion.reset('locks');
SELECT minion.lock('yada', '3 hours', 3), minion.lock('yada', '1 hour', 3), minion.lock('yada', '2 hours', 3);
SELECT id FROM minion.list_locks() ORDER BY expires;
SELECT minion.unlock('yada');
SELECT id FROM minion.list_locks() ORDER BY expires;
SELECT minion.unlock('yada');
SELECT id FROM minion.list_locks() ORDER BY expires;

-- Expired rows are invisible everywhere.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.lock('foo', '1 hour', 2), minion.lock('foo', '2 hours', 2);
UPDATE minion.locks SET expires = now() - interval '1 s' WHERE id = 1;
SELECT id, name, total FROM minion.list_locks();
SELECT active_locks FROM minion.stats();
SELECT minion.lock('foo', '-1 hour', 2);
UPDATE minion.locks SET expires = now() - interval '1 s';
SELECT minion.is_locked('foo'), minion.unlock('foo');
SELECT count(*) FROM minion.list_locks();
SELECT active_locks FROM minion.stats();

-- lock purges them once in a while, whatever its name.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.lock('foo', '1 hour'), minion.lock('bar', '1 hour');
UPDATE minion.locks SET expires = now() - interval '1 s' WHERE name = 'foo';
SELECT name FROM minion.locks ORDER BY name;
SELECT minion.lock('baz', '1 hour');
DO $$
BEGIN
    WHILE EXISTS (SELECT FROM minion.locks WHERE name = 'foo') LOOP
        PERFORM minion.lock('baz', '0');
        COMMIT;
        PERFORM pg_sleep(0.05);
    END LOOP;
END
$$;
SELECT name FROM minion.locks ORDER BY name;

-- A name is free again when its time has come.
SELECT minion.lock('short', '0.05 s');
SELECT pg_sleep_until(expires) FROM minion.locks WHERE name = 'short';
SELECT minion.lock('short', '1 hour');

-- A lock that is rolled back was never held.
BEGIN;
SELECT minion.lock('undone', '1 hour');
SELECT minion.lock('undone', '1 hour');
ROLLBACK;
SELECT minion.is_locked('undone');

-- list_locks by names, skip and take, id DESC.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.lock(name, '1 hour', 9) FROM unnest('{a,b,a,c}'::text[]) AS name;
SELECT id, name, total FROM minion.list_locks();
SELECT id, name, total FROM minion.list_locks(1, 2);
SELECT id, name, total FROM minion.list_locks(skip => 2);
SELECT id, name, total FROM minion.list_locks(take => 1);
SELECT id, name, total FROM minion.list_locks(names => '{a}');
SELECT id, name, total FROM minion.list_locks(0, 2, '{a,c,none}');
SELECT id, name, total FROM minion.list_locks(names => '{}');

-- Asking takes no transaction id.
BEGIN;
SELECT minion.is_locked('a');
SELECT pg_current_xact_id_if_assigned() AS transaction_id;
COMMIT;

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
