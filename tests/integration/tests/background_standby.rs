//! A standby has no background, and a promotion makes one.

use integration::background::{
    launcher, make_due, shown, until_enqueued, until_served, until_worker, worker, workers,
};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until};
use std::thread;
use std::time::Duration;

#[test]
fn a_standby_has_no_worker_before_it_is_promoted() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let mut one = server.queue("one");
    until_served(&mut one);
    let standby = server.standby();
    // The primary dispatches no more.
    server.set(&["minion.background = off"]);
    server.reload();
    until("the primary's workers are gone", || workers(&mut one) == 0);
    make_due(&mut one, "promoted");
    run(&mut one, "SELECT minion.enqueue('delayed', delay => '1 second')");
    run(&mut one, "CREATE DATABASE two");
    run(&mut server.connect("two"), "CREATE EXTENSION minion");
    let mut client = standby.connect("one");
    let is_there = "SELECT EXISTS (SELECT FROM minion.jobs WHERE task = 'delayed')
        AND EXISTS (SELECT FROM pg_database WHERE datname = 'two')";
    until("the standby is as far", || client.one(is_there, &[]));
    run(&mut client, "SELECT * FROM minion.background_workers");
    thread::sleep(Duration::from_secs(1));
    assert!(launcher(&mut client).is_none());
    assert_eq!(workers(&mut client), 0);
    // A restart of the standby changes nothing.
    drop(client);
    standby.restart();
    let mut client = standby.connect("one");
    thread::sleep(Duration::from_secs(1));
    assert!(launcher(&mut client).is_none());
    assert_eq!(workers(&mut client), 0);

    let mut listener = standby.connect("postgres"); // LISTEN is refused there still
    standby.promote();
    until("it is promoted", || !client.one::<bool>("SELECT pg_is_in_recovery()", &[]));
    until("there is a launcher", || launcher(&mut listener).is_some());
    until_worker(&mut listener, "one");
    until_enqueued(&mut client, "promoted");
    until_served(&mut client);
    until_served(&mut standby.connect("two"));
    let none = "SELECT NOT EXISTS (SELECT FROM minion.jobs WHERE task = 'promoted')";
    assert!(one.one::<bool>(none, &[]));
    assert!(worker(&mut one, "one").is_none());
    // Jobs that time has done with go by themselves.
    run(
        &mut client,
        "INSERT INTO minion.jobs (task, state, finished) VALUES ('old', 'finished', now() - interval '3 days')",
    );
    integration::background::until_no_old(&mut client);
}

#[test]
fn a_restored_base_backup_begins_to_work() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    until_served(&mut one);
    run(&mut one, "ALTER DATABASE one SET minion.background = off");
    make_due(&mut one, "restored");
    let copy = server.standby();
    copy.stop("fast");
    copy.start_promoted();
    let mut one = copy.connect("one");
    run(&mut one, "ALTER DATABASE one RESET minion.background");
    until_enqueued(&mut one, "restored");
}

#[test]
fn a_dump_is_restored_beside_a_worker_as_it_was() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    integration::fill_with_everything(&mut one);
    let was = integration::contents(&mut one);
    let file = server.file("dump");
    for round in 0..3 {
        let name = format!("restored{round}");
        server.empty(&name).close().unwrap();
        server.program("pg_dump", &["--format=custom", "--file", &file, "one"]);
        server.program("pg_restore", &["--exit-on-error", "--dbname", &name, &file]);
        let mut restored = server.connect(&name);
        until("a worker has come", || {
            shown(&mut restored, &name).is_some_and(|one| one.starts > 0)
        });
        thread::sleep(Duration::from_millis(500));
        assert_eq!(integration::contents(&mut restored), was);
        until_served(&mut restored);
    }
}
