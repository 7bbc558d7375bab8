//! The extension comes and goes under sessions that have used it.

use integration::{Ask, Database};
use postgres::Client;
use postgres::error::SqlState;

/// Uses statements of every kind, so that the session keeps their plans.
fn use_it(client: &mut Client) {
    client
        .batch_execute(
            "SELECT minion.register_worker();
             SELECT minion.enqueue('parent'), minion.enqueue('child', parents => '{1}');
             SELECT minion.dequeue(1), minion.dequeue(1), minion.finish_job(1, 0);
             SELECT minion.dequeue(1), minion.fail_job(2, 0), minion.retry_job(2, 0);
             SELECT minion.remove_job(2), minion.note(1, '{\"a\": 1}');
             SELECT minion.lock('name', '1 hour'), minion.unlock('name'), minion.receive(1);
             SELECT * FROM minion.list_jobs(), minion.stats(), minion.repair();",
        )
        .unwrap();
    let finished = "SELECT finished_jobs FROM minion.stats()";
    assert_eq!(client.one::<i64>(finished, &[]), 1);
}

#[test]
fn a_session_outlives_a_drop_and_a_new_create() {
    let database = Database::new();
    let mut client = database.connect();
    for _ in 0..3 {
        use_it(&mut client);
        client.batch_execute("DROP EXTENSION minion").unwrap();
        let error = client.batch_execute("SELECT minion.enqueue('task')").unwrap_err();
        assert!(
            [Some(&SqlState::UNDEFINED_FUNCTION), Some(&SqlState::INVALID_SCHEMA_NAME),]
                .contains(&error.code())
        );
        client.batch_execute("CREATE EXTENSION minion").unwrap();
    }
    use_it(&mut client);
}

#[test]
fn a_session_outlives_a_drop_and_a_new_create_by_another() {
    let database = Database::new();
    let (mut client, mut admin) = (database.connect(), database.connect());
    use_it(&mut client);
    admin.batch_execute("DROP EXTENSION minion").unwrap();
    let error = client.batch_execute("SELECT minion.enqueue('task')").unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_FUNCTION));
    admin.batch_execute("CREATE EXTENSION minion").unwrap();
    use_it(&mut client);
}

/// Its snapshot does not show which version there is.
#[test]
fn a_transaction_that_is_older_than_the_extension_uses_it() {
    let database = Database::new();
    let (mut client, mut admin) = (database.connect(), database.connect());
    admin.batch_execute("DROP EXTENSION minion").unwrap();
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
    admin.batch_execute("CREATE EXTENSION minion").unwrap();
    assert_eq!(client.one::<i64>("SELECT minion.enqueue('task')", &[]), 1);
    client.batch_execute("COMMIT").unwrap();
    assert_eq!(client.one::<i64>("SELECT inactive_jobs FROM minion.stats()", &[]), 1);
}

#[test]
fn a_drop_that_is_rolled_back_leaves_the_queue_as_it_was() {
    let database = Database::new();
    let mut client = database.connect();
    client.batch_execute("BEGIN; DROP EXTENSION minion; CREATE EXTENSION minion").unwrap();
    use_it(&mut client);
    client.batch_execute("ROLLBACK").unwrap();
    use_it(&mut client);
}

#[test]
fn an_index_that_is_built_anew_is_used_by_sessions_that_knew_the_old_one() {
    let database = Database::new();
    let (mut client, mut admin) = (database.connect(), database.connect());
    use_it(&mut client);
    for rebuild in ["REINDEX TABLE minion.jobs", "VACUUM FULL minion.jobs"] {
        admin.batch_execute(rebuild).unwrap();
    }
    let id: i64 = client.one("SELECT minion.enqueue('task')", &[]);
    assert_eq!(client.one::<i64>("SELECT id FROM minion.dequeue(1)", &[]), id);
}

#[test]
fn the_queues_of_two_databases_are_strangers() {
    let databases = [Database::new(), Database::new()];
    let [mut here, mut there] = databases.each_ref().map(Database::connect);
    here.batch_execute("SELECT minion.register_worker(), minion.enqueue('here')").unwrap();
    // The same name is free there while this transaction holds it here.
    here.batch_execute("BEGIN; SELECT minion.lock('name', '1 day')").unwrap();
    use_it(&mut there);
    here.batch_execute("COMMIT").unwrap();
    assert!(!there.one::<bool>("SELECT minion.is_locked('name')", &[]));
    assert!(there.all::<i64>("SELECT id FROM minion.dequeue(1)", &[]).is_empty());
    assert_eq!(here.one::<String>("SELECT task FROM minion.dequeue(1)", &[]), "here");
    // Dropping one leaves the other alone, the roles that both have included.
    there.batch_execute("DROP EXTENSION minion").unwrap();
    assert_eq!(here.one::<i64>("SELECT minion.enqueue('here')", &[]), 2);
}
