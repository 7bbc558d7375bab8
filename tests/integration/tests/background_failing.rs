//! A worker that can't work says why, and does not try all the time.

use integration::background::{
    make_due, shown, until_enqueued, until_none, until_served, until_worker, worker,
};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until};
use postgres::Client;
use std::thread;
use std::time::{Duration, Instant};

/// With traffic, all of which asks for a worker, it is not started again and again.
fn makes_no_tight_loop(server: &Server, client: &mut Client, other: &mut Client, database: &str) {
    let lines = |server: &Server| {
        let log = server.log();
        log.lines()
            .filter(|line| {
                ["ERROR:", "FATAL:", "WARNING:", "LOG:"].iter().any(|kind| line.contains(kind))
            })
            .count()
    };
    let starts = |other: &mut Client| shown(other, database).map_or(0, |one| one.starts);
    let (lines_before, starts_before) = (lines(server), starts(other));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(6) {
        let _ = client.batch_execute("INSERT INTO minion.jobs (task) VALUES ('traffic')");
        thread::sleep(Duration::from_millis(20));
    }
    let (more_lines, more_starts) = (lines(server) - lines_before, starts(other) - starts_before);
    eprintln!("{database}: {more_starts} starts and {more_lines} lines more");
    assert!(more_starts <= 8, "{more_starts} starts");
    assert!(more_lines <= 24, "{more_lines} lines\n{}", server.log());
}

#[test]
fn a_worker_that_fails_at_each_start_shows_why_and_works_again_when_it_can() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let (mut watch, mut other) = (server.connect("postgres"), server.queue("other"));
    let breaks = [
        (
            "ALTER TABLE minion.schedules RENAME COLUMN next_run TO gone",
            "ALTER TABLE minion.schedules RENAME COLUMN gone TO next_run",
            "next_run",
        ),
        (
            "ALTER TABLE minion.workers RENAME TO gone",
            "ALTER TABLE minion.gone RENAME TO workers",
            "minion.workers",
        ),
    ];
    for (number, (damage, repair, why)) in breaks.into_iter().enumerate() {
        let name = format!("one{number}");
        let mut one = server.queue(&name);
        until_served(&mut one);
        run(&mut one, damage);
        if let Some(pid) = worker(&mut watch, &name) {
            run(&mut watch, &format!("SELECT pg_terminate_backend({pid})"));
        }
        run(&mut one, "INSERT INTO minion.jobs (task) VALUES ('traffic')");
        until("the error is shown", || {
            let one = shown(&mut other, &name).expect("it is shown");
            one.failures > 0 && one.last_error.is_some_and(|error| error.contains(why))
        });
        makes_no_tight_loop(&server, &mut one, &mut other, &name);
        // Others don't suffer from it.
        until_served(&mut other);
        run(&mut one, repair);
        until_served(&mut one);
        until("it fails no more", || shown(&mut other, &name).unwrap().failures == 0);
    }
}

#[test]
fn a_worker_that_is_older_than_the_extension_s_sql_stands_still_and_says_so() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let (mut watch, mut other) = (server.connect("postgres"), server.queue("other"));
    let mut one = server.queue("one");
    until_served(&mut one);
    let version: String =
        one.one("SELECT extversion FROM pg_extension WHERE extname = 'minion'", &[]);
    let set = "UPDATE pg_extension SET extversion = '{}' WHERE extname = 'minion'";
    run(&mut one, &set.replace("{}", "99.0.0"));
    if let Some(pid) = worker(&mut watch, "one") {
        run(&mut watch, &format!("SELECT pg_terminate_backend({pid})"));
    }
    let _ = one.batch_execute("INSERT INTO minion.jobs (task) VALUES ('traffic')");
    until("the view says why", || {
        let one = shown(&mut other, "one").expect("it is shown");
        let said = one.activity.into_iter().chain(one.last_error).collect::<String>();
        said.contains("99.0.0")
    });
    makes_no_tight_loop(&server, &mut one, &mut other, "one");
    until_served(&mut other);
    run(&mut one, &set.replace("{}", &version));
    until_served(&mut one);
    until("it fails no more", || shown(&mut other, "one").unwrap().failures == 0);
}

#[test]
fn a_database_that_allows_no_connections_is_left_alone_until_it_does() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let (mut watch, mut other) = (server.connect("postgres"), server.queue("other"));
    let mut one = server.queue("one");
    until_served(&mut one);
    // Also a worker that is there leaves it.
    run(&mut watch, "ALTER DATABASE one ALLOW_CONNECTIONS false");
    until_none(&mut watch, "one");
    makes_no_tight_loop(&server, &mut one, &mut other, "one");
    until_served(&mut other);
    until_none(&mut watch, "one");
    make_due(&mut one, "allowed");
    run(&mut watch, "ALTER DATABASE one ALLOW_CONNECTIONS true");
    until_enqueued(&mut one, "allowed");
    until_served(&mut one);
}

#[test]
fn a_database_that_nobody_can_connect_to_is_not_visited() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    for name in ["invalid", "closed", "template"] {
        server.queue(name).close().unwrap();
    }
    run(&mut one, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'invalid'");
    run(&mut one, "ALTER DATABASE closed ALLOW_CONNECTIONS false");
    run(&mut one, "ALTER DATABASE template IS_TEMPLATE true");
    server.restart();
    let mut one = server.connect("one");
    until_served(&mut one);
    let mut watch = server.connect("postgres");
    for name in ["invalid", "closed", "template", "template0", "template1"] {
        assert!(worker(&mut watch, name).is_none());
        assert!(shown(&mut one, name).is_none_or(|one| one.starts == 0), "{name}");
    }
    assert_eq!(server.complaints(), [""; 0]);
    run(&mut watch, "DROP DATABASE invalid; ");
    run(&mut watch, "ALTER DATABASE closed ALLOW_CONNECTIONS true");
    until_served(&mut server.connect("closed"));
    until_worker(&mut watch, "closed");
}

#[test]
fn a_database_that_is_full_of_connections_has_its_worker_all_the_same() {
    let Some(server) = Server::with_background(&["max_connections = 12"]) else { return };
    let mut watch = server.connect("postgres");
    let mut one = server.queue("one");
    run(&mut watch, "ALTER DATABASE one CONNECTION LIMIT 0");
    let all: Vec<_> = std::iter::from_fn(|| server.try_connect("one").ok()).collect();
    assert!(all.len() > 5);
    for _ in 0..3 {
        if let Some(pid) = worker(&mut watch, "one") {
            run(&mut watch, &format!("SELECT pg_terminate_backend({pid})"));
            until("it ends", || worker(&mut watch, "one") != Some(pid));
        }
        until_served(&mut one);
    }
}
