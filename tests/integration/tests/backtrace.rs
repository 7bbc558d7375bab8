//! No backtrace reaches a client, whatever the server's environment says; tools/cluster sets RUST_BACKTRACE there.

use integration::{Ask, Database, until_waiting};
use postgres::Client;
use postgres::error::SqlState;
use std::thread;

/// A variable of the server's environment.
fn variable(client: &mut Client, name: &str) -> String {
    client
        .batch_execute(&format!(
            "CREATE TEMP TABLE shown (value text);
             COPY shown FROM PROGRAM 'echo \"${{{name}-unset}}\"'"
        ))
        .unwrap();
    let value = client.one("SELECT value FROM shown", &[]);
    client.batch_execute("DROP TABLE shown").unwrap();
    value
}

#[test]
fn an_error_has_no_backtrace_in_its_detail() {
    let database = Database::new();
    let mut client = database.connect();
    assert_eq!(variable(&mut client, "RUST_BACKTRACE"), "1");
    let worker = client.register();
    let wait = format!("SELECT minion.dequeue({worker}, wait => '1 hour')");
    for wrong in [
        "SELECT minion.enqueue(NULL)",
        "SELECT minion.enqueue('task', delay => '-1 s')",
        "SELECT minion.dequeue(-1)",
        "SELECT minion.enqueue_many('[{}]')",
        "SELECT minion.next_run('* * * * 99')",
        "INSERT INTO minion.jobs (task, state) VALUES ('task', NULL)",
        "SET statement_timeout = '10ms'; SELECT minion.dequeue(1, wait => '1 hour')",
    ] {
        let error = client.batch_execute(wrong).unwrap_err();
        let error = error.as_db_error().unwrap_or_else(|| panic!("{wrong}: {error:?}"));
        let detail = error.detail().unwrap_or_default();
        assert!(!detail.contains("::") && detail.lines().count() < 2, "{wrong}: {detail}");
        client.batch_execute("RESET statement_timeout").unwrap();
    }
    let backend = client.backend();
    let waiter = thread::spawn(move || client.batch_execute(&wait).unwrap_err());
    let mut other = database.connect();
    until_waiting(&mut other, backend);
    assert!(other.one::<bool>("SELECT pg_cancel_backend($1)", &[&backend]));
    let error = waiter.join().unwrap();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(error.as_db_error().unwrap().detail(), None);
}

#[test]
fn the_environment_is_as_it_was_for_other_extensions() {
    let database = Database::new();
    let mut client = database.connect();
    client.batch_execute("LOAD 'minion'").unwrap();
    assert_eq!(variable(&mut client, "RUST_BACKTRACE"), "1");
    assert_eq!(variable(&mut client, "RUST_LIB_BACKTRACE"), "unset");
}
