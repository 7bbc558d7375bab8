-- A trigger of a user's that refuses a row, by returning NULL, is named as what it is: no call goes on as if the row were
-- there, and none tries for ever.
SELECT minion.reset('all') \g /dev/null
CREATE FUNCTION refuse() RETURNS trigger
LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';

-- jobs
CREATE TRIGGER zz_refuse BEFORE INSERT ON minion.jobs
FOR EACH ROW WHEN (NEW.task = 'refused') EXECUTE FUNCTION refuse();
SELECT minion.enqueue('refused');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
SELECT minion.enqueue('refused', unique_key => 'key');
SELECT minion.enqueue_many('[{"task": "refused"}]');
SELECT minion.enqueue_many('[{"task": "fine"}, {"task": "refused"}]');
SELECT minion.enqueue_many('[{"task": "fine"}, {"task": "refused", "unique_key": "key"}]');
SELECT minion.enqueue_many('[]');
SELECT task FROM minion.jobs;
-- Few ids are used up.
SELECT enqueued_jobs < 10 AS few FROM minion.stats();
-- A producer gets the same answer.
CREATE ROLE regress_minion_producer IN ROLE minion_producer;
SET ROLE regress_minion_producer;
SELECT minion.enqueue('refused', unique_key => 'key');
RESET ROLE;
DROP ROLE regress_minion_producer;
-- One that has been caught leaves the key free for others.
DO $$
BEGIN
    PERFORM minion.enqueue('refused', unique_key => 'key');
EXCEPTION WHEN triggered_action_exception THEN
    RAISE NOTICE '%', sqlerrm;
END
$$;
SELECT minion.enqueue('fine', unique_key => 'key') > 0 AS enqueued;
DROP TRIGGER zz_refuse ON minion.jobs;

-- An expired job that may not be removed keeps its key.
INSERT INTO minion.jobs (task, expires, unique_key) VALUES ('expired', now() - interval '1 hour', 'expired');
CREATE TRIGGER zz_refuse BEFORE DELETE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT minion.enqueue('fine', unique_key => 'expired');
DROP TRIGGER zz_refuse ON minion.jobs;
SELECT minion.enqueue('fine', unique_key => 'expired') > 0 AS enqueued;

-- children
CREATE TRIGGER zz_refuse BEFORE INSERT ON minion.children FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT minion.enqueue('child', parents => '{1}');
DROP TRIGGER zz_refuse ON minion.children;

-- workers
CREATE TRIGGER zz_refuse BEFORE INSERT ON minion.workers FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT last_value FROM minion.workers_id_seq \gset
SELECT minion.register_worker();
SELECT minion.register_worker(:last_value);
SELECT last_value - :last_value < 10 AS few FROM minion.workers_id_seq;
DROP TRIGGER zz_refuse ON minion.workers;
SELECT minion.register_worker() AS worker \gset
CREATE TRIGGER zz_refuse BEFORE UPDATE ON minion.workers FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT minion.register_worker(:worker);
DROP TRIGGER zz_refuse ON minion.workers;
SELECT minion.register_worker(:worker) = :worker AS same;
-- Ids that are in use are still passed over.
SELECT last_value FROM minion.workers_id_seq \gset
INSERT INTO minion.workers (id, host, pid) SELECT :last_value + n, 'host', 1 FROM generate_series(1, 20) AS n;
SELECT minion.register_worker() - :last_value AS next;
-- And one that row-level security hides is told from one that is refused.
CREATE ROLE regress_minion_worker IN ROLE minion_worker;
ALTER TABLE minion.workers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON minion.workers USING (pid <> 1) WITH CHECK (true);
SET ROLE regress_minion_worker;
SELECT minion.register_worker(:last_value + 1);
SELECT minion.register_worker() - :last_value AS next;
RESET ROLE;
DROP POLICY own ON minion.workers;
ALTER TABLE minion.workers DISABLE ROW LEVEL SECURITY;
DROP ROLE regress_minion_worker;

-- locks
CREATE TRIGGER zz_refuse BEFORE INSERT ON minion.locks FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT minion.lock('name', '1 hour');
SELECT minion.lock('name', '0');
DROP TRIGGER zz_refuse ON minion.locks;
SELECT minion.lock('name', '1 hour'), minion.lock('name', '1 hour');

-- schedules
CREATE TRIGGER zz_refuse BEFORE INSERT ON minion.schedules FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT minion.schedule('name', '@daily', 'task');
DROP TRIGGER zz_refuse ON minion.schedules;
SELECT minion.schedule('name', '@daily', 'task') > 0 AS scheduled;
CREATE TRIGGER zz_refuse BEFORE UPDATE ON minion.schedules FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT minion.schedule('name', '@hourly', 'task');
DROP TRIGGER zz_refuse ON minion.schedules;
SELECT cron FROM minion.schedules;

-- paused_queues
CREATE TRIGGER zz_refuse BEFORE INSERT ON minion.paused_queues FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT minion.pause_queue('name');
DROP TRIGGER zz_refuse ON minion.paused_queues;
SELECT minion.pause_queue('name'), minion.pause_queue('name');
SELECT minion.resume_queue('name');

-- limits
CREATE TRIGGER zz_refuse BEFORE INSERT ON minion.limit_rules FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT minion.limit_task('task', 2);
DROP TRIGGER zz_refuse ON minion.limit_rules;
CREATE TRIGGER zz_refuse BEFORE INSERT ON minion.active_slots
FOR EACH ROW WHEN (NEW.number = 1) EXECUTE FUNCTION refuse();
SELECT minion.limit_task('task', 2);
DROP TRIGGER zz_refuse ON minion.active_slots;
CREATE TRIGGER zz_refuse BEFORE INSERT ON minion.start_slots FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT minion.limit_task('task', max_starts => 2, per => '1 minute');
DROP TRIGGER zz_refuse ON minion.start_slots;
SELECT task FROM minion.limit_rules;
SELECT minion.limit_task('task', 2), minion.limit_task('task', 0), minion.limit_task('task');

DROP FUNCTION refuse;
SELECT minion.reset('all') \g /dev/null
