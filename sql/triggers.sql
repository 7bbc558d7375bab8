-- See src/upkeep/written.rs for what they do, and triggers.rs beside it for why they have no WHEN clauses.

CREATE TRIGGER jobs_inserted BEFORE INSERT ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_inserted();

CREATE TRIGGER jobs_added AFTER INSERT ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_added();

-- Of all columns: those that a BEFORE trigger of somebody else's changes are not among those that a statement names.
CREATE TRIGGER jobs_updated AFTER UPDATE ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_updated();

CREATE TRIGGER jobs_deleted AFTER DELETE ON minion.jobs
FOR EACH ROW EXECUTE FUNCTION minion.job_deleted();

CREATE TRIGGER jobs_truncated AFTER TRUNCATE ON minion.jobs
FOR EACH STATEMENT EXECUTE FUNCTION minion.jobs_truncated();

-- Every backend keeps in mind what is paused and limited, until it is told of a change.
CREATE TRIGGER paused_queues_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON minion.paused_queues
FOR EACH STATEMENT EXECUTE FUNCTION minion.limits_changed();

CREATE TRIGGER limit_rules_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON minion.limit_rules
FOR EACH STATEMENT EXECUTE FUNCTION minion.limits_changed();

CREATE TRIGGER schedules_changed
AFTER INSERT OR UPDATE ON minion.schedules
FOR EACH STATEMENT EXECUTE FUNCTION minion.schedules_changed();

CREATE TRIGGER locks_written AFTER INSERT OR UPDATE ON minion.locks
FOR EACH ROW EXECUTE FUNCTION minion.lock_written();
