//! Many databases, and few processes.

use integration::background::{
    launcher, make_due, shown, until_enqueued, until_none, until_served, workers,
};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until};
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use std::fs;
use std::thread;
use std::time::Duration;

/// The processor time that a process has used, in hundredths of a second.
fn used(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    let numbers: Vec<_> = after_name.split_whitespace().collect();
    numbers[11].parse::<u64>().unwrap() + numbers[12].parse::<u64>().unwrap()
}

fn starts(client: &mut Client) -> i64 {
    client.one(
        "SELECT sum(starts)::bigint FROM minion.background_workers WHERE database IS NOT NULL",
        &[],
    )
}

#[test]
fn two_hundred_databases_with_nothing_to_do_cost_nothing() {
    // Nobody else writes WAL.
    let settings = [
        "autovacuum = off",
        "wal_level = minimal",
        "max_wal_senders = 0",
        "checkpoint_timeout = '1h'",
        "max_wal_size = '4GB'",
        "bgwriter_lru_maxpages = 0",
    ];
    let Some(server) = Server::with_background(&settings) else { return };
    let mut client = server.connect("postgres");
    server.queue("original").close().unwrap();
    for number in 0..200 {
        run(&mut client, &format!("CREATE DATABASE one{number} TEMPLATE original"));
    }
    let mut original = server.connect("original");
    for after in ["their creation", "a restart"] {
        let known = "SELECT count(*) FROM minion.background_workers WHERE database IS NOT NULL";
        until("all are known", || original.one::<i64>(known, &[]) == 201);
        let mut quiet = |original: &mut Client| {
            let wal = "SELECT pg_current_wal_insert_lsn()::text";
            let pid = launcher(&mut client).expect("a launcher");
            let before = (original.one::<String>(wal, &[]), starts(original), used(pid));
            if workers(&mut client) > 0 {
                thread::sleep(Duration::from_millis(100));
                return false;
            }
            thread::sleep(Duration::from_secs(5));
            let after = (original.one::<String>(wal, &[]), starts(original), used(pid));
            eprintln!("{before:?} {after:?}");
            workers(&mut client) == 0
                && (&before.0, before.1) == (&after.0, after.1)
                && after.2 - before.2 <= 2
        };
        until(&format!("all is quiet after {after}"), || quiet(&mut original));
        if after == "their creation" {
            original.close().unwrap();
            client.close().unwrap();
            server.restart();
            (client, original) = (server.connect("postgres"), server.connect("original"));
        }
    }
    // And each of them is there when it is needed.
    for number in [0, 100, 199] {
        until_served(&mut server.connect(&format!("one{number}")));
    }
}

#[test]
fn all_databases_get_their_turn_with_one_process_for_all() {
    let settings = ["max_worker_processes = 2", "max_logical_replication_workers = 0"];
    let Some(server) = Server::with_background(&settings) else { return };
    let mut clients: Vec<_> = (0..3).map(|number| server.queue(&format!("one{number}"))).collect();
    for client in &mut clients {
        client.register();
    }
    for round in 0..4 {
        // All have something to do all the time.
        for client in &mut clients {
            let (task, soon) =
                (format!("round {round}"), "now() + number * interval '10 milliseconds'");
            run(
                client,
                &format!(
                    "INSERT INTO minion.jobs (task, delayed)
                     SELECT 'soon', {soon} FROM generate_series(1, 500) AS number"
                ),
            );
            make_due(client, &task);
        }
        for client in &mut clients {
            until_enqueued(client, &format!("round {round}"));
            let id: i64 = client.one("SELECT minion.enqueue('now', priority => 1)", &[]);
            assert_eq!(client.all::<i64>("SELECT id FROM minion.dequeue(1)", &[]), [id]);
            assert!(client.one::<bool>("SELECT minion.finish_job($1, 0)", &[&id]));
        }
    }
    assert_eq!(server.logged("max_worker_processes"), 1, "{}", server.log());
}

#[test]
fn the_view_says_that_there_are_no_processes_left() {
    // One for the launcher, and none for a worker.
    let settings = ["max_worker_processes = 1", "max_logical_replication_workers = 0"];
    let Some(server) = Server::with_background(&settings) else { return };
    let mut clients: Vec<_> = (0..2).map(|number| server.queue(&format!("one{number}"))).collect();
    let mut listener = server.connect("one0");
    run(&mut listener, r#"LISTEN "minion.job""#);
    let said = "SELECT EXISTS (SELECT FROM minion.background_workers
        WHERE activity = 'waits for a process')";
    until("the view says so", || {
        run(&mut clients[0], "SELECT minion.enqueue('task')");
        clients[0].one(said, &[])
    });
    for client in &mut clients {
        client.register();
        run(client, "SELECT minion.enqueue('task', delay => '20 milliseconds')");
        run(client, "SELECT minion.enqueue('parent', priority => 1)");
        let task = "SELECT task FROM minion.dequeue(1, wait => '1 minute', tasks => '{parent}')";
        assert_eq!(client.all::<String>(task, &[]), ["parent"]);
        let task = "SELECT task FROM minion.dequeue(1, wait => '1 minute')";
        assert_eq!(client.all::<String>(task, &[]), ["task"]);
        run(client, "SELECT minion.repair(), minion.dispatch_schedules()");
    }
    until("the listener hears", || {
        run(&mut clients[0], "SELECT minion.enqueue('task')");
        run(&mut listener, "");
        listener.notifications().iter().next().unwrap().is_some()
    });
    assert_eq!(server.logged("max_worker_processes"), 1, "{}", server.log());
    // None at all, not even for the launcher.
    server.set(&["max_worker_processes = 0"]);
    server.restart();
    let mut client = server.connect("one1");
    run(&mut client, "SELECT minion.enqueue('task'), minion.repair()");
    let task = "SELECT task FROM minion.dequeue(1)";
    assert_eq!(client.all::<String>(task, &[]).len(), 1);
    assert!(launcher(&mut client).is_none());
    assert!(shown(&mut client, "one1").is_none_or(|one| one.pid.is_none()));
    until_none(&mut client, "one1");
}
