//! Limits that are lowered, raised or taken away while what they count goes on.

use integration::heads::run;
use integration::limits::{self, enqueue};
use integration::{Ask, Database, until};
use postgres::Client;
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const QUICK: &str = "SET statement_timeout = '60s'";
const ACTIVE: &str = "SELECT count(*) FROM minion.jobs WHERE state = 'active'";

fn with_jobs(setup: &str, count: i32) -> (Database, Client) {
    let (database, mut client) = limits::with_jobs(setup, count);
    run(&mut client, QUICK);
    (database, client)
}

fn claim(client: &mut Client, most: i32) -> Vec<i64> {
    client.all("SELECT id FROM minion.dequeue(1, max_jobs => $1)", &[&most])
}

fn finish(client: &mut Client, id: i64) {
    assert!(client.one::<bool>("SELECT minion.finish_job($1, 0)", &[&id]));
}

fn orders() -> Vec<[usize; 4]> {
    let all = (0..256).map(|code| [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6]);
    all.filter(|order| (0..4).all(|one| order.contains(&one))).collect()
}

#[test]
fn a_lowered_limit_lets_the_next_job_start_when_enough_have_ended_in_any_order() {
    let (_database, mut client) = with_jobs("SELECT", 0);
    assert_eq!(orders().len(), 24);
    for order in orders() {
        run(&mut client, "SELECT minion.limit_task('task', 4)");
        enqueue(&mut client, 7);
        let jobs = claim(&mut client, 9);
        assert_eq!(jobs.len(), 4);
        run(&mut client, "SELECT minion.limit_task('task', 2)");
        let mut started = Vec::new();
        for end in order {
            started.push(claim(&mut client, 9).len());
            finish(&mut client, jobs[end]);
        }
        started.push(claim(&mut client, 9).len());
        assert_eq!(started, [0, 0, 0, 1, 1], "{order:?}");
        run(&mut client, "SELECT minion.remove_jobs(states => '{inactive}')");
        let left = "SELECT minion.finish_job(id, 0) FROM minion.jobs WHERE state = 'active'";
        run(&mut client, left);
        run(&mut client, "SELECT * FROM minion.repair()");
        let places = "SELECT number FROM minion.active_slots WHERE job IS NULL ORDER BY number";
        assert_eq!(client.all::<i32>(places, &[]), [0, 1], "{order:?}");
    }
}

#[test]
fn a_lowered_limit_lets_the_next_start_be_when_the_time_of_enough_has_passed_in_any_order() {
    let (_database, mut client) = with_jobs("SELECT", 0);
    for order in orders() {
        run(
            &mut client,
            "SELECT minion.limit_task('task');
             SELECT minion.limit_task('task', max_starts => 4, per => '1 hour')",
        );
        enqueue(&mut client, 7);
        assert_eq!(claim(&mut client, 9).len(), 4);
        run(&mut client, "SELECT minion.limit_task('task', max_starts => 2, per => '1 hour')");
        let mut started = Vec::new();
        for end in order {
            started.push(claim(&mut client, 9).len());
            let pass =
                "UPDATE minion.start_slots SET free_at = now() - interval '1 s' WHERE number = $1";
            client.execute(pass, &[&(end as i32)]).unwrap();
            // Both look at all places anew: nobody is told of an UPDATE.
            run(
                &mut client,
                match end {
                    0 => "SELECT * FROM minion.repair()",
                    _ => "SELECT minion.limit_task('task', max_starts => 2, per => '1 hour')",
                },
            );
        }
        started.push(claim(&mut client, 9).len());
        // Of the two places below the limit those that the first start did not take.
        assert_eq!(started, [0, 0, 0, 1, 1], "{order:?}");
        run(&mut client, "SELECT minion.remove_jobs(states => '{inactive}')");
    }
}

#[test]
fn all_starts_count_when_a_limit_is_lowered_and_raised() {
    let (_database, mut client) =
        with_jobs("SELECT minion.limit_task('task', max_starts => 4, per => '1 hour')", 9);
    assert_eq!(claim(&mut client, 3), [1, 2, 3]);
    run(&mut client, "SELECT minion.limit_task('task', max_starts => 1, per => '1 hour')");
    assert!(claim(&mut client, 9).is_empty());
    assert_eq!(client.one::<i64>("SELECT starts FROM minion.limits", &[]), 3);
    run(&mut client, "SELECT minion.limit_task('task', max_starts => 5, per => '1 hour')");
    assert_eq!(claim(&mut client, 9), [4, 5]);
}

#[test]
fn places_beyond_a_limit_are_below_it_again_when_it_is_raised() {
    let (_database, mut client) = with_jobs("SELECT minion.limit_task('task', 4)", 9);
    assert_eq!(claim(&mut client, 9), [1, 2, 3, 4]);
    run(&mut client, "SELECT minion.limit_task('task', 2)");
    finish(&mut client, 1);
    finish(&mut client, 4);
    run(&mut client, "SELECT minion.limit_task('task', 4)");
    assert_eq!(claim(&mut client, 9), [5, 6]);
    let jobs = "SELECT job FROM minion.active_slots ORDER BY job";
    assert_eq!(client.all::<i64>(jobs, &[]), [2, 3, 5, 6]);
}

#[test]
fn places_far_beyond_a_limit_are_gone_when_their_jobs_have_ended() {
    let (_database, mut client) = with_jobs("SELECT minion.limit_task('task', 60)", 61);
    assert_eq!(claim(&mut client, 99).len(), 60);
    run(&mut client, "SELECT minion.limit_task('task', 1)");
    for id in 1..=60 {
        assert!(claim(&mut client, 9).is_empty());
        finish(&mut client, id);
    }
    let places = "SELECT count(*) FROM minion.active_slots";
    assert!(client.one::<i64>(places, &[]) < 20);
    run(&mut client, "SELECT * FROM minion.repair()");
    assert_eq!(client.one::<i64>(places, &[]), 1);
    assert_eq!(claim(&mut client, 9), [61]);
}

/// It may come to nothing.
#[test]
fn an_end_that_is_not_committed_lets_nothing_start() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 4)", 9);
    assert_eq!(claim(&mut client, 9), [1, 2, 3, 4]);
    run(&mut client, "SELECT minion.limit_task('task', 3)");
    finish(&mut client, 1);
    let mut other = database.connect();
    run(&mut other, "BEGIN");
    finish(&mut other, 4);
    assert!(claim(&mut client, 9).is_empty());
    run(&mut other, "ROLLBACK; BEGIN; SAVEPOINT s");
    finish(&mut other, 4);
    // What one has done himself counts for himself.
    assert_eq!(claim(&mut other, 9), [5]);
    run(&mut other, "ROLLBACK TO s; COMMIT");
    assert!(claim(&mut client, 9).is_empty());
    finish(&mut client, 4);
    assert_eq!(claim(&mut client, 9), [5]);
}

#[test]
fn an_old_snapshot_does_not_hide_that_a_limit_was_lowered() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 4)", 9);
    assert_eq!(claim(&mut client, 9), [1, 2, 3, 4]);
    let mut old = database.connect();
    run(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM minion.jobs");
    run(&mut client, "SELECT minion.limit_task('task', 2)");
    for id in [1, 2] {
        finish(&mut client, id);
        assert!(claim(&mut old, 9).is_empty());
    }
    finish(&mut client, 4);
    assert_eq!(claim(&mut old, 9), [5]);
    run(&mut old, "COMMIT");
    assert!(claim(&mut client, 9).is_empty());
}

/// A trigger holds up the first, which has found two free places for one job.
#[test]
fn two_claims_do_not_count_on_the_same_free_places() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 4)", 9);
    assert_eq!(claim(&mut client, 9), [1, 2, 3, 4]);
    run(&mut client, "SELECT minion.limit_task('task', 3)");
    finish(&mut client, 1);
    finish(&mut client, 2);
    run(
        &mut client,
        "CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock(1);
            RETURN NEW;
        END $$;
        CREATE TRIGGER hold_up BEFORE UPDATE ON minion.jobs FOR EACH ROW
        WHEN (NEW.id = 5) EXECUTE FUNCTION hold_up();
        SELECT pg_advisory_lock(1)",
    );
    let mut first = database.connect();
    let backend = first.backend();
    let claiming = thread::spawn(move || claim(&mut first, 1));
    let waits =
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'advisory'";
    until("the first claim is held up", || client.one(waits, &[&backend]));
    let claimed = claim(&mut client, 1);
    run(&mut client, "SELECT pg_advisory_unlock(1)");
    assert_eq!(claiming.join().unwrap(), [5]);
    assert!(claimed.is_empty(), "{claimed:?} is one too many");
    assert!(claim(&mut client, 1).is_empty());
}

#[test]
fn what_starts_before_a_lower_limit_is_committed_counts() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 4)", 9);
    assert_eq!(claim(&mut client, 3), [1, 2, 3]);
    let mut setter = database.connect();
    run(&mut setter, "BEGIN; SELECT minion.limit_task('task', 2)");
    finish(&mut client, 3);
    assert_eq!(claim(&mut client, 1), [4]);
    run(&mut setter, "COMMIT");
    finish(&mut client, 1);
    assert!(claim(&mut client, 9).is_empty());
    finish(&mut client, 2);
    assert_eq!(claim(&mut client, 9), [5]);
}

/// Its place may not be gone when it ends.
#[test]
fn a_job_that_is_about_to_end_when_a_limit_is_raised_leaves_room() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 1)", 2);
    assert_eq!(claim(&mut client, 9), [1]);
    run(&mut client, "SELECT minion.limit_task('task', 0)");
    let mut other = database.connect();
    run(&mut other, "BEGIN");
    finish(&mut other, 1);
    run(&mut client, "SELECT minion.limit_task('task', 1)");
    run(&mut other, "COMMIT");
    assert_eq!(claim(&mut client, 9), [2]);
}

#[test]
fn a_job_that_is_being_moved_beyond_a_limit_counts() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 2)", 9);
    run(&mut client, "SELECT minion.enqueue('other', priority => 1)");
    assert_eq!(claim(&mut client, 9), [10, 1, 2]);
    let mut other = database.connect();
    run(&mut other, "BEGIN; UPDATE minion.jobs SET task = 'task' WHERE id = 10");
    finish(&mut client, 1);
    assert!(claim(&mut client, 9).is_empty());
    run(&mut other, "COMMIT");
    assert!(claim(&mut client, 9).is_empty());
    finish(&mut client, 2);
    assert_eq!(claim(&mut client, 9), [3]);
}

/// One whose claim under both kinds of limits is not over, and another.
fn with_an_open_claim() -> (Database, Client, Client) {
    let limits = "SELECT minion.limit_task('task', 3, max_starts => 3, per => '1 hour')";
    let (database, mut client) = with_jobs(limits, 9);
    run(&mut client, "BEGIN");
    assert_eq!(claim(&mut client, 2), [1, 2]);
    let mut other = database.connect();
    run(&mut other, QUICK);
    (database, client, other)
}

#[test]
fn lowering_a_limit_waits_for_no_claim_under_it() {
    for (end, starts) in [("COMMIT", vec![]), ("ROLLBACK", vec![1])] {
        let (_database, mut client, mut other) = with_an_open_claim();
        run(&mut other, "SELECT minion.limit_task('task', 1, max_starts => 1, per => '1 hour')");
        assert!(claim(&mut other, 9).is_empty());
        run(&mut client, end);
        assert_eq!(claim(&mut other, 9), starts);
    }
}

#[test]
fn taking_a_limit_away_waits_for_no_claim_under_it() {
    let (_database, mut client, mut other) = with_an_open_claim();
    run(&mut other, "SELECT minion.limit_task('task')");
    assert_eq!(claim(&mut other, 3), [3, 4, 5]);
    // What is left of it is right for the next one.
    run(&mut other, "SELECT minion.limit_task('task', 6, max_starts => 3, per => '1 hour')");
    run(&mut client, "COMMIT");
    assert_eq!(claim(&mut other, 9), [6]);
    run(&mut other, "SELECT minion.limit_task('task', 6)");
    assert!(claim(&mut other, 9).is_empty());
    for id in 1..=6 {
        finish(&mut other, id);
    }
    assert_eq!(claim(&mut other, 9), [7, 8, 9]);
}

#[test]
fn what_is_left_of_a_limit_that_was_taken_away_goes_with_the_next_repair() {
    let (_database, mut client, mut other) = with_an_open_claim();
    run(&mut other, "SELECT minion.limit_task('task')");
    run(&mut client, "COMMIT");
    finish(&mut client, 1);
    finish(&mut client, 2);
    run(&mut client, "SELECT * FROM minion.repair()");
    for places in ["minion.active_slots", "minion.start_slots"] {
        let count = ["SELECT count(*) FROM ", places].concat();
        assert_eq!(client.one::<i64>(&count, &[]), 0, "{places}");
    }
}

#[test]
fn a_job_that_was_locked_when_its_limit_was_set_is_counted_by_the_next_repair() {
    let (database, mut client) = with_jobs("SELECT", 3);
    assert_eq!(claim(&mut client, 1), [1]);
    let mut other = database.connect();
    run(&mut other, "BEGIN; SELECT minion.note(1, '{}')");
    run(&mut client, "SELECT minion.limit_task('task', 1)");
    run(&mut other, "COMMIT");
    run(&mut client, "SELECT * FROM minion.repair()");
    assert_eq!(client.one::<i64>("SELECT active FROM minion.limits", &[]), 1);
    assert!(claim(&mut client, 9).is_empty());
    finish(&mut client, 1);
    assert_eq!(claim(&mut client, 9), [2]);
}

/// Blocks, savepoints, ends and aborts in any order. A deadlock's victim tries again.
fn work(client: &mut Client, random: &mut fastrand::Rng) -> Result<(), postgres::Error> {
    let claim = "SELECT id, retries FROM minion.dequeue(1, max_jobs => 2)";
    let own =
        "SELECT id, retries FROM minion.jobs WHERE state = 'active' ORDER BY random() LIMIT 1";
    client.batch_execute("BEGIN; SAVEPOINT s")?;
    for _ in 0..random.u32(1..4) {
        for row in client.query(if random.bool() { own } else { claim }, &[])? {
            if random.bool() {
                let end = ["SELECT minion.finish_job($1, $2)", "SELECT minion.retry_job($1, $2)"];
                let end = end[random.usize(..2)];
                client.query(end, &[&row.get::<_, i64>(0), &row.get::<_, i32>(1)])?;
            }
        }
        if random.u8(..3) == 0 {
            client.batch_execute("ROLLBACK TO s")?;
        }
    }
    client.batch_execute(if random.u8(..4) == 0 { "ROLLBACK" } else { "COMMIT" })
}

/// While no claim is under way when it is lowered, there are never more active than then, or than it allows.
#[test]
fn a_limit_that_goes_up_and_down_all_the_time_is_kept_and_loses_no_place() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 5)", 3000);
    let (working, gate) = (AtomicUsize::new(8), RwLock::new(()));
    thread::scope(|scope| {
        for number in 0..8 {
            let (mut client, working, gate) = (database.connect(), &working, &gate);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                for _ in 0..80 {
                    let _round = gate.read().unwrap();
                    if work(&mut client, &mut random).is_err() {
                        client.batch_execute("ROLLBACK").unwrap();
                    }
                }
                working.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let mut random = fastrand::Rng::with_seed(99);
        while working.load(Ordering::Relaxed) > 0 {
            let limit = random.i64(1..6);
            let alone = random.bool().then(|| gate.write().unwrap());
            client.execute("SELECT minion.limit_task('task', $1)", &[&(limit as i32)]).unwrap();
            let is_known = alone.is_some();
            let mut before = if is_known { client.one::<i64>(ACTIVE, &[]) } else { 5 };
            drop(alone);
            for _ in 0..random.u32(..20) {
                let active = client.one::<i64>(ACTIVE, &[]);
                assert!(active <= limit.max(before), "{before}, and then {active} of {limit}");
                before = if is_known { active } else { before };
                if random.u8(..8) == 0 {
                    // It may be the victim of a deadlock.
                    let _ = client.batch_execute("SELECT * FROM minion.repair()");
                }
            }
        }
    });
    run(
        &mut client,
        "SELECT minion.limit_task('task', 4);
         SELECT minion.finish_job(id, retries) FROM minion.jobs WHERE state = 'active';
         SELECT * FROM minion.repair()",
    );
    assert_eq!(claim(&mut client, 9).len(), 4);
    let places = "SELECT number FROM minion.active_slots ORDER BY number";
    assert_eq!(client.all::<i32>(places, &[]), [0, 1, 2, 3]);
}
