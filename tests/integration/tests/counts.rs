//! stats() and the total of list_jobs() are exact, wherever they come from.

use integration::{Ask, Database};
use postgres::Client;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Each count, by stats() or list_jobs() and by the table itself.
const CHECK: &str = "
    SELECT coalesce(string_agg(what || ': ' || said || ', not ' || counted, '; '), '')
    FROM (
        SELECT 'inactive', inactive_jobs, (SELECT count(*) FROM minion.jobs WHERE state = 'inactive'
            AND (expires IS NULL OR expires > clock_timestamp())) FROM minion.stats()
        UNION ALL SELECT 'active', active_jobs,
            (SELECT count(*) FROM minion.jobs WHERE state = 'active') FROM minion.stats()
        UNION ALL SELECT 'failed', failed_jobs,
            (SELECT count(*) FROM minion.jobs WHERE state = 'failed') FROM minion.stats()
        UNION ALL SELECT 'finished', finished_jobs,
            (SELECT count(*) FROM minion.jobs WHERE state = 'finished') FROM minion.stats()
        UNION ALL SELECT 'delayed', delayed_jobs, (SELECT count(*) FROM minion.jobs
            WHERE state = 'inactive' AND delayed > clock_timestamp()
              AND (expires IS NULL OR expires > clock_timestamp())) FROM minion.stats()
        UNION ALL SELECT 'all', (SELECT total FROM minion.list_jobs(take => 1)),
            (SELECT nullif(count(*), 0) FROM minion.jobs
             WHERE state <> 'inactive' OR expires IS NULL OR expires > clock_timestamp())
        UNION ALL SELECT 'task a in queues', (SELECT total FROM minion.list_jobs(
                take => 1, tasks => '{a}', queues => '{default,other}', states => '{inactive,finished}')),
            (SELECT nullif(count(*), 0) FROM minion.jobs
             WHERE task = 'a' AND queue IN ('default', 'other')
               AND (state = 'finished'
                    OR (state = 'inactive' AND (expires IS NULL OR expires > clock_timestamp()))))
    ) AS count (what, said, counted)
    WHERE said IS DISTINCT FROM counted";

fn check(client: &mut Client, after: &str) {
    assert_eq!(client.one::<String>(CHECK, &[]), "", "after {after}");
}

fn run(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

#[test]
fn counts_follow_every_change() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    client.register();
    check(&mut client, "nothing");
    for change in [
        "SELECT minion.enqueue('a'), minion.enqueue('b'), minion.enqueue('a', queue => 'other')",
        "SELECT minion.enqueue('a', delay => '1 hour'), minion.enqueue('a', delay => '1 hour', expire => '0')",
        "SELECT minion.enqueue('a', parents => '{1}'), minion.enqueue('b', parents => '{1}', delay => '1 hour')",
        "SELECT * FROM minion.dequeue(1, max_jobs => 2)",
        "SELECT minion.finish_job(1, 0), minion.fail_job(2, 0)",
        "SELECT minion.retry_job(2, 0, queue => 'other', delay => '1 minute')",
        "SELECT minion.remove_job(4)",
        "UPDATE minion.jobs SET task = 'a', queue = 'default'",
        "UPDATE minion.jobs SET delayed = now() - interval '1 hour'",
        "UPDATE minion.jobs SET delayed = now() + interval '1 hour' WHERE state = 'inactive'",
        "DELETE FROM minion.jobs WHERE id = 3",
        "SELECT minion.repair()",
        "BEGIN; SELECT minion.enqueue('a'); SAVEPOINT one; SELECT minion.enqueue('a'); SAVEPOINT two;
         SELECT minion.enqueue('b'); DELETE FROM minion.jobs WHERE id = 1; ROLLBACK TO one; COMMIT",
        "BEGIN; SELECT minion.enqueue('a'); SAVEPOINT one; SELECT minion.enqueue('a');
         RELEASE one; ROLLBACK",
        "BEGIN; SAVEPOINT one; SELECT minion.enqueue('a'); SAVEPOINT two; SELECT minion.enqueue('a');
         RELEASE two; ROLLBACK TO one; SELECT minion.enqueue('b'); COMMIT",
        "BEGIN; TRUNCATE minion.jobs; ROLLBACK",
        "BEGIN; TRUNCATE minion.jobs; SELECT minion.enqueue('a'); COMMIT",
        "SELECT count(minion.enqueue('task ' || number)) FROM generate_series(1, 1000) AS number",
        "SELECT minion.reset('all')",
        "DROP EXTENSION minion; CREATE EXTENSION minion; SELECT minion.enqueue('a')",
    ] {
        run(&mut other, change);
        check(&mut client, change);
        check(&mut other, change);
    }
}

#[test]
fn a_transaction_counts_its_own_changes_and_nobody_elses() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    run(&mut client, "SELECT minion.enqueue('a'); SELECT minion.stats()");
    run(&mut other, "BEGIN; SELECT minion.enqueue('a'); SAVEPOINT one; SELECT minion.enqueue('b')");
    check(&mut client, "an enqueue of others that is not committed");
    check(&mut other, "an enqueue of its own");
    run(&mut other, "ROLLBACK TO one");
    check(&mut other, "a rollback to a savepoint");
    run(&mut other, "COMMIT");
    check(&mut client, "the commit");
    // What a fixed snapshot shows is counted in it.
    run(&mut other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    run(&mut client, "SELECT minion.enqueue('a')");
    check(&mut other, "a commit that the snapshot does not see");
    run(&mut other, "ROLLBACK");
}

#[test]
fn a_prepared_transaction_counts_when_it_is_committed() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    run(&mut client, "SELECT minion.enqueue('a'); SELECT minion.stats()");
    run(&mut other, "BEGIN; SET LOCAL minion.notify = off; SELECT minion.enqueue('a')");
    run(&mut other, &format!("PREPARE TRANSACTION '{}'", database.name));
    check(&mut client, "PREPARE TRANSACTION");
    run(&mut other, &format!("COMMIT PREPARED '{}'", database.name));
    check(&mut client, "COMMIT PREPARED");
    check(&mut other, "COMMIT PREPARED");
}

/// The first call counts the table, while others change it all the time.
#[test]
fn a_count_that_others_run_into_is_exact() {
    for round in 0..6 {
        let database = Database::new();
        let done = AtomicBool::new(false);
        let mut client = database.connect();
        let many = "SELECT count(minion.enqueue('a')) FROM generate_series(1, 3000)";
        client.execute(many, &[]).unwrap();
        client.register();
        thread::scope(|scope| {
            for worker in 0..3 {
                let (database, done) = (&database, &done);
                scope.spawn(move || {
                    let mut client = database.connect();
                    let mut random = fastrand::Rng::with_seed(worker);
                    while !done.load(Ordering::Relaxed) {
                        run(
                            &mut client,
                            match random.u32(..5) {
                                0 => "SELECT minion.enqueue('a')",
                                1 => "SELECT minion.finish_job(id, retries) FROM minion.dequeue(1)",
                                2 => "BEGIN; SELECT minion.enqueue('b'); ROLLBACK",
                                3 => "BEGIN; SELECT minion.enqueue('b'); SELECT minion.enqueue('c'); COMMIT",
                                _ => "SELECT minion.fail_job(id, retries) FROM minion.dequeue(1)",
                            },
                        );
                    }
                });
            }
            for _ in 0..20 {
                client.execute("SELECT minion.stats()", &[]).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        check(&mut client, &format!("round {round}"));
    }
}
