//! A worker that finds nothing to do costs nothing. Alone in this file, because the WAL is the cluster's.

use integration::{Ask, Database};
use postgres::Client;

#[test]
fn calls_that_find_nothing_take_no_transaction_id_and_write_no_wal() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = client.register();
    // Jobs of all kinds, none of them for this worker.
    client
        .batch_execute(
            "SELECT minion.enqueue('delayed', delay => '1 day');
             SELECT minion.enqueue('other queue', queue => 'other');
             INSERT INTO minion.jobs (task, state, finished)
             VALUES ('a', 'active', NULL), ('b', 'finished', now()), ('c', 'failed', now());
             INSERT INTO minion.jobs (task, expires) VALUES ('expired', now() - interval '1 day');
             SELECT minion.enqueue('blocked', parents => ARRAY(
                SELECT id FROM minion.jobs WHERE state = 'active'));
             SELECT minion.lock('name', '1 hour')",
        )
        .unwrap();
    for call in [
        "SELECT * FROM minion.dequeue($1)",
        "SELECT * FROM minion.dequeue($1, tasks => '{blocked,delayed,expired}')",
        "SELECT * FROM minion.dequeue($1, queues => '{a,b,c}', max_jobs => 100)",
        "SELECT * FROM minion.dequeue($1, id => 1)",
        "SELECT * FROM minion.dequeue($1, wait => '1 millisecond')",
        "SELECT * FROM minion.dequeue($1, min_priority => 1, queues => '{other}')",
        "SELECT minion.receive($1)",
        "SELECT * FROM minion.list_jobs(before => $1)",
        "SELECT * FROM minion.list_workers(before => $1)",
        "SELECT * FROM minion.list_locks(skip => $1)",
        "SELECT *, $1::bigint FROM minion.stats()",
        "SELECT *, $1::bigint FROM minion.history()",
        "SELECT minion.is_locked('name'), $1::bigint",
    ] {
        costs_nothing(&mut client, call, worker);
    }
}

fn costs_nothing(client: &mut Client, call: &str, worker: i64) {
    // Outside a transaction block a claim goes another way.
    for (begin, commit) in [("", ""), ("BEGIN", "COMMIT")] {
        // The first calls may still tidy pages up, and the server itself writes WAL now and then; what
        // the call itself writes, it writes every time.
        let quiet = (0..50).any(|_| {
            let wal = "SELECT pg_current_wal_insert_lsn()::text";
            client.batch_execute(begin).unwrap();
            let before: String = client.one(wal, &[]);
            client.query(call, &[&worker]).unwrap_or_else(|error| panic!("{call}: {error:?}"));
            let after: String = client.one(wal, &[]);
            if !begin.is_empty() {
                let id = "SELECT pg_current_xact_id_if_assigned()::text";
                assert_eq!(
                    client.one::<Option<String>>(id, &[]),
                    None,
                    "{call} took a transaction id"
                );
            }
            client.batch_execute(commit).unwrap();
            before == after
        });
        assert!(quiet, "{call} writes WAL ({begin})");
    }
}
