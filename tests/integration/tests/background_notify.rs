//! With a worker in the background, who listens hears after each burst of jobs, whatever becomes of the worker.

use integration::background::{make_due, until_enqueued, until_served, until_worker, worker};
use integration::heads::run;
use integration::listener::Listener;
use integration::server::Server;
use integration::{Ask, until};
use postgres::Client;
use std::thread;
use std::time::{Duration, Instant};

fn enqueue(client: &mut Client) -> i64 {
    client.one("SELECT minion.enqueue('task')", &[])
}

#[test]
fn a_listener_hears_after_each_burst() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    let mut others: Vec<_> = (0..4).map(|_| server.connect("one")).collect();
    enqueue(&mut one);
    let pid = until_worker(&mut one, "one");
    for round in 0..200 {
        // One after the other, or at once.
        let last = match round % 2 {
            0 => (0..fastrand::u8(1..20)).map(|_| enqueue(&mut one)).max(),
            _ => thread::scope(|scope| {
                let bursts: Vec<_> = others
                    .iter_mut()
                    .map(|client| scope.spawn(|| (0..5).map(|_| enqueue(client)).max()))
                    .collect();
                bursts.into_iter().map(|burst| burst.join().unwrap()).max().unwrap()
            }),
        };
        listener.until_seen(last.expect("a job"));
    }
    // Nobody else notifies while it lives.
    if worker(&mut one, "one") == Some(pid) {
        assert_eq!(listener.by(), pid);
    }
}

#[test]
fn a_listener_hears_after_each_burst_when_the_worker_is_terminated_in_it() {
    let Some(server) = Server::with_background(&[]) else { return };
    let (mut one, mut watch) = (server.queue("one"), server.connect("postgres"));
    let listener = Listener::new(&server, "one");
    for round in 0..100 {
        if round % 4 != 3 {
            enqueue(&mut one);
            until_worker(&mut watch, "one");
        }
        let burst = thread::spawn(move || {
            let last = (0..fastrand::u8(1..30)).map(|_| enqueue(&mut one)).max();
            (one, last.expect("a job"))
        });
        thread::sleep(Duration::from_micros(fastrand::u64(0..8_000)));
        if let Some(pid) = worker(&mut watch, "one") {
            run(&mut watch, &format!("SELECT pg_terminate_backend({pid})"));
        }
        let (client, last) = burst.join().unwrap();
        one = client;
        listener.until_seen(last);
    }
    until_served(&mut one);
}

#[test]
fn a_listener_hears_no_more_often_than_it_is_to() {
    let Some(server) = Server::with_background(&["minion.notify_interval = '200ms'"]) else {
        return;
    };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    until_served(&mut one);
    let pid = until_worker(&mut one, "one");
    let (before, begin) = (listener.notifications(), Instant::now());
    let mut last = 0;
    while begin.elapsed() < Duration::from_secs(2) {
        last = enqueue(&mut one);
    }
    listener.until_seen(last);
    let most = begin.elapsed().as_millis() / 200 + 2;
    let heard = listener.notifications() - before;
    eprintln!("{heard} notifications for {last} jobs");
    if worker(&mut one, "one") == Some(pid) {
        assert!(heard as u128 <= most, "{heard} notifications, {most} at most");
    }
}

#[test]
fn a_listener_hears_of_what_is_committed_in_two_phases() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    for round in 0..20 {
        until_served(&mut one);
        until_worker(&mut one, "one");
        run(&mut one, "BEGIN");
        let id = enqueue(&mut one);
        run(&mut one, "PREPARE TRANSACTION 'one'");
        if round % 2 == 1 {
            until_served(&mut server.connect("one"));
        }
        // From any session of the database.
        run(&mut server.connect("one"), "COMMIT PREPARED 'one'");
        listener.until_seen(id);
    }
}

#[test]
fn a_listener_hears_when_a_delayed_job_comes_due() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    for milliseconds in [1, 10, 100, 300, 1_000, 3_000] {
        let enqueue = "SELECT minion.enqueue('task', delay => $1 * interval '1 millisecond')";
        let id: i64 = one.one(enqueue, &[&f64::from(milliseconds)]);
        listener.until_seen(id);
        // And when it is done from plain SQL.
        let insert = "INSERT INTO minion.jobs (task, delayed)
            VALUES ('task', now() + $1 * interval '1 millisecond') RETURNING id";
        let id: i64 = one.one(insert, &[&f64::from(milliseconds)]);
        listener.until_seen(id);
    }
    // Of what comes due again and again.
    let many = "SELECT max(minion.enqueue('task', delay => number * interval '20 milliseconds'))
        FROM generate_series(1, 100) AS number";
    let last: i64 = one.one(many, &[]);
    listener.until_seen(last);
}

#[test]
fn a_session_that_does_not_notify_is_not_heard() {
    let Some(server) = Server::with_background(&[]) else { return };
    // Also what the worker enqueues, which would be told of at any time later.
    run(&mut server.queue("one"), "ALTER DATABASE one SET minion.notify = off");
    let mut one = server.connect("one");
    let listener = Listener::new(&server, "one");
    until_served(&mut one);
    for _ in 0..10 {
        enqueue(&mut one);
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(listener.notifications(), 0);
    run(&mut one, "SET minion.notify = on");
    let id = enqueue(&mut one);
    listener.until_seen(id);
}

#[test]
fn a_listener_hears_when_the_worker_had_to_wait_for_somebody_else_s_notification() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    until_served(&mut one);
    until_worker(&mut one, "one");
    run(&mut one, "SET synchronous_commit = off");
    // A commit that waits for a standby keeps all others from notifying.
    server.set(&["synchronous_standby_names = 'nobody'"]);
    server.reload();
    let mut holder = server.connect("postgres");
    let pid = holder.backend();
    let notifies = "CREATE TABLE IF NOT EXISTS of_holder (); NOTIFY other";
    let holder = thread::spawn(move || run(&mut holder, notifies));
    let waits =
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep')";
    until("a commit waits", || one.one(waits, &[&pid]));
    let id = enqueue(&mut one);
    // Meanwhile all else goes on.
    make_due(&mut one, "meanwhile");
    until_enqueued(&mut one, "meanwhile");
    assert!(listener.seen() < id);
    server.set(&["synchronous_standby_names = ''"]);
    server.reload();
    listener.until_seen(id);
    holder.join().unwrap();
}

#[test]
fn a_listener_hears_though_workers_take_turns() {
    let settings = ["max_worker_processes = 2", "max_logical_replication_workers = 0"];
    let Some(server) = Server::with_background(&settings) else { return };
    // Each leaves as soon as it has nothing to do.
    thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.queue(name);
                let listener = Listener::new(server, name);
                for _ in 0..25 {
                    thread::sleep(Duration::from_millis(fastrand::u64(0..1_500)));
                    let last = (0..fastrand::u8(1..10)).map(|_| enqueue(&mut client)).max();
                    listener.until_seen(last.expect("a job"));
                }
            });
        }
    });
}

#[test]
fn a_listener_hears_whatever_is_done_to_the_background_meanwhile() {
    let Some(server) = Server::with_background(&[]) else { return };
    let (mut one, mut other) = (server.queue("one"), server.connect("postgres"));
    let listener = Listener::new(&server, "one");
    run(&mut other, "SET statement_timeout = '50ms'");
    for _ in 0..80 {
        let burst = thread::spawn(move || {
            let last = (0..fastrand::u8(1..30)).map(|_| enqueue(&mut one)).max();
            (one, last.expect("a job"))
        });
        thread::sleep(Duration::from_micros(fastrand::u64(0..8_000)));
        match fastrand::u8(0..7) {
            0 => run(&mut other, "ALTER DATABASE one SET minion.background = off"),
            1 => run(&mut other, "ALTER DATABASE one RESET minion.background"),
            2 => server.set(&["minion.background = off"]),
            3 => server.set(&["minion.background = on"]),
            // It fails, for somebody is there.
            4 => drop(other.batch_execute("ALTER DATABASE one RENAME TO another").unwrap_err()),
            5 => run(
                &mut other,
                "BEGIN; ALTER DATABASE one SET minion.notify_interval = '1ms'; ROLLBACK",
            ),
            _ => run(
                &mut other,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'minion launcher'",
            ),
        }
        run(&mut other, "SELECT pg_reload_conf()");
        let (client, last) = burst.join().unwrap();
        one = client;
        listener.until_seen(last);
    }
}

#[test]
fn a_listener_hears_while_somebody_has_another_table_locked() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    let mut holder = server.connect("one");
    make_due(&mut one, "waits");
    for table in ["schedules", "workers", "locks", "limit_rules"] {
        until_served(&mut one);
        run(&mut holder, &format!("BEGIN; LOCK TABLE minion.{table}"));
        if table == "schedules" {
            thread::sleep(Duration::from_secs(2)); // so that the worker may run into it
        }
        run(
            &mut one,
            "INSERT INTO minion.jobs (task, state, finished) VALUES ('old', 'finished', '2000-01-01')",
        );
        for delay in [0, 0, 300] {
            let sql = "SELECT minion.enqueue('task', delay => $1 * interval '1 millisecond')";
            let id: i64 = one.one(sql, &[&f64::from(delay)]);
            listener.until_seen(id);
        }
        run(&mut holder, "ROLLBACK");
    }
}
