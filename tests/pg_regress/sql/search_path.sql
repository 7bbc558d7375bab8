-- Nothing in the caller's search_path is ever called.
-- A schema with a double of everything that the extension might use, found before the real thing. Each double
-- counts its calls, also those whose error somebody catches, and raises.
SET client_min_messages = warning;
SET check_function_bodies = off;
CREATE SCHEMA regress_tools;
CREATE SCHEMA regress_hostile;
CREATE SEQUENCE regress_tools.calls_of_doubles;
CREATE FUNCTION regress_tools.make_double(name text, arguments text, result text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE FUNCTION %s(%s) RETURNS %s LANGUAGE plpgsql AS %L', name, arguments, result, '
        BEGIN
            PERFORM pg_catalog.nextval(''regress_tools.calls_of_doubles'');
            RAISE EXCEPTION ''a double was called'';
        END');
END
$$;

-- Doubles of the functions of pg_catalog.
DO $$
DECLARE
    real record;
BEGIN
    FOR real IN
        SELECT format('regress_hostile.%I', proname) AS double,
            pg_get_function_identity_arguments(oid) AS arguments, pg_get_function_result(oid) AS result
        FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
          AND NOT proargtypes::oid[] && '{internal,cstring,"\"any\""}'::regtype[]::oid[]
          AND prorettype <> ALL ('{internal,cstring,"\"any\"",trigger,event_trigger}'::regtype[])
    LOOP
        BEGIN
            PERFORM regress_tools.make_double(real.double, real.arguments, real.result);
        EXCEPTION WHEN OTHERS THEN
            NULL; -- A few can't be written in PL/pgSQL.
        END;
    END LOOP;
END
$$;

-- Doubles of its operators, also for exactly the types that only polymorphic ones take.
DO $$
DECLARE
    real record;
BEGIN
    FOR real IN
        SELECT *, format('regress_hostile.%I', 'operator ' || row_number() OVER ()) AS double
        FROM (
            SELECT oprname AS name, nullif(oprleft, 0)::regtype AS lefttype, oprright::regtype AS righttype,
                oprresult::regtype AS result
            FROM pg_operator
            WHERE oprnamespace = 'pg_catalog'::regnamespace
          UNION
            SELECT name, type, type, 'boolean'
            FROM unnest('{=,<>,<,<=,>,>=,@>,<@,&&}'::text[]) AS name,
                unnest('{minion.job_state,bigint[],int[],text[],interval[]}'::regtype[]) AS type
        ) AS operator
    LOOP
        BEGIN
            PERFORM regress_tools.make_double(
                real.double, concat_ws(', ', real.lefttype, real.righttype), real.result::text);
            EXECUTE format('CREATE OPERATOR regress_hostile.%s (FUNCTION = %s, RIGHTARG = %s%s)',
                real.name, real.double, real.righttype, ', LEFTARG = ' || real.lefttype);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
END
$$;

-- Doubles of the aggregates that count and add.
SELECT regress_tools.make_double('regress_hostile.step', arguments, 'bigint')
FROM unnest('{"bigint","bigint, bigint","bigint, int"}'::text[]) AS arguments \g /dev/null
CREATE AGGREGATE regress_hostile.count(*) (SFUNC = regress_hostile.step, STYPE = bigint, INITCOND = 0);
CREATE AGGREGATE regress_hostile.count(bigint) (SFUNC = regress_hostile.step, STYPE = bigint, INITCOND = 0);
CREATE AGGREGATE regress_hostile.sum(bigint) (SFUNC = regress_hostile.step, STYPE = bigint, INITCOND = 0);
CREATE AGGREGATE regress_hostile.sum(int) (SFUNC = regress_hostile.step, STYPE = bigint, INITCOND = 0);

-- Doubles of the extension's own functions.
SELECT regress_tools.make_double(
    format('regress_hostile.%I', proname), pg_get_function_identity_arguments(oid), 'SETOF record')
FROM pg_proc
WHERE pronamespace = 'minion'::regnamespace AND prorettype <> 'trigger'::regtype \g /dev/null

-- Doubles of its tables and type, and of the types that it uses: in the schema and, for every session that
-- asks, in pg_temp, where they come before anything else.
CREATE FUNCTION regress_tools.make_doubles_of_tables_and_types(place text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    real record;
BEGIN
    PERFORM regress_tools.make_double(place || '.trap', '', 'boolean');
    FOR real IN
        SELECT relname AS name, CASE relkind WHEN 'r' THEN 'WITH CHECK OPTION' END AS for_writes
        FROM pg_class
        WHERE relnamespace = 'minion'::regnamespace AND relkind IN ('r', 'S')
    LOOP
        EXECUTE format('CREATE VIEW %1$s.%2$I AS SELECT * FROM minion.%2$I WHERE %1$s.trap() %3$s',
            place, real.name, real.for_writes);
    END LOOP;
    FOR real IN
        SELECT typname AS name, oid::regtype AS type
        FROM pg_type
        WHERE typnamespace IN ('minion'::regnamespace, 'pg_catalog'::regnamespace)
          AND typname = ANY ('{
            job_state,text,bool,int4,int8,float8,jsonb,interval,timestamptz,name,oid,regclass}')
    LOOP
        EXECUTE format(
            'CREATE DOMAIN %1$s.%2$I AS %3$s CHECK (%1$s.trap())', place, real.name, real.type);
    END LOOP;
END
$$;
SELECT regress_tools.make_doubles_of_tables_and_types('regress_hostile') \g /dev/null

-- Calls of every function and ways through every trigger, which by themselves need nothing of the search_path.
CREATE TABLE regress_tools.calls (call text);
INSERT INTO regress_tools.calls VALUES
    ($$SELECT minion.reset('all')$$),
    ($$ALTER SEQUENCE minion.workers_id_seq RESTART$$),
    ($$SELECT minion.register_worker(), minion.register_worker(1, 'host', 1, '{"a": 1}')$$),
    ($$SELECT minion.enqueue('a', '[1]', 'default', 1, '0', '1 hour', 2, '{}', false, '{"a": 1}')$$),
    ($$SELECT minion.enqueue('b', parents => '{1}')$$),
    ($$SELECT minion.enqueue('c', delay => '1 hour'), minion.enqueue('d', expire => '0')$$),
    ($$SELECT minion.enqueue_many('[{"task": "e", "delay": "1 hour", "expire": 7200, "parents": [1], "args": [1],
        "notes": {"a": 1}}, {"task": "f"}]')$$),
    ($$SELECT * FROM minion.dequeue(1)$$),
    ($$SELECT * FROM minion.dequeue(1, tasks => '{f}', queues => '{default,x}', min_priority => 0)$$),
    ($$SELECT * FROM minion.dequeue(1, id => 3)$$),
    ($$SELECT * FROM minion.dequeue(1, wait => '2 ms', max_jobs => 5)$$),
    ($$SELECT minion.note(1, '{"b": 1, "a": null}'), minion.backoff(3)$$),
    ($$SELECT minion.fail_job(1, 0, '"no"', '0')$$),
    ($$SELECT * FROM minion.dequeue(1)$$),
    ($$SELECT minion.finish_job(1, 1, '"yes"')$$),
    ($$SELECT * FROM minion.finish_jobs('{6,6,9}', '{0,0,0}', '{1,null,2}')$$),
    ($$BEGIN$$),
    ($$SELECT * FROM minion.dequeue(1, max_jobs => 2)$$),
    ($$ROLLBACK$$),
    ($$SELECT * FROM minion.dequeue(1, max_jobs => 2)$$),
    ($$SELECT minion.fail_job(2, 0)$$),
    ($$SELECT minion.retry_job(2, 0, 3, '0', '1 hour', true, '{3}', 4, 'x')$$),
    ($$SELECT minion.remove_job(4), minion.remove_job(3)$$),
    ($$SELECT * FROM minion.dequeue(1, queues => '{x}')$$),
    ($$UPDATE minion.jobs SET delayed = '2020-01-01', expires = '2999-01-01', parents = '{99}', lax = true,
        priority = 3, queue = 'y'$$),
    ($$UPDATE minion.jobs SET state = 'inactive', worker = NULL$$),
    ($$SELECT id FROM minion.dequeue(1, queues => '{y}', max_jobs => 2)$$),
    ($$SELECT minion.finish_job(1, 1)$$),
    ($$INSERT INTO minion.jobs (task, parents, delayed) VALUES ('plain', '{5}', '2020-01-01')$$),
    ($$SELECT minion.broadcast('stop', '[1]', '{1,2}'), minion.broadcast('all')$$),
    ($$SELECT minion.receive(1), minion.receive(1)$$),
    ($$SELECT minion.lock('a', '1 hour', 2), minion.lock('a', '-1 hour'), minion.is_locked('a')$$),
    ($$SELECT id, name, total FROM minion.list_locks(0, 10, '{a}')$$),
    ($$SELECT minion.unlock('a'), minion.unlock('a')$$),
    ($$SELECT id, children, total FROM minion.list_jobs(0, 10, 100, '{1,2,5,6,7}', NULL, '{y,default}',
        '{inactive,active,finished}', '{a,b,e,f,plain}')$$),
    ($$SELECT id FROM minion.list_jobs(notes => '{a,b}')$$),
    ($$SELECT id, jobs, total FROM minion.list_workers(0, 10, 100, '{1,2}')$$),
    ($$SELECT active_jobs, active_workers, finished_jobs, inactive_jobs, workers FROM minion.stats()$$),
    ($$SELECT failed_jobs FROM minion.history() LIMIT 1$$),
    ($$SET minion.missing_after = 0$$),
    ($$SET minion.remove_after = 0$$),
    ($$SET minion.stuck_after = 0$$),
    ($$SELECT minion.enqueue('g', expire => '0'), minion.enqueue('h')$$),
    ($$SELECT * FROM minion.repair()$$),
    ($$RESET minion.missing_after$$),
    ($$RESET minion.remove_after$$),
    ($$RESET minion.stuck_after$$),
    ($$SELECT minion.register_worker(1)$$),
    ($$SELECT minion.limit_task('k', 1, 'q', 5, '1 hour'), minion.limit_queue('q', 2), minion.limit_task('k', 3)$$),
    ($$SELECT minion.enqueue('k', queue => 'q', unique_key => 'key'), minion.enqueue('k', unique_key => 'key'),
        minion.enqueue('k', unique_key => 'old', expire => '0'), minion.enqueue('k', unique_key => 'old')$$),
    ($$SELECT minion.enqueue_many('[{"task": "k", "unique_key": "new", "parents": [1]}, {"task": "k", "queue": "q"}]')$$),
    ($$SELECT task FROM minion.dequeue(1, queues => '{q}', max_jobs => 3)$$),
    ($$SELECT task FROM minion.dequeue(1, id => 1000)$$),
    ($$SELECT task, active, starts FROM minion.limits ORDER BY queue, task$$),
    ($$SELECT minion.limit_task('k', 1), minion.limit_task('k', max_starts => 2, per => '1 hour')$$),
    ($$SELECT minion.pause_queue('q'), minion.pause_queue('z')$$),
    ($$SELECT queue, paused, inactive FROM minion.list_queues()$$),
    ($$SELECT task FROM minion.dequeue(1, queues => '{q,z}')$$),
    ($$SELECT minion.resume_queue('q'), minion.resume_queue('z')$$),
    ($$SELECT minion.cancel_job(10), minion.cancel_job(14)$$),
    ($$SELECT state FROM minion.wait_for_job(14, '0')$$),
    ($$SELECT * FROM minion.repair()$$),
    ($$SELECT minion.retry_jobs(tasks => '{k}'), minion.retry_jobs(1000, '{1}', '{a}', '{q}', '{failed}', '{k}')$$),
    ($$SELECT minion.remove_jobs(tasks => '{k}', states => '{inactive,failed}'),
        minion.remove_jobs(1000, '{1}', '{a}', '{q}', '{failed}', '{k}')$$),
    ($$SELECT minion.schedule('s', '@daily', 't'), minion.schedule('s', '@hourly', 't', timezone => 'Europe/Berlin')$$),
    ($$SELECT minion.pause_schedule('s'), minion.resume_schedule('s')$$),
    ($$UPDATE minion.schedules SET next_run = '2020-01-01'$$),
    ($$SELECT name FROM minion.dispatch_schedules()$$),
    ($$SELECT name, paused, total FROM minion.list_schedules(0, 10, 100, '{1}', '{s}')$$),
    ($$SELECT minion.unschedule('s'), minion.next_run('0 0 * * *', '2026-01-01', 'UTC')$$),
    ($$SELECT minion.limit_task('k', queue => 'q'), minion.limit_queue('q'), minion.limit_task('k')$$),
    ($$SELECT minion.schedule('l', '@daily', 't', time_limit => '1 hour'), minion.unschedule('l')$$),
    ($$SELECT minion.enqueue_many('[{"task": "l", "queue": "l", "time_limit": 5}]')$$),
    ($$SELECT task FROM minion.dequeue(1, queues => '{l}')$$),
    ($$UPDATE minion.jobs SET started = NULL$$),
    ($$SELECT minion.enqueue('l', queue => 'l', time_limit => '0'),
        minion.enqueue('l', queue => 'l', time_limit => '0', unique_key => 'l')$$),
    ($$SELECT task FROM minion.dequeue(1, queues => '{l}', max_jobs => 2)$$),
    ($$SELECT * FROM minion.repair()$$),
    ($$SELECT task, state, retries, result, started IS NULL FROM minion.jobs ORDER BY id DESC LIMIT 3$$),
    ($$SELECT minion.retry_job(17, 0, time_limit => '1 hour')$$),
    ($$SELECT minion.receive(1)$$),
    ($$DELETE FROM minion.jobs$$),
    ($$SELECT minion.unregister_worker(1)$$),
    ($$SELECT minion.reset('locks')$$);

-- Under the usual search_path they do this.
\c
TABLE regress_tools.calls \gexec

-- They do the same when doubles come first after the plans were made,
SET client_min_messages = warning;
CREATE TEMP TABLE makes_pg_temp ();
SELECT regress_tools.make_doubles_of_tables_and_types('pg_temp') \g /dev/null
SET search_path = pg_temp, regress_hostile, pg_catalog;
TABLE regress_tools.calls \gexec

-- and when they do from the start of the session.
\c
SET client_min_messages = warning;
CREATE TEMP TABLE makes_pg_temp ();
SELECT regress_tools.make_doubles_of_tables_and_types('pg_temp') \g /dev/null
SET search_path = pg_temp, regress_hostile, pg_catalog;
TABLE regress_tools.calls \gexec

-- No double was called, not even one whose error was caught.
SELECT is_called FROM regress_tools.calls_of_doubles;

-- They would have been: each kind of them is found before the real one.
\set SHOW_CONTEXT never
SELECT 1 = 1;
SELECT 'active'::minion.job_state = 'active';
SELECT now();
SELECT count(*) FROM regress_tools.calls;
SELECT is_locked('a');
SELECT 'a'::text;
TABLE workers_id_seq;
INSERT INTO workers (host, pid) VALUES ('a', 1);
SELECT is_called FROM regress_tools.calls_of_doubles;
\set SHOW_CONTEXT errors

RESET search_path;
DROP SCHEMA regress_hostile, regress_tools CASCADE;
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
