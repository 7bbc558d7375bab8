//! A standby: what writes is refused as it is in any read-only transaction, what reads goes on, and a promotion
//! makes a queue of it.

use integration::heads::{is_preloaded, run};
use integration::server::Server;
use integration::{Ask, until};
use postgres::error::SqlState;

/// Each of them, whatever is ready.
const WRITES: [&str; 22] = [
    "SELECT * FROM minion.dequeue(1)",
    "SELECT * FROM minion.dequeue(1, tasks => '{limited}')",
    "SELECT * FROM minion.dequeue(1, tasks => '{nothing}')",
    "SELECT * FROM minion.dequeue(1, wait => '1 hour')",
    "SELECT * FROM minion.dequeue(1, tasks => '{nothing}', wait => '1 hour')",
    "SELECT * FROM minion.dequeue(1, id => 1)",
    "DO $$ BEGIN PERFORM minion.dequeue(1, max_jobs => 10); END $$",
    "SELECT minion.enqueue('task')",
    "SELECT minion.enqueue('task', unique_key => 'key')",
    "SELECT minion.enqueue_many('[{\"task\": \"task\"}]')",
    "SELECT minion.finish_job(1, 0)",
    "SELECT minion.fail_job(1, 0)",
    "SELECT minion.retry_job(1, 0)",
    "SELECT minion.remove_job(1)",
    "SELECT minion.note(1, '{}')",
    "SELECT minion.register_worker()",
    "SELECT minion.lock('lock', '1 hour')",
    "SELECT minion.unlock('lock')",
    "SELECT minion.limit_task('task', 1)",
    "SELECT * FROM minion.repair()",
    "SELECT * FROM minion.dispatch_schedules()",
    "SELECT minion.reset('all')",
];

const READS: [&str; 8] = [
    "SELECT count(*) FROM minion.list_jobs()",
    "SELECT count(*) FROM minion.list_workers()",
    "SELECT count(*) FROM minion.list_queues()",
    "SELECT count(*) FROM minion.list_schedules()",
    "SELECT count(*) FROM minion.stats()",
    "SELECT count(*) FROM minion.history()",
    "SELECT count(*) FROM minion.lanes()",
    "SELECT count(*) FROM minion.limits",
];

#[test]
fn a_standby_refuses_what_writes_and_a_promotion_makes_a_queue_of_it() {
    let server = Server::alike();
    let mut primary = server.queue("queue");
    primary.register();
    primary.one::<i64>("SELECT minion.register_worker(attached => true)", &[]);
    run(
        &mut primary,
        "SELECT minion.limit_task('limited', 1), minion.enqueue('task'), minion.enqueue('limited')",
    );
    let standby = server.standby();
    let mut client = standby.connect("queue");
    until("the jobs are there", || {
        client.one::<i64>("SELECT count(*) FROM minion.list_jobs()", &[]) == 2
    });
    // A look that finds no holder of a lock hides none that comes.
    let is_locked = "SELECT minion.is_locked('of the primary')";
    assert!(!client.one::<bool>(is_locked, &[]));
    run(&mut primary, "SELECT minion.lock('of the primary', '1 hour')");
    until("the lock is there", || {
        client.one("SELECT count(*) = 1 FROM minion.locks WHERE name = 'of the primary'", &[])
    });
    assert!(client.one::<bool>(is_locked, &[]));
    for sql in WRITES {
        let error = client.batch_execute(sql).expect_err(sql);
        assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION), "{sql}: {error:?}");
    }
    for sql in READS {
        client.one::<i64>(sql, &[]);
    }
    standby.promote();
    until("it is promoted", || !client.one::<bool>("SELECT pg_is_in_recovery()", &[]));
    let claimed = client.all::<i64>("SELECT id FROM minion.dequeue(1, max_jobs => 2)", &[]);
    assert_eq!(claimed, [1, 2]);
    // The primary's session is none of this server's.
    let removed: i64 = client.one("SELECT workers_removed FROM minion.repair()", &[]);
    assert_eq!(removed, i64::from(is_preloaded(&mut client)));
    assert_eq!(client.all::<i64>("SELECT id FROM minion.workers", &[])[0], 1);
}
