-- CREATE EXTENSION adopts nothing that somebody else has made.
SET client_min_messages = warning;
CREATE ROLE regress_mallory;
CREATE ROLE "regress boss" SUPERUSER;
BEGIN;
DROP EXTENSION minion;
SAVEPOINT without;

-- A schema of somebody else's.
ALTER SCHEMA minion OWNER TO regress_mallory;
CREATE EXTENSION minion;
ROLLBACK TO without;

-- One in which others may create objects.
GRANT CREATE ON SCHEMA minion TO regress_mallory;
CREATE EXTENSION minion;
ROLLBACK TO without;
GRANT ALL ON SCHEMA minion TO PUBLIC;
GRANT CREATE ON SCHEMA minion TO regress_mallory, "regress boss";
CREATE EXTENSION minion;
ROLLBACK TO without;

-- One with something in it, whatever that is and whoever owns it.
CREATE FUNCTION minion.enqueue(text, text) RETURNS bigint LANGUAGE sql RETURN 1;
CREATE EXTENSION minion;
ROLLBACK TO without;
CREATE TABLE minion.mine (id int PRIMARY KEY);
CREATE EXTENSION minion;
ROLLBACK TO without;
CREATE TYPE minion.mood AS ENUM ('fine');
CREATE EXTENSION minion;
ROLLBACK TO without;
CREATE FUNCTION public.is_equal(oid, oid) RETURNS bool LANGUAGE sql RETURN false;
CREATE OPERATOR minion.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.is_equal);
CREATE EXTENSION minion;
ROLLBACK TO without;

-- What is nobody else's is taken: empty, of a superuser, with rights to use it.
ALTER SCHEMA minion OWNER TO "regress boss";
GRANT CREATE, USAGE ON SCHEMA minion TO "regress boss", CURRENT_USER;
GRANT USAGE ON SCHEMA minion TO regress_mallory, PUBLIC;
SHOW search_path;
CREATE EXTENSION minion;
SHOW search_path;
SELECT minion.enqueue('task');
ROLLBACK TO without;
DROP SCHEMA minion;
CREATE EXTENSION minion;
SELECT minion.enqueue('task');
ROLLBACK TO without;

-- Roles that are there already are fine if they are no more than they would be.
ALTER ROLE minion_producer LOGIN;
ALTER ROLE minion_worker CREATEROLE BYPASSRLS;
GRANT pg_signal_backend, "regress boss" TO minion_admin;
CREATE EXTENSION minion;
SELECT minion.enqueue('task');
ROLLBACK TO without;

-- Default privileges that let others put triggers on the tables.
ALTER DEFAULT PRIVILEGES IN SCHEMA minion GRANT ALL ON TABLES TO regress_mallory, "regress boss";
CREATE EXTENSION minion;
ROLLBACK;

DROP ROLE regress_mallory, "regress boss";
RESET client_min_messages;
