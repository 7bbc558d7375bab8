//! Everybody locks the tables in one order, so that who locks them all waits, and does not deadlock.

use integration::{Ask, Database, until};
use postgres::Client;
use std::thread;

fn until_locked_out(client: &mut Client, backend: i32) {
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE pid = $1 AND NOT granted";
    until("it waits for a lock", || client.one(waits, &[&backend]));
}

/// Runs `all` in a session of its own beside a transaction that has used jobs, and that uses the rest as soon as
/// `all` waits for it.
fn beside_one_who_works(database: &Database, all: &'static str) {
    let mut worker = database.connect();
    worker
        .batch_execute(
            "SELECT minion.register_worker();
             SELECT minion.schedule('s', '* * * * *', 'task')",
        )
        .unwrap();
    let mut work = worker.transaction().unwrap();
    work.batch_execute("SELECT minion.enqueue('task')").unwrap();
    let mut other: Client = database.connect();
    let pid: i32 = other.one("SELECT pg_backend_pid()", &[]);
    let other = thread::spawn(move || other.batch_execute(all).map_err(|error| error.to_string()));
    until_locked_out(&mut database.connect(), pid);
    work.batch_execute(
        "SELECT minion.lock('name', '1 minute');
         SELECT minion.dequeue(1);
         SELECT minion.cancel_job(1);
         SELECT minion.receive(1);
         SELECT minion.repair();
         SELECT minion.dispatch_schedules();
         SELECT minion.stats()",
    )
    .unwrap();
    work.commit().unwrap();
    assert_eq!(other.join().unwrap(), Ok(()));
}

#[test]
fn a_reset_waits_for_one_who_has_begun_with_jobs() {
    beside_one_who_works(&Database::new(), "SELECT minion.reset('all')");
}

#[test]
fn an_update_waits_for_one_who_has_begun_with_jobs() {
    beside_one_who_works(&Database::of_version("0.3.0"), "ALTER EXTENSION minion UPDATE");
}

#[test]
fn a_reset_waits_for_each_call_as_a_whole() {
    let database = Database::new();
    let mut worker = database.connect();
    worker.batch_execute("SELECT minion.register_worker()").unwrap();
    for call in [
        "SELECT minion.dequeue(1)",
        "SELECT minion.cancel_job(1)",
        "SELECT minion.repair()",
        "SELECT minion.dispatch_schedules()",
    ] {
        // What a call locks first, it waits for before it has anything else.
        let mut holder = database.connect();
        let mut held = holder.transaction().unwrap();
        held.batch_execute("LOCK TABLE minion.jobs").unwrap();
        let mut caller = database.connect();
        let pid: i32 = caller.one("SELECT pg_backend_pid()", &[]);
        let called = thread::spawn(move || caller.batch_execute(call).is_ok());
        let mut looker = database.connect();
        until_locked_out(&mut looker, pid);
        let has = "SELECT count(*) FROM pg_locks
             WHERE pid = $1 AND granted AND locktype = 'relation' AND mode = 'RowExclusiveLock'";
        assert_eq!(looker.one::<i64>(has, &[&pid]), 0, "{call}");
        held.batch_execute("LOCK TABLE minion.workers, minion.schedules").unwrap();
        held.commit().unwrap();
        assert!(called.join().unwrap(), "{call}");
    }
}

#[test]
fn while_an_update_waits_for_a_dump_jobs_come_and_go() {
    let database = Database::of_version("0.3.0");
    let mut dumper = database.connect();
    let mut dump = dumper.transaction().unwrap();
    dump.batch_execute(
        "LOCK TABLE minion.jobs, minion.schedules, minion.limit_rules IN ACCESS SHARE MODE",
    )
    .unwrap();
    let mut updater = database.connect();
    let pid: i32 = updater.one("SELECT pg_backend_pid()", &[]);
    let update =
        thread::spawn(move || updater.batch_execute("ALTER EXTENSION minion UPDATE").is_ok());
    let mut client = database.connect();
    until_locked_out(&mut client, pid);
    client
        .batch_execute("SET lock_timeout = '10s'; SELECT minion.enqueue('task'); SELECT minion.register_worker()")
        .unwrap();
    assert_eq!(client.one::<i64>("SELECT id FROM minion.dequeue(1)", &[]), 1);
    dump.commit().unwrap();
    assert!(update.join().unwrap());
}
