//! Time limits: an attempt that is active for too long is failed by the next repair(), whoever has it.

use integration::{Ask, Database, until};
use postgres::Client;
use serde_json::{Value, json};
use std::thread;

const REPAIR: &str = "SELECT jobs_abandoned FROM minion.repair()";
const CLAIM: &str = "SELECT id FROM minion.dequeue(1)";
const MESSAGE: &str = "Job exceeded its time limit";

/// With worker 1.
fn new() -> (Database, Client) {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    (database, client)
}

fn run(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// As if an attempt had begun so much earlier.
fn began_before(client: &mut Client, id: i64, minutes: i32) {
    let sql = "UPDATE minion.jobs SET started = now() - make_interval(mins => $2) WHERE id = $1";
    assert_eq!(client.execute(sql, &[&id, &minutes]).unwrap(), 1);
}

fn repair(client: &mut Client) {
    // They are none of those that it counts.
    assert_eq!(client.one::<i64>(REPAIR, &[]), 0);
}

fn state(client: &mut Client, id: i64) -> String {
    client.one("SELECT state::text FROM minion.jobs WHERE id = $1", &[&id])
}

fn states(client: &mut Client) -> Vec<String> {
    client.all("SELECT state::text FROM minion.jobs ORDER BY id", &[])
}

fn inbox(client: &mut Client, worker: i64) -> Value {
    client.one("SELECT minion.receive($1)", &[&worker])
}

/// Waits until a backend waits for somebody's lock.
fn until_locked_out(client: &mut Client, backend: i32) {
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE pid = $1 AND NOT granted";
    until("it waits for a lock", || client.one(waits, &[&backend]));
}

#[test]
fn a_job_is_failed_after_its_limit_and_not_before_and_its_key_and_its_place_are_free() {
    let (_database, mut client) = new();
    run(&mut client, "SELECT minion.limit_task('task', 1)");
    let enqueue = "SELECT minion.enqueue('task', unique_key => 'key', time_limit => '1 hour')";
    assert_eq!(client.one::<i64>(enqueue, &[]), 1);
    assert_eq!(client.one::<i64>("SELECT minion.enqueue('task')", &[]), 2);
    assert_eq!(client.all::<i64>(CLAIM, &[]), [1]);
    repair(&mut client);
    began_before(&mut client, 1, 59);
    repair(&mut client);
    assert_eq!(state(&mut client, 1), "active");
    assert_eq!(client.one::<i64>(enqueue, &[]), 1);
    assert_eq!(client.all::<i64>(CLAIM, &[]), [0; 0]);
    began_before(&mut client, 1, 61);
    repair(&mut client);
    let failed = "SELECT result FROM minion.list_jobs(ids => '{1}')
        WHERE state = 'failed' AND finished IS NOT NULL AND time_limit = '1 hour' AND worker = 1";
    assert_eq!(client.one::<Value>(failed, &[]), json!(MESSAGE));
    assert_eq!(client.one::<i64>(enqueue, &[]), 3);
    assert_eq!(client.all::<i64>(CLAIM, &[]), [2]);
    assert_eq!(client.one::<i64>("SELECT active FROM minion.limits", &[]), 1);
}

#[test]
fn jobs_without_a_limit_and_those_that_wait_are_left_alone_and_those_in_the_foreground_are_not() {
    let (_database, mut client) = new();
    run(
        &mut client,
        "SELECT minion.enqueue('no limit'), minion.enqueue('waits', priority => -1, time_limit => '0'),
            minion.enqueue('ended', priority => 1, time_limit => '0');
         SELECT minion.dequeue(1, max_jobs => 2);
         SELECT minion.finish_job(3, 0);
         UPDATE minion.jobs SET started = '-infinity';
         INSERT INTO minion.jobs (task, queue, state, started, worker, time_limit) VALUES
            ('foreground', 'minion_foreground', 'active', now(), 99, '0')",
    );
    repair(&mut client);
    assert_eq!(states(&mut client), ["active", "inactive", "finished", "failed"]);
}

#[test]
fn a_job_with_attempts_left_is_retried_and_its_old_attempt_can_not_end_it() {
    let (_database, mut client) = new();
    run(
        &mut client,
        "SELECT minion.enqueue('task', attempts => 2, time_limit => '1 minute'); SELECT minion.dequeue(1)",
    );
    began_before(&mut client, 1, 2);
    repair(&mut client);
    let retried =
        "SELECT result FROM minion.jobs WHERE state = 'inactive' AND retries = 1 AND attempts = 1
        AND delayed = retried + minion.backoff(0) AND retried > started";
    assert_eq!(client.one::<Value>(retried, &[]), json!(MESSAGE));
    let late = "SELECT minion.finish_job(1, 0) OR minion.fail_job(1, 0)
        OR EXISTS (SELECT FROM minion.finish_jobs('{1}', '{0}'))";
    assert!(!client.one::<bool>(late, &[]));
    run(&mut client, "UPDATE minion.jobs SET delayed = now()");
    assert_eq!(client.all::<i64>(CLAIM, &[]), [1]);
    assert!(!client.one::<bool>(late, &[]));
    // The new attempt has all its time.
    repair(&mut client);
    assert_eq!(state(&mut client, 1), "active");
    began_before(&mut client, 1, 2);
    repair(&mut client);
    assert_eq!(state(&mut client, 1), "failed");
    assert!(!client.one::<bool>("SELECT minion.finish_job(1, 1)", &[]));
}

#[test]
fn a_worker_is_told_once_to_stop_each_of_its_jobs() {
    let (_database, mut client) = new();
    client.register();
    run(
        &mut client,
        "SELECT minion.enqueue('task', time_limit => '0') FROM generate_series(1, 300);
         SELECT minion.enqueue('task', time_limit => '1 hour');
         SELECT count(*) FROM minion.dequeue(2, max_jobs => 1);
         SELECT count(*) FROM minion.dequeue(1, max_jobs => 300);
         SELECT minion.broadcast('before', workers => '{1}')",
    );
    repair(&mut client);
    repair(&mut client);
    let mut expected = vec![json!(["before"])];
    expected.extend((2..=300).map(|id| json!(["stop", id])));
    let Value::Array(mut commands) = inbox(&mut client, 1) else { panic!("no array") };
    commands[1..].sort_by_key(|command| command[1].as_i64());
    assert_eq!(commands, expected);
    assert_eq!(inbox(&mut client, 1), json!([]));
    assert_eq!(inbox(&mut client, 2), json!([["stop", 1]]));
    assert_eq!(state(&mut client, 301), "active");
}

#[test]
fn a_worker_whose_row_somebody_has_is_not_waited_for() {
    let (database, mut client) = new();
    run(&mut client, "SELECT minion.enqueue('task', time_limit => '0'); SELECT minion.dequeue(1)");
    let mut other = database.connect();
    let mut holding = other.transaction().unwrap();
    holding.batch_execute("SELECT FROM minion.workers FOR UPDATE").unwrap();
    run(&mut client, "SET statement_timeout = '30s'");
    repair(&mut client);
    assert_eq!(state(&mut client, 1), "failed");
    holding.commit().unwrap();
    assert_eq!(inbox(&mut client, 1), json!([]));
}

/// A job of worker 1 that has exceeded its limit.
fn with_exceeded() -> (Database, Client, Client) {
    let (database, mut client) = new();
    run(
        &mut client,
        "SET statement_timeout = '30s'; SELECT minion.enqueue('task', time_limit => '0'); SELECT minion.dequeue(1)",
    );
    let worker = database.connect();
    (database, client, worker)
}

const FINISH: &str = "SELECT minion.finish_job(1, 0)";

#[test]
fn an_attempt_that_is_about_to_be_finished_is_failed_only_if_it_is_not() {
    for (end, ended) in [("COMMIT", "finished"), ("ROLLBACK", "failed")] {
        let (_database, mut client, mut worker) = with_exceeded();
        run(&mut worker, "BEGIN");
        assert!(worker.one::<bool>(FINISH, &[]));
        repair(&mut client);
        assert_eq!(inbox(&mut client, 1), json!([]));
        run(&mut worker, end);
        repair(&mut client);
        assert_eq!(state(&mut client, 1), ended);
        let told = if ended == "failed" { json!([["stop", 1]]) } else { json!([]) };
        assert_eq!(inbox(&mut client, 1), told);
    }
}

#[test]
fn an_attempt_that_is_about_to_be_failed_can_be_finished_only_if_it_is_not() {
    for (end, finishes, ended) in [("COMMIT", false, "failed"), ("ROLLBACK", true, "finished")] {
        let (database, mut client, mut worker) = with_exceeded();
        run(&mut client, "BEGIN");
        repair(&mut client);
        let backend = worker.backend();
        let finishing = thread::spawn(move || worker.one::<bool>(FINISH, &[]));
        until_locked_out(&mut database.connect(), backend);
        run(&mut client, end);
        assert_eq!(finishing.join().unwrap(), finishes);
        repair(&mut client);
        assert_eq!(state(&mut client, 1), ended);
        let told = if ended == "failed" { json!([["stop", 1]]) } else { json!([]) };
        assert_eq!(inbox(&mut client, 1), told);
    }
}

#[test]
fn many_workers_and_repairs_at_once_lose_no_attempt_and_end_none_twice() {
    const JOBS: i64 = 400;
    let (database, mut client) = new();
    run(
        &mut client,
        "CREATE TABLE ends (id bigint, retries int, how text);
         CREATE FUNCTION ended() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO public.ends VALUES (OLD.id, OLD.retries, NEW.state);
             RETURN NULL;
         END $$;
         CREATE TRIGGER ended AFTER UPDATE ON minion.jobs FOR EACH ROW
         WHEN (OLD.state = 'active' AND NEW.state <> 'active') EXECUTE FUNCTION ended();
         SELECT count(minion.enqueue('task', time_limit => '1 millisecond', attempts => 2))
         FROM generate_series(1, 400);
         ALTER DATABASE CURRENT_DATABASE SET minion.backoff_base = 0"
            .replace("CURRENT_DATABASE", &database.name)
            .as_str(),
    );
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let mut worker = database.connect();
            thread::spawn(move || {
                let id = worker.register();
                let claim = "SELECT id, retries FROM minion.dequeue($1)";
                let mut finished = Vec::new();
                while let Some(row) = worker.query_opt(claim, &[&id]).unwrap() {
                    let attempt: (i64, i32) = (row.get(0), row.get(1));
                    let finish = "SELECT minion.finish_job($1, $2)";
                    if worker.one::<bool>(finish, &[&attempt.0, &attempt.1]) {
                        finished.push(attempt);
                    }
                    if attempt.0 % 2 == 0 {
                        worker.batch_execute("SELECT minion.repair()").unwrap();
                    }
                }
                finished
            })
        })
        .collect();
    let mut finished: Vec<(i64, i32)> =
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    until("all have ended", || {
        run(&mut client, "SELECT minion.repair()");
        for id in client.all::<i64>("SELECT id FROM minion.dequeue(1, max_jobs => 100)", &[]) {
            began_before(&mut client, id, 1);
        }
        let left = "SELECT count(*) FROM minion.jobs WHERE state = 'inactive' OR state = 'active'";
        client.one::<i64>(left, &[]) == 0
    });
    let twice =
        "SELECT count(*) FROM (SELECT FROM ends GROUP BY id, retries HAVING count(*) > 1) AS twice";
    assert_eq!(client.one::<i64>(twice, &[]), 0);
    let done = "SELECT count(DISTINCT id) FROM ends WHERE how <> 'inactive'";
    assert_eq!(client.one::<i64>(done, &[]), JOBS);
    let rows = client.query("SELECT id, retries FROM ends WHERE how = 'finished' ORDER BY id", &[]);
    let told: Vec<(i64, i32)> = rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    finished.sort_unstable();
    assert_eq!(told, finished);
}

#[test]
fn no_interval_and_no_start_that_plain_sql_writes_breaks_anything() {
    let (_database, mut client) = new();
    run(
        &mut client,
        "INSERT INTO minion.jobs (task, state, worker, started, time_limit) VALUES
            ('negative', 'active', 1, now(), '-178000000 years'),
            ('huge', 'active', 1, now(), '178000000 years'),
            ('mixed', 'active', 1, now() - interval '1 day', '1 month -30 days'),
            ('no start', 'active', 1, NULL, '1 hour'),
            ('before all', 'active', 1, '-infinity', '178000000 years'),
            ('never', 'active', 1, 'infinity', '0'),
            ('late', 'active', 1, '294276-12-31 23:59:59+00', '1 year'),
            ('early', 'active', 1, '4713-01-01 00:00:00+00 BC', '-1 year');
         INSERT INTO minion.jobs (task, time_limit) VALUES ('claimed', '-1 second')",
    );
    assert_eq!(client.all::<i64>(CLAIM, &[]), [9]);
    repair(&mut client);
    let failed = "SELECT task FROM minion.jobs WHERE state = 'failed' ORDER BY id";
    assert_eq!(
        client.all::<String>(failed, &[]),
        ["negative", "mixed", "before all", "early", "claimed"]
    );
    // One of which nobody knows when it began has begun now.
    let begun =
        "SELECT started > now() - interval '1 hour' FROM minion.jobs WHERE task = 'no start'";
    assert!(client.one::<bool>(begun, &[]));
    began_before(&mut client, 4, 61);
    repair(&mut client);
    assert_eq!(state(&mut client, 4), "failed");
    if client.one::<i32>("SELECT current_setting('server_version_num')::int", &[]) >= 170_000 {
        run(
            &mut client,
            "UPDATE minion.jobs SET state = 'active', started = now(), time_limit = '-infinity' WHERE id = 1;
             UPDATE minion.jobs SET state = 'active', started = now(), time_limit = 'infinity' WHERE id = 3",
        );
        repair(&mut client);
        assert_eq!(
            (state(&mut client, 1), state(&mut client, 3)),
            ("failed".into(), "active".into())
        );
    }
    run(&mut client, "REINDEX TABLE minion.jobs; ANALYZE minion.jobs");
}

#[test]
fn what_a_trigger_keeps_from_being_failed_keeps_no_other_job_and_no_inbox_keeps_a_job() {
    let (database, mut client) = new();
    let (mut hearing, said) = database.connect_hearing();
    run(
        &mut client,
        "SELECT minion.enqueue('task', time_limit => '0') FROM generate_series(1, 5);
         SELECT count(*) FROM minion.dequeue(1, max_jobs => 5);
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF TG_TABLE_NAME = 'workers' THEN
                 RAISE 'not this one';
             ELSIF NEW.id = 2 THEN
                 RAISE 'not this one';
             ELSIF NEW.id = 4 THEN
                 RETURN NULL;
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    repair(&mut hearing);
    assert_eq!(states(&mut client), ["failed", "active", "failed", "active", "failed"]);
    let warned = |what: &str| said.lock().unwrap().iter().any(|said| said.contains(what));
    assert!(warned("job 2"));
    assert!(!warned("job 1") && !warned("to stop"));
    assert_eq!(inbox(&mut client, 1), json!([["stop", 1], ["stop", 3], ["stop", 5]]));
    run(
        &mut client,
        "DROP TRIGGER refuse ON minion.jobs;
         CREATE TRIGGER refuse BEFORE UPDATE ON minion.workers FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    repair(&mut hearing);
    assert_eq!(states(&mut client), ["failed"; 5]);
    assert!(warned("to stop"));
}

#[test]
fn each_way_to_put_jobs_in_takes_a_time_limit() {
    let (_database, mut client) = new();
    let ids = client.all::<i64>(
        r#"SELECT * FROM minion.enqueue_many('[
            {"task": "a"}, {"task": "b", "time_limit": 90.5}, {"task": "c", "time_limit": "1 day"},
            {"task": "d", "time_limit": null}]')
        UNION ALL
        SELECT * FROM minion.enqueue_many('[
            {"task": "e", "time_limit": 1, "unique_key": "k"}, {"task": "f", "unique_key": "l"},
            {"task": "g", "time_limit": 2}, {"task": "h", "time_limit": 3, "unique_key": "k"}]')"#,
        &[],
    );
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 5]);
    let limits = "SELECT coalesce(time_limit::text, '-') FROM minion.jobs ORDER BY id";
    assert_eq!(
        client.all::<String>(limits, &[]),
        ["-", "00:01:30.5", "1 day", "-", "00:00:01", "-", "00:00:02"]
    );
    run(
        &mut client,
        "TRUNCATE minion.jobs;
         SELECT minion.schedule('limited', '@hourly', 'a', time_limit => '5 minutes');
         SELECT minion.schedule('keyed', '@hourly', 'b', time_limit => '6 minutes', unique_key => 'k');
         SELECT minion.schedule('not limited', '@hourly', 'c', time_limit => '7 minutes');
         SELECT minion.schedule('not limited', '@hourly', 'c');
         UPDATE minion.schedules SET next_run = now() + make_interval(secs => id - 100);
         SELECT * FROM minion.dispatch_schedules()",
    );
    assert_eq!(client.all::<String>(limits, &[]), ["00:05:00", "00:06:00", "-"]);
    let shown = "SELECT coalesce(time_limit::text, '-') FROM minion.list_schedules() ORDER BY id";
    assert_eq!(client.all::<String>(shown, &[]), ["00:05:00", "00:06:00", "-"]);
    // A retry keeps it, or sets another one.
    run(
        &mut client,
        "SELECT minion.retry_job(id, 0, time_limit => '1 hour') FROM minion.jobs WHERE task <> 'a';
         SELECT minion.retry_job(id, 0) FROM minion.jobs WHERE task = 'a'",
    );
    assert_eq!(client.all::<String>(limits, &[]), ["00:05:00", "01:00:00", "01:00:00"]);
}

#[test]
fn a_producer_may_set_a_limit() {
    let (_database, mut client) = new();
    run(
        &mut client,
        "SET ROLE minion_producer;
         SELECT minion.enqueue('a', time_limit => '1 hour'),
            minion.enqueue('b', time_limit => '1 hour', unique_key => 'k');
         SELECT minion.enqueue_many('[{\"task\": \"c\", \"time_limit\": 3600}]');
         RESET ROLE;
         SET ROLE minion_worker;
         SELECT minion.dequeue(1, max_jobs => 9);
         UPDATE minion.jobs SET started = now() - interval '2 hours';
         SELECT minion.repair()",
    );
    assert_eq!(states(&mut client), ["failed"; 3]);
}

#[test]
fn the_sql_of_0_4_0_goes_on_working_and_its_active_jobs_come_under_a_limit_after_the_update() {
    let database = Database::of_version("0.4.0");
    let mut client = database.connect();
    // Columns of somebody's own stand where ours will not then.
    run(
        &mut client,
        "ALTER TABLE minion.jobs ADD COLUMN theirs text, ADD COLUMN gone int;
         ALTER TABLE minion.jobs DROP COLUMN gone;
         SELECT minion.register_worker();
         SELECT minion.enqueue('a'), minion.enqueue('b', unique_key => 'k'), minion.enqueue('c');
         SELECT minion.enqueue_many('[{\"task\": \"d\"}, {\"task\": \"e\", \"unique_key\": \"l\"}]');
         SELECT minion.schedule('s', '@hourly', 'f'), minion.schedule('s', '@hourly', 'g');
         UPDATE minion.schedules SET next_run = now();
         SELECT minion.dispatch_schedules();
         SELECT minion.dequeue(1, max_jobs => 9);
         SELECT minion.finish_job(1, 0);
         SELECT minion.retry_job(2, 0, delay => '1 hour');
         INSERT INTO minion.jobs (task, state, worker, theirs) VALUES ('h', 'active', 99, 'x');
         UPDATE minion.jobs SET theirs = 'y' WHERE state = 'active'",
    );
    assert_eq!(client.one::<i64>(REPAIR, &[]), 1);
    let row = client.query_one("SELECT * FROM minion.wait_for_job(1, '0')", &[]).unwrap();
    assert_eq!((row.len(), row.get::<_, String>("task")), (21, "a".into()));
    let many = "SELECT minion.enqueue_many('[{\"task\": \"d\", \"time_limit\": 1}]')";
    let refused = client.batch_execute(many).unwrap_err();
    assert!(
        refused.to_string().contains("unknown key") || {
            let error = refused.as_db_error().expect("an error of the server's");
            error.message().contains("jobs[0]: unknown key \"time_limit\"")
        }
    );
    let role = format!("{}_caller", database.name);
    run(
        &mut client,
        &format!(
            r#"CREATE ROLE "{role}";
             GRANT EXECUTE ON FUNCTION minion.enqueue TO "{role}" WITH GRANT OPTION;
             GRANT EXECUTE ON FUNCTION minion.list_jobs TO PUBLIC;
             REVOKE EXECUTE ON FUNCTION minion.retry_job FROM minion_worker;
             ALTER EXTENSION minion UPDATE"#
        ),
    );
    let rights = "WITH may AS (
            SELECT coalesce(role, $1) || ' ' || name AS what,
                has_function_privilege(coalesce(role, $1), ('minion.' || name)::regproc::oid, power) AS may
            FROM (VALUES
                (NULL, 'enqueue', 'EXECUTE WITH GRANT OPTION'),
                (NULL, 'list_jobs', 'EXECUTE'),
                ('minion_producer', 'enqueue', 'EXECUTE'),
                ('minion_admin', 'retry_job', 'EXECUTE'),
                ('minion_reader', 'wait_for_job', 'EXECUTE'),
                (NULL, 'list_schedules', 'EXECUTE'),
                (NULL, 'schedule', 'EXECUTE'),
                ('minion_worker', 'retry_job', 'EXECUTE')) AS one (role, name, power)
        )
        SELECT may FROM may";
    let may = client.query(rights, &[&role]).unwrap();
    let may: Vec<bool> = may.iter().map(|row| row.get(0)).collect();
    assert_eq!(may, [true, true, true, true, true, false, false, false]);
    run(&mut client, &format!(r#"DROP OWNED BY "{role}"; DROP ROLE "{role}""#));
    // Claimed before the update: a limit can be set on it now.
    assert_eq!(state(&mut client, 3), "active");
    run(&mut client, "UPDATE minion.jobs SET time_limit = '1 hour' WHERE id = 3");
    repair(&mut client);
    assert_eq!(state(&mut client, 3), "active");
    began_before(&mut client, 3, 61);
    repair(&mut client);
    assert_eq!(state(&mut client, 3), "failed");
    assert_eq!(inbox(&mut client, 1), json!([["stop", 3]]));
    // A session that did not know the old version.
    let mut other = database.connect();
    let row = other.query_one("SELECT * FROM minion.wait_for_job(3, '0')", &[]).unwrap();
    assert_eq!((row.len(), row.get::<_, Value>("result")), (22, json!(MESSAGE)));
    assert_eq!(other.one::<i64>("SELECT minion.enqueue('z', time_limit => '0')", &[]), 8);
}
