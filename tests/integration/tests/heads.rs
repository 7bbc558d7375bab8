//! The rules that keep shared memory from hiding a job: each test fails when its rule is taken out of
//! src/shared. Without shared memory all of it must be so anyway.

use integration::heads::{Queue, claim, heals, is_preloaded, prepare, run};
use integration::{Ask, Database, PATIENCE, until};
use postgres::Client;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_job_that_somebody_holds_is_not_passed_for_good() {
    let mut queue = Queue::new();
    for _ in 0..3 {
        queue.enqueue();
    }
    run(&mut queue.other, "BEGIN; SELECT minion.note(1, '{\"held\": true}')");
    assert_eq!(claim(&mut queue.one), [2]);
    assert_eq!(claim(&mut queue.one), [3]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "ROLLBACK");
    assert_eq!(claim(&mut queue.one), [1]);
}

#[test]
fn a_claim_that_is_rolled_back_leaves_its_job_to_be_claimed() {
    let mut queue = Queue::new();
    queue.enqueue();
    queue.enqueue();
    run(&mut queue.other, "BEGIN");
    assert_eq!(claim(&mut queue.other), [1]);
    assert_eq!(claim(&mut queue.one), [2]);
    assert_eq!(claim(&mut queue.other), [0; 0]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "ROLLBACK");
    assert_eq!(claim(&mut queue.one), [1]);
}

#[test]
fn a_claim_that_is_rolled_back_to_a_savepoint_leaves_its_job_to_be_claimed() {
    let mut queue = Queue::new();
    queue.enqueue();
    run(&mut queue.other, "BEGIN; SAVEPOINT before");
    assert_eq!(claim(&mut queue.other), [1]);
    assert_eq!(claim(&mut queue.other), [0; 0]);
    run(&mut queue.other, "ROLLBACK TO before");
    assert_eq!(claim(&mut queue.other), [1]);
    run(&mut queue.other, "ROLLBACK");
    assert_eq!(claim(&mut queue.one), [1]);
}

#[test]
fn a_job_that_others_could_not_see_is_found_when_it_is_committed() {
    let mut queue = Queue::new();
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "BEGIN; SELECT minion.enqueue('task')");
    assert_eq!(queue.enqueue(), 2);
    assert_eq!(claim(&mut queue.one), [2]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "COMMIT");
    assert_eq!(claim(&mut queue.one), [1]);
}

#[test]
fn a_transaction_claims_its_own_jobs() {
    let mut queue = Queue::new();
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "BEGIN; SELECT minion.enqueue('task')");
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "SAVEPOINT before; SELECT minion.enqueue('task', priority => 1)");
    assert_eq!(claim(&mut queue.other), [2]);
    run(&mut queue.other, "ROLLBACK TO before");
    assert_eq!(claim(&mut queue.other), [1]);
    run(&mut queue.other, "ROLLBACK");
    assert_eq!(claim(&mut queue.one), [0; 0]);
}

#[test]
fn an_old_snapshot_tells_nothing_about_a_lane() {
    let mut queue = Queue::new();
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    queue.enqueue();
    assert_eq!(claim(&mut queue.other), [0; 0]);
    assert_eq!(claim(&mut queue.one), [1]);
    run(&mut queue.other, "ROLLBACK");
}

#[test]
fn whatever_makes_a_job_ready_is_heard_of() {
    let mut queue = Queue::new();
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    for makes_ready in [
        "SELECT minion.retry_job(1, 0)",
        "SELECT minion.fail_job(1, 1), minion.retry_job(1, 1)",
        "UPDATE minion.jobs SET state = 'inactive'",
        "UPDATE minion.jobs SET attempts = 2; SELECT minion.fail_job(1, 2, retry_delay => '0')",
        "UPDATE minion.jobs SET state = 'inactive', delayed = now() + '1 day';
         UPDATE minion.jobs SET delayed = now()",
        "UPDATE minion.jobs SET state = 'inactive', expires = now() - interval '1 day';
         UPDATE minion.jobs SET expires = NULL",
        "DELETE FROM minion.jobs; INSERT INTO minion.jobs (id, task) VALUES (1, 'task')",
        "TRUNCATE minion.jobs; INSERT INTO minion.jobs (id, task) VALUES (1, 'task')",
        "SELECT minion.reset('all'), minion.register_worker(1); SELECT minion.enqueue('task')",
        "DROP EXTENSION minion; CREATE EXTENSION minion;
         SELECT minion.register_worker(), minion.enqueue('task')",
    ] {
        run(&mut queue.other, makes_ready);
        assert_eq!(claim(&mut queue.one), [1], "{makes_ready}");
        assert_eq!(claim(&mut queue.one), [0; 0], "{makes_ready}");
    }
}

#[test]
fn a_job_that_moves_forward_is_found_there() {
    let mut queue = Queue::new();
    for _ in 0..4 {
        queue.enqueue();
    }
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [2]);
    run(&mut queue.other, "UPDATE minion.jobs SET priority = 9 WHERE id = 4");
    assert_eq!(claim(&mut queue.one), [4]);
    run(&mut queue.other, "UPDATE minion.jobs SET queue = 'another' WHERE id = 3");
    assert_eq!(claim(&mut queue.one), [0; 0]);
    let another: Vec<i64> =
        queue.one.all("SELECT id FROM minion.dequeue(1, queues => '{another}')", &[]);
    assert_eq!(another, [3]);
}

#[test]
fn what_is_undone_leaves_the_jobs_where_they_were() {
    let mut queue = Queue::new();
    queue.enqueue();
    for undone in [
        "BEGIN; TRUNCATE minion.jobs; SELECT * FROM minion.dequeue(1); ROLLBACK",
        "BEGIN; SELECT minion.reset('all'), minion.register_worker(1);
         SELECT * FROM minion.dequeue(1); ROLLBACK",
        "BEGIN; DROP EXTENSION minion; CREATE EXTENSION minion; SELECT minion.register_worker();
         SELECT * FROM minion.dequeue(1); ROLLBACK",
        "BEGIN; DELETE FROM minion.jobs; SELECT * FROM minion.dequeue(1); ROLLBACK",
        "BEGIN; UPDATE minion.jobs SET delayed = now() + '1 day';
         SELECT * FROM minion.dequeue(1); ROLLBACK",
    ] {
        run(&mut queue.other, undone);
        run(&mut queue.one, "BEGIN");
        assert_eq!(claim(&mut queue.one), [1], "{undone}");
        run(&mut queue.one, "ROLLBACK");
    }
}

#[test]
fn a_delayed_job_is_found_when_it_is_due_whoever_looked_before() {
    let mut queue = Queue::new();
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "BEGIN; SELECT minion.enqueue('task', delay => '0.1 s')");
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "COMMIT");
    let begin = Instant::now();
    while claim(&mut queue.one).is_empty() {
        // Less than it takes until the lane is verified.
        assert!(begin.elapsed() < Duration::from_millis(800));
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_transaction_with_jobs_for_very_many_lanes_is_heard_of_in_all() {
    let mut queue = Queue::new();
    let everywhere =
        "SELECT id FROM minion.dequeue(1, queues => '{default,many}', max_jobs => 500)";
    assert_eq!(queue.one.all::<i64>(everywhere, &[]), [0; 0]);
    let many = "SELECT count(minion.enqueue('task ' || number, queue => 'many'))
        FROM generate_series(1, 300) AS number";
    run(&mut queue.other, "BEGIN");
    assert_eq!(queue.other.one::<i64>(many, &[]), 300);
    assert_eq!(queue.one.all::<i64>(everywhere, &[]), [0; 0]);
    assert_eq!(queue.other.all::<i64>(everywhere, &[]).len(), 300);
    run(&mut queue.other, "ROLLBACK");
    assert_eq!(queue.other.one::<i64>(many, &[]), 300);
    assert_eq!(queue.one.all::<i64>(everywhere, &[]).len(), 300);
}

#[test]
fn lanes_with_very_long_names_work_as_well() {
    let mut queue = Queue::new();
    let long = "x".repeat(1_000);
    let claim = "SELECT id FROM minion.dequeue(1, queues => ARRAY[$1])";
    assert_eq!(queue.one.all::<i64>(claim, &[&long]), [0; 0]);
    for (task, id) in [(&long, 1), (&"short".to_owned(), 2)] {
        let enqueue = "SELECT minion.enqueue($1, queue => $2)";
        assert_eq!(queue.other.one::<i64>(enqueue, &[task, &long]), id);
        assert_eq!(queue.one.all::<i64>(claim, &[&long]), [id]);
    }
    let tracked =
        "SELECT count(*) FROM minion.lanes() WHERE queue = $1 AND task = ANY (ARRAY[$1, 'short'])";
    let lanes: i64 = queue.one.one(tracked, &[&long]);
    assert_eq!(lanes, if is_preloaded(&mut queue.one) { 2 } else { 0 });
    // A long lane in a queue whose other lanes are short.
    queue.enqueue();
    assert_eq!(self::claim(&mut queue.one), [3]);
    run(&mut queue.other, "BEGIN");
    assert_eq!(queue.other.one::<i64>("SELECT minion.enqueue($1)", &[&long]), 4);
    assert_eq!(self::claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "COMMIT");
    assert_eq!(self::claim(&mut queue.one), [4]);
}

#[test]
fn a_prepared_transaction_is_found_when_it_is_committed() {
    let mut queue = Queue::new();
    assert_eq!(claim(&mut queue.one), [0; 0]);
    let name = queue.database.name.clone();
    run(&mut queue.other, "BEGIN; SET LOCAL minion.notify = off; SELECT minion.enqueue('task')");
    run(&mut queue.other, &format!("PREPARE TRANSACTION '{name}'"));
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [2]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, &format!("COMMIT PREPARED '{name}'"));
    assert_eq!(claim(&mut queue.one), [1]);
}

#[test]
fn what_nobody_tells_of_is_found_after_a_moment() {
    let mut queue = Queue::new();
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    // As a subscriber of logical replication gets them, in a lane that is known and in one that is not.
    run(
        &mut queue.other,
        "SET session_replication_role = replica;
         INSERT INTO minion.jobs (id, task) VALUES (7, 'task'), (8, 'new task')",
    );
    let mut found = Vec::new();
    until("the jobs are found", || {
        found.extend(claim(&mut queue.one));
        found.len() == 2
    });
    found.sort_unstable();
    assert_eq!(found, [7, 8]);
    if is_preloaded(&mut queue.one) {
        assert!(heals(&mut queue.one) >= 1);
    }
}

#[test]
fn what_nobody_tells_of_is_found_by_one_who_seldom_looks() {
    let mut queue = Queue::new();
    for task in ["a", "b", "c"] {
        queue.one.execute("SELECT minion.enqueue($1)", &[&task]).unwrap();
        assert_eq!(claim(&mut queue.one).len(), 1);
    }
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(
        &mut queue.other,
        "SET session_replication_role = replica;
         INSERT INTO minion.jobs (id, task) VALUES (7, 'a')",
    );
    // Each look verifies the queue and one of its three lanes.
    let found = (0..5).any(|_| {
        thread::sleep(Duration::from_millis(1_100));
        claim(&mut queue.one) == [7]
    });
    assert!(found);
}

#[test]
fn what_row_level_security_hides_from_one_is_not_hidden_from_all() {
    let mut queue = Queue::new();
    queue.enqueue();
    let role = format!("seldom_{}", queue.database.name);
    run(
        &mut queue.one,
        &format!(
            "CREATE ROLE {role}; GRANT minion_worker TO {role};
             ALTER TABLE minion.jobs ENABLE ROW LEVEL SECURITY;
             CREATE POLICY nothing ON minion.jobs TO {role} USING (queue = 'another')"
        ),
    );
    run(&mut queue.other, &format!("SET ROLE {role}"));
    assert_eq!(claim(&mut queue.other), [0; 0]);
    assert_eq!(claim(&mut queue.one), [1]);
    run(&mut queue.other, "RESET ROLE");
    run(&mut queue.one, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// One claims without a pause, so that its looks and the commits meet in every way they can.
#[test]
fn a_job_that_is_committed_while_others_look_is_claimed_at_once() {
    let queue = Queue::new();
    let claimed = AtomicI64::new(0);
    let (database, claimed) = (&queue.database, &claimed);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                let mut client = database.connect();
                while claimed.load(Ordering::Relaxed) >= 0 {
                    for id in claim(&mut client) {
                        claimed.fetch_max(id, Ordering::Relaxed);
                    }
                }
            });
        }
        let mut client = database.connect();
        for _ in 0..3_000 {
            let id: i64 = client.one("SELECT minion.enqueue('task')", &[]);
            let begin = Instant::now();
            while claimed.load(Ordering::Relaxed) < id {
                assert!(begin.elapsed() < PATIENCE, "job {id} is not claimed");
                thread::yield_now();
            }
        }
        claimed.store(i64::MIN, Ordering::Relaxed);
        // A job that was passed over is only found when its lane is verified. One may be found in the moment
        // between its commit and the news of it.
        assert!(heals(&mut client) <= 1);
    });
}

#[test]
fn operators_see_what_shared_memory_knows() {
    let mut queue = Queue::new();
    let lanes = "SELECT queue || ' ' || task || coalesce(' ' || id, '') || CASE WHEN is_empty THEN ' empty' ELSE '' END
        FROM minion.lanes() WHERE database = current_database() ORDER BY 1";
    if !is_preloaded(&mut queue.one) {
        queue.enqueue();
        assert_eq!(claim(&mut queue.one), [1]);
        assert_eq!(queue.one.all::<String>(lanes, &[]), [""; 0]);
        return;
    }
    for _ in 0..2 {
        queue.enqueue();
    }
    assert_eq!(queue.one.all::<String>(lanes, &[]), ["default task"]);
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(queue.one.all::<String>(lanes, &[]), ["default task 1"]);
    assert_eq!(claim(&mut queue.one), [2]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    assert_eq!(queue.one.all::<String>(lanes, &[]), ["default task empty"]);
}

#[test]
fn a_transaction_claims_its_own_job_when_it_is_due() {
    let mut queue = Queue::new();
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.other, "BEGIN; SELECT minion.enqueue('task', delay => '0.05 s')");
    run(&mut queue.other, "SELECT pg_sleep(0.1)");
    assert_eq!(claim(&mut queue.other), [2]);
    run(&mut queue.other, "ROLLBACK");
}

#[test]
fn what_a_claim_does_not_want_is_left_to_others() {
    let mut queue = Queue::new();
    queue.enqueue();
    let better = "SELECT id FROM minion.dequeue(1, min_priority => 5)";
    assert_eq!(queue.other.all::<i64>(better, &[]), [0; 0]);
    assert_eq!(queue.other.all::<i64>(better, &[]), [0; 0]);
    assert_eq!(claim(&mut queue.one), [1]);
}

/// In a transaction block a claim leaves it where it is.
#[test]
fn a_ready_job_that_can_not_run_is_found_when_it_can() {
    let mut queue = Queue::new();
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    run(
        &mut queue.one,
        "SELECT minion.finish_job(1, 0); SELECT minion.enqueue('task', parents => '{1}')",
    );
    run(&mut queue.one, "SELECT minion.retry_job(1, 0, delay => '1 day')");
    run(&mut queue.other, "BEGIN");
    assert_eq!(claim(&mut queue.other), [0; 0]);
    run(&mut queue.other, "COMMIT");
    run(&mut queue.one, "UPDATE minion.jobs SET state = 'finished' WHERE id = 1");
    assert_eq!(claim(&mut queue.one), [2]);
}

/// A statement's own snapshot may be older than what shared memory said when the claim began.
#[test]
fn a_claim_in_a_statement_that_began_before_the_commit_finds_the_job() {
    let mut queue = Queue::new();
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(&mut queue.one, "SELECT pg_advisory_lock(1)");
    let backend = queue.other.backend();
    let Queue { one, other, .. } = &mut queue;
    thread::scope(|scope| {
        let late = scope.spawn(|| {
            let claim = "SELECT job.id
                FROM (SELECT pg_advisory_lock(1)::text AS held OFFSET 0) AS late,
                    LATERAL minion.dequeue(1 + length(late.held)) AS job";
            other.all::<i64>(claim, &[])
        });
        let waits =
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'";
        until("the statement waits", || one.one(waits, &[&backend]));
        run(one, "SELECT minion.enqueue('task')");
        run(one, "SELECT pg_advisory_unlock(1)");
        assert_eq!(late.join().unwrap(), [2]);
    });
}

#[test]
fn of_several_jobs_of_a_transaction_the_best_and_the_first_count() {
    let mut queue = Queue::new();
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(
        &mut queue.other,
        "BEGIN; SELECT minion.enqueue('task', priority => 1); SELECT minion.enqueue('task'); COMMIT",
    );
    assert_eq!(claim(&mut queue.one), [2]);
    assert_eq!(claim(&mut queue.one), [3]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    for delays in [["0.1 s", "1 day"], ["1 day", "0.1 s"]] {
        for between in ["", "COMMIT; BEGIN;"] {
            let [first, second] =
                delays.map(|delay| format!("SELECT minion.enqueue('task', delay => '{delay}');"));
            run(&mut queue.other, &format!("BEGIN; {first} {between} {second} COMMIT"));
            until("the first job is found", || !claim(&mut queue.one).is_empty());
        }
    }
    assert_eq!(heals(&mut queue.one), 0, "found only because the lane was verified");
}

#[test]
fn a_prepared_transaction_is_in_doubt_until_it_has_ended() {
    let mut queue = Queue::new();
    prepare(&mut queue, "SELECT minion.enqueue('task')");
    // The lane is verified meanwhile.
    for _ in 0..3 {
        assert_eq!(claim(&mut queue.one), [0; 0]);
        thread::sleep(Duration::from_millis(1_100));
        assert_eq!(claim(&mut queue.one), [0; 0]);
        assert_eq!(claim(&mut queue.one), [0; 0]);
    }
    let commit = format!("COMMIT PREPARED '{}'", queue.database.name);
    run(&mut queue.other, &commit);
    assert_eq!(claim(&mut queue.one), [2]);
}

#[test]
fn a_prepared_job_that_is_due_is_found_when_it_is_committed() {
    let mut queue = Queue::new();
    prepare(&mut queue, "SELECT minion.enqueue('task', delay => '0.05 s')");
    thread::sleep(Duration::from_millis(100));
    assert_eq!(claim(&mut queue.one), [0; 0]);
    let commit = format!("COMMIT PREPARED '{}'", queue.database.name);
    run(&mut queue.other, &commit);
    assert_eq!(claim(&mut queue.one), [2]);
}

#[test]
fn an_old_snapshot_tells_nothing_about_the_lanes_of_a_queue() {
    let mut queue = Queue::new();
    run(&mut queue.other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    // Nobody tells of it, but nobody has looked yet.
    run(
        &mut queue.one,
        "SET session_replication_role = replica; INSERT INTO minion.jobs (id, task) VALUES (7, 'task');
         RESET session_replication_role",
    );
    assert_eq!(claim(&mut queue.other), [0; 0]);
    assert_eq!(claim(&mut queue.one), [7]);
    run(&mut queue.other, "ROLLBACK");
}

#[test]
fn nothing_is_known_of_a_new_table() {
    let mut queue = Queue::new();
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    run(
        &mut queue.other,
        "DROP EXTENSION minion; CREATE EXTENSION minion; SELECT minion.register_worker();
         SET session_replication_role = replica; INSERT INTO minion.jobs (id, task) VALUES (7, 'task')",
    );
    assert_eq!(claim(&mut queue.one), [7]);
}

/// Their tables have the same oid.
#[test]
fn nothing_is_known_of_a_database_from_what_is_known_of_its_template() {
    let mut queue = Queue::new();
    queue.enqueue();
    let template = queue.database.name.clone();
    let Queue { one, other, database } = queue;
    drop((one, other));
    let copy = Database { name: format!("{template}_copy") };
    let admin = Database::empty();
    let create = format!("CREATE DATABASE {} TEMPLATE {template}", copy.name);
    run(&mut admin.connect(), &create);
    let (mut here, mut there) = (database.connect(), copy.connect());
    assert_eq!(claim(&mut here), [1]);
    assert_eq!(claim(&mut here), [0; 0]);
    assert_eq!(claim(&mut there), [1]);
}

/// Jobs that are due in a moment, whose lanes' next times are raised and lowered. What a held
/// snapshot keeps from VACUUM makes the looks for due jobs so long that the commits fall into them.
#[test]
fn a_delayed_job_that_is_committed_while_others_look_is_claimed_at_once() {
    let mut queue = Queue::new();
    run(&mut queue.other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    run(
        &mut queue.one,
        "INSERT INTO minion.jobs (task, delayed)
         SELECT 'task', now() + number * interval '1 ms' + '1 day' FROM generate_series(1, 10000) AS number;
         DELETE FROM minion.jobs",
    );
    let done = AtomicI64::new(0);
    let (database, done) = (&queue.database, &done);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                let mut client = database.connect();
                while done.load(Ordering::Relaxed) >= 0 {
                    done.fetch_add(claim(&mut client).len() as i64, Ordering::Relaxed);
                }
            });
        }
        let mut client = database.connect();
        for count in 1..=100 {
            run(&mut client, "SELECT minion.enqueue('task', delay => '0.001 s')");
            let begin = Instant::now();
            while done.load(Ordering::Relaxed) < count && begin.elapsed() < PATIENCE {
                thread::yield_now();
            }
        }
        done.store(i64::MIN, Ordering::Relaxed);
        assert!(heals(&mut client) <= 1, "found only because the lane was verified");
    });
}

/// Whether a job can run is asked by a look that goes on from there: here it waits until it may.
const SLOW: &str = "
    CREATE OR REPLACE FUNCTION minion.is_unresolved(
        state minion.job_state, expires timestamptz, lax boolean, at timestamptz
    ) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(1);
        RETURN state <> 'finished';
    END $$";

const IN_A_LOOK: &str = "
    SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'";

/// What is committed `meanwhile` while another one is in a look that sees a worse job only.
fn in_a_look(queue: &mut Queue, meanwhile: impl FnOnce(&mut Client)) {
    let backend = queue.other.backend();
    let mut third = queue.database.connect();
    run(&mut third, "SELECT pg_advisory_lock(1)");
    let Queue { one, other, .. } = queue;
    thread::scope(|scope| {
        let look = scope.spawn(|| claim(other));
        until("the look is under way", || third.one(IN_A_LOOK, &[&backend]));
        meanwhile(one);
        run(&mut third, "SELECT pg_advisory_unlock(1)");
        assert_eq!(look.join().unwrap(), [2]);
    });
}

/// A job whose parent is done, so that each look asks, in a lane that is known from its start on.
fn with_child(queue: &mut Queue) {
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    run(&mut queue.one, "SELECT minion.finish_job(1, 0)");
    run(&mut queue.one, SLOW);
    run(&mut queue.one, "SELECT minion.enqueue('task', parents => '{1}', priority => -1)");
}

#[test]
fn a_job_that_is_committed_during_a_look_that_does_not_see_it_is_found() {
    let mut queue = Queue::new();
    with_child(&mut queue);
    in_a_look(&mut queue, |one| run(one, "SELECT minion.enqueue('task', priority => 9)"));
    assert_eq!(claim(&mut queue.one), [3]);
}

#[test]
fn a_prepared_transaction_that_is_committed_during_a_look_that_does_not_see_it_is_found() {
    let mut queue = Queue::new();
    with_child(&mut queue);
    let name = queue.database.name.clone();
    run(
        &mut queue.other,
        &format!(
            "BEGIN; SET LOCAL minion.notify = off; SELECT minion.enqueue('task', priority => 9);
             PREPARE TRANSACTION '{name}'"
        ),
    );
    let mut fourth = queue.database.connect();
    in_a_look(&mut queue, |one| {
        run(one, &format!("COMMIT PREPARED '{name}'"));
        // The lane is verified: it is no longer in doubt.
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(1_100));
            run(&mut fourth, "BEGIN; SELECT * FROM minion.dequeue(1); ROLLBACK");
        }
    });
    assert_eq!(claim(&mut queue.one), [3]);
}
