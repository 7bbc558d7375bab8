//! A worker in the background comes and goes with the extension of its database, and with the server.

use integration::background::{
    launcher, make_due, shown, soon, until_enqueued, until_none, until_served, worker,
};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until};
use postgres::Client;

#[test]
fn a_worker_comes_with_the_extension_and_goes_with_it() {
    let Some(server) = Server::with_background(&[]) else { return };
    let (mut watch, mut other) = (server.connect("postgres"), server.queue("other"));
    let mut one = server.empty("one");
    assert!(worker(&mut watch, "one").is_none());
    assert!(shown(&mut other, "one").is_none());
    for drop in [
        "DROP EXTENSION minion",
        "DROP SCHEMA minion CASCADE",
        "DO $$ BEGIN DROP EXTENSION minion CASCADE; END $$",
        "BEGIN; SAVEPOINT one; DROP EXTENSION minion; RELEASE one; COMMIT",
    ] {
        run(&mut one, "CREATE EXTENSION minion");
        // It may have left again by now: there is nothing to do.
        soon("a worker after CREATE EXTENSION", || {
            shown(&mut other, "one").is_some_and(|one| one.starts > 0 && one.failures == 0)
        });
        until_served(&mut one);
        run(&mut one, drop);
        until_none(&mut watch, "one");
        until("it is not shown", || shown(&mut other, "one").is_none());
    }
    assert_eq!(server.complaints(), [""; 0]);
}

#[test]
fn a_worker_outlives_what_is_dropped_and_created_again_or_rolled_back() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut watch = server.connect("postgres");
    let mut one = server.queue("one");
    for sql in [
        "DROP EXTENSION minion; CREATE EXTENSION minion",
        "BEGIN; DROP EXTENSION minion; ROLLBACK",
        "BEGIN; DROP EXTENSION minion; CREATE EXTENSION minion; COMMIT",
        "BEGIN; DROP EXTENSION minion; CREATE EXTENSION minion; ROLLBACK",
        "BEGIN; SAVEPOINT one; DROP EXTENSION minion; ROLLBACK TO one; COMMIT",
        "BEGIN; CREATE TABLE mine (); SAVEPOINT one; DROP EXTENSION minion; CREATE EXTENSION minion; COMMIT",
        "DROP EXTENSION minion; BEGIN; CREATE EXTENSION minion; ROLLBACK; CREATE EXTENSION minion",
    ] {
        until_served(&mut one);
        // One at a time: several in one message would be one transaction.
        for statement in sql.split_inclusive(';') {
            run(&mut one, statement);
        }
        until_served(&mut one);
    }
    run(&mut one, "BEGIN");
    let drops: Vec<_> =
        (0..20).flat_map(|_| ["DROP EXTENSION minion", "CREATE EXTENSION minion"]).collect();
    run(&mut one, &drops.join(";"));
    run(&mut one, "COMMIT");
    until_served(&mut one);
    for sql in drops {
        run(&mut one, sql);
    }
    until_served(&mut one);
    run(&mut one, "DROP EXTENSION minion; BEGIN; CREATE EXTENSION minion; ROLLBACK");
    until_none(&mut watch, "one");
}

/// What is due after a restart is done without anybody's help.
fn due_in_a_moment(client: &mut Client, task: &str) {
    make_due(client, task);
    until_enqueued(client, task);
    let later = "UPDATE minion.schedules SET next_run = now() + interval '4 seconds'";
    run(client, &format!("DELETE FROM minion.jobs; {later}"));
}

#[test]
fn after_a_restart_a_worker_goes_on_by_itself() {
    let Some(server) = Server::with_background(&[]) else { return };
    drop(server.queue("idle"));
    drop(server.empty("none"));
    let mut one = server.queue("one");
    for mode in ["fast", "immediate"] {
        due_in_a_moment(&mut one, "restart");
        server.stop(mode);
        server.start();
        let mut watch = server.connect("postgres");
        soon("a launcher after a restart", || launcher(&mut watch).is_some());
        soon("a worker after a restart", || worker(&mut watch, "one").is_some());
        one = server.connect("one");
        until_enqueued(&mut one, "restart");
        assert!(shown(&mut one, "none").is_none());
    }
}

#[test]
fn after_a_crash_a_worker_goes_on_by_itself() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    for of_postmaster in [false, true] {
        due_in_a_moment(&mut one, "crash");
        server.crash(if of_postmaster { server.postmaster() } else { one.backend() });
        let mut watch = server.connect("postgres");
        soon("a launcher after a crash", || launcher(&mut watch).is_some());
        soon("a worker after a crash", || worker(&mut watch, "one").is_some());
        one = server.connect("one");
        until_enqueued(&mut one, "crash");
    }
}

#[test]
fn an_extension_that_comes_with_a_template_is_found() {
    let Some(server) = Server::with_background(&[]) else { return };
    let (mut watch, mut other) = (server.connect("postgres"), server.queue("other"));
    let mut original = server.queue("original");
    // The setting is the original's own, and not copied with it.
    run(&mut original, "ALTER DATABASE original SET minion.background = off");
    until_none(&mut watch, "original");
    make_due(&mut original, "copied");
    original.close().unwrap();
    run(&mut watch, "CREATE DATABASE copy TEMPLATE original");
    // Nobody connects to it before that.
    until("the copy is found", || shown(&mut other, "copy").is_some());
    until("its worker has begun", || shown(&mut other, "copy").is_some_and(|one| one.starts > 0));
    until_enqueued(&mut server.connect("copy"), "copied");
    let none = "SELECT NOT EXISTS (SELECT FROM minion.jobs)";
    assert!(server.connect("original").one::<bool>(none, &[]));
    run(&mut watch, "DROP DATABASE copy");
    until("the copy is forgotten", || shown(&mut other, "copy").is_none());
    // And with the template of all new databases.
    drop(server.connect("template1").batch_execute("CREATE EXTENSION minion"));
    let mut child = server.empty("child");
    until_served(&mut child);
}
