-- What reset('all') does to ids: all of it, or nothing.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.enqueue('a'), minion.lock('a', '1 hour'), minion.schedule('a', '@daily', 'a');

-- One that is rolled back leaves the ids where they were.
BEGIN;
SELECT minion.reset('all');
SELECT minion.enqueue('b'), minion.lock('b', '1 hour'), minion.schedule('b', '@daily', 'b');
ROLLBACK;
SELECT minion.enqueue('b'), minion.lock('b', '1 hour'), minion.schedule('b', '@daily', 'b');
SELECT array_agg(id ORDER BY id) AS locks FROM minion.locks;

-- So does one in a savepoint; what comes after it goes on.
BEGIN;
SELECT minion.enqueue('c');
SAVEPOINT before;
SELECT minion.reset('all');
SELECT minion.enqueue('lost');
ROLLBACK TO before;
SELECT minion.enqueue('d');
SAVEPOINT before;
SELECT minion.reset('all');
RELEASE before;
SELECT minion.enqueue('e');
ROLLBACK;
SELECT id, task FROM minion.list_jobs();
SELECT minion.enqueue('f') > 4 AS beyond_all_that_were_used;

-- One that comes through begins as each sequence says.
ALTER SEQUENCE minion.jobs_id_seq INCREMENT 2 START 100;
ALTER SEQUENCE minion.schedules_id_seq INCREMENT -1 MINVALUE -100 START -5;
SELECT minion.reset('all');
SELECT minion.enqueue('a'), minion.enqueue('b'), minion.schedule('a', '@daily', 'a'), minion.schedule('b', '@daily', 'b');
ALTER SEQUENCE minion.jobs_id_seq INCREMENT 1 START 1;
ALTER SEQUENCE minion.schedules_id_seq INCREMENT 1 MINVALUE 1 START 1 RESTART;

-- Workers' ids go on, so that one who was there before is nobody else.
SELECT minion.reset('all');
SELECT minion.register_worker();
SELECT minion.register_worker(1);

-- A session that has ids in stock does not use them any more.
ALTER SEQUENCE minion.jobs_id_seq CACHE 10;
SELECT minion.enqueue('a');
SELECT minion.reset('all');
SELECT minion.enqueue('a');
ALTER SEQUENCE minion.jobs_id_seq CACHE 1;

-- An admin may, who owns none of it, and a trigger of somebody's runs with the admin's rights.
SET client_min_messages = warning;
CREATE ROLE regress_reset_admin IN ROLE minion_admin;
CREATE ROLE regress_reset_worker IN ROLE minion_worker;
RESET client_min_messages;
CREATE FUNCTION pg_temp.tell() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE NOTICE ''% is emptied by %'', TG_RELID::regclass, current_user; RETURN NULL; END';
CREATE TRIGGER regress_tell AFTER TRUNCATE ON minion.jobs EXECUTE FUNCTION pg_temp.tell();
CREATE TRIGGER regress_tell AFTER TRUNCATE ON minion.locks EXECUTE FUNCTION pg_temp.tell();
SET SESSION AUTHORIZATION regress_reset_admin;
SELECT minion.reset('all');
SELECT minion.enqueue('a');
RESET SESSION AUTHORIZATION;
DROP TRIGGER regress_tell ON minion.jobs;
DROP TRIGGER regress_tell ON minion.locks;

-- Who may call it, but not TRUNCATE each of the tables, may not.
GRANT EXECUTE ON FUNCTION minion.reset(text) TO regress_reset_worker;
GRANT TRUNCATE ON minion.jobs, minion.workers, minion.locks TO regress_reset_worker;
SET SESSION AUTHORIZATION regress_reset_worker;
SELECT minion.reset('all');
RESET SESSION AUTHORIZATION;
SELECT minion.enqueue('a');
REVOKE EXECUTE ON FUNCTION minion.reset(text) FROM regress_reset_worker;
REVOKE TRUNCATE ON minion.jobs, minion.workers, minion.locks FROM regress_reset_worker;
DROP ROLE regress_reset_admin, regress_reset_worker;

SELECT minion.reset('all') \g /dev/null
