//! Commands that need a database to themselves do not find a worker in their way.

use integration::background::{keep_busy, shown, until_none, until_served, until_worker, worker};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until};
use postgres::Client;
use postgres::error::SqlState;
use std::time::{Duration, Instant};

const TIMES: usize = 20;
const BUSY: &[&str] = &["minion.repair_interval = '1s'"];

/// A database whose worker has much to do, and nobody else in it.
fn busy(server: &Server, name: &str) {
    let mut client = server.queue(name);
    keep_busy(&mut client);
    client.close().unwrap();
    until_worker(&mut server.connect("postgres"), name);
}

/// Runs a command that would fail if a worker were in its way. How long it takes.
fn succeeds(client: &mut Client, sql: &str) -> Duration {
    let begin = Instant::now();
    run(client, sql);
    begin.elapsed()
}

fn print(what: &str, times: &[Duration]) {
    eprintln!("{what}: {:?} at most", times.iter().max());
}

#[test]
fn a_database_is_dropped_while_its_worker_is_busy() {
    let Some(server) = Server::with_background(BUSY) else { return };
    let (mut client, mut other) = (server.connect("postgres"), server.queue("other"));
    let mut times = vec![];
    for number in 0..TIMES {
        for option in ["", " WITH (FORCE)"] {
            let name = format!("one{number}");
            busy(&server, &name);
            times.push(succeeds(&mut client, &format!("DROP DATABASE {name}{option}")));
            until_none(&mut client, &name);
            until("it is not shown", || shown(&mut other, &name).is_none());
        }
    }
    print("DROP DATABASE", &times);
    until_served(&mut other);
}

#[test]
fn a_database_is_renamed_while_its_worker_is_busy() {
    let Some(server) = Server::with_background(BUSY) else { return };
    let (mut client, mut other) = (server.connect("postgres"), server.queue("other"));
    let mut times = vec![];
    busy(&server, "name0");
    for number in 0..TIMES {
        let (old, new) = (format!("name{number}"), format!("name{}", number + 1));
        until_worker(&mut client, &old);
        times.push(succeeds(&mut client, &format!("ALTER DATABASE {old} RENAME TO {new}")));
        until("it is shown as what it is called now", || {
            shown(&mut other, &new).is_some_and(|one| one.pid.is_some())
        });
        assert!(shown(&mut other, &old).is_none());
        let mut now = server.connect(&new);
        keep_busy(&mut now);
        until_served(&mut now);
        now.close().unwrap();
    }
    print("RENAME", &times);
}

#[test]
fn a_database_moves_to_another_tablespace_while_its_worker_is_busy() {
    let Some(server) = Server::with_background(BUSY) else { return };
    let mut client = server.connect("postgres");
    run(&mut client, "CREATE TABLESPACE place LOCATION ''");
    let mut times = vec![];
    busy(&server, "one");
    for number in 0..TIMES {
        let place = ["place", "pg_default"][number % 2];
        until_worker(&mut client, "one");
        let set = format!("ALTER DATABASE one SET TABLESPACE {place}");
        times.push(succeeds(&mut client, &set));
        let mut one = server.connect("one");
        keep_busy(&mut one);
        until_served(&mut one);
        one.close().unwrap();
    }
    print("SET TABLESPACE", &times);
}

#[test]
fn a_database_is_a_template_while_its_worker_is_busy() {
    let Some(server) = Server::with_background(BUSY) else { return };
    let mut client = server.connect("postgres");
    let mut times = vec![];
    busy(&server, "one");
    for number in 0..TIMES {
        until_worker(&mut client, "one");
        let create = format!("CREATE DATABASE copy{number} TEMPLATE one");
        times.push(succeeds(&mut client, &create));
        let mut copy = server.connect(&format!("copy{number}"));
        until_served(&mut copy);
        copy.close().unwrap();
        run(&mut client, &format!("DROP DATABASE copy{number}"));
        let mut one = server.connect("one");
        keep_busy(&mut one);
        until_served(&mut one);
        one.close().unwrap();
    }
    print("TEMPLATE", &times);
}

/// What needs the database one to itself.
const COMMANDS: [&str; 5] = [
    "DROP DATABASE one",
    "DROP DATABASE one WITH (FORCE)",
    "ALTER DATABASE one RENAME TO another",
    "ALTER DATABASE one SET TABLESPACE place",
    "CREATE DATABASE another TEMPLATE one",
];

#[test]
fn a_worker_stays_when_somebody_else_than_the_owner_asks() {
    let Some(server) = Server::with_background(BUSY) else { return };
    let mut client = server.connect("postgres");
    run(&mut client, "CREATE TABLESPACE place LOCATION ''");
    run(&mut client, "CREATE ROLE nobody LOGIN CREATEDB");
    run(&mut client, "GRANT CREATE ON TABLESPACE place TO nobody");
    let mut nobody = server.connect("postgres");
    run(&mut nobody, "SET SESSION AUTHORIZATION nobody");
    busy(&server, "one");
    let mut one = server.connect("one");
    let pid = until_worker(&mut client, "one");
    for sql in COMMANDS.into_iter().chain(["ALTER DATABASE one SET minion.background = off"]) {
        keep_busy(&mut one);
        let error = nobody.batch_execute(sql).expect_err(sql);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error:?}");
        assert_eq!(worker(&mut client, "one"), Some(pid), "{sql}");
    }
    // What is not there, and what is wrong in itself.
    for sql in [
        "DROP DATABASE nothing",
        "DROP DATABASE IF EXISTS nothing",
        "ALTER DATABASE nothing RENAME TO one",
        "CREATE DATABASE one TEMPLATE nothing",
        "BEGIN; DROP DATABASE one",
        "ROLLBACK",
    ] {
        let _ = client.batch_execute(sql);
    }
    until_served(&mut one);
}

#[test]
fn a_worker_comes_back_when_a_command_fails() {
    let Some(server) = Server::with_background(BUSY) else { return };
    let mut client = server.connect("postgres");
    run(&mut client, "CREATE TABLESPACE place LOCATION ''");
    busy(&server, "one");
    // Somebody is in the way, and the command is cancelled, ended, or gives up.
    let mut one = server.connect("one");
    for sql in COMMANDS {
        if sql.contains("FORCE") {
            continue;
        }
        for end in ["SET statement_timeout = '500ms'", "SET statement_timeout = 0"] {
            let mut other = server.connect("postgres");
            run(&mut other, end);
            keep_busy(&mut one);
            until_worker(&mut client, "one");
            let error = other.batch_execute(sql).expect_err(sql);
            let expected = [SqlState::QUERY_CANCELED, SqlState::OBJECT_IN_USE];
            assert!(expected.contains(error.code().unwrap()), "{sql}: {error:?}");
            until_served(&mut one);
        }
        let mut other = server.connect("postgres");
        let pid = other.backend();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let waits = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1";
                until("the command runs", || client.one(waits, &[&pid]));
                run(&mut client, &format!("SELECT pg_terminate_backend({pid})"));
            });
            assert!(other.batch_execute(sql).is_err());
        });
        until_served(&mut one);
    }
}

#[test]
fn a_worker_comes_back_when_a_command_is_rolled_back() {
    let Some(server) = Server::with_background(BUSY) else { return };
    let mut client = server.connect("postgres");
    busy(&server, "one");
    let mut block = server.connect("postgres");
    for end in [
        "ROLLBACK",
        "ROLLBACK TO before; COMMIT",
        "SELECT 1 / 0",
        "SELECT pg_terminate_backend(pg_backend_pid())",
    ] {
        until_worker(&mut client, "one");
        run(&mut block, "BEGIN; SAVEPOINT before");
        run(&mut block, "ALTER DATABASE one RENAME TO another");
        let _ = block.batch_execute(end);
        let _ = block.batch_execute("ROLLBACK");
        if block.is_closed() {
            block = server.connect("postgres");
        }
        let mut one = server.connect("one");
        until_served(&mut one);
        keep_busy(&mut one);
        one.close().unwrap();
    }
    // Twice in one transaction, and others meanwhile.
    until_worker(&mut client, "one");
    let mut other = server.queue("other");
    run(&mut block, "BEGIN; ALTER DATABASE one RENAME TO two");
    until_served(&mut other);
    run(&mut block, "ALTER DATABASE two RENAME TO three; COMMIT");
    until_served(&mut server.connect("three"));
}
