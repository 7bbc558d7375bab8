-- Who may do what, as data. PUBLIC may do nothing; functions run with the caller's rights, and only what the
-- triggers do to other rows than the caller's runs with the table owner's, as foreign keys do.
-- Roles belong to the cluster: a second database, or a restore, finds them there already.
DO $$
DECLARE
    wanted name;
    powers text;
BEGIN
    FOREACH wanted IN ARRAY
        ARRAY['minion_producer', 'minion_worker', 'minion_reader', 'minion_admin']
    LOOP
        BEGIN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            SELECT pg_catalog.concat_ws(', ',
                CASE WHEN role.rolcanlogin THEN 'can log in' END,
                CASE WHEN role.rolsuper THEN 'is a superuser' END,
                CASE WHEN role.rolcreaterole THEN 'may create roles' END,
                CASE WHEN role.rolcreatedb THEN 'may create databases' END,
                CASE WHEN role.rolreplication THEN 'may replicate' END,
                CASE WHEN role.rolbypassrls THEN 'bypasses row-level security' END,
                'is a member of ' || (
                    SELECT pg_catalog.string_agg(pg_catalog.quote_ident(granted.rolname), ' and ' ORDER BY granted.rolname)
                    FROM pg_catalog.pg_roles AS granted
                    WHERE granted.oid IN (
                        SELECT membership.roleid
                        FROM pg_catalog.pg_auth_members AS membership
                        WHERE membership.member = role.oid)))
            INTO powers
            FROM pg_catalog.pg_roles AS role
            WHERE role.rolname = wanted;
            IF powers <> '' THEN
                RAISE WARNING 'role % exists already, and %', wanted, powers
                    USING HINT = 'Who made it so? Whoever is granted the role has that, too; minion needs none of it.';
            END IF;
        END;
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA minion FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA minion FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA minion FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA minion FROM PUBLIC;
REVOKE ALL ON TYPE minion.job_state FROM PUBLIC;

GRANT USAGE ON SCHEMA minion TO minion_producer, minion_worker, minion_reader, minion_admin;
GRANT USAGE ON TYPE minion.job_state TO minion_producer, minion_worker, minion_reader, minion_admin;

-- Whoever writes to jobs calls these by its constraints and an index.
GRANT EXECUTE ON FUNCTION
    minion.is_name(text),
    minion.is_array(jsonb),
    minion.is_object(jsonb),
    minion.time_limit_ends(timestamptz, interval)
TO minion_producer, minion_worker, minion_admin;

-- minion_producer: puts jobs in, and can't read what others put in. (With a unique key it learns the id of
-- the job that has it: enqueue looks that up as the tables' owner.)
GRANT EXECUTE ON FUNCTION
    minion.enqueue(text, jsonb, text, int, interval, interval, int, bigint[], bool, jsonb, text, interval),
    minion.enqueue_many(jsonb),
    minion.next_run(text, timestamptz, text)
TO minion_producer, minion_worker, minion_admin;
-- The columns that enqueue names: an id or a state is not a producer's to choose.
GRANT INSERT (created, delayed, expires, args, attempts, lax, notes, parents, priority, queue, task, unique_key,
        time_limit),
    SELECT (id)
ON minion.jobs TO minion_producer;
GRANT USAGE ON SEQUENCE minion.jobs_id_seq TO minion_producer, minion_worker, minion_admin;

-- minion_worker: takes jobs and sees to them, and keeps the queue in repair.
GRANT EXECUTE ON FUNCTION
    minion.dequeue(bigint, interval, bigint, int, text[], text[], int),
    minion.finish_job(bigint, int, jsonb),
    minion.finish_jobs(bigint[], int[], jsonb[]),
    minion.fail_job(bigint, int, jsonb, interval),
    minion.retry_job(bigint, int, int, interval, interval, bool, bigint[], int, text, interval),
    minion.remove_job(bigint),
    minion.note(bigint, jsonb),
    minion.cancel_job(bigint),
    minion.retry_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]),
    minion.remove_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]),
    minion.dispatch_schedules(),
    minion.register_worker(bigint, text, int, jsonb, bool),
    minion.unregister_worker(bigint),
    minion.broadcast(text, jsonb, bigint[]),
    minion.receive(bigint),
    minion.lock(text, interval, int),
    minion.unlock(text),
    minion.repair(),
    minion.is_unresolved(minion.job_state, timestamptz, bool, timestamptz)
TO minion_worker, minion_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON minion.jobs, minion.workers, minion.locks
TO minion_worker, minion_admin;
GRANT SELECT, USAGE ON SEQUENCE minion.workers_id_seq, minion.locks_id_seq
TO minion_worker, minion_admin;

-- minion_reader: looks, and changes nothing.
GRANT EXECUTE ON FUNCTION
    minion.list_jobs(bigint, bigint, bigint, bigint[], text[], text[], minion.job_state[], text[]),
    minion.list_workers(bigint, bigint, bigint, bigint[]),
    minion.list_locks(bigint, bigint, text[]),
    minion.list_schedules(bigint, bigint, bigint, bigint[], text[]),
    minion.list_queues(),
    minion.wait_for_job(bigint, interval),
    minion.next_run(text, timestamptz, text),
    minion.is_locked(text),
    minion.backoff(int),
    minion.stats(),
    minion.job_counts(text[], text[]),
    minion.queue_counts(),
    minion.matching_jobs(bigint, bigint[], text[], text[], minion.job_state[], text[]),
    minion.history(),
    minion.lanes(),
    minion.list_background_workers()
TO minion_reader, minion_worker, minion_admin;
GRANT SELECT ON minion.jobs, minion.children, minion.workers, minion.locks, minion.schedules,
    minion.paused_queues, minion.limit_rules, minion.active_slots, minion.start_slots, minion.limits,
    minion.background_workers
TO minion_reader, minion_worker, minion_admin;
-- Whoever works may also dispatch.
GRANT UPDATE (last_job, last_run, next_run) ON minion.schedules TO minion_worker;
GRANT SELECT ON SEQUENCE minion.jobs_id_seq TO minion_reader, minion_worker, minion_admin;

-- minion_admin: all of that, schedules, limits, pauses, and reset.
GRANT EXECUTE ON FUNCTION
    minion.reset(text),
    minion.schedule(text, text, text, jsonb, text, int, interval, int, bool, jsonb, text, text, interval),
    minion.unschedule(text),
    minion.pause_schedule(text),
    minion.resume_schedule(text),
    minion.pause_queue(text),
    minion.resume_queue(text),
    minion.limit_task(text, int, text, int, interval),
    minion.limit_queue(text, int, int, interval)
TO minion_admin;
GRANT INSERT, UPDATE, DELETE ON minion.schedules, minion.paused_queues, minion.limit_rules,
    minion.active_slots, minion.start_slots
TO minion_admin;
GRANT TRUNCATE ON minion.jobs, minion.workers, minion.locks, minion.schedules TO minion_admin;
GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA minion TO minion_admin;

-- Default privileges may have given it away.
DO $$
DECLARE
    others text;
BEGIN
    SELECT pg_catalog.string_agg(DISTINCT coalesce(pg_catalog.quote_ident(role.rolname), 'PUBLIC'), ', ')
    INTO others
    FROM pg_catalog.pg_class AS relation
    CROSS JOIN LATERAL pg_catalog.aclexplode(relation.relacl) AS acl
    LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = acl.grantee
    WHERE relation.relnamespace = 'minion'::pg_catalog.regnamespace AND acl.privilege_type = 'TRIGGER'
      AND acl.grantee <> relation.relowner AND role.rolsuper IS NOT TRUE;
    IF others IS NOT NULL THEN
        RAISE WARNING 'others may put triggers on the tables of minion: %', others
            USING HINT = pg_catalog.format(
                'Some run with the rights of the tables'' owner. REVOKE TRIGGER ON ALL TABLES IN SCHEMA minion FROM %s;', others);
    END IF;
END
$$;
