//! Each call has one good plan, whatever is known of the tables when its session makes it, and however many rows
//! come afterwards: counted in buffers, which do not depend on the machine.

use integration::cost::cost;
use integration::heads::run;
use integration::{Ask, Database};
use postgres::Client;

/// A database in which nobody gathers statistics by himself, and worker 1.
fn database() -> (Database, Client) {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    for table in ["jobs", "children", "workers", "active_slots", "limit_rules", "schedules"] {
        run(&mut client, &format!("ALTER TABLE minion.{table} SET (autovacuum_enabled = off)"));
    }
    (database, client)
}

/// What is known when plans are made.
const NOTHING: &str = "SELECT";
const EMPTY: &str = "VACUUM ANALYZE";

/// The statistics of a full queue, of which nothing is left.
fn of_full_queue_then_emptied(client: &mut Client) {
    run(
        client,
        "INSERT INTO minion.jobs (task, state, worker, finished, expires, unique_key, parents)
         SELECT 'full', (ARRAY['inactive', 'active', 'failed', 'finished']::minion.job_state[])[1 + n % 4], 1,
            now(), now() + interval '1 day', 'full ' || n, CASE WHEN n > 1000 THEN ARRAY[n - 1000]::bigint[] ELSE '{}' END
         FROM generate_series(1, 20000) AS n",
    );
    client.batch_execute("ANALYZE").unwrap();
    run(client, "DELETE FROM minion.jobs");
    client.batch_execute("VACUUM").unwrap();
}

/// Has the session make its plans.
fn plan(client: &mut Client) {
    run(
        client,
        "SELECT minion.enqueue('first', unique_key => 'first');
         SELECT minion.enqueue('second', parents => ARRAY(SELECT max(id) FROM minion.jobs));
         SELECT minion.limit_task('held', 5000);
         SELECT minion.dequeue(1);
         SELECT minion.finish_jobs(array_agg(id), array_agg(retries)) FROM minion.jobs WHERE state = 'active';
         SELECT minion.dequeue(1);
         SELECT minion.fail_job(id, retries) FROM minion.jobs WHERE state = 'active';
         SELECT minion.retry_jobs(), minion.retry_jobs(ids => '{1,2}');
         SELECT minion.remove_jobs(tasks => '{first,second}'), minion.remove_jobs(ids => '{1,2}');
         INSERT INTO minion.jobs (task, state, finished) VALUES ('old', 'finished', '2020-01-01');
         INSERT INTO minion.jobs (task, state, worker) VALUES ('abandoned', 'active', 99);
         SELECT minion.repair();
         DELETE FROM minion.jobs",
    );
}

const JOBS: i64 = 20_000;
const PARENTS: i64 = 2_000;
const HELD: i64 = 2_000;
const FAILED: i64 = 2_000;

/// As many jobs as one call takes, of each kind. Active ones have come without triggers: repair() counts them.
const LOAD: &str = "
    INSERT INTO minion.jobs (task) SELECT 'ready' FROM generate_series(1, 20000);
    INSERT INTO minion.jobs (id, task, state, finished)
    SELECT 1000000 + n, 'parent', 'finished', now() - interval '3 days' FROM generate_series(1, 2000) AS n;
    INSERT INTO minion.jobs (id, task, state, finished, parents)
    SELECT 2000000 + n, 'child', 'finished', now() - interval '3 days', ARRAY[1000001 + n % 2000]
    FROM generate_series(1, 10000) AS n;
    INSERT INTO minion.jobs (id, task, state, finished, unique_key)
    SELECT 3000000 + n, 'failed', 'failed', now(), 'key ' || n FROM generate_series(1, 2000) AS n;
    SET session_replication_role = replica;
    INSERT INTO minion.jobs (id, task, state, worker)
    SELECT 4000000 + n, 'held', 'active', 1 FROM generate_series(1, 2000) AS n;
    SET session_replication_role = origin";

/// In this order: each leaves to the next what that needs.
const CALLS: [(&str, i64); 13] = [
    // Counts read each index once where shared memory does not know them.
    ("SELECT * FROM minion.stats()", 4 * JOBS),
    ("SELECT * FROM minion.list_queues()", 4 * JOBS),
    ("SELECT * FROM minion.history()", 2 * JOBS),
    ("SELECT * FROM minion.list_workers()", HELD + 100),
    (
        "SELECT * FROM minion.list_jobs(ids => ARRAY(SELECT n FROM generate_series(1000001, 1000100) AS n))",
        6_000,
    ),
    (
        "SELECT minion.retry_jobs(ids => ARRAY(SELECT n FROM generate_series(3000001, 3001000) AS n))",
        60 * FAILED,
    ),
    ("SELECT minion.retry_jobs(states => '{failed}', tasks => '{failed}')", 60 * FAILED + 3 * JOBS),
    (
        "SELECT minion.remove_jobs(ids => ARRAY(SELECT n FROM generate_series(3000001, 3000500) AS n))",
        60 * FAILED,
    ),
    // Parents, their children, and those that are held: recounted.
    ("SELECT minion.repair()", 40 * 6 * PARENTS + 60 * HELD + 10 * JOBS),
    ("SELECT * FROM minion.dequeue(1, tasks => '{ready}')", 300),
    ("SELECT * FROM minion.dequeue(1, tasks => '{ready}', max_jobs => 1000)", 60_000),
    (
        "SELECT minion.finish_jobs(ARRAY(SELECT n FROM generate_series(4000001, 4001000) AS n),
            ARRAY(SELECT 0 FROM generate_series(1, 1000)))",
        60 * HELD,
    ),
    ("SELECT minion.dispatch_schedules()", 300),
];

fn check(client: &mut Client) {
    plan(client);
    run(client, LOAD);
    for (call, limit) in CALLS {
        let cost = cost(client, call);
        println!("{cost} buffers (limit {limit}): {call}");
        assert!(cost <= limit, "{cost} buffers, more than {limit}: {call}");
    }
    let held = "SELECT active FROM minion.limits WHERE task = 'held'";
    assert_eq!(client.one::<i64>(held, &[]), HELD - 1_000);
    assert_eq!(client.one::<i64>("SELECT count(*) FROM minion.children", &[]), 0);
}

#[test]
fn plans_are_good_where_nobody_has_gathered_statistics() {
    let (_database, mut client) = database();
    client.batch_execute(NOTHING).unwrap();
    check(&mut client);
}

#[test]
fn plans_are_good_where_statistics_are_of_an_empty_queue() {
    let (_database, mut client) = database();
    client.batch_execute(EMPTY).unwrap();
    check(&mut client);
}

#[test]
fn plans_are_good_where_statistics_are_of_a_full_queue_that_was_emptied() {
    let (_database, mut client) = database();
    of_full_queue_then_emptied(&mut client);
    check(&mut client);
}

/// So many old finished parents of one child that waits for another job.
fn cost_of_kept_parents(count: i32) -> i64 {
    let (_database, mut client) = database();
    plan(&mut client);
    client
        .execute(
            "INSERT INTO minion.jobs (id, task, state, finished)
             SELECT 100 + id, 'parent', 'finished', now() - interval '3 days' FROM generate_series(1, $1) AS id",
            &[&count],
        )
        .unwrap();
    client
        .execute(
            "INSERT INTO minion.jobs (id, task, parents)
             SELECT 99, 'child', ARRAY(SELECT 100 + id FROM generate_series(1, $1) AS id)",
            &[&count],
        )
        .unwrap();
    let cost = cost(&mut client, "SELECT minion.repair()");
    println!("{cost} buffers for {count} parents");
    assert_eq!(client.one::<i64>("SELECT count(*) FROM minion.jobs", &[]), i64::from(count) + 1);
    run(
        &mut client,
        "UPDATE minion.jobs SET state = 'finished', finished = '2020-01-01' WHERE id = 99",
    );
    run(&mut client, "SELECT minion.repair()");
    assert_eq!(client.one::<i64>("SELECT count(*) FROM minion.jobs", &[]), 0);
    cost
}

#[test]
fn the_parents_of_one_unfinished_child_are_asked_for_once_and_not_one_by_one() {
    let (few, many) = (cost_of_kept_parents(2_000), cost_of_kept_parents(40_000));
    // Each is come across, in the index of the old, and in the child's list.
    assert!(many <= 20 * few, "{few} and {many} buffers");
    assert!(many <= 8 * 40_000, "{many} buffers");
}

#[test]
fn repair_looks_at_each_family_once() {
    let cost = |parents: i32| {
        let (_database, mut client) = database();
        plan(&mut client);
        for (first, of) in [(0, 0), (100_000, 5)] {
            client
                .execute(
                    "INSERT INTO minion.jobs (id, task, state, finished, parents)
                     SELECT $2 + id, 'old', 'finished', now() - interval '3 days',
                        CASE WHEN $3 > 0 THEN ARRAY[1 + id % $1]::bigint[] ELSE '{}' END
                     FROM generate_series(1, $1 * GREATEST($3, 1)) AS id",
                    &[&parents, &first, &of],
                )
                .unwrap();
        }
        let cost = cost(&mut client, "SELECT minion.repair()");
        println!("{cost} buffers for {parents} parents");
        assert_eq!(client.one::<i64>("SELECT count(*) FROM minion.jobs", &[]), 0);
        cost
    };
    let (few, many) = (cost(400), cost(4_000));
    assert!(many <= 15 * few, "{few} and {many} buffers");
    // Each of them, and of their children, is found, locked and deleted.
    assert!(many <= 25 * 6 * 4_000, "{many} buffers");
}
