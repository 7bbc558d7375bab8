//! wait_for_job: the row, when the job has ended.

use integration::{Ask, Database, until_waiting};
use postgres::Client;
use postgres::error::SqlState;
use std::thread;

/// Runs `act` while another connection waits for job 1, and returns the state and the result that it got.
fn meanwhile(
    database: &Database,
    act: impl FnOnce(&mut Client, i32),
) -> Result<Option<(String, Option<String>)>, postgres::Error> {
    let mut waiter = database.connect();
    let backend = waiter.backend();
    let waiting = thread::spawn(move || {
        let rows = waiter.query(
            "SELECT state::text, result #>> '{}' FROM minion.wait_for_job(1, '50 seconds')",
            &[],
        )?;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    });
    let mut client = database.connect();
    until_waiting(&mut client, backend);
    act(&mut client, backend);
    waiting.join().unwrap()
}

/// A database with an active job.
fn with_active_job(attempts: i32) -> Database {
    let database = Database::new();
    let mut client = database.connect();
    let worker = client.register();
    client.one::<i64>("SELECT minion.enqueue('task', attempts => $1)", &[&attempts]);
    client.one::<i64>("SELECT id FROM minion.dequeue($1)", &[&worker]);
    database
}

fn ended(state: &str, result: &str) -> Option<(String, Option<String>)> {
    Some((state.into(), Some(result.into())))
}

#[test]
fn a_job_that_finishes_is_returned_with_its_result() {
    let got = meanwhile(&with_active_job(1), |client, _| {
        client.batch_execute("SELECT minion.finish_job(1, 0, '\"done\"')").unwrap();
    });
    assert_eq!(got.unwrap(), ended("finished", "done"));
}

#[test]
fn a_job_that_fails_for_good_is_returned_and_one_that_is_retried_is_not() {
    let got = meanwhile(&with_active_job(2), |client, _| {
        client
            .batch_execute("SELECT minion.fail_job(1, 0, '\"first\"', retry_delay => '0')")
            .unwrap();
        client.batch_execute("SELECT minion.dequeue(1)").unwrap();
        client.batch_execute("SELECT minion.fail_job(1, 1, '\"second\"')").unwrap();
    });
    assert_eq!(got.unwrap(), ended("failed", "second"));
}

#[test]
fn a_finish_that_is_rolled_back_ends_nothing() {
    let got = meanwhile(&with_active_job(1), |client, _| {
        client
            .batch_execute("BEGIN; SELECT minion.finish_job(1, 0, '\"never\"'); ROLLBACK")
            .unwrap();
        client
            .batch_execute("SELECT minion.finish_jobs('{1}', '{0}', ARRAY['\"then\"'::jsonb])")
            .unwrap();
    });
    assert_eq!(got.unwrap(), ended("finished", "then"));
}

#[test]
fn one_that_is_cancelled_before_it_ran_has_failed() {
    let database = Database::new();
    database.connect().one::<i64>("SELECT minion.enqueue('task')", &[]);
    let got = meanwhile(&database, |client, _| {
        assert!(client.one::<bool>("SELECT minion.cancel_job(1)", &[]));
    });
    assert_eq!(got.unwrap(), ended("failed", "Canceled"));
}

#[test]
fn a_job_that_is_removed_meanwhile_does_not_exist() {
    let database = Database::new();
    database.connect().one::<i64>("SELECT minion.enqueue('task')", &[]);
    let got = meanwhile(&database, |client, _| {
        assert!(client.one::<bool>("SELECT minion.remove_job(1)", &[]));
    });
    assert_eq!(got.unwrap_err().code(), Some(&SqlState::UNDEFINED_OBJECT));
}

#[test]
fn many_jobs_that_end_at_once_wake_those_who_wait_for_one() {
    let database = with_active_job(1);
    let mut client = database.connect();
    client
        .batch_execute("INSERT INTO minion.jobs (task) SELECT 'task' FROM generate_series(1, 500)")
        .unwrap();
    client.batch_execute("SELECT minion.dequeue(1, max_jobs => 500)").unwrap();
    let got = meanwhile(&database, |client, _| {
        client
            .batch_execute(
                "SELECT minion.finish_jobs(array_agg(id ORDER BY id DESC), array_agg(retries)) FROM minion.jobs",
            )
            .unwrap();
    });
    assert_eq!(got.unwrap().unwrap().0, "finished");
}

#[test]
fn a_cancelled_call_ends_at_once() {
    let got = meanwhile(&with_active_job(1), |client, backend| {
        assert!(client.one::<bool>("SELECT pg_cancel_backend($1)", &[&backend]));
    });
    assert_eq!(got.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
}

/// Whoever waits for a job must not be taken for one who takes jobs.
#[test]
fn a_worker_hears_of_a_job_while_others_wait_for_results() {
    let database = with_active_job(1);
    let got = meanwhile(&database, |client, _| {
        let mut worker = database.connect();
        let backend = worker.backend();
        let waiting = thread::spawn(move || {
            worker.all::<i64>("SELECT id FROM minion.dequeue(1, wait => '50 seconds')", &[])
        });
        until_waiting(client, backend);
        client.batch_execute("SELECT minion.enqueue('task', delay => '100 milliseconds')").unwrap();
        assert_eq!(waiting.join().unwrap(), [2]);
        client.batch_execute("SELECT minion.finish_job(1, 0, '\"done\"')").unwrap();
    });
    assert_eq!(got.unwrap(), ended("finished", "done"));
}
