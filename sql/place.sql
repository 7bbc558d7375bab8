-- When may a job run? The rules, each said once. The bodies are parsed here and now, so that no caller's
-- search_path has a say in what they mean.

-- Small enough that the planner puts it in place of the call.
CREATE FUNCTION minion.is_unresolved(
    state minion.job_state, expires timestamptz, lax boolean, at timestamptz
) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state = 'active'
    OR (state = 'failed' AND NOT lax)
    OR (state = 'inactive' AND (expires IS NULL OR expires > at));

-- NULL: ready. Infinity: expired. In the future: delayed. Now: it has a parent that is not done as far as
-- this snapshot shows, and the next claim looks closer. Locks nothing: an enqueue in a long transaction
-- must not hold up its parents.
CREATE FUNCTION minion.place(
    delayed timestamptz, expires timestamptz, parents bigint[], lax boolean, at timestamptz
) RETURNS timestamptz LANGUAGE sql STABLE
RETURN CASE
    WHEN expires <= at THEN 'infinity'
    WHEN delayed > at THEN delayed
    WHEN parents = '{}' THEN NULL
    -- A long list is left to the claim: hundreds of such children may wake by one finish.
    WHEN cardinality(parents) > 100 THEN at
    WHEN EXISTS (
        SELECT FROM minion.jobs AS parent
        WHERE parent.id = ANY (place.parents)
          AND minion.is_unresolved(parent.state, parent.expires, place.lax, place.at)
    ) THEN at
END;

-- SECURITY DEFINER, so that whoever may insert a job needs no right to read its parents.
CREATE FUNCTION minion.park() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.waits_for := NULL;
    NEW.parked_until := CASE WHEN NEW.state = 'inactive' THEN
        minion.place(NEW.delayed, NEW.expires, NEW.parents, NEW.lax, clock_timestamp()) END;
    RETURN NEW;
END
$$;
