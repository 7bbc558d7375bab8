-- An error that is raised in the middle of a call, and caught, leaves nothing of the call behind: no lock of ours, nobody
-- else's rights, nothing open that the server would warn of.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
CREATE ROLE regress_minion_worker IN ROLE minion_admin;

CREATE FUNCTION fail() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW::text LIKE '%fails%' THEN
        RAISE 'no';
    END IF;
    RETURN NEW;
END
$$;
-- Runs statements in a transaction of their own, each in a block that catches its error, and then tells what is left.
CREATE PROCEDURE try(VARIADIC statements text[])
LANGUAGE plpgsql AS $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY statements LOOP
        BEGIN
            EXECUTE one;
            RAISE NOTICE '%: done', one;
        EXCEPTION WHEN others THEN
            RAISE NOTICE '%: % (%)', one, sqlerrm, sqlstate;
        END;
        IF current_user <> session_user THEN
            RAISE NOTICE 'we are %', current_user;
        END IF;
        RAISE NOTICE '% locks', (
            SELECT count(*) FROM pg_locks
            WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid >= 3);
    END LOOP;
END
$$;
SELECT minion.register_worker();
SET SESSION AUTHORIZATION regress_minion_worker;

-- A new job, with a key and without.
RESET SESSION AUTHORIZATION;
CREATE TRIGGER zz_fail BEFORE INSERT ON minion.jobs FOR EACH ROW EXECUTE FUNCTION fail();
SET SESSION AUTHORIZATION regress_minion_worker;
CALL try(
    $$SELECT minion.enqueue('fails')$$,
    $$SELECT minion.enqueue('fails', unique_key => 'a')$$,
    $$SELECT minion.enqueue('task', unique_key => 'a')$$,
    $$SELECT minion.enqueue_many('[{"task": "task", "unique_key": "b"}, {"task": "fails", "unique_key": "c"}]')$$,
    $$SELECT minion.enqueue_many('[{"task": "task", "unique_key": "b"}, {"task": "task", "unique_key": "c"}]')$$);
SELECT task, unique_key FROM minion.jobs ORDER BY unique_key;
-- The same with savepoints.
BEGIN;
SAVEPOINT one;
SELECT minion.enqueue('fails', unique_key => 'd');
ROLLBACK TO one;
CALL try('SELECT 1');
SELECT minion.enqueue('task', unique_key => 'd') > 0 AS enqueued;
ROLLBACK;
RESET SESSION AUTHORIZATION;
DROP TRIGGER zz_fail ON minion.jobs;

-- What triggers of ours do as the tables' owner.
CREATE FUNCTION fail_always() RETURNS trigger
LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
CREATE TRIGGER zz_fail BEFORE INSERT ON minion.children FOR EACH ROW EXECUTE FUNCTION fail_always();
SET SESSION AUTHORIZATION regress_minion_worker;
CALL try(
    $$SELECT minion.enqueue('child', parents => '{1}')$$,
    $$SELECT minion.enqueue('child', parents => '{1}', unique_key => 'e')$$);
RESET SESSION AUTHORIZATION;
DROP TRIGGER zz_fail ON minion.children;

-- Changes of many, with their keys.
UPDATE minion.jobs SET state = 'failed', finished = now();
UPDATE minion.jobs SET task = 'fails' WHERE unique_key = 'c';
CREATE TRIGGER zz_fail BEFORE UPDATE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION fail();
SET SESSION AUTHORIZATION regress_minion_worker;
CALL try(
    $$SELECT minion.retry_jobs()$$,
    $$SELECT minion.retry_job(id, 0) FROM minion.jobs WHERE task = 'fails'$$,
    $$SELECT minion.retry_jobs(tasks => '{task}')$$);

-- Claims and ends, under a limit and without.
RESET SESSION AUTHORIZATION;
DROP TRIGGER zz_fail ON minion.jobs;
DELETE FROM minion.jobs;
SELECT minion.enqueue('task'), minion.limit_task('limited', 1), minion.limit_task('rate', max_starts => 1, per => '1 hour');
SELECT minion.enqueue(task) FROM unnest('{limited,rate}'::text[]) AS task;
CREATE TRIGGER zz_fail BEFORE UPDATE ON minion.jobs FOR EACH ROW WHEN (NEW.state = 'active') EXECUTE FUNCTION fail_always();
SET SESSION AUTHORIZATION regress_minion_worker;
CALL try(
    $$SELECT minion.dequeue(1, tasks => '{task}')$$,
    $$SELECT minion.dequeue(1, tasks => '{limited}')$$,
    $$SELECT minion.dequeue(1, tasks => '{rate}')$$,
    $$SELECT minion.dequeue(1, '10 ms', tasks => '{none}')$$);
RESET SESSION AUTHORIZATION;
DROP TRIGGER zz_fail ON minion.jobs;
-- An error that is not the job's fault.
CREATE FUNCTION fail_for_now() RETURNS trigger
LANGUAGE plpgsql AS 'BEGIN RAISE serialization_failure USING MESSAGE = ''not now''; END';
CREATE TRIGGER zz_fail BEFORE UPDATE ON minion.jobs FOR EACH ROW WHEN (NEW.state = 'active') EXECUTE FUNCTION fail_for_now();
SET SESSION AUTHORIZATION regress_minion_worker;
CALL try(
    $$SELECT minion.dequeue(1, tasks => '{task}')$$,
    $$SELECT minion.dequeue(1, tasks => '{limited}')$$,
    $$SELECT minion.dequeue(1, tasks => '{rate}')$$);
RESET SESSION AUTHORIZATION;
DROP TRIGGER zz_fail ON minion.jobs;
SELECT task FROM minion.dequeue(1, max_jobs => 10);
CREATE TRIGGER zz_fail BEFORE UPDATE ON minion.active_slots FOR EACH ROW EXECUTE FUNCTION fail_always();
SET SESSION AUTHORIZATION regress_minion_worker;
CALL try(
    $$SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE task = 'limited'$$,
    $$SELECT minion.limit_task('limited', 2)$$,
    $$SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE task = 'task'$$);
RESET SESSION AUTHORIZATION;
DROP TRIGGER zz_fail ON minion.active_slots;

-- What holds a lock until the transaction ends holds it no longer than what it did.
CREATE TRIGGER zz_fail BEFORE INSERT ON minion.locks FOR EACH ROW EXECUTE FUNCTION fail_always();
CREATE TRIGGER zz_fail BEFORE INSERT ON minion.limit_rules FOR EACH ROW EXECUTE FUNCTION fail_always();
SET SESSION AUTHORIZATION regress_minion_worker;
CALL try(
    $$SELECT minion.lock('name', '1 hour')$$,
    $$SELECT minion.limit_task('other', 2)$$);
RESET SESSION AUTHORIZATION;
DROP TRIGGER zz_fail ON minion.locks;
DROP TRIGGER zz_fail ON minion.limit_rules;

SELECT minion.limit_task('limited'), minion.limit_task('rate');
DROP PROCEDURE try;
DROP FUNCTION fail, fail_always, fail_for_now;
DROP ROLE regress_minion_worker;
SELECT minion.reset('all') \g /dev/null
