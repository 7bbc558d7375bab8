//! Commands on the extension's own tables, beside a worker that is busy: nobody has a deadlock, and the worker
//! goes on.

use integration::background::{
    keep_busy, shown, until_no_old, until_none, until_served, until_worker,
};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, Database, until};
use postgres::Client;

const BUSY: &[&str] =
    &["minion.repair_interval = '1s'", "deadlock_timeout = '50ms'", "log_lock_waits = off"];

fn beside_a_busy_worker(commands: &[&str]) {
    let Some(server) = Server::with_background(BUSY) else { return };
    let mut one = server.queue("one");
    let mut watch = server.connect("postgres");
    for round in 0..8 {
        run(&mut one, "DELETE FROM minion.jobs");
        keep_busy(&mut one);
        run(
            &mut one,
            "SELECT minion.enqueue('task', expire => '100 milliseconds') FROM generate_series(1, 100)",
        );
        until_worker(&mut watch, "one");
        for command in commands {
            if round % 3 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(fastrand::u64(0..300)));
            }
            run(&mut one, command);
        }
        until_no_old(&mut one);
    }
    until_served(&mut one);
    assert_eq!(server.logged("deadlock detected"), 0, "{}", server.log());
}

#[test]
fn a_reindex_of_everything_goes_beside_a_busy_worker() {
    beside_a_busy_worker(&["REINDEX SCHEMA minion", "REINDEX TABLE minion.jobs"]);
}

#[test]
fn a_reindex_without_locks_goes_beside_a_busy_worker() {
    beside_a_busy_worker(&["REINDEX TABLE CONCURRENTLY minion.jobs"]);
}

#[test]
fn a_vacuum_that_rewrites_goes_beside_a_busy_worker() {
    beside_a_busy_worker(&[
        "VACUUM FULL minion.jobs",
        "VACUUM FULL",
        "CLUSTER minion.jobs USING jobs_pkey",
        "ANALYZE",
    ]);
}

#[test]
fn tables_are_altered_and_emptied_beside_a_busy_worker() {
    beside_a_busy_worker(&[
        "ALTER TABLE minion.jobs ADD COLUMN mine int",
        "ALTER TABLE minion.jobs DROP COLUMN mine",
        "CREATE INDEX mine ON minion.jobs (task)",
        "DROP INDEX minion.mine",
        "BEGIN; LOCK TABLE minion.jobs, minion.locks, minion.workers, minion.schedules; COMMIT",
        "SELECT minion.repair(), minion.dispatch_schedules()",
        "SELECT minion.reset('all')",
    ]);
}

#[test]
fn a_role_s_things_are_dropped_beside_a_busy_worker() {
    let Some(server) = Server::with_background(BUSY) else { return };
    let mut watch = server.connect("postgres");
    let mut other = server.queue("other");
    run(&mut watch, "CREATE ROLE owner SUPERUSER LOGIN");
    let mut one = server.empty("one");
    for _ in 0..10 {
        run(
            &mut one,
            "SET SESSION AUTHORIZATION owner; CREATE EXTENSION minion; RESET SESSION AUTHORIZATION",
        );
        keep_busy(&mut one);
        until_worker(&mut watch, "one");
        run(&mut one, "DROP OWNED BY owner CASCADE");
        until_none(&mut watch, "one");
        until("it is not shown", || shown(&mut other, "one").is_none());
    }
    assert_eq!(server.logged("deadlock detected"), 0, "{}", server.log());
}

/// A database with the version before.
fn of_old_version(server: &Server, name: &str) -> Client {
    drop(Database::of_version("0.4.0")); // puts its script where the server finds it
    let mut client = server.empty(name);
    run(&mut client, "CREATE EXTENSION minion VERSION '0.4.0'");
    client
}

#[test]
fn the_extension_is_updated_beside_its_worker() {
    let Some(server) = Server::with_background(BUSY) else { return };
    let mut watch = server.connect("postgres");
    for number in 0..8 {
        let name = format!("one{number}");
        let mut one = of_old_version(&server, &name);
        keep_busy(&mut one);
        run(&mut one, "SELECT minion.enqueue('task') FROM generate_series(1, 100)");
        run(&mut one, "SELECT minion.schedule('task', '@yearly', 'scheduled')");
        run(&mut one, "UPDATE minion.schedules SET next_run = now()");
        run(&mut one, "ALTER EXTENSION minion UPDATE");
        until_worker(&mut watch, &name);
        until_enqueued_and_repaired(&mut one);
        until_served(&mut one);
    }
    assert_eq!(server.logged("deadlock detected"), 0, "{}", server.log());
    assert_eq!(server.complaints(), [""; 0]);
}

fn until_enqueued_and_repaired(client: &mut Client) {
    integration::background::until_enqueued(client, "scheduled");
    until_no_old(client);
    assert_eq!(
        client.one::<i64>("SELECT count(*) FROM minion.jobs WHERE task = 'scheduled'", &[]),
        1
    );
}
