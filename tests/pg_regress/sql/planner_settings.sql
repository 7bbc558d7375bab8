-- What the planner may choose for our statements is of no concern to what users run meanwhile.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;

CREATE ROLE regress_planner_user IN ROLE minion_admin;
GRANT CREATE ON SCHEMA public TO regress_planner_user;

CREATE FUNCTION settings() RETURNS text
LANGUAGE sql AS $$
    SELECT format('seqscan %s, sort %s, jit %s', current_setting('enable_seqscan'),
        current_setting('enable_sort'), current_setting('jit'))
$$;

-- A user's trigger sees the settings of the session in everything that we do to his jobs.
CREATE FUNCTION tell() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seen SELECT TG_ARGV[0] || ' ' || lower(TG_OP) || ': ' || settings();
    RETURN coalesce(NEW, OLD);
END
$$;
CREATE TABLE seen (what text, number serial);
CREATE TRIGGER tell BEFORE INSERT OR UPDATE OR DELETE ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION tell('job');
CREATE TRIGGER tell BEFORE INSERT OR UPDATE OR DELETE ON minion.workers
FOR EACH ROW EXECUTE FUNCTION tell('worker');

CREATE PROCEDURE work()
LANGUAGE plpgsql AS $$
DECLARE
    worker bigint := minion.register_worker();
BEGIN
    PERFORM minion.register_worker(worker);
    PERFORM minion.enqueue('task'), minion.enqueue('task', unique_key => 'key');
    PERFORM minion.enqueue_many('[{"task": "task"}, {"task": "child", "parents": [1]}]');
    PERFORM minion.dequeue(worker, max_jobs => 2);
    PERFORM minion.finish_job(id, retries) FROM minion.jobs WHERE state = 'active' ORDER BY id LIMIT 1;
    PERFORM minion.fail_job(id, retries) FROM minion.jobs WHERE state = 'active' ORDER BY id LIMIT 1;
    PERFORM minion.unregister_worker(worker);
    PERFORM minion.repair();
    PERFORM minion.remove_jobs(states => '{inactive,finished,failed}');
END
$$;
SET enable_seqscan = on;
SET enable_sort = on;
SET jit = on;
CALL work();
SELECT what, count(*) > 0 AS seen FROM seen GROUP BY what ORDER BY what;
SELECT settings();

TRUNCATE seen;
SET enable_sort = off;
SET jit = off;
CALL work();
SELECT what, count(*) > 0 AS seen FROM seen GROUP BY what ORDER BY what;
SELECT settings();
RESET enable_sort;
SET jit = on;
DROP TRIGGER tell ON minion.jobs;
DROP TRIGGER tell ON minion.workers;

-- A function of a user's policy is run while our statement is planned, too, and tells what it sees there. How often it
-- is run is not for us to say: each answer counts once, until there is another.
CREATE FUNCTION tell(what text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF right(current_setting('test.told'), length(what)) <> what THEN
        PERFORM set_config('test.told', current_setting('test.told') || E'\n' || what, false);
    END IF;
END
$$;
CREATE FUNCTION policy() RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM tell(settings());
    IF current_setting('test.fails', true) = 'yes' THEN
        RAISE 'no plan with: %', settings();
    END IF;
    RETURN 0;
END
$$;
ALTER TABLE minion.workers ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_them ON minion.workers USING (id > policy());
CREATE PROCEDURE show()
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('test.told', '', false);
    PERFORM minion.unregister_worker(100);
    RAISE NOTICE '%', current_setting('test.told');
END
$$;
SET ROLE regress_planner_user;

-- First as it is planned, then as it runs.
CALL show();
-- It is not planned again.
CALL show();

-- It is planned again, as ours, when the table has changed.
RESET ROLE;
CREATE INDEX another ON minion.workers (pid);
SET ROLE regress_planner_user;
CALL show();
CALL show();
RESET ROLE;
ANALYZE minion.workers;
SET ROLE regress_planner_user;
CALL show();

-- An error while it is planned leaves the session's settings as they were.
RESET ROLE;
DROP INDEX minion.another;
SET ROLE regress_planner_user;
SET test.told = '';
SET test.fails = 'yes';
SET enable_seqscan = off;
SELECT minion.unregister_worker(100);
SELECT settings();
SET enable_seqscan = on;
SELECT minion.unregister_worker(100);
SELECT settings();

-- Also where the error is caught, and where the function that raises it has settings of its own.
RESET ROLE;
ALTER FUNCTION policy() SET enable_seqscan = on;
SET ROLE regress_planner_user;
DO $$
BEGIN
    PERFORM minion.unregister_worker(100);
EXCEPTION WHEN raise_exception THEN
    RAISE NOTICE 'caught % / %', sqlerrm, settings();
END
$$;
SELECT settings();
SELECT minion.unregister_worker(100);
SELECT settings();

-- What is planned after that is ours again.
SET test.fails = 'no';
RESET ROLE;
ALTER FUNCTION policy() RESET enable_seqscan;
SET ROLE regress_planner_user;
CALL show();

-- And what such a function has planned meanwhile is planned as the session says.
RESET ROLE;
CREATE FUNCTION asked() RETURNS int
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF current_setting('test.first', true) IS NULL THEN
        PERFORM set_config('test.first', settings(), false);
    END IF;
    RETURN 1;
END
$$;
CREATE FUNCTION asks() RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM FROM generate_series(1, 3) AS n WHERE n > asked();
    RETURN 0;
END
$$;
ALTER POLICY all_of_them ON minion.workers USING (id > asks());
SET ROLE regress_planner_user;
SELECT minion.unregister_worker(100);
SELECT current_setting('test.first');

RESET ROLE;
DROP POLICY all_of_them ON minion.workers;
ALTER TABLE minion.workers DISABLE ROW LEVEL SECURITY;
DROP FUNCTION policy, asks, asked, tell(text), tell(), settings CASCADE;
DROP PROCEDURE work, show;
DROP TABLE seen;
REVOKE CREATE ON SCHEMA public FROM regress_planner_user;
DROP ROLE regress_planner_user;
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
