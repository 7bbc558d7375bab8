-- From 0.4.0 to 0.5.0: what is left to a background worker.

-- No table can be altered while deferred triggers of the user's have rows of it to see to.
SET CONSTRAINTS ALL IMMEDIATE;

-- Schedules.

CREATE FUNCTION minion.schedules_changed() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'schedules_changed_wrapper';
REVOKE ALL ON FUNCTION minion.schedules_changed() FROM PUBLIC;
COMMENT ON FUNCTION minion.schedules_changed() IS
'Tells the background worker of new and changed schedules.';

CREATE TRIGGER schedules_changed
AFTER INSERT OR UPDATE ON minion.schedules
FOR EACH STATEMENT EXECUTE FUNCTION minion.schedules_changed();

-- What people see.

CREATE FUNCTION minion.list_background_workers() RETURNS TABLE (
    database text, pid int, activity text, since timestamptz, starts bigint, failures int, last_error text,
    failed timestamptz, next_due timestamptz
) LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'list_background_workers_wrapper';
REVOKE ALL ON FUNCTION minion.list_background_workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION minion.list_background_workers() TO minion_reader, minion_worker, minion_admin;

CREATE VIEW minion.background_workers AS
SELECT worker.database, worker.pid, worker.activity, worker.since, worker.starts, worker.failures,
    worker.last_error, worker.failed, worker.next_due
FROM minion.list_background_workers() AS worker;
GRANT SELECT ON minion.background_workers TO minion_reader, minion_worker, minion_admin;

COMMENT ON FUNCTION minion.list_background_workers() IS
'What minion.background_workers shows.';
COMMENT ON VIEW minion.background_workers IS
'What runs by itself where minion is in shared_preload_libraries: the launcher, and the worker of this database; for members of pg_read_all_stats those of all databases.';
COMMENT ON COLUMN minion.background_workers.database IS 'NULL: the launcher.';
COMMENT ON COLUMN minion.background_workers.pid IS 'NULL: there is no process, for there is nothing to do, or see last_error.';
COMMENT ON COLUMN minion.background_workers.activity IS 'What it is at.';
COMMENT ON COLUMN minion.background_workers.since IS 'Since when.';
COMMENT ON COLUMN minion.background_workers.starts IS 'How many processes were started for the database since the start of the server.';
COMMENT ON COLUMN minion.background_workers.failures IS 'How often in a row a process, or one of its duties, has failed; it is tried the later.';
COMMENT ON COLUMN minion.background_workers.last_error IS 'The last error, of a start or of a single duty.';
COMMENT ON COLUMN minion.background_workers.failed IS 'When that was.';
COMMENT ON COLUMN minion.background_workers.next_due IS 'When there is something to do though nothing happens; NULL: never.';

-- Workers that are attached to a session.

ALTER TABLE minion.workers ADD COLUMN attached timestamptz;

-- They have an argument, and a column, more, and keep their owners and their rights.
DO $upgrade$
DECLARE
    one record;
    owner name;
    acl aclitem[];
    granted record;
    initial aclitem[];
BEGIN
    FOR one IN
        SELECT *
        FROM (VALUES
            (
                'minion.register_worker(bigint, text, int, jsonb)',
                'minion.register_worker(bigint, text, int, jsonb, bool)',
                $sql$CREATE FUNCTION minion.register_worker(
                    id bigint DEFAULT NULL,
                    host text DEFAULT NULL,
                    pid int DEFAULT NULL,
                    status jsonb DEFAULT '{}',
                    attached bool DEFAULT false
                ) RETURNS bigint
                LANGUAGE c
                AS 'MODULE_PATHNAME', 'register_attachable_wrapper'$sql$
            ), (
                'minion.list_workers(bigint, bigint, bigint, bigint[])',
                'minion.list_workers(bigint, bigint, bigint, bigint[])',
                $sql$CREATE FUNCTION minion.list_workers(
    skip bigint DEFAULT 0,
    take bigint DEFAULT 100,
    before bigint DEFAULT NULL,
    ids bigint[] DEFAULT NULL
) RETURNS TABLE (
    id bigint, host text, pid int, started timestamptz, notified timestamptz, status jsonb,
    jobs bigint[], total bigint, attached bool
) LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT worker.id, worker.host, worker.pid, worker.started, worker.notified, worker.status,
        ARRAY(
            SELECT job.id
            FROM minion.jobs AS job
            WHERE job.state = 'active' AND job.worker = worker.id
            ORDER BY job.id
        ),
        count(*) OVER (),
        worker.attached IS NOT NULL
    FROM minion.workers AS worker
    WHERE (list_workers.before IS NULL OR worker.id < list_workers.before)
      AND (list_workers.ids IS NULL OR worker.id = ANY (list_workers.ids))
    ORDER BY worker.id DESC
    OFFSET list_workers.skip
    LIMIT list_workers.take;
END$sql$
            )
        ) AS functions (before, after, sql)
    LOOP
        SELECT pg_catalog.pg_get_userbyid(proowner), proacl
        INTO owner, acl
        FROM pg_catalog.pg_proc
        WHERE oid = one.before::pg_catalog.regprocedure;
        SELECT initprivs
        INTO initial
        FROM pg_catalog.pg_init_privs
        WHERE classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND objoid = one.before::pg_catalog.regprocedure;
        EXECUTE 'DROP FUNCTION ' || one.before;
        EXECUTE one.sql;
        EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO %I', one.after, owner);
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one.after);
        FOR granted IN
            SELECT grantee, is_grantable
            FROM pg_catalog.aclexplode(acl) WITH ORDINALITY AS one
            WHERE grantee <> grantor
            ORDER BY ordinality
        LOOP
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %s%s', one.after,
                CASE granted.grantee WHEN 0 THEN 'PUBLIC'
                    ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(granted.grantee)) END,
                CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
        END LOOP;
        -- A script's grants are taken for the extension's own, which a dump leaves out.
        UPDATE pg_catalog.pg_init_privs
        SET initprivs = initial
        WHERE classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND objoid = one.after::pg_catalog.regprocedure;
        -- Since version 17 the server keeps account of these, too: whoever has none of them can be dropped.
        DELETE FROM pg_catalog.pg_shdepend AS depend
        WHERE depend.deptype = 'i'
          AND depend.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
          AND depend.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
          AND depend.objid = one.after::pg_catalog.regprocedure
          AND NOT EXISTS (
            SELECT FROM pg_catalog.aclexplode(initial) AS own WHERE own.grantee = depend.refobjid);
    END LOOP;
END
$upgrade$;

COMMENT ON FUNCTION minion.register_worker(bigint, text, int, jsonb, bool) IS
'Registers a worker and returns its id; with that id, says that the worker is still there (do that every few minutes).
id NULL (a new one): an id that this function returned before, also one that repair() has removed since; status {}: a JSON object, replaced by each call;
host, pid NULL (what the server knows of the connection): where the worker runs; those of the first call are kept;
attached false (what was said before stays): the worker is gone as soon as this session has ended, however it ends. Not behind a transaction pooler;
without minion in shared_preload_libraries it means nothing.
Raises 22023 for an id that was never issued, 22004 for a NULL status or attached, 23514 for a status that is not an object or a host over 1000 bytes,
53400 if too many workers are attached. Semantics: Minion''s register_worker.';
COMMENT ON FUNCTION minion.list_workers(bigint, bigint, bigint, bigint[]) IS
'Lists workers, newest first, with the ids of their active jobs, the number of all matches (total), and whether they are attached to a session.
skip 0, take 100: the page; before NULL: only ids below it; ids NULL (any): only these. Raises 2201X and 2201W for a negative skip or take.
Semantics: Minion''s list_workers.';
COMMENT ON TABLE minion.workers IS
'Who takes jobs. repair() removes workers that were silent for minion.missing_after, or whose session is gone that they were attached to.';
COMMENT ON COLUMN minion.workers.attached IS
'NULL: it is not attached to a session. Else when the server''s shared memory was made, at its start or after a crash: with that the session is gone, too.';
COMMENT ON FUNCTION minion.repair() IS
'Puts right what time and vanished workers leave behind; call it every few minutes. Returns one row that says how many of each:
workers_removed: silent for minion.missing_after, or attached to a session that is gone; jobs_removed: finished for minion.remove_after, but no unfinished job''s parents;
jobs_expired: removed before they ever ran; jobs_abandoned: active without a worker, failed with "Worker went away" or retried;
jobs_stuck: unclaimed for minion.stuck_after, failed, unless their queue is paused or a limit of 0 keeps them from starting;
more: it stopped because of minion.repair_limit, or to be through before statement_timeout: call it again.
What can''t be done with a row is passed over with a WARNING. Failed jobs are never removed. One call at a time does it, others
return zeros at once. Semantics: Minion''s repair.';
