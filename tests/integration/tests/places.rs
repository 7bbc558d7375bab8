//! The places of limits, where one transaction meets another that is not over, or an error in its way.

use integration::heads::run;
use integration::limits::{UNLIKE, dequeue, with_jobs};
use integration::{Ask, Database, until};
use postgres::Client;
use postgres::error::SqlState;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const QUICK: &str = "SET statement_timeout = '60s'";

/// Holds up job 1 where it starts, for as long as somebody has the advisory lock 1.
const HOLD_UP_JOB_1: &str = "
    CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.id = 1 AND NEW.state = 'active' THEN
            PERFORM pg_advisory_xact_lock(1);
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER hold_up BEFORE UPDATE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION hold_up()";

/// One whose claim under a limit is not over, and another.
fn with_an_open_claim() -> (Database, Client, Client) {
    let limits = "SELECT minion.limit_task('task', 3, max_starts => 5, per => '1 hour')";
    let (database, mut client) = with_jobs(limits, 5);
    run(&mut client, "BEGIN");
    assert_eq!(dequeue(&mut client), [1]);
    let mut other = database.connect();
    run(&mut other, QUICK);
    (database, client, other)
}

#[test]
fn repair_waits_for_no_claim_under_a_limit() {
    let (_database, _client, mut other) = with_an_open_claim();
    run(&mut other, "SELECT * FROM minion.repair()");
    assert_eq!(dequeue(&mut other), [2]);
}

#[test]
fn setting_a_limit_waits_for_no_claim_under_it() {
    let (_database, mut client, mut other) = with_an_open_claim();
    run(&mut other, "SELECT minion.limit_task('task', 4, max_starts => 5, per => '1 hour')");
    assert_eq!(dequeue(&mut other), [2]);
    run(&mut client, "COMMIT");
    assert_eq!(other.one::<i64>("SELECT active FROM minion.limits", &[]), 2);
}

/// For a job that somebody has locked; two places are free before and after.
#[test]
fn claims_go_on_while_setting_a_limit_waits() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 4)", 6);
    let claim = "SELECT id FROM minion.dequeue(1, max_jobs => 3)";
    assert_eq!(client.all::<i64>(claim, &[]), [1, 2, 3]);
    run(&mut client, "SELECT minion.finish_jobs('{1,2}', '{0,0}')");
    run(&mut client, "BEGIN; SELECT minion.note(3, '{}')");
    let mut setter = database.connect();
    let backend = setter.backend();
    let setting = thread::spawn(move || run(&mut setter, "SELECT minion.limit_task('task', 2)"));
    let mut other = database.connect();
    let waits = "
        SELECT state = 'idle' OR wait_event_type IS NOT DISTINCT FROM 'Lock'
        FROM pg_stat_activity
        WHERE pid = $1 AND query LIKE '%limit_task%'";
    until("limit_task is done, or waits for the job", || {
        setting.is_finished() || other.all::<bool>(waits, &[&backend]) == [true]
    });
    let claimed = dequeue(&mut other);
    run(&mut client, "COMMIT");
    setting.join().unwrap();
    assert_eq!(claimed, [4]);
}

#[test]
fn claims_go_on_while_setting_a_limit_waits_for_its_rule() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 4)", 1);
    run(&mut client, "BEGIN; SELECT FROM minion.limit_rules FOR UPDATE");
    let mut setter = database.connect();
    let backend = setter.backend();
    let setting = thread::spawn(move || run(&mut setter, "SELECT minion.limit_task('task', 2)"));
    let mut other = database.connect();
    let waits =
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'";
    until("limit_task waits for the rule", || other.one(waits, &[&backend]));
    let claimed = dequeue(&mut other);
    run(&mut client, "COMMIT");
    setting.join().unwrap();
    assert_eq!(claimed, [1]);
}

#[test]
fn a_claim_that_finds_a_place_busy_says_nothing_of_it() {
    let (database, mut holder) = with_jobs("SELECT minion.limit_task('task', 2)", 2);
    run(&mut holder, HOLD_UP_JOB_1);
    run(&mut holder, "SELECT pg_advisory_lock(1)");
    let mut first = database.connect();
    let backend = first.backend();
    let claiming = thread::spawn(move || dequeue(&mut first));
    let waits =
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'advisory'";
    until("the first claim is held up", || holder.one(waits, &[&backend]));
    let (mut second, said) = database.connect_hearing();
    let claimed = dequeue(&mut second);
    run(&mut holder, "SELECT pg_advisory_unlock(1)");
    assert_eq!(claiming.join().unwrap(), [1]);
    assert_eq!(claimed, [2]);
    assert_eq!(*said.lock().unwrap(), Vec::<String>::new());
}

/// Each ends his own two jobs, one below the limit and one beyond it.
#[test]
fn ends_of_different_jobs_under_a_lowered_limit_wait_for_nobody() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 4)", 4);
    let claim = "SELECT id FROM minion.dequeue(1, max_jobs => 4)";
    assert_eq!(client.all::<i64>(claim, &[]), [1, 2, 3, 4]);
    run(&mut client, "SELECT minion.limit_task('task', 2)");
    let mut other = database.connect();
    run(&mut client, QUICK);
    run(&mut other, QUICK);
    run(&mut client, "BEGIN; SELECT minion.finish_job(1, 0)");
    run(&mut other, "BEGIN; SELECT minion.finish_job(2, 0)");
    run(&mut client, "SELECT minion.finish_job(4, 0)");
    run(&mut other, "SELECT minion.finish_job(3, 0)");
    run(&mut client, "COMMIT");
    run(&mut other, "COMMIT");
    let in_use = "SELECT count(*) FROM minion.active_slots WHERE job IS NOT NULL";
    assert_eq!(client.one::<i64>(in_use, &[]), 0);
}

/// Errors in all places of a claim, caught and not: each leaves the session, the places and the locks as they were.
#[test]
fn interrupted_claims_leave_no_lock_and_no_place() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 3)", 400);
    thread::scope(|scope| {
        for number in 0..6 {
            let mut session = database.connect();
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                for _ in 0..250 {
                    let timeout = random.u32(1..6);
                    let body = match random.u32(..4) {
                        0 => "PERFORM minion.dequeue(1, max_jobs => 3)",
                        1 => "PERFORM minion.dequeue(1, wait => '20 ms')",
                        2 => "PERFORM minion.finish_job(id, retries) FROM minion.jobs WHERE id = (SELECT id FROM minion.jobs WHERE state = 'active' LIMIT 1)",
                        _ => "PERFORM minion.limit_task('task', 1 + (random() * 4)::int)",
                    };
                    let end = ["RAISE division_by_zero", "PERFORM pg_sleep(0.002)", "NULL"];
                    let end = end[random.usize(..3)];
                    let call = format!(
                        "SET statement_timeout = {timeout};
                         DO $$ BEGIN FOR i IN 1..3 LOOP BEGIN {body}; {end};
                         EXCEPTION WHEN query_canceled OR division_by_zero THEN NULL; END; END LOOP; END $$"
                    );
                    if let Err(error) = session.batch_execute(&call) {
                        let code = error.code().map(|code| code.code().to_owned());
                        assert!(
                            matches!(code.as_deref(), Some("57014" | "40P01")),
                            "{error:?}"
                        );
                    }
                    // This, too, may be cut short by the time that was set before.
                    until("the session goes on", || match session.batch_execute("RESET ALL") {
                        Ok(()) => true,
                        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => false,
                        Err(error) => panic!("{error:?}"),
                    });
                }
            });
        }
    });
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(client.one::<i64>(locks, &[]), 0);
    assert_eq!(client.one::<i64>(UNLIKE, &[]), 0, "a place is lost, or a job has none");
}

/// What one worker does: blocks, savepoints, ends and aborts in any order. A deadlock's victim tries again.
fn work(client: &mut Client, random: &mut fastrand::Rng) -> Result<(), postgres::Error> {
    let claim = "SELECT id, retries FROM minion.dequeue(1, max_jobs => 2)";
    let finish = "SELECT minion.finish_job($1, $2)";
    if random.bool() {
        client.batch_execute("BEGIN; SAVEPOINT s")?;
        client.query(claim, &[])?;
        client.batch_execute(if random.bool() { "ROLLBACK TO s" } else { "RELEASE s" })?;
        for row in client.query(claim, &[])? {
            if random.bool() {
                client.query(finish, &[&row.get::<_, i64>(0), &row.get::<_, i32>(1)])?;
            }
        }
        client.query(claim, &[])?;
        return client.batch_execute(if random.u8(..3) == 0 { "ROLLBACK" } else { "COMMIT" });
    }
    let own = "SELECT id, retries FROM minion.jobs WHERE state = 'active' LIMIT 2";
    for row in client.query(if random.bool() { own } else { claim }, &[])? {
        let verb = ["finish_job($1, $2)", "retry_job($1, $2)", "fail_job($1, $2)"];
        let end = ["SELECT minion.", verb[random.usize(..3)]].concat();
        client.query(&end, &[&row.get::<_, i64>(0), &row.get::<_, i32>(1)])?;
    }
    Ok(())
}

#[test]
fn a_limit_that_is_set_and_repaired_all_the_time_is_never_exceeded() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 3)", 500);
    let working = AtomicUsize::new(10);
    thread::scope(|scope| {
        for number in 0..10 {
            let (mut client, working) = (database.connect(), &working);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                for _ in 0..60 {
                    if work(&mut client, &mut random).is_err() {
                        client.batch_execute("ROLLBACK").unwrap();
                    }
                }
                working.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let (mut setter, working) = (database.connect(), &working);
        scope.spawn(move || {
            while working.load(Ordering::Relaxed) > 0 {
                run(&mut setter, "SELECT minion.limit_task('task', 3)");
                // It may be the victim of a deadlock.
                let _ = setter.batch_execute("SELECT * FROM minion.repair()");
            }
        });
        let active = "SELECT count(*) FROM minion.jobs WHERE state = 'active'";
        let mut most = 0;
        while working.load(Ordering::Relaxed) > 0 {
            most = most.max(client.one::<i64>(active, &[]));
        }
        assert!(most <= 3, "{most} jobs were active at once");
    });
    let started = "SELECT count(*) > 0 FROM minion.jobs WHERE started IS NOT NULL";
    assert!(client.one::<bool>(started, &[]));
    assert_eq!(client.one::<i64>(UNLIKE, &[]), 0, "a place is lost, or a job has none");
}
