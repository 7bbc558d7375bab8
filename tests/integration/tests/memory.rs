//! A worker's connection lives for months.

use integration::{Ask, Database};
use postgres::Client;

#[test]
fn a_backend_needs_no_more_memory_after_many_calls() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = client.register();
    let early = after(&mut client, worker, 5_000);
    let late = after(&mut client, worker, 45_000);
    // The server's own caches come and go by a few blocks; a leak of one byte per call would show.
    assert!(late < early + 45_000, "{early} bytes after 5,000 calls, {late} after 50,000");
}

/// Makes so many calls, in cycles of five, and returns the memory that the backend has now.
fn after(client: &mut Client, worker: i64, calls: usize) -> i64 {
    let enqueue = client
        .prepare(
            "SELECT minion.enqueue(
                'task', '[\"some\", {\"argument\": 1}]', parents => '{-1}', expire => '1 day')",
        )
        .unwrap();
    let dequeue = client.prepare("SELECT id, args FROM minion.dequeue($1)").unwrap();
    let finish = client.prepare("SELECT minion.finish_job($1, 0, '{\"a\": \"result\"}')").unwrap();
    let missing = client.prepare("SELECT minion.finish_jobs('{1,2}', '{7,7}')").unwrap();
    for _ in 0..calls / 5 {
        client.query(&enqueue, &[]).unwrap();
        let job = client.query_one(&dequeue, &[&worker]).unwrap();
        client.query(&finish, &[&job.get::<_, i64>(0)]).unwrap();
        assert!(client.query(&dequeue, &[&worker]).unwrap().is_empty());
        client.query(&missing, &[]).unwrap();
    }
    client.one("SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts", &[])
}

#[test]
fn a_loop_in_one_statement_needs_no_more_memory_after_many_calls() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    // No job is changed in the transaction that made it: the server keeps a list of those.
    client
        .batch_execute(
            "DO $$
             BEGIN
                FOR number IN 1..10000 LOOP
                    PERFORM minion.enqueue('task', args => '[1, 2, 3]');
                    PERFORM minion.dequeue(1, queues => '{empty}');
                    PERFORM minion.note(-number, '{\"a\": 1}');
                    PERFORM minion.finish_job(-number, 0, '[\"a result\"]');
                    PERFORM minion.receive(1);
                    IF number IN (1000, 10000) THEN
                        PERFORM set_config('test.after_' || number, sum(total_bytes)::text, false)
                        FROM pg_backend_memory_contexts;
                    END IF;
                END LOOP;
             END $$",
        )
        .unwrap();
    let mut after = |calls: &str| -> i64 {
        client.one("SELECT current_setting('test.after_' || $1)::bigint", &[&calls])
    };
    let (early, late) = (after("1000"), after("10000"));
    assert!(late < early + 45_000, "{early} bytes after 5,000 calls, {late} after 50,000");
}
