//! The rules that keep shared memory from hiding a job where it has no room for all lanes. These tests take
//! all the room there is, so that others can't run beside them.

use integration::Ask;
use integration::heads::{Queue, claim, prepare, run};
use postgres::Client;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// One of them at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ROOM: Mutex<()> = Mutex::new(());
    ROOM.lock().unwrap_or_else(|failed| failed.into_inner())
}

/// Takes all room that there is for lanes, and leaves it to others.
fn fill(client: &mut Client) {
    let lanes: i64 = client.one(
        "SELECT 2 * coalesce(current_setting('minion.max_lanes', true), '0')::bigint + 2",
        &[],
    );
    let many = "SELECT count(minion.enqueue('task ' || number, queue => 'many'))
        FROM generate_series(1::bigint, $1) AS number";
    assert_eq!(client.one::<i64>(many, &[&lanes]), lanes);
    run(client, "DELETE FROM minion.jobs WHERE queue = 'many'");
    for _ in 0..2 {
        let nothing = "SELECT id FROM minion.dequeue(1, queues => '{many}')";
        assert_eq!(client.all::<i64>(nothing, &[]), [0; 0]);
    }
}

/// There is less room for names of more than 192 bytes.
fn take_all_long_names(client: &mut Client) {
    let names = "INSERT INTO minion.jobs (id, task, queue)
        SELECT 1000 + number, repeat('x', 200) || number, 'many'
        FROM generate_series(1, 64 + current_setting('minion.max_lanes', true)::int / 16) AS number";
    run(client, names);
}

/// Room is looked for once in a second; and then a queue is verified as well.
fn a_second() {
    thread::sleep(Duration::from_millis(1_100));
}

#[test]
fn a_lane_that_has_a_job_is_kept_when_there_is_no_room() {
    let _alone = alone();
    let mut queue = Queue::new();
    queue.enqueue();
    // One lane is kept in any case, and with it what is known of the queue.
    run(&mut queue.other, "BEGIN; SELECT minion.enqueue('kept')");
    for _ in 0..3 {
        a_second();
        let none = "SELECT id FROM minion.dequeue(1, min_priority => 5)";
        assert_eq!(queue.one.all::<i64>(none, &[]), [0; 0]);
        fill(&mut queue.one);
        run(&mut queue.one, "BEGIN");
        assert_eq!(claim(&mut queue.one), [1]);
        run(&mut queue.one, "ROLLBACK");
    }
    run(&mut queue.other, "ROLLBACK");
}

#[test]
fn a_lane_that_a_transaction_has_a_job_for_is_kept_when_there_is_no_room() {
    let _alone = alone();
    let mut queue = Queue::new();
    for _ in 0..3 {
        run(&mut queue.other, "BEGIN");
        let mine: i64 = queue.other.one("SELECT minion.enqueue('task')", &[]);
        assert_eq!(claim(&mut queue.one), [0; 0]);
        assert_eq!(claim(&mut queue.one), [0; 0]);
        a_second();
        fill(&mut queue.one);
        a_second();
        assert_eq!(claim(&mut queue.one), [0; 0]);
        run(&mut queue.other, "COMMIT");
        assert_eq!(claim(&mut queue.one), [mine]);
    }
}

/// More lanes than a transaction notes; what it has for the last one is not noted.
const TOO_MANY: &str = "
    SELECT count(minion.enqueue('task ' || number, queue => 'many', delay => '1 day'))
    FROM generate_series(1, 600) AS number;
    SELECT minion.enqueue('task')";

#[test]
fn a_transaction_with_jobs_for_too_many_lanes_is_heard_of_in_all() {
    let _alone = alone();
    let mut queue = Queue::new();
    let known = queue.enqueue();
    assert_eq!(claim(&mut queue.one), [known]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, &format!("BEGIN; {TOO_MANY}"));
    run(&mut queue.other, "SAVEPOINT before");
    assert_eq!(claim(&mut queue.other), [602]);
    run(&mut queue.other, "ROLLBACK TO before");
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "COMMIT");
    assert_eq!(claim(&mut queue.one), [602]);
}

#[test]
fn a_prepared_transaction_with_jobs_for_too_many_lanes_is_found_when_it_is_committed() {
    let _alone = alone();
    let mut queue = Queue::new();
    prepare(&mut queue, TOO_MANY);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    let commit = format!("COMMIT PREPARED '{}'", queue.database.name);
    run(&mut queue.other, &commit);
    assert_eq!(claim(&mut queue.one), [602]);
}

#[test]
fn a_prepared_transaction_is_in_doubt_whatever_others_make_forgotten() {
    let _alone = alone();
    let mut queue = Queue::new();
    prepare(&mut queue, "SELECT minion.enqueue('task')");
    let mut third = queue.database.connect();
    run(&mut third, &format!("BEGIN; {TOO_MANY}; SELECT minion.remove_job(603); COMMIT"));
    assert_eq!(claim(&mut queue.one), [0; 0]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    let commit = format!("COMMIT PREPARED '{}'", queue.database.name);
    run(&mut queue.other, &commit);
    assert_eq!(claim(&mut queue.one), [2]);
}

#[test]
fn a_transaction_claims_its_own_job_in_a_lane_that_is_not_tracked() {
    let _alone = alone();
    let mut queue = Queue::new();
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    take_all_long_names(&mut queue.other);
    let long = "x".repeat(1_000);
    run(&mut queue.other, "BEGIN");
    assert_eq!(queue.other.one::<i64>("SELECT minion.enqueue($1)", &[&long]), 2);
    assert_eq!(claim(&mut queue.other), [2]);
    run(&mut queue.other, "ROLLBACK");
}

#[test]
fn a_prepared_transaction_with_a_lane_that_is_not_tracked_is_found_when_it_is_committed() {
    let _alone = alone();
    let mut queue = Queue::new();
    take_all_long_names(&mut queue.other);
    let long = "x".repeat(1_000);
    prepare(&mut queue, &format!("SELECT minion.enqueue('{long}')"));
    assert_eq!(claim(&mut queue.one), [0; 0]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    let commit = format!("COMMIT PREPARED '{}'", queue.database.name);
    run(&mut queue.other, &commit);
    assert_eq!(claim(&mut queue.one), [2]);
}
