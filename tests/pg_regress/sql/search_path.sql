-- Nothing in the caller's search_path is ever called.
-- A schema with a double of everything that the extension might use: functions, operators, types, tables.
-- Each of them counts its calls (also those whose error somebody catches) and raises.
SET client_min_messages = warning;
SET check_function_bodies = off;
CREATE SCHEMA regress_hostile;
CREATE SCHEMA regress_tools;
CREATE SEQUENCE regress_tools.calls_of_doubles;
CREATE TABLE regress_tools.body (body text);
INSERT INTO regress_tools.body VALUES ($$
BEGIN
    PERFORM pg_catalog.nextval('regress_tools.calls_of_doubles');
    RAISE EXCEPTION 'a double was called';
END
$$);

-- Of every function of pg_catalog.
DO $$
DECLARE
    double record;
BEGIN
    FOR double IN
        SELECT proname AS name, pg_get_function_identity_arguments(oid) AS arguments,
            pg_get_function_result(oid) AS result, body
        FROM pg_proc, regress_tools.body
        WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
          AND NOT prorettype = ANY ('{internal,cstring,"\"any\"",trigger,event_trigger}'::regtype[])
          AND NOT proargtypes::oid[] && '{internal,cstring,"\"any\""}'::regtype[]::oid[]
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION regress_hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                double.name, double.arguments, double.result, double.body);
        EXCEPTION WHEN OTHERS THEN
            NULL; -- Not all of them can be written in PL/pgSQL.
        END;
    END LOOP;
END
$$;

-- Of every operator of pg_catalog, and for the types that only polymorphic ones take.
DO $$
DECLARE
    double record;
BEGIN
    FOR double IN
        SELECT *, 'operator ' || row_number() OVER () AS function, body
        FROM (
            SELECT oprname AS name, nullif(oprleft, 0)::regtype AS lefttype, oprright::regtype AS righttype, oprresult::regtype AS result
            FROM pg_operator
            WHERE oprnamespace = 'pg_catalog'::regnamespace
          UNION
            SELECT name, type, type, 'boolean'::regtype
            FROM unnest('{=,<>,<,<=,>,>=,@>,<@,&&}'::text[]) AS name,
                unnest('{minion.job_state,bigint[],int[],text[],interval[]}'::regtype[]) AS type
        ) AS operator, regress_tools.body
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION regress_hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                double.function, concat_ws(', ', double.lefttype, double.righttype), double.result, double.body);
            EXECUTE format('CREATE OPERATOR regress_hostile.%s (FUNCTION = regress_hostile.%I, RIGHTARG = %s%s)',
                double.name, double.function, double.righttype, ', LEFTARG = ' || double.lefttype);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
END
$$;

-- Of the aggregates that count and add.
DO $$
BEGIN
    EXECUTE format('CREATE FUNCTION regress_hostile.step(bigint) RETURNS bigint LANGUAGE plpgsql AS %L', body) FROM regress_tools.body;
    EXECUTE format('CREATE FUNCTION regress_hostile.step(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS %L', body) FROM regress_tools.body;
    EXECUTE format('CREATE FUNCTION regress_hostile.step(bigint, int) RETURNS bigint LANGUAGE plpgsql AS %L', body) FROM regress_tools.body;
END
$$;
CREATE AGGREGATE regress_hostile.count(*) (SFUNC = regress_hostile.step, STYPE = bigint, INITCOND = 0);
CREATE AGGREGATE regress_hostile.count(bigint) (SFUNC = regress_hostile.step, STYPE = bigint, INITCOND = 0);
CREATE AGGREGATE regress_hostile.sum(bigint) (SFUNC = regress_hostile.step, STYPE = bigint, INITCOND = 0);
CREATE AGGREGATE regress_hostile.sum(int) (SFUNC = regress_hostile.step, STYPE = bigint, INITCOND = 0);

-- Of the extension's own functions, tables and types, and of the types it uses; those two in pg_temp as well,
-- where they are found before anything else.
CREATE FUNCTION regress_tools.plant(place text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    double record;
BEGIN
    EXECUTE format('CREATE FUNCTION %I.trap() RETURNS boolean LANGUAGE plpgsql AS %L', place, body) FROM regress_tools.body;
    FOR double IN
        SELECT relname AS name FROM pg_class WHERE relnamespace = 'minion'::regnamespace AND relkind IN ('r', 'S')
    LOOP
        EXECUTE format('CREATE VIEW %1$I.%2$I AS SELECT * FROM minion.%2$I WHERE %1$I.trap()', place, double.name);
    END LOOP;
    FOR double IN
        SELECT typname AS name, oid::regtype AS type
        FROM pg_type
        WHERE typname IN ('job_state', 'text', 'bool', 'int4', 'int8', 'float8', 'jsonb', 'interval', 'timestamptz', 'name', 'oid', 'regclass')
          AND typnamespace IN ('minion'::regnamespace, 'pg_catalog'::regnamespace)
    LOOP
        EXECUTE format('CREATE DOMAIN %1$I.%2$I AS %3$s CHECK (%1$I.trap())', place, double.name, double.type);
    END LOOP;
END
$$;
SELECT regress_tools.plant('regress_hostile');
DO $$
DECLARE
    double record;
BEGIN
    FOR double IN
        SELECT proname AS name, pg_get_function_identity_arguments(oid) AS arguments, body
        FROM pg_proc, regress_tools.body
        WHERE pronamespace = 'minion'::regnamespace AND prorettype <> 'trigger'::regtype
    LOOP
        EXECUTE format('CREATE FUNCTION regress_hostile.%I(%s) RETURNS SETOF record LANGUAGE plpgsql AS %L',
            double.name, double.arguments, double.body);
    END LOOP;
END
$$;

-- Calls of every public function and every way through the triggers, written so that they themselves need
-- nothing from the search_path.
CREATE TABLE regress_tools.calls (call text);
INSERT INTO regress_tools.calls VALUES
    ('SELECT minion.reset(''all'')'),
    ('SELECT minion.register_worker(), minion.register_worker(1, ''host'', 1, ''{"a": 1}''), minion.register_worker()'),
    ('SELECT minion.enqueue(''a'', ''[1]'', ''default'', 1, ''0'', ''1 hour'', 2, ''{}'', false, ''{"a": 1}'')'),
    ('SELECT minion.enqueue(''b'', parents => ''{1}''), minion.enqueue(''c'', delay => ''1 hour''), minion.enqueue(''d'', expire => ''0'')'),
    ('SELECT minion.enqueue_many(''[{"task": "e", "delay": "1 s", "expire": 3600, "parents": [1], "args": [1], "notes": {"a": 1}}, {"task": "f"}]'')'),
    ('SELECT * FROM minion.dequeue(1)'),
    ('SELECT * FROM minion.dequeue(1, tasks => ''{f}'', queues => ''{default,x}'', min_priority => 0)'),
    ('SELECT * FROM minion.dequeue(1, id => 3)'),
    ('SELECT * FROM minion.dequeue(1, wait => ''2 ms'', max_jobs => 5)'),
    ('SELECT minion.note(1, ''{"b": 1, "a": null}''), minion.backoff(3)'),
    ('SELECT minion.fail_job(1, 0, ''"no"'', ''0'')'),
    ('SELECT * FROM minion.dequeue(1)'),
    ('SELECT minion.finish_job(1, 1, ''"yes"'')'),
    ('SELECT * FROM minion.finish_jobs(''{6,6,9}'', ''{0,0,0}'', ''{1,null,2}'')'),
    ('BEGIN'),
    ('SELECT * FROM minion.dequeue(2, max_jobs => 2)'),
    ('ROLLBACK'),
    ('SELECT * FROM minion.dequeue(2, max_jobs => 2)'),
    ('SELECT minion.fail_job(2, 0)'),
    ('SELECT minion.retry_job(2, 0, 3, ''0'', ''1 hour'', true, ''{3}'', 4, ''x''), minion.remove_job(4), minion.remove_job(3)'),
    ('SELECT * FROM minion.dequeue(2, queues => ''{x}'')'),
    ('UPDATE minion.jobs SET delayed = ''2020-01-01'', expires = ''2999-01-01'', parents = ''{1,6}'', lax = true, priority = 3, queue = ''y'''),
    ('UPDATE minion.jobs SET state = ''inactive'', worker = NULL'),
    ('SELECT id FROM minion.dequeue(2, queues => ''{y}'', max_jobs => 10)'),
    ('INSERT INTO minion.jobs (task, parents, delayed) VALUES (''plain'', ''{1}'', ''2020-01-01'')'),
    ('SELECT minion.broadcast(''stop'', ''[1]'', ''{1,2}''), minion.broadcast(''all'')'),
    ('SELECT minion.receive(1), minion.receive(1)'),
    ('SELECT minion.lock(''a'', ''1 hour'', 2), minion.lock(''a'', ''-1 hour''), minion.is_locked(''a'')'),
    ('SELECT id, name, total FROM minion.list_locks(0, 10, ''{a}'')'),
    ('SELECT minion.unlock(''a''), minion.unlock(''a'')'),
    ('SELECT id, children, total FROM minion.list_jobs(0, 10, 100, ''{1,2,5,6,7}'', NULL, ''{y,default}'', ''{inactive,active}'', ''{a,b,e,f,plain}'')'),
    ('SELECT id FROM minion.list_jobs(notes => ''{a,b}'')'),
    ('SELECT id, jobs, total FROM minion.list_workers(0, 10, 100, ''{1,2}'')'),
    ('SELECT active_jobs, active_workers, inactive_jobs, workers FROM minion.stats()'),
    ('SELECT failed_jobs FROM minion.history() LIMIT 1'),
    ('SET minion.missing_after = 0'),
    ('SET minion.remove_after = 0'),
    ('SET minion.stuck_after = 0'),
    ('SELECT minion.enqueue(''g'', expire => ''0''), minion.enqueue(''h'')'),
    ('SELECT minion.finish_job(6, 0)'),
    ('SELECT * FROM minion.repair()'),
    ('SELECT id, state, result FROM minion.jobs'),
    ('RESET minion.missing_after'),
    ('RESET minion.remove_after'),
    ('RESET minion.stuck_after'),
    ('DELETE FROM minion.jobs'),
    ('SELECT minion.unregister_worker(1)'),
    ('SELECT minion.reset(''locks'')');
SELECT setval('regress_tools.calls_of_doubles', 1, false) \g /dev/null

-- Nothing is called when the search_path is hostile from the start of the session.
\c
SET client_min_messages = warning;
SELECT pg_my_temp_schema() <> 0 AS has_temp FROM (SELECT set_config('search_path', 'pg_temp', true)) AS path \g /dev/null
CREATE TEMP TABLE makes_pg_temp ();
SELECT regress_tools.plant(nspname) FROM pg_namespace WHERE oid = pg_my_temp_schema();
SET search_path = pg_temp, regress_hostile, pg_catalog;
TABLE regress_tools.calls \gexec

-- Nor when it becomes hostile after the plans were made: everything is as it was under the usual path.
\c
SET client_min_messages = warning;
CREATE TEMP TABLE makes_pg_temp ();
SELECT call FROM regress_tools.calls \g /dev/null
\o /dev/null
TABLE regress_tools.calls \gexec
\o
SELECT regress_tools.plant(nspname) FROM pg_namespace WHERE oid = pg_my_temp_schema();
SET search_path = pg_temp, regress_hostile, pg_catalog;
TABLE regress_tools.calls \gexec

-- No double was called, not even one whose error was caught.
SELECT is_called FROM regress_tools.calls_of_doubles;

-- The doubles would have been: they stand before the real ones.
SELECT 1 = 1;
SELECT pg_catalog.int8(1) OPERATOR(regress_hostile.=) pg_catalog.int8(1);
SELECT id <> 5 FROM minion.workers_id_seq, LATERAL (SELECT last_value) AS worker (id);
SELECT now();
SELECT count(*) FROM regress_tools.body;
SELECT 'a'::text;
INSERT INTO minion.workers (host, pid) VALUES ('h', 1);
TABLE workers;
SELECT '{}'::minion.job_state[] = '{}'::minion.job_state[];
SELECT is_called FROM regress_tools.calls_of_doubles;

RESET search_path;
DROP SCHEMA regress_hostile CASCADE;
DROP SCHEMA regress_tools CASCADE;
SELECT minion.reset('all') \g /dev/null
