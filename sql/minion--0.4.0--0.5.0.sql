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
COMMENT ON COLUMN minion.background_workers.failures IS 'How many of the last ones have ended by an error; the next one comes the later.';
COMMENT ON COLUMN minion.background_workers.last_error IS 'The last error, of a start or of a single duty.';
COMMENT ON COLUMN minion.background_workers.failed IS 'When that was.';
COMMENT ON COLUMN minion.background_workers.next_due IS 'When there is something to do though nothing happens; NULL: never.';
