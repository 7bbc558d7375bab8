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
                'task', '[\"some\", {\"argument\": 1}]', parents => '{1,2}', expire => '1 day')",
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

/// Everything that one statement's calls allocate may live until it ends; the calls of a loop may not.
#[test]
fn many_calls_in_one_statement_need_no_more_memory_than_few() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    let peak = |client: &mut Client, calls: i32| -> i64 {
        client.one(
            "SELECT max(CASE WHEN number % 1000 = 0 THEN (
                SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE number > 0) END)::bigint
             FROM (
                SELECT number,
                    minion.note(-number, '{\"a\": 1}'),
                    minion.finish_job(-number, 0, '[\"a result\"]'),
                    minion.receive(1)
                FROM generate_series(1, $1) AS number
                OFFSET 0
             ) AS call",
            &[&calls],
        )
    };
    let few = peak(&mut client, 5_000);
    let many = peak(&mut client, 50_000);
    assert!(many < few + 45_000, "{few} bytes in 5,000 calls, {many} in 50,000");
}
