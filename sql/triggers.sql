-- What keeps the queue right, whoever writes to minion.jobs and how. The WHEN clauses are narrow: an
-- ordinary enqueue, claim and finish run only the triggers they need.

CREATE TRIGGER jobs_park_inserted BEFORE INSERT ON minion.jobs FOR EACH ROW
WHEN (NEW.delayed > clock_timestamp()
      OR NEW.expires <= clock_timestamp()
      OR NEW.parents <> '{}'
      OR NEW.parked_until IS NOT NULL
      OR NEW.waits_for IS NOT NULL)
EXECUTE FUNCTION minion.park();

CREATE TRIGGER jobs_park_updated
BEFORE UPDATE OF state, delayed, expires, parents, lax ON minion.jobs FOR EACH ROW
WHEN ((NEW.state = 'inactive' AND (
          OLD.state <> 'inactive'
          OR OLD.delayed <> NEW.delayed
          OR OLD.expires IS DISTINCT FROM NEW.expires
          OR OLD.lax <> NEW.lax
          OR OLD.parents <> NEW.parents))
      OR (NEW.state <> 'inactive' AND NEW.parked_until IS NOT NULL))
EXECUTE FUNCTION minion.park();

-- "Due now" is announced too: its parents may all be done by the time a claim looks.
CREATE TRIGGER jobs_announce_inserted AFTER INSERT ON minion.jobs FOR EACH ROW
WHEN (NEW.state = 'inactive' AND (NEW.parked_until IS NULL OR NEW.parked_until <= clock_timestamp()))
EXECUTE FUNCTION minion.announce();

CREATE TRIGGER jobs_announce_updated
AFTER UPDATE OF state, delayed, expires, parents, lax, parked_until, priority, queue, task
ON minion.jobs FOR EACH ROW
WHEN (NEW.state = 'inactive' AND (NEW.parked_until IS NULL OR NEW.parked_until <= clock_timestamp()))
EXECUTE FUNCTION minion.announce();

-- A job is done, is gone, or will be gone at a time that has changed: its children are looked at again.
CREATE TRIGGER jobs_wake_children_updated
AFTER UPDATE OF state, expires ON minion.jobs FOR EACH ROW
WHEN ((NEW.state = 'finished' AND OLD.state <> 'finished')
      OR (NEW.state = 'inactive' AND NEW.expires IS NOT NULL
          AND (OLD.state <> 'inactive' OR OLD.expires IS DISTINCT FROM NEW.expires)))
EXECUTE FUNCTION minion.wake_children();

CREATE TRIGGER jobs_wake_children_failed AFTER UPDATE OF state ON minion.jobs FOR EACH ROW
WHEN (NEW.state = 'failed' AND OLD.state <> 'failed')
EXECUTE FUNCTION minion.wake_children('lax');

-- Nobody waits for a finished job, and repair removes many of them.
CREATE TRIGGER jobs_wake_children_deleted AFTER DELETE ON minion.jobs FOR EACH ROW
WHEN (OLD.state <> 'finished')
EXECUTE FUNCTION minion.wake_children();

-- A child must wake also when whoever finishes its parent may not see or change the child.
ALTER FUNCTION minion.wake_children() SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
