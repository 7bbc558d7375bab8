-- The manual inside the database: \df+ minion.*, \d+ minion.jobs, \dT+ minion.*, \di+ minion.*
-- Functions first, in the order of a job's life; then the type and the tables.

-- Jobs

COMMENT ON FUNCTION minion.enqueue(
    text, jsonb, text, int, interval, interval, int, bigint[], bool, jsonb, text, interval
) IS
'Puts a job into a queue and returns its id. Part of your transaction: no worker sees the job before COMMIT.
task: the kind of work, 1 to 1000 bytes; args [] : a JSON array; queue default: 1 to 1000 bytes; priority 0: higher goes first;
delay 0: interval before it may start; expire NULL (never): interval after which it is not worth starting; attempts 1: how often it may be tried;
parents {}: ids of jobs to wait for; lax false: whether failed parents will do; notes {}: a JSON object;
unique_key NULL (none): 1 to 1000 bytes; while a job with this key is inactive or active, its id is returned, and nothing is changed.
time_limit NULL (none): interval after which an attempt that is active still is failed: see repair().
Raises 22004 for a NULL other than expire, unique_key and time_limit, 22023 for a negative or absurd interval, 23514 for a name, args, notes or attempts that the table does not take.
Semantics: Minion''s enqueue.';

COMMENT ON FUNCTION minion.enqueue_many(jsonb) IS
'Puts an array of jobs into their queues, all of them or none, and returns their ids in the array''s order.
jobs: [{"task": "mail", "args": [1], "delay": "5 minutes"}, …]: objects with the arguments of enqueue() as keys, of which only task is required.
delay, expire and time_limit: a number of seconds, or interval text; parents: ids that exist already;
unique_key: the id of the job that has it, also an earlier one of the array, is returned in the place of a new one.
Raises 22032 for anything else, naming the element and the key, as in jobs[3].priority; 22004 for NULL.';

COMMENT ON FUNCTION minion.dequeue(bigint, interval, bigint, int, text[], text[], int) IS
'Claims jobs for a worker: they become active. Returns id, args, retries and task; no row if there is nothing to do.
worker: an id of register_worker(); wait 0: interval to wait for a job if there is none; id NULL (any): only this job; min_priority NULL (any): none below;
queues {default}, tasks NULL (any): only of these; max_jobs 1: at most so many. Best first: highest priority, then lowest id.
In a transaction block the claim is undone by ROLLBACK; while it waits, the caller''s transaction and snapshot stay open.
Raises 42704 for a worker that is not registered, 22004 for a NULL where none is listed above, 22023 for max_jobs below 1 or a bad wait,
0A000 for a wait under REPEATABLE READ or SERIALIZABLE. Semantics: Minion''s dequeue.';

COMMENT ON FUNCTION minion.finish_job(bigint, int, jsonb) IS
'Ends an attempt: the job is finished. True if it was; false if it is not active, is gone, or was retried since it was claimed.
id, retries: as dequeue() returned them; result NULL: any JSON value, kept with the job.
Raises 22004 for a NULL id or retries. Semantics: Minion''s finish_job.';

COMMENT ON FUNCTION minion.finish_jobs(bigint[], int[], jsonb[]) IS
'Finishes many jobs in one statement, which is far faster than one by one. Returns the ids of those that were finished, in id order.
ids, retries: as dequeue() returned them, in arrays of one length; results NULL (none): as many JSON values.
Raises 22004 for a NULL in ids or retries, 22023 for arrays of different lengths.';

COMMENT ON FUNCTION minion.fail_job(bigint, int, jsonb, interval) IS
'Ends an attempt as failed: while the job has attempts left it goes back into its queue after a delay, else its state is failed.
True if the attempt ended, with either outcome; false if the job is not active, is gone, or was retried since it was claimed.
id, retries: as dequeue() returned them; result NULL: any JSON value, such as the error; retry_delay NULL (backoff(retries)): interval.
Raises 22004 for a NULL id or retries, 22023 for a negative or absurd delay. Semantics: Minion''s fail_job.';

COMMENT ON FUNCTION minion.retry_job(
    bigint, int, int, interval, interval, bool, bigint[], int, text, interval
) IS
'Puts a job back into its queue, from any state, and counts one retry. True if it was done; false if the job is gone or was retried since.
id, retries: which attempt is meant, so that nothing is retried twice by accident; delay 0: interval before it may start.
attempts, expire (counted from now), lax, parents, priority, queue, time_limit replace what the job has; NULL, their default, keeps it.
Result, worker, started and finished stay as they were. Attempts are not used up.
Raises 22004 for a NULL id, retries or delay, 22023 for a negative or absurd interval, 23514 for a value that the table does not take.
Semantics: Minion''s retry_job.';

COMMENT ON FUNCTION minion.remove_job(bigint) IS
'Deletes a job that is not active; its children go on without it. True if it was there and was deleted.
Raises 22004 for NULL. Semantics: Minion''s remove_job.';

COMMENT ON FUNCTION minion.cancel_job(bigint) IS
'Keeps a job from being run, or from being run again. True if it was done; false if the job has ended, or does not exist.
An inactive job fails with the result "Canceled". For an active one the command ["stop", id] is put into its worker''s inbox,
and its automatic retries are used up: it can still finish, but when it fails, it has failed for good.
Raises 22004 for NULL. Semantics of the command: Minion''s stop.';

COMMENT ON FUNCTION minion.retry_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]) IS
'Puts many jobs back into their queues: those that list_jobs() would list with the same filters. Returns how many.
before, ids, notes, queues, states, tasks: as for list_jobs(), but states NULL means {failed}. Active jobs are never touched.
A job whose unique_key another job has by now is left alone; of several with one key, the oldest is retried.
Raises 22004 for a NULL in an array.';

COMMENT ON FUNCTION minion.remove_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]) IS
'Deletes many jobs: those that list_jobs() would list with the same filters, but no active ones. Returns how many.
before, ids, notes, queues, states, tasks: as for list_jobs(), at least one of them. Their children go on without them.
Raises 22004 for a NULL in an array, 22023 without any filter.';

COMMENT ON FUNCTION minion.wait_for_job(bigint, interval) IS
'Waits until a job is finished, or has failed with no automatic retry ahead, and returns its row, as list_jobs() does; no row if that
takes longer than timeout. The caller''s transaction and snapshot stay open meanwhile.
Raises 42704 for a job that does not exist, or was removed meanwhile, 22004 for NULL, 22023 for a negative or absurd interval,
0A000 under REPEATABLE READ or SERIALIZABLE.';

COMMENT ON FUNCTION minion.note(bigint, jsonb) IS
'Merges an object into a job''s notes, in any state. True if the job exists.
merge: its top-level keys replace those of the notes, and a null removes its key; nulls deeper down are kept.
Raises 22004 for NULL, 23514 if merge is not a JSON object. Semantics: Minion''s note.';

COMMENT ON FUNCTION minion.list_jobs(
    bigint, bigint, bigint, bigint[], text[], text[], minion.job_state[], text[]
) IS
'Lists jobs, newest first, with their children and the number of all matches (total). Expired jobs that never ran are not shown.
skip 0, take 100: the page; before NULL: only ids below it, the fast way to the next page;
ids, notes (has any of these keys), queues, states, tasks: filters, all of which must hold; NULL, their default, means any, an empty array none.
time is the clock of the server, for telling ages without trusting the client''s. Raises 2201X and 2201W for a negative skip or take.
Semantics: Minion''s list_jobs.';

COMMENT ON FUNCTION minion.backoff(int) IS
'How long an automatic retry waits: retries ^ minion.backoff_exponent + minion.backoff_base seconds, by default retries ^ 4 + 15,
but at most minion.backoff_max seconds, if that is not 0, and never over 100 years.
retries: how often the job was retried before. Raises 22004 for NULL, 22023 for a negative number. Semantics: Minion''s default backoff.';

-- Schedules

COMMENT ON FUNCTION minion.schedule(
    text, text, text, jsonb, text, int, interval, int, bool, jsonb, text, text, interval
) IS
'Says that a job is to be enqueued whenever a cron expression says so, and returns the schedule''s id. Somebody has to call dispatch_schedules().
A schedule of that name is changed: it keeps its id, its last run and whether it is paused, and, unless cron or timezone differs, its next run.
name: 1 to 1000 bytes; cron: five fields (minute, hour, day of month, month, day of week) or @yearly, @monthly, @weekly, @daily, @hourly;
timezone UTC: a name of pg_timezone_names or an offset from UTC such as +02:00; task and the others: as for enqueue(), for each job.
Raises 22023 for an invalid cron expression, time zone or interval, 22004 for a NULL other than expire, unique_key and time_limit,
23514 for a value that the table does not take. Semantics: Minion''s schedule.';

COMMENT ON FUNCTION minion.unschedule(text) IS
'Deletes a schedule; jobs that it has enqueued stay. True if it existed. Raises 22004 for NULL. Semantics: Minion''s unschedule.';

COMMENT ON FUNCTION minion.pause_schedule(text) IS
'Keeps a schedule from enqueueing jobs. True if it exists. Raises 22004 for NULL. Semantics: Minion''s pause_schedule.';

COMMENT ON FUNCTION minion.resume_schedule(text) IS
'Lets a schedule enqueue jobs again, at once if its next run has passed. True if it exists. Raises 22004 for NULL. Semantics: Minion''s resume_schedule.';

COMMENT ON FUNCTION minion.list_schedules(bigint, bigint, bigint, bigint[], text[]) IS
'Lists schedules, newest first, with the number of all matches (total).
skip 0, take 100: the page; before NULL: only ids below it; ids, names NULL (any): only these. Raises 2201X and 2201W for a negative skip or take.
Semantics: Minion''s list_schedules.';

COMMENT ON FUNCTION minion.dispatch_schedules() IS
'Enqueues one job for each schedule whose next run has come, however many were missed, and returns which; call it about once a minute.
One call at a time does it, others return at once, without rows. A schedule that can''t run (its expression, its time zone, a trigger in its job''s way) is passed over with a
WARNING, and stays due. One whose unique_key another transaction is about to take or to give back has its turn the next time.
Semantics: Minion''s dispatch_schedules.';

COMMENT ON FUNCTION minion.next_run(text, timestamptz, text) IS
'The first time after another at which a cron expression runs, for trying one out.
cron: as for schedule(); after now(); timezone UTC: a name of pg_timezone_names or an offset from UTC such as +02:00. A time that a change of the clock skips runs right after it,
one that it repeats runs once; where the hour is * or */n, real time counts, and such times are left out or run twice.
Raises 22023 for an expression that is invalid or matches no time within five years, for an unknown time zone and an infinite time, 22004 for NULL.';

-- Workers

COMMENT ON FUNCTION minion.register_worker(bigint, text, int, jsonb, bool) IS
'Registers a worker and returns its id; with that id, says that the worker is still there (do that every few minutes).
id NULL (a new one): an id that this function returned before, also one that repair() has removed since; status {}: a JSON object, replaced by each call;
host, pid NULL (what the server knows of the connection): where the worker runs; those of the first call are kept;
attached false (what was said before stays): the worker is gone as soon as this session has ended, however it ends. Not behind a transaction pooler;
without minion in shared_preload_libraries it means nothing.
Raises 22023 for an id that was never issued, 22004 for a NULL status or attached, 23514 for a status that is not an object or a host over 1000 bytes,
53400 if too many workers are attached. Semantics: Minion''s register_worker.';

COMMENT ON FUNCTION minion.unregister_worker(bigint) IS
'Removes a worker that stops. True if it was registered. Jobs that it leaves active are failed or retried by the next repair().
Raises 22004 for NULL. Semantics: Minion''s unregister_worker.';

COMMENT ON FUNCTION minion.broadcast(text, jsonb, bigint[]) IS
'Puts a command into the inboxes of workers, who take it out with receive(). True if at least one worker got it.
command: any text, its meaning is up to the workers; args []: a JSON array; workers {} (all): ids.
Raises 22004 for NULL, 23514 for args that are not an array. Semantics: Minion''s broadcast.';

COMMENT ON FUNCTION minion.receive(bigint) IS
'Takes all commands out of a worker''s inbox and returns them in the order they came: [["command", arg, …], …], or [] if there are none.
Raises 42704 for a worker that is not registered, 22004 for NULL. Semantics: Minion''s receive.';

COMMENT ON FUNCTION minion.list_workers(bigint, bigint, bigint, bigint[]) IS
'Lists workers, newest first, with the ids of their active jobs, the number of all matches (total), and whether they are attached to a session.
skip 0, take 100: the page; before NULL: only ids below it; ids NULL (any): only these. Raises 2201X and 2201W for a negative skip or take.
Semantics: Minion''s list_workers.';

-- Locks

COMMENT ON FUNCTION minion.lock(text, interval, int) IS
'Takes a named lock unless enough others hold it. True if it was free; false, at once, if not.
name: 1 to 1000 bytes; holders 1: how many may hold it at a time;
duration: interval after which it is released by itself, zero or less only asks whether it is free.
Calls for the same name wait for each other to the end of the transaction, so keep that short; other names are not affected.
Raises 22004 for NULL, 22023 for holders below 1 or an absurd duration, 23514 for a bad name. Semantics: Minion''s lock.';

COMMENT ON FUNCTION minion.is_locked(text) IS
'Whether anybody holds a named lock. Waits for nobody and changes nothing.
Raises 22004 for NULL, 23514 for a name that is not 1 to 1000 bytes. Semantics: Minion''s is_locked.';

COMMENT ON FUNCTION minion.unlock(text) IS
'Releases a named lock; of several holders, the one that would expire first. True if it was held.
Raises 22004 for NULL, 23514 for a name that is not 1 to 1000 bytes. Semantics: Minion''s unlock.';

COMMENT ON FUNCTION minion.list_locks(bigint, bigint, text[]) IS
'Lists the locks that are held, a row for each holder, newest first, with the number of all matches (total).
skip 0, take 100: the page; names NULL (any): only these. Raises 2201X and 2201W for a negative skip or take. Semantics: Minion''s list_locks.';

-- The queue as a whole

COMMENT ON FUNCTION minion.stats() IS
'The queue in numbers, as one row: jobs by state, delayed ones (also among inactive_jobs), workers with and without a job, locks, schedules,
enqueued_jobs (ever; transactions that were rolled back count) and the server''s uptime. Expired jobs that never ran are not counted.
schedules: those that are not paused; inactive_schedules: the paused ones. Semantics: Minion''s stats.';

COMMENT ON FUNCTION minion.list_queues() IS
'Lists the queues that have jobs or are paused, by name: whether they are paused, and how many jobs of each state they have;
delayed ones are also among the inactive. oldest_ready: how long the one that is ready longest has been, of the jobs that are the first of
their task and priority; NULL if none is ready.';

COMMENT ON FUNCTION minion.pause_queue(text) IS
'Keeps jobs of a queue from being claimed; active ones go on, and enqueue() works as ever. True if it was not paused before.
Raises 22004 for NULL, 23514 for a name that is not 1 to 1000 bytes.';

COMMENT ON FUNCTION minion.resume_queue(text) IS
'Lets jobs of a queue be claimed again. True if it was paused. Raises 22004 for NULL.';

COMMENT ON FUNCTION minion.limit_task(text, int, text, int, interval) IS
'Limits how many jobs of a task are active at once, or start within a time. Exact under any number of workers; jobs that are active already go on, and count.
task; max_active NULL (no such limit): 0 (none starts) to 100000; queue NULL (all together): only in this queue;
max_starts, per NULL (no such limit): at most so many starts within any such interval.
What is given replaces the limit that there was; minion.limits shows all of them, with what is in use.
Raises 22023 for a number or interval out of range, and for max_starts without per, 22004 for a NULL task, 23514 for a name that is not 1 to 1000 bytes.';

COMMENT ON FUNCTION minion.limit_queue(text, int, int, interval) IS
'Limits how many jobs of a queue are active at once, or start within a time, whatever their tasks. See limit_task(), and minion.limits for what is in use.
queue; max_active NULL (no such limit): 0 (none starts) to 100000; max_starts, per NULL (no such limit): at most so many starts within any such interval.
Raises what limit_task() does.';

COMMENT ON FUNCTION minion.history() IS
'How many jobs failed and finished in each of the last 24 hours, of those that are still there: 24 rows, the oldest first, the current hour last.
Semantics: Minion''s history.';

COMMENT ON FUNCTION minion.repair() IS
'Puts right what time and vanished workers leave behind; call it every few minutes. Returns one row that says how many of each:
workers_removed: silent for minion.missing_after, or attached to a session that is gone; jobs_removed: finished for minion.remove_after, but no unfinished job''s parents;
jobs_expired: removed before they ever ran; jobs_abandoned: active without a worker, failed with "Worker went away" or retried;
jobs_stuck: unclaimed for minion.stuck_after, failed, unless their queue is paused or a limit of 0 keeps them from starting;
more: it stopped because of minion.repair_limit, or to be through before statement_timeout: call it again.
Jobs that are active for longer than their time_limit fail with "Job exceeded its time limit" or are retried, and their workers get ["stop", id].
What can''t be done with a row is passed over with a WARNING. Failed jobs are never removed. One call at a time does it, others
return zeros at once. Semantics: Minion''s repair.';

COMMENT ON FUNCTION minion.matching_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]) IS
'Internal: the ids of the jobs that list_jobs() is to list, for its page and its total.';

COMMENT ON FUNCTION minion.job_counts(text[], text[]) IS
'Internal: how many jobs there are by state, and how many of the inactive ones are delayed, for stats() and list_jobs().';

COMMENT ON FUNCTION minion.queue_counts() IS
'Internal: how many jobs each queue has, and since when its oldest ready one could run, for list_queues().';

COMMENT ON FUNCTION minion.lanes() IS
'What shared memory knows of each lane, the jobs of one task in one queue, and for members of pg_read_all_stats those of all databases; no rows where minion is not in shared_preload_libraries.
priority, id: no job before this place in the order of claims is ready, NULL if not known; is_empty: none is ready at all; due: no parked job is due before;
waiters: calls of dequeue() that sleep until it has a job; hits: claims that looked here; heals: how often the place was found too far on, and put right.
A last row without names, if there is one: hits are the jobs that came to lanes for which minion.max_lanes left no room.';

COMMENT ON FUNCTION minion.reset(text) IS
'Empties the queue, with no way back. scope: all (jobs, workers, locks and schedules, whose ids start anew, but for those of workers) or locks; there is no default.
Stop the workers before: one that still works on job 1 of old may end the new job 1. Raises 22023 for any other scope, 22004 for NULL. Semantics: Minion''s reset.';

-- Not for calling

COMMENT ON FUNCTION minion.is_unresolved(minion.job_state, timestamptz, bool, timestamptz) IS
'Internal: whether a parent in this state, with this expiry, still holds up a child that is lax or not, at a given time.';

COMMENT ON FUNCTION minion.job_inserted() IS
'Internal: trigger function that puts a new job where it belongs and tells waiting workers.';

COMMENT ON FUNCTION minion.is_name(text) IS
'Internal: whether a text has 1 to 1000 bytes, for CHECKs.';

COMMENT ON FUNCTION minion.is_array(jsonb) IS
'Internal: whether it is a JSON array, for CHECKs.';

COMMENT ON FUNCTION minion.is_object(jsonb) IS
'Internal: whether it is a JSON object, for CHECKs.';

COMMENT ON FUNCTION minion.time_limit_ends(timestamptz, interval) IS
'Internal: when an attempt that began then is out of time, for an index. Days have 24 hours, months 30 days; NULL for NULL.';

COMMENT ON FUNCTION minion.job_added() IS
'Internal: trigger function that enters a new job among the children of its parents.';

COMMENT ON FUNCTION minion.job_updated() IS
'Internal: trigger function that moves a job whose facts changed, wakes its children when it is done, and tells waiting workers.';

COMMENT ON FUNCTION minion.job_deleted() IS
'Internal: trigger function that lets the children of a removed job go on.';

COMMENT ON FUNCTION minion.jobs_truncated() IS
'Internal: trigger function that empties minion.children with minion.jobs.';

COMMENT ON FUNCTION minion.lock_written() IS
'Trigger: makes a row of a lock known to those who count the holders of its name. Raises 39P01 elsewhere.';

COMMENT ON FUNCTION minion.schedules_changed() IS
'Tells the background worker of new and changed schedules.';
COMMENT ON FUNCTION minion.limits_changed() IS
'Internal: trigger function that tells all sessions that what is paused or limited has changed.';

-- Jobs: type, table, constraints, indexes, triggers

COMMENT ON TYPE minion.job_state IS
'inactive: waits for a worker; active: a worker has it; finished: done; failed: done in vain, with no attempts left.';

COMMENT ON TABLE minion.jobs IS
'Every job, until repair() or somebody removes it. Open to plain SQL: triggers keep the queue right after any INSERT, UPDATE or DELETE.';
COMMENT ON COLUMN minion.jobs.id IS 'Given in order of enqueuing; among jobs of one priority the lower goes first.';
COMMENT ON COLUMN minion.jobs.created IS 'When it was enqueued.';
COMMENT ON COLUMN minion.jobs.delayed IS 'Not claimed before this time.';
COMMENT ON COLUMN minion.jobs.expires IS 'Not claimed from this time on, and then removed by repair(); NULL: never expires. Means nothing once it is active.';
COMMENT ON COLUMN minion.jobs.started IS 'When its last attempt began.';
COMMENT ON COLUMN minion.jobs.finished IS 'When its last attempt ended, well or not.';
COMMENT ON COLUMN minion.jobs.retried IS 'When it was last put back into its queue.';
COMMENT ON COLUMN minion.jobs.worker IS 'Who has it, or had it last; that row of minion.workers may be gone.';
COMMENT ON COLUMN minion.jobs.parked_until IS 'Set by minion alone. NULL: ready, if inactive; else when to look again, or infinity for not by time.';
COMMENT ON COLUMN minion.jobs.waits_for IS 'Set by minion alone. The parent whose end makes it worth looking again.';
COMMENT ON COLUMN minion.jobs.priority IS 'Any integer; higher goes first.';
COMMENT ON COLUMN minion.jobs.attempts IS 'How many attempts are left, the current or next one included.';
COMMENT ON COLUMN minion.jobs.retries IS 'How often it was put back. With the id it names an attempt, and an old attempt can''t finish a new one.';
COMMENT ON COLUMN minion.jobs.state IS 'inactive, active, finished or failed.';
COMMENT ON COLUMN minion.jobs.lax IS 'Whether parents that failed count as done.';
COMMENT ON COLUMN minion.jobs.queue IS 'The queue it waits in.';
COMMENT ON COLUMN minion.jobs.task IS 'The kind of work, for workers to tell what to run.';
COMMENT ON COLUMN minion.jobs.args IS 'A JSON array: the arguments of the work.';
COMMENT ON COLUMN minion.jobs.notes IS 'A JSON object for whatever else there is to say; see minion.note().';
COMMENT ON COLUMN minion.jobs.parents IS 'Ids of the jobs that must be done first. Ids that do not exist hold nothing up.';
COMMENT ON COLUMN minion.jobs.result IS 'What finish_job() or fail_job() was given last.';
COMMENT ON COLUMN minion.jobs.unique_key IS 'No other job that is inactive or active has the same; NULL: none.';
COMMENT ON COLUMN minion.jobs.time_limit IS 'An attempt that is active for longer is failed; NULL: none. A negative one counts as 0, one over 100 years as 100 years.';

COMMENT ON CONSTRAINT jobs_queue_has_1_to_1000_bytes ON minion.jobs IS 'Names are index keys, and short.';
COMMENT ON CONSTRAINT jobs_task_has_1_to_1000_bytes ON minion.jobs IS 'Names are index keys, and short.';
COMMENT ON CONSTRAINT jobs_args_is_array ON minion.jobs IS 'Workers can rely on a list of arguments.';
COMMENT ON CONSTRAINT jobs_notes_is_object ON minion.jobs IS 'Notes are merged by key.';
COMMENT ON CONSTRAINT jobs_attempts_is_positive ON minion.jobs IS 'A job is tried at least once.';

COMMENT ON INDEX minion.jobs_ready IS 'For claims: exactly the jobs that are ready, per queue and task, in the order they are claimed.';
COMMENT ON INDEX minion.jobs_parked IS 'Delayed, blocked and expired jobs, out of the way of claims, by the time to look at them again.';
COMMENT ON INDEX minion.jobs_waits_for IS 'The children to look at when a job is done.';
COMMENT ON INDEX minion.jobs_active IS 'The active jobs of a worker, and those whose worker is gone.';
COMMENT ON INDEX minion.jobs_time_limit IS 'Active jobs with a time limit, by when it ends.';
COMMENT ON INDEX minion.jobs_finished IS 'For repair(), history() and counts.';
COMMENT ON INDEX minion.jobs_failed IS 'For history() and counts.';
COMMENT ON INDEX minion.jobs_expiring IS 'For repair(), to find what has expired.';
COMMENT ON INDEX minion.jobs_unique_key IS 'Lets one job at a time have a key, until it has finished or failed.';
COMMENT ON INDEX minion.jobs_notes IS 'For the notes filter of list_jobs().';

COMMENT ON TABLE minion.children IS
'Written by triggers alone, from minion.jobs: the parents of each job that has any, for the look-up from a parent to its children.';
COMMENT ON COLUMN minion.children.id IS 'The job that has parents.';
COMMENT ON COLUMN minion.children.parents IS 'Its parents, as in minion.jobs.';
COMMENT ON INDEX minion.children_parents IS 'For the children in list_jobs(), and the finished parents that repair() has to keep.';


-- Workers

COMMENT ON TABLE minion.workers IS
'Who takes jobs. repair() removes workers that were silent for minion.missing_after, or whose session is gone that they were attached to.';
COMMENT ON COLUMN minion.workers.id IS 'What register_worker() returned.';
COMMENT ON COLUMN minion.workers.started IS 'When it was registered.';
COMMENT ON COLUMN minion.workers.notified IS 'When it was last heard of.';
COMMENT ON COLUMN minion.workers.pid IS 'Its process, or that of its connection in the server.';
COMMENT ON COLUMN minion.workers.host IS 'Where it runs, or where its connection came from.';
COMMENT ON COLUMN minion.workers.status IS 'A JSON object that the worker says about itself.';
COMMENT ON COLUMN minion.workers.inbox IS 'Commands that it has not received yet: [["command", arg, …], …].';
COMMENT ON COLUMN minion.workers.attached IS
'NULL: it is not attached to a session. Else when the server''s shared memory was made, at its start or after a crash: with that the session is gone, too.';
COMMENT ON CONSTRAINT workers_host_has_at_most_1000_bytes ON minion.workers IS 'A host name, or an address.';
COMMENT ON CONSTRAINT workers_status_is_object ON minion.workers IS 'Status values have names.';
COMMENT ON CONSTRAINT workers_inbox_is_array ON minion.workers IS 'A list of commands.';

-- Locks

COMMENT ON TABLE minion.locks IS
'Named locks, a row for each holder. Rows that have expired hold nothing; lock() clears them away. To take a lock, call lock(): an INSERT counts nobody.';
COMMENT ON COLUMN minion.locks.id IS 'Given in the order of taking.';
COMMENT ON COLUMN minion.locks.expires IS 'Held until then, unless it is released before.';
COMMENT ON COLUMN minion.locks.name IS 'What is locked; any text that its users agree on.';
COMMENT ON CONSTRAINT locks_name_has_1_to_1000_bytes ON minion.locks IS 'Names are index keys, and short.';
COMMENT ON INDEX minion.locks_holders IS 'The holders of a name, those that took it last at the end.';
COMMENT ON INDEX minion.locks_expires IS 'What lock() clears away.';

-- Schedules

COMMENT ON TABLE minion.schedules IS
'Jobs to be enqueued at certain times, when somebody calls dispatch_schedules(). To add or change one, call schedule(): it works out next_run.';
COMMENT ON COLUMN minion.schedules.id IS 'Kept when the schedule of that name is changed.';
COMMENT ON COLUMN minion.schedules.created IS 'When it was first set up.';
COMMENT ON COLUMN minion.schedules.last_run IS 'When it last enqueued a job.';
COMMENT ON COLUMN minion.schedules.next_run IS 'When it is due. repair() works it out again if it is infinite or more than five years ahead, or if last_run lies in the future.';
COMMENT ON COLUMN minion.schedules.last_job IS 'The job that it enqueued last.';
COMMENT ON COLUMN minion.schedules.expire IS 'The expire of its jobs; NULL: they never expire.';
COMMENT ON COLUMN minion.schedules.priority IS 'The priority of its jobs.';
COMMENT ON COLUMN minion.schedules.attempts IS 'The attempts of its jobs.';
COMMENT ON COLUMN minion.schedules.paused IS 'Whether it is left alone when it is due.';
COMMENT ON COLUMN minion.schedules.lax IS 'The lax of its jobs.';
COMMENT ON COLUMN minion.schedules.name IS 'Its name; there is one schedule of each.';
COMMENT ON COLUMN minion.schedules.cron IS 'When to run, as a cron expression of five fields.';
COMMENT ON COLUMN minion.schedules.timezone IS 'The time zone that the cron expression is meant in: a name of pg_timezone_names or an offset such as +02:00.';
COMMENT ON COLUMN minion.schedules.queue IS 'The queue of its jobs.';
COMMENT ON COLUMN minion.schedules.task IS 'The task of its jobs.';
COMMENT ON COLUMN minion.schedules.args IS 'The args of its jobs, a JSON array.';
COMMENT ON COLUMN minion.schedules.notes IS 'The notes of its jobs, a JSON object.';
COMMENT ON COLUMN minion.schedules.unique_key IS 'The unique_key of its jobs: while one is inactive or active, there is no second one.';
COMMENT ON COLUMN minion.schedules.time_limit IS 'The time_limit of its jobs; NULL: none.';
COMMENT ON CONSTRAINT schedules_name_key ON minion.schedules IS 'A schedule is known by its name.';
COMMENT ON CONSTRAINT schedules_expire_has_0_to_10000_years ON minion.schedules IS 'What can be added to the clock, and be waited for.';
COMMENT ON CONSTRAINT schedules_unique_key_has_1_to_1000_bytes ON minion.schedules IS 'Keys are index keys, and short.';
COMMENT ON CONSTRAINT schedules_time_limit_has_0_to_10000_years ON minion.schedules IS 'As expire.';

-- Pausing and limits

COMMENT ON TABLE minion.paused_queues IS 'Queues that nothing is claimed from; see pause_queue(). Open to plain SQL.';
COMMENT ON COLUMN minion.paused_queues.queue IS 'Its name; it need not have jobs.';
COMMENT ON COLUMN minion.paused_queues.paused IS 'Since when.';

COMMENT ON TABLE minion.limit_rules IS
'What limit_task() and limit_queue() were told; minion.limits shows it with what is in use. To change a limit, call them: they see to its slots.';
COMMENT ON COLUMN minion.limit_rules.queue IS 'The queue, or an empty text for all.';
COMMENT ON COLUMN minion.limit_rules.task IS 'The task, or an empty text for all.';
COMMENT ON COLUMN minion.limit_rules.max_active IS 'How many of its jobs may be active at once; NULL: any number.';
COMMENT ON COLUMN minion.limit_rules.max_starts IS 'How many of its jobs may start within "per"; NULL: any number.';
COMMENT ON COLUMN minion.limit_rules.per IS 'The time that max_starts counts for.';
COMMENT ON CONSTRAINT limit_rules_names_something ON minion.limit_rules IS 'There is no limit on everything.';
COMMENT ON CONSTRAINT limit_rules_queue_has_at_most_1000_bytes ON minion.limit_rules IS 'As the names of queues.';
COMMENT ON CONSTRAINT limit_rules_task_has_at_most_1000_bytes ON minion.limit_rules IS 'As the names of tasks.';
COMMENT ON CONSTRAINT limit_rules_max_active_is_0_to_100000 ON minion.limit_rules IS 'Each place is a row.';
COMMENT ON CONSTRAINT limit_rules_max_starts_is_0_to_100000 ON minion.limit_rules IS 'Each place is a row.';
COMMENT ON CONSTRAINT limit_rules_per_comes_with_max_starts ON minion.limit_rules IS 'Neither means anything without the other.';
COMMENT ON CONSTRAINT limit_rules_per_is_up_to_10000_years ON minion.limit_rules IS 'The next start must be a time to come.';

COMMENT ON TABLE minion.active_slots IS 'Written by minion alone: what each job that is active under a limit has taken.';
COMMENT ON COLUMN minion.active_slots.queue IS 'The limit, as in minion.limit_rules.';
COMMENT ON COLUMN minion.active_slots.task IS 'The limit, as in minion.limit_rules.';
COMMENT ON COLUMN minion.active_slots.number IS 'From 0; one at or above max_active is from before the limit was lowered.';
COMMENT ON COLUMN minion.active_slots.job IS 'The active job that has it; NULL: free.';
COMMENT ON COLUMN minion.active_slots.freed IS 'Since when it is free, or was before its job took it.';
COMMENT ON INDEX minion.active_slots_number IS 'For changes of the limit.';
COMMENT ON INDEX minion.active_slots_freed IS 'For claims, to find a free one.';
COMMENT ON INDEX minion.active_slots_job IS 'For the end of a job.';

COMMENT ON TABLE minion.start_slots IS 'Written by minion alone: when each of the starts that a limit allows may be used again.';
COMMENT ON COLUMN minion.start_slots.queue IS 'The limit, as in minion.limit_rules.';
COMMENT ON COLUMN minion.start_slots.task IS 'The limit, as in minion.limit_rules.';
COMMENT ON COLUMN minion.start_slots.number IS 'From 0; one at or above max_starts is from before the limit was lowered.';
COMMENT ON COLUMN minion.start_slots.free_at IS 'When the next job may start with it.';
COMMENT ON INDEX minion.start_slots_number IS 'For changes of the limit.';
COMMENT ON INDEX minion.start_slots_free_at IS 'For claims, to find a free one.';

COMMENT ON VIEW minion.limits IS 'What limit_task() and limit_queue() have limited, and what is in use of it now.';
COMMENT ON COLUMN minion.limits.queue IS 'NULL: in all queues.';
COMMENT ON COLUMN minion.limits.task IS 'NULL: all tasks.';
COMMENT ON COLUMN minion.limits.max_active IS 'How many jobs may be active at once; NULL: any number.';
COMMENT ON COLUMN minion.limits.active IS 'How many are.';
COMMENT ON COLUMN minion.limits.max_starts IS 'How many may start within "per"; NULL: any number.';
COMMENT ON COLUMN minion.limits.per IS 'The time that max_starts counts for.';
COMMENT ON COLUMN minion.limits.starts IS 'How many have started in the last "per".';

-- Sequences

COMMENT ON SEQUENCE minion.jobs_id_seq IS 'Ids of jobs; enqueued_jobs of stats() is worked out from it.';
COMMENT ON SEQUENCE minion.workers_id_seq IS 'Ids of workers.';
COMMENT ON SEQUENCE minion.locks_id_seq IS 'Ids of locks.';
COMMENT ON SEQUENCE minion.schedules_id_seq IS 'Ids of schedules.';

COMMENT ON TRIGGER jobs_inserted ON minion.jobs IS 'Puts new jobs where they belong and tells waiting workers.';
COMMENT ON TRIGGER jobs_added ON minion.jobs IS 'Enters new jobs among the children of their parents.';
COMMENT ON TRIGGER jobs_updated ON minion.jobs IS 'Moves jobs whose facts changed, wakes the children of those that are done, and tells waiting workers.';
COMMENT ON TRIGGER jobs_deleted ON minion.jobs IS 'Lets the children of removed jobs go on.';
COMMENT ON TRIGGER jobs_truncated ON minion.jobs IS 'Empties minion.children too.';
COMMENT ON TRIGGER paused_queues_changed ON minion.paused_queues IS 'Tells all sessions.';
COMMENT ON TRIGGER locks_written ON minion.locks IS 'Tells those who count holders.';
COMMENT ON TRIGGER limit_rules_changed ON minion.limit_rules IS 'Tells all sessions.';

COMMENT ON FUNCTION minion.list_background_workers() IS
'What minion.background_workers shows.';
COMMENT ON VIEW minion.background_workers IS
'What runs by itself where minion is in shared_preload_libraries: the launcher, and the worker of this database; for members of pg_read_all_stats those of all databases.';
COMMENT ON COLUMN minion.background_workers.database IS 'NULL: the launcher.';
COMMENT ON COLUMN minion.background_workers.pid IS 'NULL: there is no process, for there is nothing to do, or see last_error.';
COMMENT ON COLUMN minion.background_workers.activity IS 'What it is at.';
COMMENT ON COLUMN minion.background_workers.since IS 'Since when.';
COMMENT ON COLUMN minion.background_workers.starts IS 'How many processes were started for the database since the start of the server.';
COMMENT ON COLUMN minion.background_workers.failures IS 'How often in a row a process, or one of its duties, has failed; it is tried the later.';
COMMENT ON COLUMN minion.background_workers.last_error IS 'The last error, of a start or of a single duty.';
COMMENT ON COLUMN minion.background_workers.failed IS 'When that was.';
COMMENT ON COLUMN minion.background_workers.next_due IS 'When there is something to do though nothing happens; NULL: never.';
