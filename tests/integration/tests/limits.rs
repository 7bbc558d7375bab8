//! Limits with many workers at once: never more than they say, and never fewer while there are jobs.

use integration::{Ask, Database, PATIENCE, until, until_waiting};
use postgres::Client;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const WORKERS: usize = 16;

/// What a worker does until nothing is left: claims, mostly finishes, sometimes gives back or rolls back.
fn work(
    mut client: Client,
    number: usize,
    active: &AtomicI64,
    most: &AtomicI64,
    stop: &AtomicBool,
) {
    let worker = client.register();
    let mut random = fastrand::Rng::with_seed(number as u64);
    while !stop.load(Ordering::Relaxed) {
        let in_block = random.u32(..4) == 0;
        if in_block {
            client.batch_execute("BEGIN").unwrap();
        }
        let wait = if in_block { "0" } else { "50 milliseconds" };
        let max_jobs = random.i32(1..4);
        let claim = format!(
            "SELECT id, retries FROM minion.dequeue($1, wait => '{wait}', max_jobs => $2, queues => '{{q,r}}')"
        );
        let rows = client.query(&claim, &[&worker, &max_jobs]).unwrap();
        if in_block {
            let end = if random.bool() { "COMMIT" } else { "ROLLBACK" };
            client.batch_execute(end).unwrap();
            if end == "ROLLBACK" {
                continue;
            }
        }
        // From here on they are active for all to see.
        let now = active.fetch_add(rows.len() as i64, Ordering::SeqCst) + rows.len() as i64;
        most.fetch_max(now, Ordering::SeqCst);
        if random.u32(..3) == 0 {
            thread::sleep(Duration::from_millis(random.u64(..3)));
        }
        for row in &rows {
            let (id, retries): (i64, i32) = (row.get(0), row.get(1));
            active.fetch_sub(1, Ordering::SeqCst);
            let end = match random.u32(..5) {
                0 => "SELECT minion.retry_job($1, $2)",
                1 => "SELECT minion.fail_job($1, $2)",
                _ => "SELECT minion.finish_job($1, $2)",
            };
            assert!(client.one::<bool>(end, &[&id, &retries]));
        }
    }
}

#[test]
fn sixteen_workers_never_start_more_than_a_limit_allows_and_leave_nothing_undone() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "SELECT minion.limit_queue('q', 5), minion.limit_task('a', 3), minion.limit_task('b', 1, queue => 'r');
             SELECT minion.enqueue(task, queue => queue)
             FROM unnest('{a,b,c}'::text[]) AS task, unnest('{q,r}'::text[]) AS queue, generate_series(1, 150);",
        )
        .unwrap();
    let (active, most, stop) = (AtomicI64::new(0), AtomicI64::new(0), AtomicBool::new(false));
    let stop_at_end = StopAtEnd(&stop);
    thread::scope(|scope| {
        for number in 0..WORKERS {
            let (client, active, most, stop) = (database.connect(), &active, &most, &stop);
            scope.spawn(move || work(client, number, active, most, stop));
        }
        let over = "
            SELECT count(*) FILTER (WHERE queue = 'q') > 5 OR count(*) FILTER (WHERE task = 'a') > 3
                OR count(*) FILTER (WHERE task = 'b' AND queue = 'r') > 1
            FROM minion.jobs WHERE state = 'active'";
        let left = "SELECT count(*) = 0 FROM minion.jobs WHERE state IN ('inactive', 'active')";
        until("all jobs have ended", || {
            assert!(!client.one::<bool>(over, &[]), "more are active than the limits allow");
            client.one(left, &[])
        });
        drop(stop_at_end);
    });
    // Lane c of queue r has no limit, so that more than those of the others must have been active at once.
    println!("at most {} active at once", most.load(Ordering::SeqCst));
    let in_use = "SELECT coalesce(sum(active), 0)::bigint FROM minion.limits";
    assert_eq!(client.one::<i64>(in_use, &[]), 0, "a place was not given back");
}

/// Lets the workers end also when the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_window_has_more_starts_than_a_limit_allows() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "SELECT minion.limit_task('call', max_starts => 10, per => '400 milliseconds');
             SELECT minion.enqueue('call') FROM generate_series(1, 60)",
        )
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            let mut client = database.connect();
            scope.spawn(move || {
                let worker = client.register();
                let claim = "SELECT id FROM minion.dequeue($1, wait => '1 minute')";
                let left = "SELECT count(*) FROM minion.jobs WHERE state = 'inactive'";
                while client.one::<i64>(left, &[]) > 7 {
                    for id in client.all::<i64>(claim, &[&worker]) {
                        client.one::<bool>("SELECT minion.finish_job($1, 0)", &[&id]);
                    }
                }
            });
        }
    });
    let most = "
        SELECT max(starts)
        FROM (
            SELECT count(*) OVER (ORDER BY started RANGE BETWEEN interval '399 milliseconds' PRECEDING AND CURRENT ROW)
            FROM minion.jobs WHERE started IS NOT NULL
        ) AS windows (starts)";
    assert_eq!(client.one::<i64>(most, &[]), 10);
}

/// A worker that waits gets the job when another one ends, though nobody enqueues anything.
#[test]
fn a_waiting_worker_starts_a_job_when_there_is_room() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = client.register();
    client
        .batch_execute(
            "SELECT minion.limit_task('task', 1);
             SELECT minion.enqueue('task'), minion.enqueue('task', queue => 'other')",
        )
        .unwrap();
    assert_eq!(client.all::<i64>("SELECT id FROM minion.dequeue($1)", &[&worker]), [1]);
    let mut waiter = database.connect();
    let backend = waiter.backend();
    let waiting = thread::spawn(move || {
        waiter.all::<i64>(
            "SELECT id FROM minion.dequeue($1, wait => '1 minute', queues => '{other}')",
            &[&worker],
        )
    });
    until_waiting(&mut client, backend);
    assert!(client.one::<bool>("SELECT minion.finish_job(1, 0)", &[]));
    assert_eq!(waiting.join().unwrap(), [2]);
}

#[test]
fn a_waiting_worker_hears_that_a_queue_is_resumed() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = client.register();
    client
        .batch_execute("SELECT minion.pause_queue('default'); SELECT minion.enqueue('task')")
        .unwrap();
    let mut waiter = database.connect();
    let backend = waiter.backend();
    let waiting = thread::spawn(move || {
        waiter.all::<i64>("SELECT id FROM minion.dequeue($1, wait => '1 minute')", &[&worker])
    });
    until_waiting(&mut client, backend);
    assert!(client.one::<bool>("SELECT minion.resume_queue('default')", &[]));
    assert_eq!(waiting.join().unwrap(), [1]);
}

/// A limit is set while workers are at it: once it is there, and what was active has ended, it holds.
#[test]
fn a_limit_that_is_set_while_jobs_start_and_end_loses_no_place() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute("SELECT minion.enqueue('task', queue => 'q') FROM generate_series(1, 1200)")
        .unwrap();
    let (active, most, stop) = (AtomicI64::new(0), AtomicI64::new(0), AtomicBool::new(false));
    let stop_at_end = StopAtEnd(&stop);
    thread::scope(|scope| {
        for number in 0..6 {
            let (client, active, most, stop) = (database.connect(), &active, &most, &stop);
            scope.spawn(move || work(client, number, active, most, stop));
        }
        let mut limit = 0;
        until("all jobs have ended", || {
            limit = limit % 6 + 1;
            client.execute("SELECT minion.limit_task('task', $1)", &[&limit]).unwrap();
            if limit == 3 {
                client.batch_execute("SELECT minion.limit_task('task')").unwrap();
            }
            let left = "SELECT count(*) = 0 FROM minion.jobs WHERE state IN ('inactive', 'active')";
            client.one(left, &[])
        });
        drop(stop_at_end);
    });
    let in_use = "SELECT count(*) FROM minion.active_slots WHERE job IS NOT NULL";
    assert_eq!(client.one::<i64>(in_use, &[]), 0, "a place was not given back");
}

/// Neither for a job that it waits for nor for one that another limit keeps from starting.
#[test]
fn a_waiting_worker_holds_no_place_that_it_does_not_use() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = client.register();
    client
        .batch_execute(
            "SELECT minion.limit_task('task', 1), minion.limit_task('other', 1), minion.limit_queue('full', 0);
             SELECT minion.enqueue('task', delay => '1 hour'), minion.enqueue('task');
             SELECT minion.enqueue('other', queue => 'full'), minion.enqueue('other')",
        )
        .unwrap();
    let calls = [
        "SELECT id FROM minion.dequeue($1, wait => '3 minutes', id => 1)",
        "SELECT id FROM minion.dequeue($1, wait => '3 minutes', queues => '{full}')",
    ];
    thread::scope(|scope| {
        let mut backends = Vec::new();
        for call in calls {
            let mut waiter = database.connect();
            backends.push(waiter.backend());
            // It is cancelled in the end.
            scope.spawn(move || assert!(waiter.query(call, &[&worker]).is_err()));
        }
        let sleep = "SELECT count(*) = 2 FROM pg_stat_activity WHERE pid = ANY ($1) AND wait_event_type = 'Extension'";
        until("both wait", || client.one(sleep, &[&backends]));
        let mut claimed = Vec::new();
        let begin = Instant::now();
        // They look now and then, and have the places for that moment.
        while claimed.len() < 2 && begin.elapsed() < PATIENCE {
            claimed.extend(client.all::<i64>("SELECT id FROM minion.dequeue($1)", &[&worker]));
        }
        client
            .execute("SELECT pg_cancel_backend(pid) FROM unnest($1::int[]) AS pid", &[&backends])
            .unwrap();
        claimed.sort_unstable();
        assert_eq!(claimed, [2, 4]);
    });
}
