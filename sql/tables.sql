-- Types, tables, constraints, indexes, and what pg_dump carries.
-- Names are COLLATE "C": compared byte by byte, they are fast, and an update of the operating system's
-- locales can't leave an index in the wrong order.

CREATE TYPE minion.job_state AS ENUM ('inactive', 'active', 'failed', 'finished');

CREATE SEQUENCE minion.jobs_id_seq;

-- Fixed-width columns first: no padding between them. Triggers know the columns by their place (Column in
-- src/server/row.rs): new ones go to the end. The server parses every CHECK for every statement, so only
-- those that keep the queue's own code right are here, in few words.
CREATE TABLE minion.jobs (
    id           bigint NOT NULL DEFAULT nextval('minion.jobs_id_seq'),
    created      timestamptz NOT NULL DEFAULT now(),
    delayed      timestamptz NOT NULL DEFAULT now(),
    expires      timestamptz,
    started      timestamptz,
    finished     timestamptz,
    retried      timestamptz,
    worker       bigint,
    parked_until timestamptz,
    waits_for    bigint,
    priority     int NOT NULL DEFAULT 0,
    attempts     int NOT NULL DEFAULT 1,
    retries      int NOT NULL DEFAULT 0,
    state        minion.job_state NOT NULL DEFAULT 'inactive',
    lax          bool NOT NULL DEFAULT false,
    queue        text COLLATE "C" NOT NULL DEFAULT 'default',
    task         text COLLATE "C" NOT NULL,
    args         jsonb NOT NULL DEFAULT '[]',
    notes        jsonb NOT NULL DEFAULT '{}',
    parents      bigint[] NOT NULL DEFAULT '{}',
    result       jsonb,
    unique_key   text COLLATE "C",
    time_limit   interval,
    CONSTRAINT jobs_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_queue_has_1_to_1000_bytes CHECK (minion.is_name(queue)),
    CONSTRAINT jobs_task_has_1_to_1000_bytes CHECK (minion.is_name(task)),
    CONSTRAINT jobs_args_is_array CHECK (minion.is_array(args)),
    CONSTRAINT jobs_notes_is_object CHECK (minion.is_object(notes)),
    CONSTRAINT jobs_attempts_is_positive CHECK (attempts >= 1)
)
-- Dead rows come with each claim and finish, however many finished jobs are kept; docs/operations.md has figures.
WITH (autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_scale_factor = 0.01);

-- Compressing thousands of ids takes longer than writing them.
ALTER TABLE minion.jobs ALTER COLUMN parents SET STORAGE EXTERNAL;

ALTER SEQUENCE minion.jobs_id_seq OWNED BY minion.jobs.id;

-- All indexes but the key are partial, so that a job pays only for what it uses.

-- A lane is a (queue, task) pair; this holds exactly its ready jobs, in the order they are claimed.
-- ~priority sorts as -priority does, and can't overflow.
CREATE INDEX jobs_ready ON minion.jobs (queue, task, (~priority), id)
    WHERE state = 'inactive' AND parked_until IS NULL;

-- Delayed, blocked and expired jobs stand here, out of the way of claims, until their time comes.
CREATE INDEX jobs_parked ON minion.jobs (queue, task, parked_until, id)
    WHERE state = 'inactive' AND parked_until IS NOT NULL;

-- The children to look at again when a job is done.
CREATE INDEX jobs_waits_for ON minion.jobs (waits_for, id) WHERE waits_for IS NOT NULL;

-- The jobs of a worker, and those of workers that are gone.
CREATE INDEX jobs_active ON minion.jobs (worker, id) WHERE state = 'active';

-- Active jobs by the time at which they are out of time: who looks reads those alone that are, however many are active.
CREATE INDEX jobs_time_limit ON minion.jobs (minion.time_limit_ends(started, time_limit), id)
    WHERE state = 'active' AND time_limit IS NOT NULL;

-- For repair, history and counts.
CREATE INDEX jobs_finished ON minion.jobs (finished, id) WHERE state = 'finished';
CREATE INDEX jobs_failed ON minion.jobs (finished, id) WHERE state = 'failed';
CREATE INDEX jobs_expiring ON minion.jobs (expires, id)
    WHERE state = 'inactive' AND expires IS NOT NULL;

-- One job at a time with a key: those that have ended give it back.
CREATE UNIQUE INDEX jobs_unique_key ON minion.jobs (unique_key)
    WHERE unique_key IS NOT NULL AND (state = 'inactive' OR state = 'active');

CREATE INDEX jobs_notes ON minion.jobs USING gin (notes) WHERE notes <> '{}';

-- The look-up from a parent to its children, for list_jobs and for the finished parents that repair must
-- keep. An index on jobs itself would take in all of a job's parents again at each change of its state.
-- Triggers write it, also while a dump is restored: it holds nothing that jobs does not.
CREATE TABLE minion.children (
    id      bigint NOT NULL,
    parents bigint[] NOT NULL,
    CONSTRAINT children_pkey PRIMARY KEY (id)
);

ALTER TABLE minion.children ALTER COLUMN parents SET STORAGE EXTERNAL;

-- Without fastupdate: its list of what is to be put into the index yet, of up to four megabytes, is read by each
-- look-up, and repair() makes one for each old job.
CREATE INDEX children_parents ON minion.children USING gin (parents) WITH (fastupdate = off);

CREATE SEQUENCE minion.workers_id_seq;

CREATE TABLE minion.workers (
    id       bigint NOT NULL DEFAULT nextval('minion.workers_id_seq'),
    started  timestamptz NOT NULL DEFAULT now(),
    notified timestamptz NOT NULL DEFAULT now(),
    pid      int NOT NULL,
    host     text NOT NULL,
    status   jsonb NOT NULL DEFAULT '{}',
    inbox    jsonb NOT NULL DEFAULT '[]',
    attached timestamptz,
    CONSTRAINT workers_pkey PRIMARY KEY (id),
    CONSTRAINT workers_host_has_at_most_1000_bytes CHECK (octet_length(host) <= 1000),
    CONSTRAINT workers_status_is_object CHECK (jsonb_typeof(status) = 'object'),
    CONSTRAINT workers_inbox_is_array CHECK (jsonb_typeof(inbox) = 'array')
) WITH (fillfactor = 50);

ALTER SEQUENCE minion.workers_id_seq OWNED BY minion.workers.id;

CREATE SEQUENCE minion.locks_id_seq;

CREATE TABLE minion.locks (
    id      bigint NOT NULL DEFAULT nextval('minion.locks_id_seq'),
    expires timestamptz NOT NULL,
    name    text COLLATE "C" NOT NULL,
    CONSTRAINT locks_pkey PRIMARY KEY (id),
    CONSTRAINT locks_name_has_1_to_1000_bytes CHECK (octet_length(name) BETWEEN 1 AND 1000)
);

ALTER SEQUENCE minion.locks_id_seq OWNED BY minion.locks.id;

-- Holders come at the end of their name's: see src/shared/bounds.rs.
CREATE INDEX locks_holders ON minion.locks (name, id);
CREATE INDEX locks_expires ON minion.locks (expires);

CREATE SEQUENCE minion.schedules_id_seq;

CREATE TABLE minion.schedules (
    id       bigint NOT NULL DEFAULT nextval('minion.schedules_id_seq'),
    created  timestamptz NOT NULL DEFAULT now(),
    last_run timestamptz,
    next_run timestamptz NOT NULL,
    last_job bigint,
    expire   interval,
    priority int NOT NULL DEFAULT 0,
    attempts int NOT NULL DEFAULT 1,
    paused   bool NOT NULL DEFAULT false,
    lax      bool NOT NULL DEFAULT false,
    name     text COLLATE "C" NOT NULL,
    cron     text NOT NULL,
    timezone text NOT NULL DEFAULT 'UTC',
    queue    text COLLATE "C" NOT NULL DEFAULT 'default',
    task     text COLLATE "C" NOT NULL,
    args     jsonb NOT NULL DEFAULT '[]',
    notes    jsonb NOT NULL DEFAULT '{}',
    unique_key text COLLATE "C",
    time_limit interval,
    CONSTRAINT schedules_pkey PRIMARY KEY (id),
    CONSTRAINT schedules_name_key UNIQUE (name),
    CONSTRAINT schedules_name_has_1_to_1000_bytes CHECK (octet_length(name) BETWEEN 1 AND 1000),
    CONSTRAINT schedules_queue_has_1_to_1000_bytes CHECK (octet_length(queue) BETWEEN 1 AND 1000),
    CONSTRAINT schedules_task_has_1_to_1000_bytes CHECK (octet_length(task) BETWEEN 1 AND 1000),
    CONSTRAINT schedules_args_is_array CHECK (jsonb_typeof(args) = 'array'),
    CONSTRAINT schedules_notes_is_object CHECK (jsonb_typeof(notes) = 'object'),
    CONSTRAINT schedules_attempts_is_positive CHECK (attempts >= 1),
    CONSTRAINT schedules_expire_has_0_to_10000_years CHECK (expire BETWEEN '0' AND '10000 years'),
    CONSTRAINT schedules_unique_key_has_1_to_1000_bytes CHECK (octet_length(unique_key) BETWEEN 1 AND 1000),
    CONSTRAINT schedules_time_limit_has_0_to_10000_years CHECK (time_limit BETWEEN '0' AND '10000 years')
);

ALTER SEQUENCE minion.schedules_id_seq OWNED BY minion.schedules.id;

-- Queues that nothing is claimed from.
CREATE TABLE minion.paused_queues (
    queue  text COLLATE "C" NOT NULL,
    paused timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT paused_queues_pkey PRIMARY KEY (queue)
);

-- How many jobs may be active at once, or start within a time; an empty name stands for any.
CREATE TABLE minion.limit_rules (
    queue      text COLLATE "C" NOT NULL DEFAULT '',
    task       text COLLATE "C" NOT NULL DEFAULT '',
    max_active int,
    max_starts int,
    per        interval,
    CONSTRAINT limit_rules_pkey PRIMARY KEY (queue, task),
    CONSTRAINT limit_rules_names_something CHECK (queue <> '' OR task <> ''),
    CONSTRAINT limit_rules_queue_has_at_most_1000_bytes CHECK (octet_length(queue) <= 1000),
    CONSTRAINT limit_rules_task_has_at_most_1000_bytes CHECK (octet_length(task) <= 1000),
    CONSTRAINT limit_rules_max_active_is_0_to_100000 CHECK (max_active BETWEEN 0 AND 100000),
    CONSTRAINT limit_rules_max_starts_is_0_to_100000 CHECK (max_starts BETWEEN 0 AND 100000),
    CONSTRAINT limit_rules_per_comes_with_max_starts CHECK ((per IS NULL) = (max_starts IS NULL)),
    CONSTRAINT limit_rules_per_is_up_to_10000_years CHECK (per > '0' AND per <= '10000 years')
);

-- A claim takes one of these for each limit that its job is under. Claims that have not committed count as
-- well, and none waits for another. A slot beyond max_active is from before the limit was lowered: while it
-- is taken, one more of those below has to be free for a job to start.
-- They change with each claim, and a held snapshot keeps each version: so claims take the place that has been free for
-- longest, and begin in the index where the first free one was (src/shared/bounds.rs), and there is no unique index,
-- which would look at all versions of a place to see that none is there twice. Whoever adds a place has the limit alone.
CREATE TABLE minion.active_slots (
    queue  text COLLATE "C" NOT NULL,
    task   text COLLATE "C" NOT NULL,
    number int NOT NULL,
    job    bigint,
    freed  timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

CREATE INDEX active_slots_number ON minion.active_slots (queue, task, number);
CREATE INDEX active_slots_freed ON minion.active_slots (queue, task, freed) WHERE job IS NULL;
CREATE INDEX active_slots_job ON minion.active_slots (job) WHERE job IS NOT NULL;

-- For publications of all tables: without a key they would refuse what claims do.
ALTER TABLE minion.active_slots REPLICA IDENTITY FULL;

-- The same for starts: each slot serves one start, and the next one when its time has passed.
CREATE TABLE minion.start_slots (
    queue   text COLLATE "C" NOT NULL,
    task    text COLLATE "C" NOT NULL,
    number  int NOT NULL,
    free_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

CREATE INDEX start_slots_number ON minion.start_slots (queue, task, number);
CREATE INDEX start_slots_free_at ON minion.start_slots (queue, task, free_at);
ALTER TABLE minion.start_slots REPLICA IDENTITY FULL;

-- The queue's contents are the user's data: pg_dump carries them, ids included.
SELECT pg_catalog.pg_extension_config_dump('minion.jobs', '');
SELECT pg_catalog.pg_extension_config_dump('minion.jobs_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('minion.workers', '');
SELECT pg_catalog.pg_extension_config_dump('minion.workers_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('minion.locks', '');
SELECT pg_catalog.pg_extension_config_dump('minion.locks_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('minion.schedules', '');
SELECT pg_catalog.pg_extension_config_dump('minion.schedules_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('minion.paused_queues', '');
SELECT pg_catalog.pg_extension_config_dump('minion.limit_rules', '');
SELECT pg_catalog.pg_extension_config_dump('minion.active_slots', '');
SELECT pg_catalog.pg_extension_config_dump('minion.start_slots', '');
