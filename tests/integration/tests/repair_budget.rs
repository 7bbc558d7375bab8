//! One call of repair works for a bounded time, leaves less than it found, and gets around what it can't do.

use integration::{Ask, Database, until};
use postgres::Client;

const LEFT: &str = "SELECT count(*) FROM minion.jobs";

/// Calls repair until it says that there is no more to do; how many jobs were left after each call.
fn repair_until_through(client: &mut Client) -> Vec<i64> {
    let mut left = Vec::new();
    loop {
        let more: bool = client.one("SELECT more FROM minion.repair()", &[]);
        left.push(client.one(LEFT, &[]));
        if !more {
            return left;
        }
        assert!(left.len() < 1_000, "no end: {left:?}");
    }
}

/// Whoever removes a job has to wait.
const SLOW: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN PERFORM pg_sleep(0.002); RETURN OLD; END$$;
    CREATE TRIGGER slow BEFORE DELETE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION slow();";

/// Old finished jobs with ids from $1 to $2.
const OLD: &str = "
    INSERT INTO minion.jobs (id, task, state, finished)
    SELECT id, 'old', 'finished', now() - interval '3 days' + make_interval(secs => id::float8 / 1000)
    FROM generate_series($1::bigint, $2) AS id";

#[test]
fn each_call_under_a_statement_timeout_leaves_less_until_nothing_is_left() {
    let database = Database::new();
    let mut client = database.connect();
    client.execute(OLD, &[&1i64, &2_500i64]).unwrap();
    client.batch_execute(SLOW).unwrap();
    // All at once takes more than five seconds.
    client.batch_execute("SET statement_timeout = '2 s'").unwrap();
    let left = repair_until_through(&mut client);
    assert!(left.len() > 1, "{left:?}");
    assert!(left.is_sorted_by(|more, less| more > less), "{left:?}");
    assert_eq!(left.last(), Some(&0));
}

#[test]
fn the_shortest_repair_limit_gets_through_everything() {
    let database = Database::new();
    let mut client = database.connect();
    client.execute(OLD, &[&1i64, &20i64]).unwrap();
    client
        .batch_execute(
            "INSERT INTO minion.workers (pid, host, notified)
             SELECT 1, 'gone', 'infinity' FROM generate_series(1, 20);
             INSERT INTO minion.workers (pid, host, notified)
             SELECT 1, 'gone', now() - interval '1 day' FROM generate_series(1, 20);
             INSERT INTO minion.jobs (id, task, state, worker)
             SELECT 100 + id, 'abandoned', 'active', id FROM generate_series(21, 40) AS id;
             INSERT INTO minion.jobs (id, task, expires)
             SELECT 200 + id, 'expired', now() FROM generate_series(1, 20) AS id;
             INSERT INTO minion.jobs (id, task, delayed)
             SELECT 300 + id, 'stuck', now() - interval '3 days' FROM generate_series(1, 20) AS id;",
        )
        .unwrap();
    client.batch_execute(SLOW).unwrap();
    client.batch_execute("SET minion.repair_limit = '1 ms'").unwrap();
    repair_until_through(&mut client);
    let tasks: Vec<String> = client.all(
        "SELECT task || ' ' || state || ' ' || count(*) FROM minion.jobs GROUP BY task, state ORDER BY 1",
        &[],
    );
    assert_eq!(tasks, ["abandoned failed 20", "stuck failed 20"]);
    let workers = "SELECT count(*) FROM minion.workers WHERE notified <= clock_timestamp()";
    assert_eq!(client.one::<i64>(workers, &[]), 20);
}

#[test]
fn abandoned_jobs_come_before_a_backlog_of_old_ones() {
    let database = Database::new();
    let mut client = database.connect();
    client.execute(OLD, &[&1i64, &2_500i64]).unwrap();
    client.batch_execute(SLOW).unwrap();
    client
        .batch_execute(
            "INSERT INTO minion.jobs (id, task, state, worker, attempts)
             SELECT 10000 + id, 'abandoned', 'active', 999, 2 FROM generate_series(1, 100) AS id;
             SET minion.repair_limit = '1 s'",
        )
        .unwrap();
    let row = client.query_one("SELECT * FROM minion.repair()", &[]).unwrap();
    assert_eq!(row.get::<_, i64>("jobs_abandoned"), 100);
    assert!(row.get::<_, bool>("more"));
}

#[test]
fn a_limit_of_0_is_none() {
    let database = Database::new();
    let mut client = database.connect();
    client.execute(OLD, &[&1i64, &500i64]).unwrap();
    client.batch_execute(SLOW).unwrap();
    client.batch_execute("SET statement_timeout = 0; SET minion.repair_limit = 0").unwrap();
    assert_eq!(repair_until_through(&mut client), [0]);
}

#[test]
fn jobs_that_can_not_be_removed_hold_up_no_others_and_few_of_them_are_named() {
    let database = Database::new();
    let (mut client, warnings) = database.connect_hearing();
    client.execute(OLD, &[&1i64, &4_000i64]).unwrap();
    // All of the oldest, and every tenth of the others.
    client
        .batch_execute(
            "CREATE TABLE audit (job bigint PRIMARY KEY REFERENCES minion.jobs);
             INSERT INTO audit SELECT id FROM generate_series(1, 2000) AS id;
             INSERT INTO audit SELECT id FROM generate_series(2010, 4000, 10) AS id;",
        )
        .unwrap();
    warnings.lock().unwrap().clear();
    let row = client.query_one("SELECT * FROM minion.repair()", &[]).unwrap();
    assert_eq!(row.get::<_, i64>("jobs_removed"), 1_800);
    let said = warnings.lock().unwrap().clone();
    assert_eq!(said.len(), 11, "{said:?}");
    assert!(said[0].starts_with("job "), "{said:?}");
    assert!(said[10].starts_with("each of 2190 other jobs is passed over: "), "{said:?}");
}

/// Calls repair, which has not the time for all, until no more than so many jobs are left.
fn repair_until(client: &mut Client, left: i64) {
    for _ in 0..500 {
        if client.one::<i64>(LEFT, &[]) <= left {
            return;
        }
        client.batch_execute("SELECT minion.repair()").unwrap();
    }
    panic!("{} jobs are left, and not {left}", client.one::<i64>(LEFT, &[]));
}

#[test]
fn jobs_that_can_not_be_removed_do_not_use_up_the_time_for_the_others() {
    let database = Database::new();
    let mut client = database.connect();
    client.execute(OLD, &[&1i64, &10_000i64]).unwrap();
    client
        .batch_execute(
            "CREATE TABLE audit (job bigint PRIMARY KEY REFERENCES minion.jobs);
             INSERT INTO audit SELECT id FROM generate_series(1, 9500) AS id;
             SET minion.repair_limit = '100 ms'",
        )
        .unwrap();
    // The last of them are a matter of chance.
    repair_until(&mut client, 9_550);
}

#[test]
fn parents_that_have_to_stay_do_not_use_up_the_time_for_the_others() {
    let database = Database::new();
    let mut client = database.connect();
    client.execute(OLD, &[&1i64, &10_000i64]).unwrap();
    client
        .batch_execute(
            "INSERT INTO minion.jobs (id, task, state, parents)
             SELECT 20000 + id, 'child', 'failed', ARRAY[id] FROM generate_series(1, 9500) AS id;
             SET minion.repair_limit = '50 ms'",
        )
        .unwrap();
    repair_until(&mut client, 9_500 + 9_550);
}

/// Calls repair with the shortest limit until a job has got this state.
fn repair_until_job_is(client: &mut Client, id: i64, state: &str) {
    client.batch_execute("SET minion.repair_limit = '1 ms'").unwrap();
    until(&format!("job {id} is {state}"), || {
        client.batch_execute("SELECT * FROM minion.repair()").unwrap();
        let is = "SELECT state::text = $2 FROM minion.jobs WHERE id = $1";
        client.one::<bool>(is, &[&id, &state])
    });
}

#[test]
fn what_stands_behind_more_than_a_call_gets_through_has_its_turn_as_well() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    client
        .batch_execute(
            "INSERT INTO minion.jobs (id, task, delayed) VALUES (1, 'z', now() - interval '3 days');
             INSERT INTO minion.jobs (id, task) SELECT id, 'a' FROM generate_series(2, 25001) AS id",
        )
        .unwrap();
    repair_until_job_is(&mut client, 1, "failed");
    client
        .batch_execute(
            "UPDATE minion.jobs SET state = 'active', worker = 1 WHERE id > 1;
             INSERT INTO minion.jobs (id, task, state, worker) VALUES (30000, 'z', 'active', 999)",
        )
        .unwrap();
    repair_until_job_is(&mut client, 30000, "failed");
    // One that waits for a parent.
    client
        .batch_execute(
            "UPDATE minion.jobs SET state = 'inactive', delayed = now() + interval '1 day' WHERE state = 'active';
             INSERT INTO minion.jobs (id, task, delayed, parents)
             VALUES (30001, 'z', now() - interval '3 days', '{2}')",
        )
        .unwrap();
    repair_until_job_is(&mut client, 30001, "failed");
}

#[test]
fn stuck_jobs_behind_some_that_can_not_be_failed_have_their_turn() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "INSERT INTO minion.jobs (id, task, delayed)
             SELECT id, 'task', now() - interval '3 days' FROM generate_series(1, 300) AS id;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN PERFORM pg_sleep(0.002); RAISE ''no''; END';
             CREATE TRIGGER refuse BEFORE UPDATE ON minion.jobs FOR EACH ROW
             WHEN (NEW.id <= 100 AND NEW.state = 'failed') EXECUTE FUNCTION refuse();
             SET client_min_messages = error;
             SET minion.repair_limit = '1 ms'",
        )
        .unwrap();
    let failed = "SELECT count(*) > 2 FROM minion.jobs WHERE state = 'failed'";
    until("some have failed", || {
        client.batch_execute("SELECT * FROM minion.repair()").unwrap();
        client.one(failed, &[])
    });
}

/// Their ids are so far apart that chance finds none.
#[test]
fn a_session_goes_on_with_the_walk_over_all_jobs_where_its_last_call_has_ended() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "INSERT INTO minion.jobs (id, task) SELECT 1000000000000000 + id, 'a' FROM generate_series(1, 25000) AS id;
             INSERT INTO minion.jobs (id, task, delayed) VALUES (1, 'z', now() - interval '3 days')",
        )
        .unwrap();
    client.batch_execute("SET minion.repair_limit = '1 ms'").unwrap();
    for _ in 0..5 {
        client.batch_execute("SELECT * FROM minion.repair()").unwrap();
    }
    assert_eq!(
        client.one::<String>("SELECT state::text FROM minion.jobs WHERE id = 1", &[]),
        "failed"
    );
}
