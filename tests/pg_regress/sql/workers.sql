-- Workers, and commands to them.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;

-- register_worker returns an id, and sets started and notified.
SELECT minion.register_worker(host => 'earth', pid => 42, status => '{"jobs": 0}');
SELECT id, host, pid, status, started = notified AS same_time, started > now() - interval '1 hour' AS recent,
    jobs
FROM minion.list_workers();

-- Again with that id: the same id, a later notified and the new status; host, pid and started are kept.
SELECT started, notified FROM minion.workers \gset
SELECT minion.register_worker(1, host => 'mars', pid => 43, status => '{"jobs": 1}');
SELECT id, host, pid, status, started = :'started' AS same_started, notified > :'notified' AS later
FROM minion.list_workers();
SELECT minion.register_worker(1);
SELECT status FROM minion.list_workers();

-- A heartbeat burns no id.
SELECT minion.register_worker();

-- An id that repair has removed is registered again under the same id.
UPDATE minion.workers SET notified = now() - interval '1 day' WHERE id = 1;
SELECT workers_removed FROM minion.repair();
SELECT id FROM minion.workers;
SELECT minion.register_worker(1, host => 'mars', pid => 44);
SELECT id, host, pid, started = notified AS new FROM minion.workers WHERE id = 1;

-- An id that was never issued can't be registered.
SELECT minion.register_worker(99);
SELECT minion.register_worker(0);
SELECT minion.register_worker(-1);

-- A fresh registration skips ids that are in use.
INSERT INTO minion.workers (id, host, pid) VALUES (3, 'by hand', 1), (4, 'by hand', 2);
SELECT minion.register_worker();

-- unregister_worker removes the row.
SELECT minion.unregister_worker(3), minion.unregister_worker(3), minion.unregister_worker(99);
SELECT id FROM minion.workers ORDER BY id;

-- list_workers: newest first, skip and take, ids, before; total counts all that match.
SELECT id, total FROM minion.list_workers();
SELECT id, total FROM minion.list_workers(1, 2);
SELECT id, total FROM minion.list_workers(skip => 3);
SELECT id, total FROM minion.list_workers(take => 1);
SELECT id, total FROM minion.list_workers(ids => '{1,4,99}');
SELECT id, total FROM minion.list_workers(before => 4);
SELECT id, total FROM minion.list_workers(ids => '{1,4}', before => 4);
SELECT id, total FROM minion.list_workers(ids => '{}');
SELECT count(*) FROM minion.list_workers(take => 0);

-- A worker's jobs are its active ones only.
SELECT minion.enqueue('add') FROM generate_series(1, 5);
SELECT id FROM minion.dequeue(1, max_jobs => 4);
SELECT id FROM minion.dequeue(2);
SELECT minion.finish_job(1, 0), minion.fail_job(2, 0);
SELECT id, jobs FROM minion.list_workers(ids => '{1,2,4}');

-- attached: with false, what was said before stays. Without shared memory there is nothing to attach to.
SELECT minion.register_worker(attached => NULL);
SELECT minion.register_worker(1, attached => true);
SELECT minion.register_worker(1), minion.register_worker(2);
SELECT id, attached = (current_setting('shared_preload_libraries') = 'minion') AS as_expected
FROM minion.list_workers(ids => '{1}');
SELECT id, attached FROM minion.list_workers(ids => '{2}');
SELECT workers_removed FROM minion.repair();
-- Of an earlier start of the server, whoever says so.
UPDATE minion.workers SET attached = now() - interval '1 day' WHERE id = 2;
SELECT workers_removed FROM minion.repair();
SELECT id FROM minion.workers ORDER BY id;
SELECT minion.register_worker(2);
SELECT id, attached FROM minion.list_workers(ids => '{2}');

-- broadcast puts a command into the inboxes of the workers named; {} means all.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() FROM generate_series(1, 3);
SELECT minion.broadcast('jobs', '[4]', '{1,3}');
SELECT minion.broadcast('stop');
SELECT minion.broadcast('kill', '["TERM", 7]', '{}');
SELECT minion.receive(1);
SELECT minion.receive(2);
SELECT minion.receive(3);

-- receive empties the inbox.
SELECT minion.receive(1), minion.receive(2), minion.receive(3);

-- broadcast is true if at least one worker got it, also for unknown commands.
SELECT minion.broadcast('no such command', '[]', '{2,99}'), minion.broadcast('stop', workers => '{99}'),
    minion.broadcast('', workers => '{2}');
SELECT minion.receive(2);

-- Nested args survive.
SELECT minion.broadcast('☃', '[null, ["a", {"b": [1.10, null, "𝄞"]}], {}, "\"\\"]', '{1}');
SELECT minion.receive(1);

-- A broadcast that is rolled back is not received, and a receive that is rolled back is received again.
BEGIN;
SELECT minion.broadcast('stop');
ROLLBACK;
SELECT minion.receive(1);
SELECT minion.broadcast('stop');
BEGIN;
SELECT minion.receive(1);
ROLLBACK;
SELECT minion.receive(1);

-- An empty receive takes no transaction id.
BEGIN;
SELECT minion.receive(1);
SELECT pg_current_xact_id_if_assigned() AS transaction_id;
COMMIT;

-- With no worker there, a broadcast to all is false.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.broadcast('stop');

-- The inbox of a worker that registers again stays.
SELECT minion.register_worker();
SELECT minion.broadcast('stop');
SELECT minion.register_worker(1);
SELECT minion.receive(1);

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
