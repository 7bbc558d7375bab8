-- Schedules that can't run, or whose row makes no sense: the others run, and what is wrong is put right, or said.
SELECT minion.reset('all'), minion.register_worker() \g /dev/null
SET TIME ZONE 'UTC';

-- One bad schedule keeps nobody from running, and it stays due.
CREATE FUNCTION pg_temp.guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.task = 'raises' THEN
        RAISE EXCEPTION 'not that one';
    END IF;
    RETURN CASE WHEN NEW.task <> 'refused' THEN NEW END;
END $$;
CREATE TRIGGER guard BEFORE INSERT ON minion.jobs FOR EACH ROW EXECUTE FUNCTION pg_temp.guard();
SELECT minion.schedule(task, '@daily', task) FROM unnest('{first,raises,refused,never,nowhere,last}'::text[]) AS task;
UPDATE minion.schedules SET next_run = now() - (10 - id) * interval '1 minute' WHERE name <> 'refused';
UPDATE minion.schedules SET cron = 'never' WHERE name = 'never';
UPDATE minion.schedules SET timezone = '+02' WHERE name = 'nowhere';
SELECT id, name FROM minion.dispatch_schedules();
SET client_min_messages = error;
UPDATE minion.schedules SET next_run = now() - interval '1 minute' WHERE name IN ('refused', 'last');
SELECT id, name FROM minion.dispatch_schedules();
RESET client_min_messages;
SELECT name, next_run < now() AS due, last_run IS NULL AS waits FROM minion.schedules ORDER BY id;
SELECT task, count(*) FROM minion.jobs GROUP BY task ORDER BY task;
-- Once what is in the way is gone, it runs.
DROP TRIGGER guard ON minion.jobs;
UPDATE minion.schedules SET cron = '@daily', timezone = 'UTC';
SELECT id, name FROM minion.dispatch_schedules();

-- A schedule that can't be kept does not enqueue a job with each dispatch.
SELECT minion.reset('all') \g /dev/null
CREATE FUNCTION pg_temp.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SELECT minion.schedule(name, '@daily', 'task') FROM unnest('{fixed,free}'::text[]) AS name;
UPDATE minion.schedules SET next_run = now() - interval '1 minute';
CREATE TRIGGER keep BEFORE UPDATE ON minion.schedules FOR EACH ROW WHEN (OLD.name = 'fixed') EXECUTE FUNCTION pg_temp.keep();
SELECT id, name FROM minion.dispatch_schedules();
SELECT count(*) FROM minion.jobs;
DROP TRIGGER keep ON minion.schedules;

-- The table takes no expire and no key that no job can have.
\set VERBOSITY terse
UPDATE minion.schedules SET expire = '178000000 years';
UPDATE minion.schedules SET expire = '-1 s';
UPDATE minion.schedules SET unique_key = '';
UPDATE minion.schedules SET unique_key = repeat('x', 9600);
UPDATE minion.schedules SET expire = '10000 years', unique_key = repeat('x', 1000), time_limit = '10000 years';
UPDATE minion.schedules SET expire = '0', unique_key = 'x';
\set VERBOSITY default

-- repair() works out next_run again if it can't be right; one that is due stays due, and so does one that is ahead on purpose.
SELECT minion.reset('all') \g /dev/null
SELECT minion.schedule(name, '0 0 29 2 *', 'task')
FROM unnest('{infinite,far,past,clock,early,purpose,due,fast,paused}'::text[]) AS name;
SELECT minion.pause_schedule('paused') \g /dev/null
UPDATE minion.schedules SET next_run = 'infinity' WHERE name IN ('infinite', 'paused');
UPDATE minion.schedules SET next_run = '294276-12-31 23:59' WHERE name = 'far';
UPDATE minion.schedules SET next_run = '-infinity' WHERE name = 'past';
UPDATE minion.schedules SET last_run = now() + interval '1800 days', next_run = now() + interval '1820 days' WHERE name = 'clock';
UPDATE minion.schedules SET last_run = 'infinity', next_run = now() + interval '1 minute' WHERE name = 'early';
UPDATE minion.schedules SET next_run = now() + interval '1820 days' WHERE name = 'purpose';
UPDATE minion.schedules SET last_run = now() + interval '1 day', next_run = now() - interval '1 day' WHERE name = 'due';
UPDATE minion.schedules SET last_run = now() + interval '10 seconds', next_run = now() + interval '1820 days' WHERE name = 'fast';
SELECT name, next_run FROM minion.list_schedules() WHERE NOT isfinite(next_run) ORDER BY id;
CREATE TEMPORARY TABLE before AS SELECT name, next_run, last_run FROM minion.schedules;
SELECT workers_removed FROM minion.repair();
SELECT name, schedule.next_run = before.next_run AS kept, schedule.last_run IS NOT DISTINCT FROM before.last_run AS last_kept,
    schedule.next_run <= now() AS due, schedule.next_run = minion.next_run(cron) AS by_cron, schedule.last_run <= now() AS has_run
FROM minion.schedules AS schedule
JOIN before USING (name)
ORDER BY schedule.id;
-- There is nothing more to mend.
CREATE TEMPORARY TABLE mended AS SELECT name, next_run, last_run FROM minion.schedules;
SELECT workers_removed FROM minion.repair();
SELECT count(*) FROM minion.schedules JOIN mended USING (name, next_run);
SELECT name FROM minion.dispatch_schedules();

-- One that repair() can't mend keeps it from nothing, and is told.
UPDATE minion.schedules SET next_run = 'infinity' WHERE name IN ('infinite', 'far');
UPDATE minion.schedules SET cron = 'never' WHERE name = 'infinite';
SELECT workers_removed FROM minion.repair();
SELECT name, isfinite(next_run) FROM minion.schedules WHERE name IN ('infinite', 'far') ORDER BY id;
-- As a worker, too.
UPDATE minion.schedules SET next_run = 'infinity', cron = '@daily';
SET ROLE minion_worker;
SELECT workers_removed FROM minion.repair();
RESET ROLE;
SELECT bool_and(next_run < now() + interval '1 day') FROM minion.schedules;

-- A time zone is a name of pg_timezone_names in any case, or an offset with sign, hours and minutes: plus is east.
SELECT zone, to_char(minion.next_run('0 12 * * *', '2026-01-15 00:00+00', zone), 'YYYY-MM-DD HH24:MI') AS noon
FROM unnest('{UTC,Europe/Berlin,europe/berlin,EUROPE/BERLIN,Etc/GMT+2,etc/gmt+2,+02:00,-02:00,+05:30,
    -09:30,+00:00,-00:00,+14:00,+15:59}'::text[]) AS zone;
CREATE FUNCTION pg_temp.refused(zone text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN minion.next_run('@daily', timezone => zone);
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN SQLERRM;
END $$;
SELECT pg_temp.refused(zone)
FROM unnest('{"",2,+2,+02,+0200,02:00,+2:00,+02:60,+16:00,-16:00,+02:00:00,"+02:00 "," UTC",UTC+2,UTC-2,utc2,Foo5,A/B5,CET-1CEST,
    "EST5EDT,M3.2.0,M11.1.0",<+02>-2,:UTC,:Europe/Berlin,Europe,Europe/,Europe//Berlin,./UTC,../zoneinfo/UTC,Etc/GMT+99,CEST,EST5,
    infinity,Z,+０2:00,日本}'::text[]) AS zone;
-- All names are taken, and no abbreviation that is none.
SELECT name FROM pg_timezone_names WHERE minion.next_run('@daily', '2026-01-01', name) IS NULL;
SELECT minion.schedule('zone', '@daily', 'task', timezone => '+02');
SELECT minion.schedule('zone', '@daily', 'task', timezone => '+02:00') > 0 AS id;
SELECT next_run = minion.next_run('@daily', now(), 'Etc/GMT-2') AS east FROM minion.schedules WHERE name = 'zone';

-- In the two day fields all but a bare * is a restriction, and then either field is enough.
SELECT cron, to_char(minion.next_run(cron, after), 'Dy YYYY-MM-DD HH24:MI') AS next
FROM (VALUES ('* 6 8 11 */4', timestamptz '2026-04-28 00:51'), ('*/32 * 8 * */5', '2025-09-19 07:07:07'),
    ('0 0 */2 * 1', '2026-05-17'), ('0 0 1 * */1', '2026-05-17'), ('0 0 *,5 * 1', '2026-05-17'),
    ('0 0 1-31 * 1', '2026-05-17'), ('0 0 * * 1', '2026-05-18'), ('0 0 5 * *', '2026-05-17')) AS run (cron, after);
SELECT minion.reset('all') \g /dev/null
