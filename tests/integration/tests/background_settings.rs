//! What the settings of the background say counts, wherever they are set.

use integration::background::{
    add_old, launcher, make_due, shown, until_enqueued, until_no_old, until_none, until_served,
    until_worker, workers,
};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until};
use postgres::Client;
use postgres::error::SqlState;
use std::thread;
use std::time::Duration;

/// What is due stays, for a moment at least.
fn is_not_served(client: &mut Client, task: &str) {
    make_due(client, task);
    thread::sleep(Duration::from_secs(1));
    let none = "SELECT NOT EXISTS (SELECT FROM minion.jobs WHERE task = $1)";
    assert!(client.one::<bool>(none, &[&task]));
}

#[test]
fn the_background_is_switched_off_and_on_while_the_server_runs() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut watch = server.connect("postgres");
    let (mut one, mut two) = (server.queue("one"), server.queue("two"));
    for round in 0..3 {
        until_served(&mut one);
        until_served(&mut two);
        server.set(&["minion.background = off"]);
        server.reload();
        until("all workers are gone", || workers(&mut watch) == 0);
        let task = format!("round {round}");
        is_not_served(&mut one, &task);
        assert_eq!(workers(&mut watch), 0);
        let mut child = server.queue(&format!("child{round}"));
        is_not_served(&mut child, &task);
        assert_eq!(workers(&mut watch), 0);
        server.set(&["minion.background = on"]);
        server.reload();
        until_enqueued(&mut one, &task);
        until_enqueued(&mut child, &task);
    }
    // Off when the server starts.
    server.set(&["minion.background = off"]);
    server.restart();
    let mut one = server.connect("one");
    is_not_served(&mut one, "restart");
    server.set(&["minion.background = on"]);
    server.reload();
    until_enqueued(&mut one, "restart");
    until("there is a launcher", || launcher(&mut one).is_some());
}

#[test]
fn the_background_is_switched_off_for_one_database() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut watch = server.connect("postgres");
    let (mut one, mut two) = (server.queue("one"), server.queue("two"));
    for round in 0..3 {
        let task = format!("round {round}");
        until_served(&mut one);
        run(&mut watch, "ALTER DATABASE one SET minion.background = off");
        until_none(&mut watch, "one");
        is_not_served(&mut one, &task);
        until_none(&mut watch, "one"); // it may have come to see
        until_served(&mut two);
        let back = [
            "ALTER DATABASE one RESET minion.background",
            "ALTER DATABASE one RESET ALL",
            "ALTER DATABASE one SET minion.background = on",
        ];
        run(&mut watch, back[round]);
        until_enqueued(&mut one, &task);
    }
    run(&mut watch, "ALTER DATABASE one RESET minion.background");
    run(&mut watch, "BEGIN; ALTER DATABASE one SET minion.background = off; ROLLBACK");
    until_served(&mut one);
    // It goes by the setting after a restart as well.
    run(&mut watch, "ALTER DATABASE one SET minion.background = off");
    make_due(&mut one, "restart");
    server.restart();
    let mut one = server.connect("one");
    is_not_served(&mut one, "restart");
    until_served(&mut server.connect("two"));
    run(&mut one, "ALTER DATABASE one RESET minion.background");
    until_enqueued(&mut one, "restart");
}

#[test]
fn an_interval_counts_wherever_it_is_set() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1h'"]) else { return };
    let mut watch = server.connect("postgres");
    let mut one = server.queue("one");
    let old = |client: &mut Client| {
        client.one::<i64>("SELECT count(*) FROM minion.jobs WHERE task = 'old'", &[])
    };
    add_old(&mut one, 100);
    until_served(&mut one);
    assert_eq!(old(&mut one), 100);
    run(&mut watch, "ALTER DATABASE one SET minion.repair_interval = '1s'");
    until_no_old(&mut one);
    run(&mut watch, "ALTER DATABASE one RESET minion.repair_interval");
    until_served(&mut one);
    // What was begun with before the RESET is through.
    let one_hour = "SELECT next_due > now() + interval '50 minutes' OR next_due IS NULL
        FROM minion.background_workers WHERE database = 'one'";
    until("the hour counts again", || one.one(one_hour, &[]));
    add_old(&mut one, 100);
    until_served(&mut one);
    assert_eq!(old(&mut one), 100);
    server.set(&["minion.repair_interval = '1s'"]);
    server.reload();
    until_no_old(&mut one);
    until_worker(&mut watch, "one");
    assert_eq!(shown(&mut one, "one").unwrap().failures, 0);
}

#[test]
fn only_a_superuser_may_switch_the_background_off() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut client = server.queue("one");
    run(&mut client, "CREATE ROLE owner; ALTER DATABASE one OWNER TO owner");
    run(&mut client, "SET SESSION AUTHORIZATION owner");
    for setting in ["background = off", "repair_interval = '1s'", "notify_interval = '1s'"] {
        for sql in ["SET minion.", "ALTER DATABASE one SET minion."] {
            let sql = format!("{sql}{setting}");
            let done = client.batch_execute(&sql);
            if setting.starts_with("background") {
                let error = done.expect_err(&sql);
                let code = error.code();
                assert_eq!(code, Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error:?}");
            }
        }
    }
    run(&mut client, "RESET SESSION AUTHORIZATION");
    until_served(&mut client);
}

#[test]
fn a_launcher_that_was_not_there_when_settings_changed_goes_by_them() {
    let Some(server) = Server::with_background(&[]) else { return };
    let (mut watch, mut one) = (server.connect("postgres"), server.queue("one"));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE backend_type = 'minion launcher'";
    for round in 0..3 {
        until_served(&mut one);
        // It is back in a second.
        run(&mut watch, end);
        server.set(&["minion.background = off"]);
        server.reload();
        until_none(&mut watch, "one");
        server.set(&["minion.background = on"]);
        server.reload();
        make_due(&mut one, &format!("round {round}"));
        until_enqueued(&mut one, &format!("round {round}"));
    }
}
