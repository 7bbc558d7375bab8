-- From 0.3.0 to 0.4.0: rows that break nothing, rights column by column, a repair that works within bounds.

-- Schedules, time zones.

-- Repair, and rows that make no sense.

-- Jobs and their triggers.

-- Of all columns: those that a BEFORE trigger of somebody else's changes are not among those that a statement names.
CREATE OR REPLACE TRIGGER jobs_updated AFTER UPDATE ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_updated();

-- Limits.

-- Rights.

-- Readers.
