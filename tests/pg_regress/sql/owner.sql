-- What the queue needs to know and keep is done as the owner of its tables, who is whoever has created the extension.
-- Here it is somebody who is not a superuser.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
BEGIN;
CREATE ROLE regress_minion_owner;
CREATE ROLE regress_minion_worker IN ROLE minion_producer, minion_worker;
ALTER TABLE minion.jobs OWNER TO regress_minion_owner;
SELECT minion.register_worker(), minion.enqueue('parent');

-- Without the rights that the first owner had, what needs them raises an error, and jobs without it go on.
SET LOCAL ROLE regress_minion_worker;
SAVEPOINT before;
SELECT minion.enqueue('task', unique_key => 'key');
ROLLBACK TO before;
SELECT minion.enqueue('child', parents => '{1}');
ROLLBACK TO before;
SELECT task FROM minion.dequeue(1);
ROLLBACK TO before;
SELECT minion.enqueue('task') > 0 AS enqueued;

-- With them, all goes on.
RESET ROLE;
GRANT USAGE ON SCHEMA minion TO regress_minion_owner;
GRANT ALL ON ALL TABLES IN SCHEMA minion TO regress_minion_owner;
GRANT ALL ON ALL SEQUENCES IN SCHEMA minion TO regress_minion_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA minion TO regress_minion_owner;
GRANT USAGE ON TYPE minion.job_state TO regress_minion_owner;
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;

-- A child wakes, and a limit and a key count all jobs, also where policies are forced on the owner.
ALTER TABLE minion.jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY inserting ON minion.jobs FOR INSERT TO regress_minion_worker, regress_minion_owner WITH CHECK (true);
CREATE POLICY some_of_them ON minion.jobs TO regress_minion_worker, regress_minion_owner USING (queue = 'default');
SELECT minion.register_worker(), minion.limit_task('limited', 1);
SET LOCAL ROLE regress_minion_worker;
SELECT minion.enqueue('parent', priority => 9);
RESET ROLE;
SELECT minion.enqueue('child', queue => 'hidden', parents => '{1}');
SELECT minion.enqueue('limited', queue => 'hidden', unique_key => 'key');
SELECT task FROM minion.dequeue(1, queues => '{hidden}', max_jobs => 9);
SET LOCAL ROLE regress_minion_worker;
SELECT id, task FROM minion.list_jobs();
SELECT minion.enqueue('limited');
SELECT minion.enqueue('limited', unique_key => 'key');
SELECT task FROM minion.dequeue(1, max_jobs => 9);
SELECT minion.finish_job(1, 0);
RESET ROLE;
SELECT task FROM minion.dequeue(1, queues => '{hidden}');

-- Whoever sets a limit may see some of the jobs only.
SELECT minion.limit_task('limited');
GRANT minion_admin TO regress_minion_worker;
SET LOCAL ROLE regress_minion_worker;
SELECT minion.limit_task('limited', 1);
SELECT max_active, active FROM minion.limits;
SELECT minion.limit_task('limited', 2);
SELECT max_active, active FROM minion.limits;
SELECT task FROM minion.dequeue(1, max_jobs => 9);
ROLLBACK;
