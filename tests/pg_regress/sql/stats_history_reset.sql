-- Stats, history, reset.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;

-- An empty queue is all zeros, and enqueued_jobs is 0.
\x on
SELECT active_jobs, active_locks, active_workers, delayed_jobs, enqueued_jobs, failed_jobs, finished_jobs,
    inactive_jobs, inactive_workers, inactive_schedules, schedules, uptime > '0' AS up, workers
FROM minion.stats();

\x off

-- Every number counts what its name says.
SELECT minion.register_worker() FROM generate_series(1, 4);
SELECT count(id) FROM generate_series(1, 9), minion.enqueue('add') AS id;
SELECT minion.enqueue('add', delay => '1 hour');
SELECT count(*) FROM minion.dequeue(1, max_jobs => 5);
SELECT count(*) FROM minion.dequeue(2, max_jobs => 2);
SELECT minion.finish_job(1, 0), minion.finish_job(2, 0), minion.fail_job(3, 0);
SELECT minion.lock('a', '1 hour'), minion.lock('b', '1 hour', 2), minion.lock('b', '1 hour', 2);
INSERT INTO minion.schedules (name, cron, task, next_run, paused)
VALUES ('on', '* * * * *', 'add', now(), false),
    ('off', '* * * * *', 'add', now(), true),
    ('also on', '* * * * *', 'add', now(), false);
\x on
SELECT active_jobs, active_locks, active_workers, delayed_jobs, enqueued_jobs, failed_jobs, finished_jobs,
    inactive_jobs, inactive_workers, inactive_schedules, schedules, uptime > '0' AS up, workers
FROM minion.stats();
\x off

-- active_workers counts the workers of active jobs, each once; inactive_workers the other registered ones,
-- and never becomes negative when a worker has gone with its jobs.
SELECT minion.unregister_worker(1), minion.unregister_worker(3), minion.unregister_worker(4);
SELECT active_workers, inactive_workers, workers FROM minion.stats();
SELECT minion.unregister_worker(2);
SELECT active_workers, inactive_workers, workers FROM minion.stats();

-- enqueued_jobs counts jobs ever enqueued, removed and rolled back ones too.
SELECT minion.remove_job(1);
BEGIN;
SELECT minion.enqueue('add');
ROLLBACK;
SELECT enqueued_jobs FROM minion.stats();

-- history has 24 hourly rows, oldest first, zero-filled; the last hour is the current one.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
CREATE TEMP VIEW numbered AS
SELECT *, hour - lag(hour) OVER (ORDER BY place) AS step
FROM minion.history() WITH ORDINALITY AS history (hour, failed_jobs, finished_jobs, place);
SELECT step, count(*), sum(failed_jobs) AS failed, sum(finished_jobs) AS finished,
    count(failed_jobs) AS failed_filled, count(finished_jobs) AS finished_filled
FROM numbered
GROUP BY step
ORDER BY step;
SELECT clock_timestamp() - max(hour) BETWEEN '0' AND '1 hour' AS current FROM minion.history();

-- Jobs are counted in the hour they ended, those of the last 24 hours.
SELECT date_trunc('hour', now()) AS this_hour \gset
INSERT INTO minion.jobs (task, state, finished)
SELECT 'ended', state::minion.job_state, :'this_hour'::timestamptz - ago::interval
FROM (VALUES
    ('finished', '3 hours'), ('finished', '2 hours 0.000001 s'), ('finished', '2 hours'),
    ('failed', '2 hours'), ('failed', '20 hours'), ('finished', '25 hours'), ('failed', '25 hours')
) AS job (state, ago);
SELECT :'this_hour' - hour AS ago, failed_jobs, finished_jobs
FROM minion.history()
WHERE failed_jobs > 0 OR finished_jobs > 0;

-- A job that was retried and is not done counts no more; one that ends again counts where it ended.
SELECT minion.register_worker();
SELECT minion.retry_job(1, 0), minion.retry_job(5, 0);
SELECT sum(failed_jobs) AS failed, sum(finished_jobs) AS finished FROM minion.history();
SELECT minion.finish_job(id, retries) FROM minion.dequeue(1, max_jobs => 10);
SELECT sum(failed_jobs) AS failed, sum(finished_jobs) AS finished FROM minion.history();

-- The hours are whole ones in any time zone.
SET TimeZone = 'Asia/Kolkata';
SELECT count(*), count(step), min(step), max(step) FROM numbered;

-- In a zone that went to summer time 12 hours ago none is missing.
SELECT format('STD0DST,%s/%s,%s/0', day - 1, hour, (day + 99) % 365) AS zone
FROM (SELECT now() AT TIME ZONE 'UTC' - interval '12 hours') AS clock (change),
    LATERAL (SELECT extract(doy FROM change)::int, extract(hour FROM change)) AS part (day, hour) \gset
SET TimeZone = :'zone';
SELECT count(DISTINCT extract(timezone FROM hour)) AS offsets, count(*), count(step), min(step), max(step)
FROM numbered;

-- In one that went back from it 12 hours ago none is there twice.
SELECT format('STD0DST,%s/0,%s/%s', (day + 199) % 365, day - 1, hour) AS zone
FROM (SELECT now() AT TIME ZONE 'UTC' - interval '11 hours') AS clock (change),
    LATERAL (SELECT extract(doy FROM change)::int, extract(hour FROM change)) AS part (day, hour) \gset
SET TimeZone = :'zone';
SELECT count(DISTINCT extract(timezone FROM hour)) AS offsets, count(*), count(step), min(step), max(step)
FROM numbered;
RESET TimeZone;
DROP VIEW numbered;

-- reset 'locks' removes the locks only.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker(), minion.enqueue('add'), minion.lock('a', '1 hour'), minion.lock('b', '1 hour');
INSERT INTO minion.schedules (name, cron, task, next_run) VALUES ('on', '* * * * *', 'add', now());
SELECT minion.reset('locks');
SELECT (SELECT count(*) FROM minion.jobs) AS jobs, (SELECT count(*) FROM minion.workers) AS workers,
    (SELECT count(*) FROM minion.locks) AS locks, (SELECT count(*) FROM minion.schedules) AS schedules;
SELECT minion.lock('a', '1 hour');

-- Any other scope is an error, and removes nothing.
SELECT minion.reset('jobs');
SELECT minion.reset('ALL');
SELECT minion.reset('');
SELECT minion.reset(NULL);
SELECT (SELECT count(*) FROM minion.jobs) AS jobs, (SELECT count(*) FROM minion.workers) AS workers,
    (SELECT count(*) FROM minion.locks) AS locks, (SELECT count(*) FROM minion.schedules) AS schedules;

-- reset 'all' removes jobs, locks, schedules and workers; ids restart at 1, and those of workers go on.
SELECT minion.reset('all');
SELECT (SELECT count(*) FROM minion.jobs) AS jobs, (SELECT count(*) FROM minion.workers) AS workers,
    (SELECT count(*) FROM minion.locks) AS locks, (SELECT count(*) FROM minion.schedules) AS schedules;
SELECT enqueued_jobs FROM minion.stats();
SELECT minion.register_worker(), minion.enqueue('add'), minion.lock('a', '1 hour');
INSERT INTO minion.schedules (name, cron, task, next_run) VALUES ('on', '* * * * *', 'add', now());
SELECT (SELECT min(id) FROM minion.jobs) AS job, (SELECT min(id) FROM minion.workers) AS worker,
    (SELECT min(id) FROM minion.locks) AS lock, (SELECT min(id) FROM minion.schedules) AS schedule;

-- A reset that is rolled back removes nothing.
BEGIN;
SELECT minion.reset('all');
ROLLBACK;
SELECT (SELECT count(*) FROM minion.jobs) AS jobs, (SELECT count(*) FROM minion.workers) AS workers,
    (SELECT count(*) FROM minion.locks) AS locks, (SELECT count(*) FROM minion.schedules) AS schedules;

SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
