-- What stats() says of schedules, and of jobs whose ids are not 1, 2, 3.
SELECT minion.reset('all') \g /dev/null
SELECT schedules, inactive_schedules, enqueued_jobs FROM minion.stats();

-- A schedule is paused or it is not.
SELECT minion.schedule(name, '@daily', 'task') FROM unnest('{a,b,c}'::text[]) AS name \g /dev/null
SELECT minion.pause_schedule('b');
SELECT schedules, inactive_schedules FROM minion.stats();
SELECT minion.resume_schedule('b'), minion.unschedule('a');
SELECT schedules, inactive_schedules FROM minion.stats();

-- Each job counts once, whatever the sequence adds to an id, and where it starts.
ALTER SEQUENCE minion.jobs_id_seq INCREMENT 2 START 100 RESTART;
SELECT enqueued_jobs FROM minion.stats();
SELECT minion.enqueue('task') FROM generate_series(1, 3);
SELECT enqueued_jobs FROM minion.stats();
ALTER SEQUENCE minion.jobs_id_seq INCREMENT -3 MINVALUE -9223372036854775808 START -1 RESTART;
SELECT minion.enqueue('task') FROM generate_series(1, 2);
SELECT enqueued_jobs FROM minion.stats();

-- Where the sequence stands where none of its ids is, there is a number all the same.
SELECT setval('minion.jobs_id_seq', 1000) \g /dev/null
SELECT enqueued_jobs FROM minion.stats();
ALTER SEQUENCE minion.jobs_id_seq INCREMENT 1 START -9223372036854775808;
SELECT setval('minion.jobs_id_seq', 9223372036854775807) \g /dev/null
SELECT enqueued_jobs FROM minion.stats();

ALTER SEQUENCE minion.jobs_id_seq INCREMENT 1 MINVALUE 1 START 1 RESTART;
SELECT minion.reset('all') \g /dev/null
