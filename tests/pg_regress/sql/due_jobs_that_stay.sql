-- Due jobs that a trigger of somebody's keeps where they are, without a word, hide no other job.
\set VERBOSITY terse
SELECT minion.reset('all') \g /dev/null
SELECT minion.register_worker() AS worker \gset
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN IF NEW.priority = 1 AND NEW.state = 'inactive' THEN RETURN NULL; END IF; RETURN NEW; END$$;

-- one more than a claim frees at a time
SELECT count(minion.enqueue('task', delay => '10 milliseconds', priority => 1)) FROM generate_series(1, 1000);
SELECT count(minion.enqueue('task', delay => '10 milliseconds', notes => '{"other": true}'));
SELECT pg_sleep(0.1) \g /dev/null
CREATE TRIGGER keep BEFORE UPDATE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION keep();
SET client_min_messages = error;
SELECT count(*) FROM minion.dequeue(:worker, max_jobs => 1000);
SELECT count(*) FROM minion.jobs WHERE state = 'active' AND notes ? 'other';
RESET client_min_messages;

DROP TRIGGER keep ON minion.jobs;
DROP FUNCTION keep;
SELECT minion.reset('all') \g /dev/null
