-- From 0.3.0 to 0.4.0: rows that break nothing, rights column by column, a repair that works within bounds.

-- Schedules, time zones.

-- Repair, and rows that make no sense.

-- Jobs and their triggers.

-- Of all columns: those that a BEFORE trigger of somebody else's changes are not among those that a statement names.
CREATE OR REPLACE TRIGGER jobs_updated AFTER UPDATE ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_updated();

-- Limits.

-- Rights.

REVOKE INSERT ON minion.jobs FROM minion_producer;
GRANT INSERT (created, delayed, expires, args, attempts, lax, notes, parents, priority, queue, task, unique_key)
ON minion.jobs TO minion_producer;

-- Readers.

COMMENT ON FUNCTION minion.reset(text) IS
'Empties the queue, with no way back. scope: all (jobs, workers, locks and schedules, whose ids start anew, but for those of workers) or locks; there is no default.
Stop the workers before: one that still works on job 1 of old may end the new job 1. Raises 22023 for any other scope, 22004 for NULL. Semantics: Minion''s reset.';
