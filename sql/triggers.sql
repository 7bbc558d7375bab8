-- See src/job/triggers.rs for what they do, and why they have no WHEN clauses.

CREATE TRIGGER jobs_inserted BEFORE INSERT ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_inserted();

CREATE TRIGGER jobs_added AFTER INSERT ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_added();

CREATE TRIGGER jobs_updated
AFTER UPDATE OF state, delayed, expires, parents, lax, parked_until, priority, queue, task ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_updated();

CREATE TRIGGER jobs_deleted AFTER DELETE ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_deleted();

CREATE TRIGGER jobs_truncated AFTER TRUNCATE ON minion.jobs
FOR EACH STATEMENT EXECUTE FUNCTION minion.jobs_truncated();
