-- Who may do what.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SET client_min_messages = warning;
CREATE ROLE regress_minion_producer IN ROLE minion_producer;
CREATE ROLE regress_minion_worker IN ROLE minion_worker;
CREATE ROLE regress_minion_reader IN ROLE minion_reader;
CREATE ROLE regress_minion_admin IN ROLE minion_admin;
CREATE ROLE regress_minion_nobody;
RESET client_min_messages;

-- No function is SECURITY DEFINER but trigger functions that pin their search_path.
SELECT proname
FROM pg_proc
WHERE pronamespace = 'minion'::regnamespace AND prosecdef
  AND NOT (prorettype = 'trigger'::regtype AND 'search_path=pg_catalog, pg_temp' = ANY (proconfig))
ORDER BY proname COLLATE "C";

-- PUBLIC has nothing.
SELECT object, privilege_type
FROM (
    SELECT nspname::text AS object, coalesce(nspacl, acldefault('n', nspowner)) AS acl
    FROM pg_namespace
    WHERE nspname = 'minion'
  UNION ALL
    SELECT relname, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
    FROM pg_class
    WHERE relnamespace = 'minion'::regnamespace AND relkind IN ('r', 'v', 'S')
  UNION ALL
    SELECT attname, attacl
    FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'minion'::regnamespace
  UNION ALL
    SELECT proname, coalesce(proacl, acldefault('f', proowner))
    FROM pg_proc
    WHERE pronamespace = 'minion'::regnamespace
  UNION ALL
    SELECT typname, coalesce(typacl, acldefault('T', typowner))
    FROM pg_type
    WHERE typnamespace = 'minion'::regnamespace AND typtype = 'e'
) AS granted
CROSS JOIN LATERAL aclexplode(acl)
WHERE grantee = 0;

-- The functions that each role may call.
SELECT proname,
    has_function_privilege('minion_producer', oid, 'EXECUTE') AS producer,
    has_function_privilege('minion_worker', oid, 'EXECUTE') AS worker,
    has_function_privilege('minion_reader', oid, 'EXECUTE') AS reader,
    has_function_privilege('minion_admin', oid, 'EXECUTE') AS admin
FROM pg_proc
WHERE pronamespace = 'minion'::regnamespace AND prorettype <> 'trigger'::regtype
ORDER BY proname COLLATE "C";

-- Of jobs a producer may read the id alone.
SELECT attname
FROM pg_attribute
WHERE attrelid = 'minion.jobs'::regclass
  AND has_column_privilege('minion_producer', attrelid, attnum, 'SELECT');

-- What each role may do with the tables and sequences.
SELECT relname, role, array_agg(privilege ORDER BY privilege COLLATE "C") AS privileges
FROM pg_class,
    unnest('{minion_producer,minion_worker,minion_reader,minion_admin}'::text[])
        WITH ORDINALITY AS role (role, place),
    unnest(CASE relkind
        WHEN 'S' THEN '{SELECT,USAGE,UPDATE}'
        ELSE '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}' END::text[]) AS privilege
WHERE relnamespace = 'minion'::regnamespace AND relkind IN ('r', 'v', 'S')
  AND CASE relkind
    WHEN 'S' THEN has_sequence_privilege(role, pg_class.oid, privilege)
    ELSE has_table_privilege(role, pg_class.oid, privilege) END
GROUP BY relname, role, place
ORDER BY relname COLLATE "C", place;

-- No role of these may create anything in the schema, or log in.
SELECT rolname, has_schema_privilege(oid, 'minion', 'USAGE') AS usage,
    has_schema_privilege(oid, 'minion', 'CREATE') AS create, rolcanlogin
FROM pg_roles
WHERE rolname IN ('minion_producer', 'minion_worker', 'minion_reader', 'minion_admin')
ORDER BY rolname COLLATE "C";

-- Somebody without a role can't do anything.
SET SESSION AUTHORIZATION regress_minion_nobody;
SELECT minion.enqueue('add');
SELECT minion.stats();
SELECT * FROM minion.jobs;
INSERT INTO minion.jobs (task) VALUES ('add');
RESET SESSION AUTHORIZATION;

-- A producer enqueues, also with parents that it can't read, and the child waits for them.
SET SESSION AUTHORIZATION regress_minion_producer;
SELECT minion.enqueue('parent', '["secret"]');
SELECT minion.enqueue('child', parents => '{1}');
SELECT minion.enqueue('later', delay => '1 hour', expire => '2 hours', notes => '{"a": 1}');
SELECT id
FROM minion.enqueue_many('[{"task": "child", "parents": [1]}, {"task": "child", "parents": [99]}]') AS id;

-- It can do nothing else: not look, not claim, not change, not remove.
SELECT args FROM minion.jobs;
SELECT * FROM minion.list_jobs();
SELECT * FROM minion.stats();
SELECT minion.register_worker();
SELECT * FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0);
SELECT minion.retry_job(1, 0);
SELECT minion.remove_job(1);
SELECT minion.note(1, '{}');
SELECT minion.lock('a', '1 hour');
SELECT minion.repair();
SELECT minion.reset('all');
SELECT nextval('minion.workers_id_seq');
UPDATE minion.jobs SET priority = 1;
DELETE FROM minion.jobs;
TRUNCATE minion.jobs;
RESET SESSION AUTHORIZATION;

-- A worker does all that a worker needs; the child of a parent that it finishes wakes.
SET SESSION AUTHORIZATION regress_minion_worker;
SELECT minion.register_worker();
SELECT * FROM minion.dequeue(1, tasks => '{parent}');
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0, '"done"');
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT id FROM minion.finish_jobs('{5}', '{0}') AS id;
SELECT minion.fail_job(2, 0), minion.retry_job(2, 0), minion.note(4, '{"a": 1}');
SELECT minion.remove_job(2), minion.enqueue('more'), minion.backoff(0);
SELECT minion.broadcast('stop'), minion.receive(1);
SELECT minion.lock('a', '1 hour'), minion.is_locked('a'), minion.unlock('a');
SELECT * FROM minion.repair();
SELECT id, state FROM minion.list_jobs();
SELECT id, jobs FROM minion.list_workers();
SELECT active_jobs FROM minion.stats();
SELECT sum(finished_jobs) FROM minion.history();
UPDATE minion.jobs SET delayed = now() WHERE task = 'later';
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.unregister_worker(1);

-- It can't reset the queue, or change schedules.
SELECT minion.reset('all');
SELECT minion.reset('locks');
TRUNCATE minion.jobs;
SELECT setval('minion.jobs_id_seq', 1);
INSERT INTO minion.schedules (name, cron, task, next_run) VALUES ('a', '* * * * *', 'add', now());
RESET SESSION AUTHORIZATION;

-- A reader looks, and changes nothing.
SET SESSION AUTHORIZATION regress_minion_reader;
SELECT id, state FROM minion.list_jobs();
SELECT count(*) FROM minion.list_workers();
SELECT count(*) FROM minion.list_locks();
SELECT active_jobs FROM minion.stats();
SELECT count(*) FROM minion.history();
SELECT minion.is_locked('a'), minion.backoff(0);
SELECT count(*) FROM minion.jobs;
SELECT count(*) FROM minion.schedules;
SELECT minion.enqueue('add');
SELECT * FROM minion.dequeue(1);
SELECT minion.note(1, '{}');
SELECT minion.remove_job(1);
SELECT minion.lock('a', '1 hour');
SELECT minion.repair();
SELECT minion.reset('locks');
INSERT INTO minion.jobs (task) VALUES ('add');
UPDATE minion.jobs SET priority = 1;
DELETE FROM minion.jobs;
RESET SESSION AUTHORIZATION;

-- An admin does all of that, and resets.
SET SESSION AUTHORIZATION regress_minion_admin;
SELECT minion.reset('locks');
SELECT minion.reset('all');
SELECT minion.register_worker(1), minion.enqueue('parent'), minion.enqueue('child', parents => '{1}');
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT minion.finish_job(1, 0);
SELECT id FROM minion.dequeue(1, max_jobs => 10);
SELECT * FROM minion.repair();
INSERT INTO minion.schedules (name, cron, task, next_run) VALUES ('a', '* * * * *', 'add', now());
UPDATE minion.schedules SET paused = true;
SELECT active_jobs, inactive_schedules FROM minion.stats();
DELETE FROM minion.jobs;
SELECT minion.reset('all');
RESET SESSION AUTHORIZATION;

-- A child wakes also when whoever finishes, fails, removes or repairs its parent may not see the child.
ALTER TABLE minion.jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY regress_default_queue ON minion.jobs TO regress_minion_worker USING (queue = 'default');
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.register_worker();
SELECT minion.enqueue('parent') FROM generate_series(1, 3);
SELECT minion.enqueue('parent', expire => '1 hour');
SELECT minion.enqueue('child', queue => 'hidden', parents => ARRAY[parent], lax => parent = 2)
FROM generate_series(1, 4) AS parent;
SELECT id FROM minion.dequeue(2, queues => '{hidden}', max_jobs => 10);
UPDATE minion.jobs SET expires = now() WHERE id = 4;
SET SESSION AUTHORIZATION regress_minion_worker;
SELECT id, task FROM minion.list_jobs();
SELECT id FROM minion.dequeue(1, max_jobs => 2);
SELECT minion.finish_job(1, 0), minion.fail_job(2, 0), minion.remove_job(3);
SELECT jobs_expired FROM minion.repair();
RESET SESSION AUTHORIZATION;
SELECT id FROM minion.dequeue(2, queues => '{hidden}', max_jobs => 10);
DROP POLICY regress_default_queue ON minion.jobs;
ALTER TABLE minion.jobs DISABLE ROW LEVEL SECURITY;

DROP ROLE regress_minion_producer, regress_minion_worker, regress_minion_reader, regress_minion_admin,
    regress_minion_nobody;
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
