-- The rule of what a parent is to its children, said once. The body is parsed here and now, so that no
-- caller's search_path has a say in what it means, and small enough that the planner puts it in place of
-- the call.
CREATE FUNCTION minion.is_unresolved(
    state minion.job_state, expires timestamptz, lax boolean, at timestamptz
) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state = 'active'
    OR (state = 'failed' AND NOT lax)
    OR (state = 'inactive' AND (expires IS NULL OR expires > at));
