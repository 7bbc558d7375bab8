-- What decides about a job is the row that was written, whoever wrote it and with whatever triggers of his own.
SELECT minion.reset('all'), setval('minion.workers_id_seq', 1, false), minion.register_worker() \g /dev/null

-- A NULL where none may be is the server's own error, also before any constraint has seen the row.
\set VERBOSITY sqlstate
SET ROLE minion_worker;
INSERT INTO minion.jobs (task, parents) VALUES ('x', NULL);
INSERT INTO minion.jobs (task, state) VALUES ('x', NULL);
INSERT INTO minion.jobs (task, delayed) VALUES ('x', NULL);
INSERT INTO minion.jobs (task, lax) VALUES ('x', NULL);
INSERT INTO minion.jobs (task, queue) VALUES ('x', NULL);
INSERT INTO minion.jobs (task, priority) VALUES ('x', NULL);
INSERT INTO minion.jobs (task) VALUES (NULL);
RESET ROLE;
CREATE FUNCTION no_parents() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.parents := NULL; RETURN NEW; END';
CREATE TRIGGER aa_no_parents BEFORE INSERT ON minion.jobs FOR EACH ROW EXECUTE FUNCTION no_parents();
SELECT minion.enqueue('x');
DROP TRIGGER aa_no_parents ON minion.jobs;
CREATE TRIGGER zz_no_parents BEFORE INSERT ON minion.jobs FOR EACH ROW EXECUTE FUNCTION no_parents();
SELECT minion.enqueue('x');
DROP TRIGGER zz_no_parents ON minion.jobs;
\set VERBOSITY default

-- Without the constraints, too, nothing crashes: NULL parents are none, and a job without a time can't run.
BEGIN;
ALTER TABLE minion.jobs ALTER COLUMN parents DROP NOT NULL, ALTER COLUMN delayed DROP NOT NULL;
INSERT INTO minion.jobs (id, task, parents) VALUES (101, 'x', NULL);
UPDATE minion.jobs SET priority = 1, notes = '{"a": 1}' WHERE id = 101;
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(101, 0), minion.remove_job(101);
SAVEPOINT before;
INSERT INTO minion.jobs (id, task, delayed) VALUES (102, 'x', NULL);
UPDATE minion.jobs SET delayed = NULL WHERE id = 102;
ROLLBACK TO before;
SET LOCAL session_replication_role = replica;
INSERT INTO minion.jobs (id, task, delayed) VALUES (102, 'x', NULL), (103, 'x', now());
RESET session_replication_role;
SELECT id FROM minion.dequeue(1, max_jobs => 2);
DELETE FROM minion.jobs WHERE id = 102;
ROLLBACK;

-- The trigger functions serve their own triggers only.
\set VERBOSITY sqlstate
CREATE TABLE others (id int);
CREATE TRIGGER added AFTER INSERT ON others FOR EACH ROW EXECUTE FUNCTION minion.job_added();
INSERT INTO others VALUES (1);
DROP TRIGGER added ON others;
CREATE TRIGGER truncated AFTER TRUNCATE ON others FOR EACH STATEMENT EXECUTE FUNCTION minion.jobs_truncated();
TRUNCATE others;
CREATE TRIGGER changed AFTER INSERT ON others FOR EACH STATEMENT EXECUTE FUNCTION minion.limits_changed();
INSERT INTO others VALUES (1);
DROP TABLE others;
CREATE TRIGGER again AFTER INSERT ON minion.jobs FOR EACH ROW EXECUTE FUNCTION minion.job_updated();
SELECT minion.enqueue('x');
DROP TRIGGER again ON minion.jobs;
CREATE TRIGGER again AFTER INSERT ON minion.jobs FOR EACH STATEMENT EXECUTE FUNCTION minion.job_added();
SELECT minion.enqueue('x');
DROP TRIGGER again ON minion.jobs;
\set VERBOSITY default
SELECT count(*) FROM minion.jobs;

-- A trigger that fires after ours and delays the job: it does not run early. One that frees it: it runs at once.
SELECT minion.reset('all'), setval('minion.workers_id_seq', 1, false), minion.register_worker() \g /dev/null
CREATE FUNCTION delays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.args <> OLD.args THEN
        NEW.delayed := now() + (NEW.args->>0)::interval;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER zz_delays BEFORE INSERT OR UPDATE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION delays();
SELECT minion.enqueue('later', '["1 hour"]'), minion.enqueue('now', '["-1 hour"]', delay => '1 hour');
SELECT id, parked_until = delayed AS parked FROM minion.jobs ORDER BY id;
SELECT id, task FROM minion.dequeue(1, max_jobs => 3);
-- Also in an UPDATE that names none of the columns which say when a job may run.
UPDATE minion.jobs SET args = '["-1 hour"]' WHERE id = 1;
SELECT id, task FROM minion.dequeue(1);
DROP TRIGGER zz_delays ON minion.jobs;
-- Nor does one that is never content keep us busy for ever.
CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.delayed := NEW.delayed + interval '1 hour';
    RETURN NEW;
END $$;
CREATE TRIGGER zz_moves BEFORE INSERT OR UPDATE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION moves();
SELECT minion.enqueue('moved');
SELECT id FROM minion.dequeue(1);
DROP TRIGGER zz_moves ON minion.jobs;

-- parked_until and waits_for are the queue's own: what others write there is put right at once.
SELECT minion.reset('all'), setval('minion.workers_id_seq', 1, false), minion.register_worker() \g /dev/null
SELECT minion.enqueue('ready'), minion.enqueue('delayed', delay => '1 hour'),
    minion.enqueue('parent', queue => 'slow'), minion.enqueue('done', queue => 'slow'),
    minion.enqueue('child', parents => '{3,4}') \g /dev/null
SELECT id FROM minion.dequeue(1, id => 4, queues => '{slow}');
SELECT minion.finish_job(4, 0);
SELECT id FROM minion.dequeue(1, id => 99);
UPDATE minion.jobs SET parked_until = 'infinity' WHERE id = 1;
UPDATE minion.jobs SET parked_until = NULL WHERE id = 2;
UPDATE minion.jobs SET waits_for = NULL, parked_until = NULL WHERE id = 5;
SELECT id FROM minion.dequeue(1, max_jobs => 5);
SELECT id, waits_for, parked_until = 'infinity' AS waits FROM minion.jobs WHERE id IN (2, 5) ORDER BY id;
-- Watched: itself, a job that is not its parent, a parent that is done, none, and for another time.
CREATE FUNCTION is_claimed_after(change text) RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
    PERFORM minion.retry_job(5, retries) FROM minion.jobs WHERE id = 5;
    PERFORM minion.dequeue(1);
    EXECUTE change;
    PERFORM minion.remove_job(3);
    DECLARE
        claimed bigint[] := ARRAY(SELECT id FROM minion.dequeue(1, max_jobs => 5));
    BEGIN
        INSERT INTO minion.jobs (id, queue, task) VALUES (3, 'slow', 'parent');
        RETURN claimed;
    END;
END $$;
SELECT is_claimed_after('UPDATE minion.jobs SET waits_for = 5 WHERE id = 5');
SELECT is_claimed_after('UPDATE minion.jobs SET waits_for = 2 WHERE id = 5');
SELECT is_claimed_after('UPDATE minion.jobs SET waits_for = 4 WHERE id = 5');
SELECT is_claimed_after('UPDATE minion.jobs SET waits_for = NULL WHERE id = 5');
SELECT is_claimed_after('UPDATE minion.jobs SET waits_for = NULL, parked_until = now() + interval ''1 year'' WHERE id = 5');
SELECT is_claimed_after('UPDATE minion.jobs SET parked_until = now() + interval ''1 year'' WHERE id = 5');
DROP FUNCTION is_claimed_after;

-- Written where no trigger fires, they are put right by repair().
SELECT minion.reset('all'), setval('minion.workers_id_seq', 1, false), minion.register_worker() \g /dev/null
SELECT minion.enqueue('hidden'), minion.enqueue('delayed', delay => '1 hour'), minion.enqueue('done', queue => 'slow'),
    minion.enqueue('child', parents => '{3}') \g /dev/null
SELECT id FROM minion.dequeue(1, id => 3, queues => '{slow}');
SET session_replication_role = replica;
UPDATE minion.jobs SET state = 'finished', finished = now() WHERE id = 3;
UPDATE minion.jobs SET parked_until = 'infinity' WHERE id = 1;
UPDATE minion.jobs SET parked_until = 'infinity', waits_for = 3 WHERE id = 4;
RESET session_replication_role;
SELECT minion.repair() \g /dev/null
SELECT id, parked_until = delayed AS waits_for_its_time FROM minion.jobs WHERE parked_until IS NOT NULL;
UPDATE minion.jobs SET priority = priority;
SELECT id FROM minion.dequeue(1, max_jobs => 5);

-- A job that has ended has a time of its end.
INSERT INTO minion.jobs (task, state) VALUES ('x', 'finished'), ('x', 'failed');
UPDATE minion.jobs SET finished = NULL, state = 'failed' WHERE state = 'finished';
SELECT count(*) FROM minion.jobs WHERE state IN ('finished', 'failed') AND finished IS NULL;

-- Whoever changes a job's id has removed one job, and added another.
SELECT minion.reset('all'), setval('minion.workers_id_seq', 1, false), minion.register_worker() \g /dev/null
SELECT minion.enqueue('parent', queue => 'slow'), minion.enqueue('child', parents => '{1}'), minion.enqueue('x') \g /dev/null
SELECT id FROM minion.dequeue(1);
SELECT waits_for FROM minion.jobs WHERE id = 2;
UPDATE minion.jobs SET id = 11 WHERE id = 1;
SELECT id FROM minion.dequeue(1, max_jobs => 2);
SELECT minion.finish_job(2, 0);
UPDATE minion.jobs SET id = 12 WHERE id = 2;
SELECT * FROM minion.children;
SELECT minion.enqueue('x');
UPDATE minion.jobs SET id = -4 WHERE id = 4;
SELECT id FROM minion.dequeue(1);
SELECT minion.limit_task('limited', 1), minion.enqueue('limited'), minion.enqueue('limited') \g /dev/null
SELECT id FROM minion.dequeue(1, tasks => '{limited}');
UPDATE minion.jobs SET id = 15 WHERE id = 5;
SELECT active FROM minion.limits;
SELECT id FROM minion.dequeue(1, tasks => '{limited}');
SELECT minion.finish_job(15, 0);
SELECT active FROM minion.limits;

-- A job's places under limits follow it at once.
SELECT minion.reset('all'), setval('minion.workers_id_seq', 1, false), minion.register_worker() \g /dev/null
SELECT minion.limit_task('limited', 1), minion.limit_task('other', 1), minion.limit_queue('q', 2) \g /dev/null
SELECT minion.enqueue('limited'), minion.enqueue('limited'), minion.enqueue('other') \g /dev/null
SELECT id FROM minion.dequeue(1, tasks => '{limited}');
UPDATE minion.jobs SET task = 'free' WHERE id = 1;
SELECT queue, task, active FROM minion.limits ORDER BY queue, task;
SELECT id FROM minion.dequeue(1, tasks => '{limited}');
-- Into a limit that is full: one too many, until one ends.
SELECT id FROM minion.dequeue(1, tasks => '{other}');
UPDATE minion.jobs SET task = 'other', queue = 'q' WHERE id IN (1, 2);
SELECT queue, task, active FROM minion.limits ORDER BY queue, task;
SELECT minion.enqueue('other') \g /dev/null
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(1, 0), minion.finish_job(2, 0);
SELECT id FROM minion.dequeue(1);
SELECT minion.finish_job(3, 0);
SELECT id FROM minion.dequeue(1);
SELECT queue, task, active FROM minion.limits ORDER BY queue, task;
-- Made active by hand.
INSERT INTO minion.jobs (task, state, worker) VALUES ('limited', 'active', 1);
SELECT minion.enqueue('limited', queue => 'q') \g /dev/null
UPDATE minion.jobs SET state = 'active', worker = 1 WHERE queue = 'q' AND state = 'inactive';
SELECT queue, task, active FROM minion.limits ORDER BY queue, task;
SELECT minion.repair() \g /dev/null
SELECT queue, task, active FROM minion.limits ORDER BY queue, task;
SELECT minion.limit_task('limited'), minion.limit_task('other'), minion.limit_queue('q') \g /dev/null

-- One statement may empty both tables.
SELECT minion.enqueue('child', parents => '{1}') \g /dev/null
TRUNCATE minion.jobs, minion.children;
SELECT minion.enqueue('child', parents => '{1}') \g /dev/null
TRUNCATE minion.jobs;
SELECT count(*) FROM minion.children;

DROP FUNCTION no_parents, delays, moves;
SELECT minion.reset('all') \g /dev/null
