//! What changes all the time costs no more the more often it has changed, though a held snapshot keeps VACUUM from
//! taking anything away; and what is kept in mind for that hides nothing.

use integration::cost::usual;
use integration::heads::{is_preloaded, run};
use integration::{Ask, Database, until};
use postgres::Client;
use serde_json::Value;

/// The buffers that a call usually looks at.
fn buffers(client: &mut Client, call: &str) -> i64 {
    usual(client, call, "")
}

/// What a call costs at first, and after `often` has been run so many times under a held snapshot.
fn before_and_after(
    client: &mut Client,
    database: &Database,
    call: &str,
    often: &str,
    times: i32,
) -> (i64, i64) {
    run(client, often);
    buffers(client, call);
    let before = buffers(client, call);
    let mut holder = database.connect();
    run(&mut holder, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM minion.locks");
    for _ in 0..times {
        run(client, often);
    }
    let after = buffers(client, call);
    run(&mut holder, "COMMIT");
    (before, after)
}

#[test]
fn a_lock_that_was_taken_thousands_of_times_under_a_held_snapshot_is_as_cheap_as_ever() {
    let database = Database::new();
    let mut client = database.connect();
    let cycle = "SELECT minion.lock('name', '1 hour'); SELECT minion.unlock('name')";
    let call = "SELECT minion.lock('name', '0'), minion.is_locked('name'), minion.unlock('name')";
    let (before, after) = before_and_after(&mut client, &database, call, cycle, 2_000);
    let most = if is_preloaded(&mut client) { 2 * before + 20 } else { 10_000 };
    assert!(after <= most, "{before} buffers, and {after} afterwards");
}

#[test]
fn a_worker_that_was_heard_of_thousands_of_times_under_a_held_snapshot_is_found_as_fast_as_ever() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    // Each with another status, so that each is written.
    let heartbeat =
        "SELECT minion.register_worker(1, status => jsonb_build_object('at', clock_timestamp()))";
    let call = "SELECT * FROM minion.dequeue(1)";
    let (before, after) = before_and_after(&mut client, &database, call, heartbeat, 2_000);
    assert!(after <= 2 * before + 20, "a claim: {before} buffers, and {after} afterwards");
    let after = buffers(&mut client, "SELECT minion.register_worker(1)");
    assert!(after <= 60, "a heartbeat: {after} buffers");
}

#[test]
fn a_heartbeat_right_after_another_writes_nothing_and_a_changed_one_does() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    let version = "SELECT xmin::text || ctid::text FROM minion.workers";
    let beat = |client: &mut Client| -> String {
        run(client, "SELECT minion.register_worker(1)");
        client.one(version, &[])
    };
    // How fast two calls follow each other is not for us to say.
    until("two heartbeats that follow each other closely are one", || {
        beat(&mut client) == beat(&mut client)
    });
    let before = beat(&mut client);
    let status = "SELECT minion.register_worker(1, status => '{\"busy\": true}')";
    run(&mut client, status);
    assert_ne!(client.one::<String>(version, &[]), before);
    assert_eq!(client.one::<Value>("SELECT status FROM minion.workers", &[])["busy"], true);
    // Later it is written, and told.
    run(&mut client, "SELECT pg_sleep(0.05)");
    let notified = "SELECT notified::text FROM minion.workers";
    let told: String = client.one(notified, &[]);
    run(&mut client, status);
    assert_ne!(client.one::<String>(notified, &[]), told);
    // What others have done to the row is not overlooked.
    let mut other = database.connect();
    run(&mut client, status);
    run(&mut other, "SELECT minion.broadcast('stop')");
    run(&mut client, status);
    assert_eq!(client.one::<Value>("SELECT minion.receive(1)", &[])[0][0], "stop");
    run(&mut client, status);
    run(&mut other, "SELECT minion.unregister_worker(1)");
    assert!(client.batch_execute("SELECT * FROM minion.dequeue(1)").is_err());
    run(&mut client, status);
    assert_eq!(client.one::<i64>("SELECT count(*) FROM minion.workers WHERE id = 1", &[]), 1);
    run(&mut client, "SELECT * FROM minion.dequeue(1)");
    // Nor what is undone, and where the row goes then.
    run(&mut client, "BEGIN; SELECT minion.register_worker(1, status => '{\"a\": 1}'); ROLLBACK");
    run(&mut client, status);
    assert_eq!(client.one::<Value>("SELECT status FROM minion.workers", &[])["busy"], true);
    run(&mut client, "VACUUM FULL minion.workers");
    run(&mut client, status);
    run(&mut other, "TRUNCATE minion.workers");
    assert!(client.batch_execute("SELECT * FROM minion.dequeue(1)").is_err());
}

fn holds(client: &mut Client) -> bool {
    !client.one::<bool>("SELECT minion.lock('name', '0')", &[])
}

/// Has it known that nobody before a certain id holds the lock.
fn known(client: &mut Client) {
    for _ in 0..3 {
        run(client, "SELECT minion.lock('name', '1 hour')");
        run(client, "SELECT minion.unlock('name')");
    }
    assert!(!holds(client));
    assert!(!client.one::<bool>("SELECT minion.is_locked('name')", &[]));
}

#[test]
fn no_holder_of_a_lock_is_hidden_however_it_came_to_be() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    let insert = "INSERT INTO minion.locks (id, name, expires) VALUES (-1, 'name', 'infinity')";
    let rename = "INSERT INTO minion.locks (id, name, expires) VALUES (-1, 'other', 'infinity');
        UPDATE minion.locks SET name = 'name' WHERE id = -1";
    let extend = "INSERT INTO minion.locks (id, name, expires) VALUES (-1, 'name', '-infinity');
        SELECT minion.is_locked('name'); UPDATE minion.locks SET expires = 'infinity' WHERE id = -1";
    for made in [insert, rename, extend] {
        known(&mut client);
        run(&mut client, made);
        assert!(holds(&mut client), "{made}");
        assert!(holds(&mut other), "{made}");
        run(&mut other, "SELECT minion.unlock('name')");
        // Also when it was there before it was committed.
        known(&mut client);
        run(&mut other, &format!("BEGIN; {made}"));
        assert!(!client.one::<bool>("SELECT minion.is_locked('name')", &[]));
        assert!(holds(&mut other), "{made}");
        run(&mut other, "COMMIT");
        assert!(holds(&mut client), "{made}");
        run(&mut client, "SELECT minion.unlock('name')");
    }
    // One that is released, but not for good.
    known(&mut client);
    run(&mut client, "SELECT minion.lock('name', '1 hour')");
    for undone in [
        "BEGIN; SELECT minion.unlock('name'), minion.lock('name', '0'); ROLLBACK",
        "BEGIN; SAVEPOINT one; SELECT minion.unlock('name'); SELECT minion.lock('name', '0'),
            minion.lock('name', '1 hour'); ROLLBACK TO one; SELECT minion.lock('name', '0'); COMMIT",
        "BEGIN; DELETE FROM minion.locks; SELECT minion.is_locked('name'); ROLLBACK",
    ] {
        run(&mut client, undone);
        assert!(holds(&mut client) && holds(&mut other), "{undone}");
    }
    run(&mut client, "SELECT minion.unlock('name')");
    // Many names in one transaction.
    known(&mut client);
    let many = "INSERT INTO minion.locks (id, name, expires)
        SELECT -number, CASE number WHEN 200 THEN 'name' ELSE 'name ' || number END, 'infinity'
        FROM generate_series(1, 200) AS number";
    run(&mut other, many);
    assert!(holds(&mut client));
    run(&mut client, "SELECT minion.reset('locks')");
    assert!(!holds(&mut client));
}

#[test]
fn a_holder_that_no_trigger_tells_of_is_found() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    known(&mut client);
    let insert = "INSERT INTO minion.locks (id, name, expires) VALUES (-1, 'name', 'infinity')";
    run(&mut other, &format!("SET session_replication_role = replica; {insert}"));
    until("the lock is held", || holds(&mut client));
    run(&mut client, "SELECT minion.unlock('name')");

    // What lock() itself writes is known without a trigger.
    let both = "SELECT minion.lock('name', '1 hour')::int + minion.lock('name', '1 hour')::int";
    assert_eq!(other.one::<i32>(both, &[]), 1);
    assert!(holds(&mut client) && holds(&mut other));
    run(&mut other, "SELECT minion.unlock('name')");

    known(&mut client);
    run(&mut other, "RESET session_replication_role");
    run(&mut other, &format!("BEGIN; {insert}; PREPARE TRANSACTION '{}'", database.name));
    for _ in 0..3 {
        assert!(!holds(&mut client));
    }
    run(&mut other, &format!("COMMIT PREPARED '{}'", database.name));
    assert!(holds(&mut client));
}

#[test]
fn locks_of_many_names_are_exact_though_they_take_each_others_place() {
    let database = Database::new();
    let mut client = database.connect();
    let each = "SELECT count(*) FROM generate_series(1, 10000) AS number WHERE ";
    for (call, count) in [
        ("minion.lock('name ' || number, '1 hour')", 10_000_i64),
        ("minion.lock('name ' || number, '1 hour')", 0),
        ("minion.unlock('name ' || number)", 10_000),
        ("minion.is_locked('name ' || number)", 0),
        ("minion.lock('name ' || number, '1 hour', 2)", 10_000),
        ("minion.lock('name ' || number, '1 hour', 2)", 10_000),
        ("minion.lock('name ' || number, '1 hour', 2)", 0),
    ] {
        // The server has room for so many locks in one transaction, and no more.
        let mut sum = 0;
        for part in 0..10 {
            let some = format!("{each} number % 10 = {part} AND {call}");
            sum += client.one::<i64>(&some, &[]);
        }
        assert_eq!(sum, count, "{call}");
    }
}

#[test]
fn a_worker_with_rights_by_column_says_that_it_is_there() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    let role = format!("of {}", database.name);
    run(
        &mut client,
        &format!(
            "CREATE ROLE \"{role}\";
             GRANT USAGE ON SCHEMA minion TO \"{role}\";
             GRANT EXECUTE ON FUNCTION minion.register_worker(bigint, text, int, jsonb, bool) TO \"{role}\";
             GRANT SELECT (id), UPDATE (notified, status) ON minion.workers TO \"{role}\";
             SET ROLE \"{role}\""
        ),
    );
    for _ in 0..2 {
        assert_eq!(client.one::<i64>("SELECT minion.register_worker(1)", &[]), 1);
    }
    run(&mut client, &format!("RESET ROLE; DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}
