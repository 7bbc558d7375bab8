-- Schedules: what they keep, when they are due, and what a cron expression means.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SET TIME ZONE 'UTC';

-- A schedule has an id, and a next run in the future.
SELECT minion.schedule('hourly', '@hourly', 'clean');
SELECT minion.schedule('nightly', '30 2 * * *', 'report', '["all"]', queue => 'slow', priority => 3,
    expire => '1 hour', attempts => 2, lax => true, notes => '{"by": "me"}', unique_key => 'report',
    timezone => 'Europe/Berlin');
SELECT id, name, cron, task, args, queue, priority, expire, attempts, lax, notes, unique_key, timezone, paused,
    last_job, last_run, next_run > now() AS ahead, total
FROM minion.list_schedules();
SELECT schedules, inactive_schedules FROM minion.stats();

-- The same name again keeps the id and created; the same cron and time zone keep next_run, too.
UPDATE minion.schedules SET next_run = '2026-01-01', created = '2025-01-01' WHERE name = 'hourly';
SELECT minion.schedule('hourly', '@hourly', 'clean', priority => 7);
SELECT priority, next_run, created FROM minion.list_schedules(names => '{hourly}');
SELECT minion.schedule('hourly', '5 * * * *', 'clean');
SELECT priority, next_run > now() AS ahead, extract(minute FROM next_run) AS minute, created
FROM minion.list_schedules(names => '{hourly}');
UPDATE minion.schedules SET next_run = '2026-01-01' WHERE name = 'nightly';
SELECT minion.schedule('nightly', '30 2 * * *', 'report', timezone => 'America/New_York');
SELECT next_run > now() AS ahead, timezone FROM minion.list_schedules(ids => '{2}');
-- No id is used up for a schedule that exists.
SELECT minion.schedule('third', '@daily', 'clean');

-- pause, resume and unschedule are true if it exists; a change keeps it paused.
SELECT minion.pause_schedule('third'), minion.pause_schedule('third'), minion.pause_schedule('none');
SELECT minion.schedule('third', '@daily', 'clean', '[3]');
SELECT paused, args FROM minion.list_schedules(names => '{third}');
SELECT inactive_schedules FROM minion.stats();
SELECT minion.resume_schedule('third'), minion.resume_schedule('none');
SELECT paused FROM minion.list_schedules(names => '{third}');
SELECT minion.unschedule('third'), minion.unschedule('third');

-- Newest first, skip/take, before, ids and names.
SELECT name, total FROM minion.list_schedules(take => 1);
SELECT name FROM minion.list_schedules(skip => 1);
SELECT name FROM minion.list_schedules(before => 2);
SELECT name FROM minion.list_schedules(ids => '{1,7}');
SELECT name FROM minion.list_schedules(names => '{}');

-- Nothing is due, and nothing is dispatched.
SELECT * FROM minion.dispatch_schedules();

-- A due schedule enqueues one job, however many periods were missed, with its options.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.register_worker() \g /dev/null
SELECT minion.schedule('many', '* * * * *', 'tick', '["x"]', queue => 'q', priority => 4, expire => '1 day',
    attempts => 5, lax => true, notes => '{"a": 1}', unique_key => 'tick');
UPDATE minion.schedules SET next_run = now() - interval '3 days';
SELECT * FROM minion.dispatch_schedules();
SELECT task, args, queue, priority, expires - created AS expire, attempts, lax, notes, unique_key, parents FROM minion.jobs;
SELECT last_job, last_run BETWEEN now() - interval '1 minute' AND clock_timestamp() AS ran,
    next_run > now() AS ahead
FROM minion.list_schedules();
SELECT * FROM minion.dispatch_schedules();

-- While its job is there, a schedule with a unique key has no second one.
UPDATE minion.schedules SET next_run = now() - interval '1 minute';
SELECT * FROM minion.dispatch_schedules();

-- A paused one enqueues nothing until it is resumed; then at once.
SELECT minion.remove_job(1), minion.pause_schedule('many');
UPDATE minion.schedules SET next_run = now() - interval '1 minute';
SELECT * FROM minion.dispatch_schedules();
SELECT minion.resume_schedule('many');
SELECT * FROM minion.dispatch_schedules();

-- Several are dispatched in the order that they were due.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.schedule(name, '@daily', 'task ' || name) FROM unnest('{a,b,c}'::text[]) AS name;
UPDATE minion.schedules SET next_run = now() - id * interval '1 minute' WHERE name <> 'b';
SELECT * FROM minion.dispatch_schedules();

-- One whose row was made invalid by plain SQL is passed over; the others run.
UPDATE minion.schedules SET next_run = now() - interval '1 minute';
UPDATE minion.schedules SET cron = 'never' WHERE name = 'a';
UPDATE minion.schedules SET timezone = 'Nowhere' WHERE name = 'b';
SELECT id, name FROM minion.dispatch_schedules();

-- What is rolled back has not run.
BEGIN;
UPDATE minion.schedules SET cron = '@daily', timezone = 'UTC';
SELECT name FROM minion.dispatch_schedules();
ROLLBACK;
SELECT count(*) FROM minion.schedules WHERE next_run < now();

-- Wrong calls: no row is written.
SELECT minion.reset('all') \g /dev/null
ALTER SEQUENCE minion.workers_id_seq RESTART;
SELECT minion.schedule('bad', '61 * * * *', 'task');
SELECT minion.schedule('bad', '@daily', 'task', timezone => 'Europe/Nowhere');
SELECT minion.schedule('bad', '0 0 30 2 *', 'task');
SELECT minion.schedule(NULL, '@daily', 'task');
SELECT minion.schedule('bad', NULL, 'task');
SELECT minion.schedule('bad', '@daily', NULL);
SELECT minion.schedule('bad', '@daily', 'task', timezone => NULL);
SELECT minion.schedule('', '@daily', 'task');
SELECT minion.schedule('bad', '@daily', 'task', '{}');
SELECT minion.schedule('bad', '@daily', 'task', attempts => 0);
SELECT minion.schedule('bad', '@daily', 'task', expire => '-1 s');
SELECT minion.schedule('bad', '@daily', 'task', unique_key => '');
SELECT minion.unschedule(NULL);
SELECT minion.pause_schedule(NULL);
SELECT count(*) FROM minion.schedules;

-- Cron expressions. The helper shows the next run, or the error.
CREATE FUNCTION pg_temp.next(cron text, after timestamptz = '2026-05-12 12:00:30', timezone text = 'UTC') RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    RETURN to_char(minion.next_run(cron, after, timezone), 'Dy YYYY-MM-DD HH24:MI');
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN SQLERRM;
END $$;

-- *, */n, a-b, a-b/n and lists; 5/10 is 5; names in any case; 7 is Sunday; 5-7 is Friday to Sunday. Strictly after.
SELECT cron, pg_temp.next(cron)
FROM unnest('{* * * * *,*/20 * * * *,10-12 * * * *,10-30/10 * * * *,"5,50 3 * * *",5/10 * * * *,0 0 * feb *,
    0 0 * FEB-apr *,0 0 * * sun,0 0 * * 7,0 0 * * 5-7,0 0 * * Mon-Fri,0 0 1 * 0,0 12 12 5 2}'::text[]) AS cron;
SELECT pg_temp.next('0 12 * * *', '2026-05-12 12:00:00'), pg_temp.next('0 12 * * *', '2026-05-12 11:59:59.999999');
-- Nicknames.
SELECT cron, pg_temp.next(cron) FROM unnest('{@yearly,@annually,@monthly,@weekly,@daily,@midnight,@hourly,@Daily}'::text[]) AS cron;
-- Leap years; no match within five years.
SELECT pg_temp.next('0 0 29 2 *', '2027-01-01'), pg_temp.next('0 0 30 2 *'), pg_temp.next('0 0 31 4,6,9,11 *');
-- Errors name the field.
SELECT cron, pg_temp.next(cron)
FROM unnest('{60 * * * *,* 24 * * *,* * 0 * *,* * 32 * *,* * * 13 *,* * * 0 *,* * * * 8,5-2 * * * *,*/0 * * * *,
    JAN * * * *,* * * MON *,* * * * JAN,* * * *,* * * * * *,"",@never,"1,,2 * * * *",-1 * * * *,
    99999999999999999999 * * * *,x * * * *}'::text[]) AS cron;
-- A time that a change of the clock skips runs at the first instant after it; a repeated one once, the first time.
SELECT pg_temp.next('30 2 * * *', '2026-03-28 12:00', 'Europe/Berlin') AS skipped,
    pg_temp.next('30 2 * * *', '2026-03-29 01:00', 'Europe/Berlin') AS then,
    pg_temp.next('30 2 * * *', '2026-10-24 12:00', 'Europe/Berlin') AS repeated,
    pg_temp.next('30 2 * * *', '2026-10-25 00:30', 'Europe/Berlin') AS then;
SELECT pg_temp.next('30 2 * * *', '2026-03-07 12:00', 'America/New_York') AS skipped,
    pg_temp.next('30 2 * * *', '2026-03-08 07:00', 'America/New_York') AS then,
    pg_temp.next('30 1 * * *', '2026-10-31 12:00', 'America/New_York') AS repeated,
    pg_temp.next('30 1 * * *', '2026-11-01 05:30', 'America/New_York') AS then;
-- Where the hour is * or */n, real time counts: every 15 minutes, all through both changes.
WITH RECURSIVE run AS (
    SELECT minion.next_run('*/15 * * * *', start, zone) AS at, zone, 1 AS number
    FROM (VALUES (timestamptz '2026-03-29 00:00', 'Europe/Berlin'), ('2026-10-24 23:00', 'Europe/Berlin'),
        ('2026-03-08 06:00', 'America/New_York'), ('2026-11-01 04:00', 'America/New_York')) AS place (start, zone)
    UNION ALL
    SELECT minion.next_run('*/15 * * * *', at, zone), zone, number + 1 FROM run WHERE number < 16
)
SELECT zone, min(at) AS first, max(at) AS last, count(DISTINCT at) FROM run GROUP BY zone, date_trunc('day', at + '2 hours') ORDER BY zone, first;
-- Wrong calls.
SELECT minion.next_run(NULL);
SELECT minion.next_run('@daily', NULL);
SELECT minion.next_run('@daily', timezone => NULL);
SELECT minion.next_run('@daily', 'infinity');
SELECT minion.next_run('@daily', timezone => 'Middle/Earth');
SELECT minion.next_run('@daily', '294276-12-31');
