//! Errors in the middle of a claim, and claims in the middle of something else, leave nothing behind that others
//! would meet.

use integration::heads::{claim, run};
use integration::{Ask, Database, until, until_waiting};
use postgres::Client;
use postgres::error::SqlState;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A trigger of somebody's that raises when job 1 starts.
const REFUSE_JOB_1: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.id = 1 AND NEW.state = 'active' THEN
            RAISE 'not this one';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION refuse()";

fn with_two_limited_jobs() -> (Database, Client) {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    run(
        &mut client,
        "SELECT minion.limit_task('task', 2), minion.enqueue('task'), minion.enqueue('task')",
    );
    (database, client)
}

#[test]
fn a_session_goes_on_after_an_error_in_a_limited_claim() {
    let (database, mut client) = with_two_limited_jobs();
    // As if somebody cancelled it there: that is not the job's fault.
    run(&mut client, &REFUSE_JOB_1.replace("RAISE 'not this one'", "RAISE query_canceled"));
    run(&mut client, "CREATE TABLE done (id int)");
    let wait = "SELECT id FROM minion.dequeue(1, wait => '1 minute')";
    let error = client.query(wait, &[]).unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(client.one::<i32>("SELECT 1", &[]), 1);
    // What a handler undoes is its own block, not ours.
    let mut client = database.connect();
    run(
        &mut client,
        "DO $$
        BEGIN
            INSERT INTO done VALUES (1);
            PERFORM minion.dequeue(1);
        EXCEPTION WHEN query_canceled THEN
            INSERT INTO done VALUES (2);
        END $$",
    );
    assert_eq!(client.all::<i32>("SELECT id FROM done", &[]), [2]);
    let in_use = "SELECT active FROM minion.limits";
    assert_eq!(client.one::<i64>(in_use, &[]), 0);
}

#[test]
fn savepoints_are_what_they_were_after_errors_in_limited_claims() {
    let (_database, mut client) = with_two_limited_jobs();
    run(
        &mut client,
        "BEGIN READ ONLY;
        SAVEPOINT s;
        DO $$
        BEGIN
            FOR i IN 1..3 LOOP
                BEGIN
                    PERFORM minion.dequeue(1);
                    RAISE 'it was read only';
                EXCEPTION WHEN read_only_sql_transaction THEN
                    NULL;
                END;
            END LOOP;
        END $$;
        ROLLBACK TO s;
        ROLLBACK TO s;
        COMMIT",
    );
    assert_eq!(claim(&mut client), [1]);
    assert_eq!(client.one::<i64>("SELECT active FROM minion.limits", &[]), 1);
}

#[test]
fn a_claim_that_times_out_at_any_moment_leaves_the_session_whole() {
    let (_database, mut client) = with_two_limited_jobs();
    let mut errors = 0;
    for attempt in 0..400 {
        // Without a result, for its own rollback is what gives the job back.
        run(&mut client, &format!("SET statement_timeout = '{}us'", 500 + 10 * attempt));
        let waiting =
            "SELECT id FROM minion.dequeue(1, wait => '20 milliseconds', tasks => '{other,task}')";
        errors += i32::from(client.query(waiting, &[]).is_err());
        // The server may cut this short instead, for the time that was over when the call was, too.
        until("the session goes on", || client.batch_execute("SET statement_timeout = 0").is_ok());
        assert_eq!(client.one::<i32>("SELECT 1", &[]), 1);
        run(&mut client, "UPDATE minion.jobs SET state = 'inactive' WHERE state = 'active'");
    }
    println!("{errors} of 400 calls timed out");
    assert_eq!(client.one::<i64>("SELECT active FROM minion.limits", &[]), 0);
}

#[test]
fn a_job_whose_trigger_raises_is_passed_over_by_each_claim() {
    for limit in ["", "SELECT minion.limit_task('task', 5)"] {
        let database = Database::new();
        let mut client = database.connect();
        client.register();
        run(&mut client, REFUSE_JOB_1);
        run(&mut client, limit);
        run(&mut client, "SELECT minion.enqueue('task') FROM generate_series(1, 4)");
        assert_eq!(claim(&mut client), [2]);
        assert_eq!(claim(&mut client), [3]);
        let all = "SELECT id FROM minion.dequeue(1, max_jobs => 9)";
        assert_eq!(client.all::<i64>(all, &[]), [4]);
        assert_eq!(client.all::<i64>(all, &[]), [0; 0]);
        run(&mut client, "DROP TRIGGER refuse ON minion.jobs");
        assert_eq!(client.all::<i64>(all, &[]), [1]);
    }
}

#[test]
fn a_batch_with_a_job_whose_trigger_raises_is_claimed_without_it() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    run(&mut client, REFUSE_JOB_1);
    run(&mut client, "SELECT minion.enqueue('task') FROM generate_series(1, 1500)");
    let batch = "SELECT id FROM minion.dequeue(1, max_jobs => 1200)";
    let claimed = client.all::<i64>(batch, &[]);
    assert_eq!(claimed, (2..=1201).collect::<Vec<_>>());
}

/// The statements that go on after the claim in them, until they get an advisory lock.
const LONGER: [&str; 5] = [
    "DO $$ BEGIN PERFORM minion.dequeue(1); PERFORM pg_advisory_xact_lock(1); END $$",
    "DO $$
    DECLARE job record;
    BEGIN
        FOR job IN SELECT * FROM minion.dequeue(1) LOOP PERFORM pg_advisory_xact_lock(1); END LOOP;
    END $$",
    "CALL claim_and_go_on()",
    "SELECT claim_and_wait()",
    "WITH claimed AS MATERIALIZED (SELECT count(*) AS jobs FROM minion.dequeue(1))
    SELECT pg_advisory_xact_lock(claimed.jobs) FROM claimed",
];

#[test]
fn a_claim_inside_of_something_longer_holds_few_of_the_due_jobs() {
    const DUE: i64 = 500;
    for statement in LONGER {
        let database = Database::new();
        let (mut client, mut longer) = (database.connect(), database.connect());
        client.register();
        run(
            &mut client,
            "CREATE FUNCTION claim_and_wait() RETURNS void LANGUAGE sql
                AS 'SELECT minion.dequeue(1); SELECT pg_advisory_xact_lock(1)';
            CREATE PROCEDURE claim_and_go_on() LANGUAGE plpgsql
                AS 'BEGIN PERFORM minion.dequeue(1); PERFORM pg_advisory_xact_lock(1); END';
            SELECT minion.enqueue('task', delay => '1 microsecond') FROM generate_series(1, 500);
            SELECT pg_advisory_lock(1)",
        );
        let backend = longer.backend();
        thread::scope(|scope| {
            scope.spawn(move || run(&mut longer, statement));
            let waits = "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'advisory'";
            until("the statement goes on", || client.one(waits, &[&backend]));
            let free = "
                SELECT count(*)
                FROM (SELECT FROM minion.jobs WHERE state = 'inactive' FOR UPDATE SKIP LOCKED) AS job";
            let held = DUE - client.one::<i64>(free, &[]);
            assert!((1..=40).contains(&held), "{held} held by {statement}");
            assert_eq!(client.all::<i64>("SELECT id FROM minion.dequeue(1)", &[]).len(), 1);
            run(&mut client, "SELECT pg_advisory_unlock(1)");
        });
        // One that is a transaction by itself frees them all for those who come after.
        let due = "SELECT count(*) FROM minion.jobs WHERE state = 'inactive' AND parked_until IS NOT NULL";
        claim(&mut client);
        assert_eq!(client.one::<i64>(due, &[]), 0, "after {statement}");
    }
}

/// A place of one limit is not kept for a job that another limit does not let start.
#[test]
fn a_claim_in_vain_inside_of_something_longer_keeps_no_place() {
    let database = Database::new();
    let (mut client, mut longer) = (database.connect(), database.connect());
    client.register();
    run(
        &mut client,
        "SELECT minion.limit_task('task', 1), minion.limit_queue('full', 0);
        SELECT minion.enqueue('task', queue => 'full'), minion.enqueue('task');
        SELECT pg_advisory_lock(1)",
    );
    let backend = longer.backend();
    thread::scope(|scope| {
        scope.spawn(move || {
            let statement = "DO $$
                BEGIN PERFORM minion.dequeue(1, queues => '{full}'); PERFORM pg_advisory_xact_lock(1); END $$";
            run(&mut longer, statement);
        });
        let waits =
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'advisory'";
        until("the block goes on", || client.one(waits, &[&backend]));
        assert_eq!(claim(&mut client), [2]);
        run(&mut client, "SELECT pg_advisory_unlock(1)");
    });
}

#[test]
fn a_dequeue_that_sleeps_is_in_nobodys_way() {
    let database = Database::new();
    let (mut client, mut waiter) = (database.connect(), database.connect());
    client.register();
    let backend = waiter.backend();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            waiter.all::<i64>("SELECT id FROM minion.dequeue(1, wait => '3 minutes')", &[])
        });
        until_waiting(&mut client, backend);
        // It looks again now and then.
        until("no lock on anything of ours is held", || {
            client.one(
                "SELECT count(*) = 0
                FROM pg_locks AS lock
                JOIN pg_class AS relation ON relation.oid = lock.relation
                WHERE lock.pid = $1 AND relation.relnamespace = 'minion'::regnamespace",
                &[&backend],
            )
        });
        run(
            &mut client,
            "BEGIN; LOCK minion.jobs, minion.workers IN ACCESS EXCLUSIVE MODE; COMMIT",
        );
        run(&mut client, "SELECT minion.enqueue('task')");
        assert_eq!(waiting.join().unwrap(), [1]);
    });
}

/// Whoever writes has locked the table for that before he looks into its indexes.
#[test]
fn reindex_beside_all_that_a_queue_does_ends_in_no_deadlock() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        "SELECT minion.limit_task('limited', 2);
        SELECT minion.enqueue('task', unique_key => 'key ' || number) FROM generate_series(1, 50) AS number",
    );
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        for number in 0..4 {
            let mut client = database.connect();
            scope.spawn(move || {
                let worker = client.register();
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("key {}", fastrand::u32(..50));
                    run(
                        &mut client,
                        &format!(
                            "SELECT minion.enqueue('task', unique_key => '{key}');
                            SELECT minion.enqueue('limited', delay => '1 millisecond')"
                        ),
                    );
                    let wait = if number % 2 == 0 { "0" } else { "10 milliseconds" };
                    let claim = format!(
                        "SELECT id, retries FROM minion.dequeue($1, wait => '{wait}', max_jobs => 2)"
                    );
                    for job in client.query(&claim, &[&worker]).unwrap() {
                        let (id, retries): (i64, i32) = (job.get(0), job.get(1));
                        client.one::<bool>("SELECT minion.finish_job($1, $2)", &[&id, &retries]);
                    }
                    run(&mut client, &format!("SELECT minion.receive({worker})"));
                    run(&mut client, &format!("SELECT minion.register_worker({worker})"));
                }
            });
        }
        let mut keeper = database.connect();
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                run(&mut keeper, "SELECT minion.repair()");
                run(&mut keeper, "SELECT minion.retry_jobs(), minion.lock('name', '1 second')");
                run(&mut keeper, "SELECT minion.dispatch_schedules()");
            }
        });
        let stopped = Stop(stop);
        for _ in 0..12 {
            run(&mut client, "REINDEX SCHEMA minion");
        }
        drop(stopped);
    });
}

/// Lets the others end also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
