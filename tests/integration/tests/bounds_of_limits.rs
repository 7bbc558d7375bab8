//! Claims under limits where dead rows can't be taken away: what shared memory knows hides no free place, and claims stay
//! as cheap as they were.

use integration::cost::usual;
use integration::heads::{Queue, claim, is_preloaded, run};
use integration::{Ask, Database};

const FINISH: &str =
    "SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE state = 'active'";

/// A limit of one active job, which is reached, and two jobs that wait.
fn full() -> Queue {
    let mut queue = Queue::new();
    run(&mut queue.one, "SELECT minion.limit_task('task', 1)");
    for _ in 0..3 {
        queue.enqueue();
    }
    assert_eq!(claim(&mut queue.one), [1]);
    for _ in 0..3 {
        assert_eq!(claim(&mut queue.one), [0; 0]);
    }
    queue
}

/// Nobody is told of what is done where triggers don't fire, and of what plain SQL does to places.
const REPAIR: &str = "SELECT * FROM minion.repair()";

#[test]
fn a_place_that_is_free_is_found_by_others_and_one_whose_release_is_undone_by_nobody() {
    let mut queue = full();
    run(&mut queue.other, &format!("BEGIN; {FINISH}"));
    assert_eq!(claim(&mut queue.one), [0; 0]);
    assert_eq!(claim(&mut queue.other), [2]);
    run(&mut queue.other, "ROLLBACK");
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, &format!("BEGIN; SAVEPOINT s; {FINISH}; ROLLBACK TO s"));
    assert_eq!(claim(&mut queue.other), [0; 0]);
    run(&mut queue.other, &format!("{FINISH}; COMMIT"));
    assert_eq!(claim(&mut queue.one), [2]);
}

#[test]
fn a_place_is_found_when_a_prepared_transaction_that_frees_it_is_committed() {
    let mut queue = full();
    let name = queue.database.name.clone();
    run(&mut queue.other, &format!("BEGIN; SET LOCAL minion.notify = off; {FINISH}"));
    run(&mut queue.other, &format!("PREPARE TRANSACTION '{name}'"));
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, &format!("COMMIT PREPARED '{name}'"));
    assert_eq!(claim(&mut queue.one), [2]);
}

#[test]
fn a_place_that_repair_meets_or_a_higher_limit_adds_is_found() {
    let mut queue = full();
    run(
        &mut queue.other,
        "SET session_replication_role = replica;
         UPDATE minion.jobs SET state = 'finished', finished = now() WHERE state = 'active';
         RESET session_replication_role",
    );
    run(&mut queue.other, REPAIR);
    assert_eq!(claim(&mut queue.one), [2]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "SELECT minion.limit_task('task', 3)");
    assert_eq!(claim(&mut queue.one), [3]);
}

#[test]
fn a_start_that_may_be_sooner_than_was_said_is() {
    let mut queue = Queue::new();
    run(&mut queue.one, "SELECT minion.limit_task('task', max_starts => 1, per => '1 hour')");
    for _ in 0..3 {
        queue.enqueue();
    }
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "UPDATE minion.start_slots SET free_at = now() - interval '1 day'");
    run(&mut queue.other, REPAIR);
    assert_eq!(claim(&mut queue.one), [2]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(
        &mut queue.other,
        "SELECT minion.limit_task('task', max_starts => 1, per => '1 microsecond')",
    );
    assert_eq!(claim(&mut queue.one), [3]);
}

#[test]
fn claims_under_limits_stay_cheap_under_a_held_snapshot() {
    for limit in ["max_active => 10", "max_starts => 10000, per => '1 second'"] {
        let mut queue = Queue::new();
        if !is_preloaded(&mut queue.one) {
            return;
        }
        run(&mut queue.one, &format!("SELECT minion.limit_task('task', {limit})"));
        let dequeue = "SELECT * FROM minion.dequeue(1)";
        let enqueue = format!("{FINISH}; SELECT minion.enqueue('task')");
        let first = usual(&mut queue.one, dequeue, &enqueue);
        let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM minion.jobs";
        run(&mut queue.other, hold);
        for _ in 0..1_500 {
            for call in [
                "SELECT minion.enqueue('task')",
                "SELECT minion.finish_job(id, retries) FROM minion.dequeue(1)",
            ] {
                run(&mut queue.one, call);
            }
        }
        let then = usual(&mut queue.one, dequeue, &enqueue);
        println!("{limit}: {first} buffers, then {then}");
        assert!(then <= first + 40, "{limit}: {first}, {then}");
    }
}

#[test]
fn limits_are_kept_by_a_library_that_is_newer_than_the_extension() {
    let database = Database::of_version("0.3.0");
    let mut client = database.connect();
    client.register();
    run(&mut client, "SELECT minion.limit_task('task', 1)");
    run(&mut client, "SELECT minion.enqueue('task') FROM generate_series(1, 3)");
    for job in 1..=3_i64 {
        assert_eq!(claim(&mut client), [job]);
        assert_eq!(claim(&mut client), [0; 0]);
        run(&mut client, FINISH);
    }
}
