-- Which columns of which table each role may read and write: by trial, and as the catalogue says.
SET client_min_messages = warning;
CREATE ROLE regress_columns_producer IN ROLE minion_producer;
CREATE ROLE regress_columns_reader IN ROLE minion_reader;
CREATE ROLE regress_columns_worker IN ROLE minion_worker;
CREATE ROLE regress_columns_admin IN ROLE minion_admin;
CREATE ROLE regress_columns_nobody;
RESET client_min_messages;

-- Statements that touch no row, but need the right.
CREATE FUNCTION pg_temp.may(role text, relation regclass, col name, type regtype, privilege text) RETURNS bool
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE format(CASE privilege
        WHEN 'SELECT' THEN 'SELECT %2$I FROM %1$s WHERE false'
        WHEN 'INSERT' THEN 'INSERT INTO %1$s (%2$I) SELECT NULL::%3$s WHERE false'
        WHEN 'UPDATE' THEN 'UPDATE %1$s SET %2$I = NULL WHERE false' END, relation, col, type);
    RESET ROLE;
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN false;
END
$$;

CREATE TEMP TABLE tried AS
SELECT relname, attname, attnum, privilege, role,
    pg_temp.may('regress_columns_' || role, pg_class.oid, attname, atttypid, privilege) AS may,
    has_column_privilege('regress_columns_' || role, pg_class.oid, attnum, privilege) AS is_granted
FROM pg_class
JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
CROSS JOIN unnest('{producer,reader,worker,admin,nobody}'::text[]) AS role
CROSS JOIN unnest('{SELECT,INSERT,UPDATE}'::text[]) AS privilege
WHERE relnamespace = 'minion'::regnamespace AND (relkind IN ('r', 'p') OR relkind IN ('v', 'm') AND privilege = 'SELECT');

SELECT count(*) > 1000 AS many, count(*) FILTER (WHERE may <> is_granted) AS differing,
    count(*) FILTER (WHERE role = 'nobody' AND may) AS nobodys
FROM tried;

WITH allowed AS (
    SELECT relname, privilege, role, CASE WHEN bool_and(may) THEN 'all'
        ELSE string_agg(attname, ' ' ORDER BY attnum) FILTER (WHERE may) END AS columns
    FROM tried
    GROUP BY relname, privilege, role
)
SELECT relname, privilege, max(columns) FILTER (WHERE role = 'reader') AS reader,
    max(columns) FILTER (WHERE role = 'worker') AS worker, max(columns) FILTER (WHERE role = 'admin') AS admin,
    max(columns) FILTER (WHERE role = 'producer') AS producer
FROM allowed
GROUP BY relname, privilege
HAVING count(columns) > 0
ORDER BY relname COLLATE "C", privilege;

-- Nobody may point a foreign key of his own at the tables, or put a trigger on them.
SELECT relname, attname, role
FROM pg_class
JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
CROSS JOIN unnest('{producer,reader,worker,admin,nobody}'::text[]) AS role
WHERE relnamespace = 'minion'::regnamespace AND relkind IN ('r', 'p', 'v')
  AND (has_column_privilege('regress_columns_' || role, pg_class.oid, attnum, 'REFERENCES')
       OR has_table_privilege('regress_columns_' || role, pg_class.oid, 'TRIGGER'));

-- All that a producer may say, and in every way.
SELECT minion.reset('all') \g /dev/null
SET SESSION AUTHORIZATION regress_columns_producer;
INSERT INTO minion.jobs (task) VALUES ('plain') RETURNING id;
INSERT INTO minion.jobs (
    created, delayed, expires, args, attempts, lax, notes, parents, priority, queue, task, unique_key)
VALUES (now(), now(), now() + '1 hour', '[1]', 2, true, '{"a": 1}', '{1}', 5, 'q', 'all', 'key') RETURNING id;
COPY minion.jobs (task) FROM STDIN;
copied
\.
SELECT minion.enqueue('called', '[1]', 'q', 5, '1 hour', '2 hours', 2, '{1}', true, '{"a": 1}', 'other key') AS id;
SELECT minion.enqueue('again', unique_key => 'other key') AS id;
SELECT id FROM minion.enqueue_many('[{"task": "one", "parents": [1]}, {"task": "two", "unique_key": "key"}]') AS id;

-- No id, no state, no result.
\copy minion.jobs FROM '/dev/null'
INSERT INTO minion.jobs (id, task) VALUES (1000, 'ahead');
INSERT INTO minion.jobs (task, state, result) VALUES ('forged', 'finished', '"done"');
INSERT INTO minion.jobs (task, worker) VALUES ('forged', 1);
INSERT INTO minion.jobs (task, parked_until) VALUES ('hidden', 'infinity');
INSERT INTO minion.jobs (task) VALUES ('seen') RETURNING state;
RESET SESSION AUTHORIZATION;
SELECT id, task, state, queue, parents, unique_key FROM minion.jobs ORDER BY id;

-- An id that a worker has taken ahead of the sequence is what is wrong, also for a job with a key.
SELECT last_value AS last FROM minion.jobs_id_seq \gset
SET SESSION AUTHORIZATION regress_columns_worker;
INSERT INTO minion.jobs (id, task) SELECT :last + number, 'ahead' FROM generate_series(1, 3) AS number;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION regress_columns_producer;
SELECT minion.enqueue('task');
SELECT minion.enqueue('task', unique_key => 'third key');
SELECT minion.enqueue('task', unique_key => 'third key') = :last + 4 AS beyond_them;
RESET SESSION AUTHORIZATION;

DROP ROLE regress_columns_producer, regress_columns_reader, regress_columns_worker, regress_columns_admin,
    regress_columns_nobody;
SELECT minion.reset('all') \g /dev/null
