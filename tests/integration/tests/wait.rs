//! dequeue(wait => …). Nothing here measures time: a call that should end at once would otherwise wait for
//! longer than the test has patience.

use integration::{Ask, Database, until_waiting};
use postgres::Client;
use postgres::error::SqlState;
use std::thread;

/// Runs `act` while another connection waits in dequeue, and returns what that one got.
fn meanwhile(
    database: &Database,
    wait: &str,
    setup: &str,
    act: impl FnOnce(&mut Client, i32),
) -> Result<Vec<String>, postgres::Error> {
    let mut waiter = database.connect();
    let (worker, backend) = (waiter.register(), waiter.backend());
    waiter.batch_execute(setup).unwrap();
    let call = format!("SELECT task FROM minion.dequeue($1, wait => '{wait}')");
    let waiting = thread::spawn(move || {
        let rows = waiter.query(&call, &[&worker])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    });
    let mut client = database.connect();
    until_waiting(&mut client, backend);
    act(&mut client, backend);
    waiting.join().unwrap()
}

#[test]
fn a_job_enqueued_meanwhile_is_returned() {
    let database = Database::new();
    let got = meanwhile(&database, "1 minute", "", |client, _| {
        client.batch_execute("SELECT minion.enqueue('hello')").unwrap();
    });
    assert_eq!(got.unwrap(), ["hello"]);
}

#[test]
fn a_delayed_job_is_returned_when_it_is_due() {
    let database = Database::new();
    let got = meanwhile(&database, "1 minute", "", |client, _| {
        client
            .batch_execute("SELECT minion.enqueue('later', delay => '300 milliseconds')")
            .unwrap();
    });
    assert_eq!(got.unwrap(), ["later"]);
    let early = "SELECT count(*) FROM minion.jobs WHERE started < delayed";
    assert_eq!(database.connect().one::<i64>(early, &[]), 0);
}

#[test]
fn a_child_is_returned_when_its_parent_finishes() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = client.register();
    let parent: i64 = client.one("SELECT minion.enqueue('parent')", &[]);
    client.one::<i64>("SELECT id FROM minion.dequeue($1)", &[&worker]);
    client.one::<i64>("SELECT minion.enqueue('child', parents => $1)", &[&vec![parent]]);
    let got = meanwhile(&database, "1 minute", "", |_, _| {
        assert!(client.one::<bool>("SELECT minion.finish_job($1, 0)", &[&parent]));
    });
    assert_eq!(got.unwrap(), ["child"]);
}

#[test]
fn a_job_whose_enqueue_is_rolled_back_is_not_returned() {
    let database = Database::new();
    let got = meanwhile(&database, "1 second", "", |client, _| {
        client.batch_execute("BEGIN; SELECT minion.enqueue('never'); ROLLBACK").unwrap();
    });
    assert_eq!(got.unwrap(), [""; 0]);
}

/// Shorter than the time after which a waiting call looks again without having heard of anything.
const HEARD: &str = "6 s";

#[test]
fn a_job_whose_claim_is_rolled_back_is_returned() {
    let database = Database::new();
    let mut other = database.connect();
    other.batch_execute("SELECT minion.register_worker(), minion.enqueue('given back')").unwrap();
    other.batch_execute("BEGIN; SELECT * FROM minion.dequeue(1)").unwrap();
    let got = meanwhile(&database, HEARD, "", |_, _| other.batch_execute("ROLLBACK").unwrap());
    assert_eq!(got.unwrap(), ["given back"]);
}

#[test]
fn a_child_that_no_claim_has_looked_at_is_returned_when_its_parents_finish() {
    let database = Database::new();
    let mut other = database.connect();
    let parents =
        "SELECT minion.register_worker(), minion.enqueue('parent'), minion.enqueue('parent')";
    other.batch_execute(parents).unwrap();
    other.batch_execute("SELECT * FROM minion.dequeue(1, max_jobs => 2)").unwrap();
    other.batch_execute("SELECT minion.enqueue('child', parents => '{1,2}')").unwrap();
    let got = meanwhile(&database, HEARD, "", |client, _| {
        client.batch_execute("SELECT minion.finish_job(1, 0)").unwrap();
        client.batch_execute("SELECT minion.finish_job(2, 0)").unwrap();
    });
    assert_eq!(got.unwrap(), ["child"]);
}

#[test]
fn a_child_of_another_queue_than_the_first_waiter_wants_is_returned() {
    let database = Database::new();
    let mut other = database.connect();
    other.batch_execute("SELECT minion.register_worker(), minion.enqueue('parent')").unwrap();
    other.batch_execute("SELECT minion.enqueue('child', parents => '{1}', queue => 'b')").unwrap();
    let mut first = database.connect();
    let (backend, mut client) = (first.backend(), database.connect());
    let keeper = thread::spawn(move || {
        first
            .query("SELECT * FROM minion.dequeue(1, wait => '20 s', queues => '{a}')", &[])
            .unwrap()
    });
    until_waiting(&mut client, backend);
    let mut waiter = database.connect();
    let backend = waiter.backend();
    let waiting = thread::spawn(move || {
        let call =
            format!("SELECT id FROM minion.dequeue(1, wait => '{HEARD}', queues => '{{b}}')");
        waiter.all::<i64>(&call, &[])
    });
    until_waiting(&mut client, backend);
    client.batch_execute("SELECT * FROM minion.dequeue(1)").unwrap();
    client.batch_execute("SELECT minion.finish_job(1, 0)").unwrap();
    assert_eq!(waiting.join().unwrap(), [2]);
    client.batch_execute("SELECT minion.enqueue('enough', queue => 'a')").unwrap();
    assert_eq!(keeper.join().unwrap().len(), 1);
}

#[test]
fn each_of_several_waiters_gets_its_delayed_job_when_the_timekeeper_leaves() {
    let database = Database::new();
    database.connect().register();
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let mut waiter = database.connect();
            let backend = waiter.backend();
            let waiting = thread::spawn(move || {
                let call = format!("SELECT id FROM minion.dequeue(1, wait => '{HEARD}')");
                waiter.all::<i64>(&call, &[])
            });
            until_waiting(&mut database.connect(), backend);
            waiting
        })
        .collect();
    // Two at one time, and two more after each other.
    let mut client = database.connect();
    for delay in ["0.5 s", "0.5 s", "0.9 s", "1.3 s"] {
        client
            .execute("SELECT minion.enqueue('task', delay => $1::text::interval)", &[&delay])
            .unwrap();
    }
    let mut got: Vec<i64> =
        waiters.into_iter().flat_map(|waiting| waiting.join().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, [1, 2, 3, 4]);
}

#[test]
fn a_worker_that_waits_is_not_missing() {
    let database = Database::new();
    let mut repairs = String::new();
    let got = meanwhile(&database, "1 minute", "", |client, _| {
        let silent = "SELECT minion.register_worker();
            UPDATE minion.workers SET notified = now() - interval '1 day'";
        client.batch_execute(silent).unwrap();
        let removed = "SELECT workers_removed::text FROM minion.repair()";
        repairs = client.one::<String>(removed, &[]);
        client.batch_execute("SELECT minion.enqueue('task')").unwrap();
    });
    assert_eq!(got.unwrap(), ["task"]);
    // The other one, who did not wait.
    assert_eq!(repairs, "1");
}

#[test]
fn no_row_comes_when_the_time_is_over() {
    let database = Database::new();
    let got = meanwhile(&database, "500 milliseconds", "", |_, _| ());
    assert_eq!(got.unwrap(), [""; 0]);
}

#[test]
fn cancel_ends_the_wait_and_the_session_goes_on() {
    let database = Database::new();
    let mut waiter = database.connect();
    let (worker, backend) = (waiter.register(), waiter.backend());
    let mut client = database.connect();
    thread::scope(|scope| {
        scope.spawn(|| {
            until_waiting(&mut client, backend);
            assert!(client.one::<bool>("SELECT pg_cancel_backend($1)", &[&backend]));
        });
        let error =
            waiter.query("SELECT * FROM minion.dequeue($1, wait => '1 minute')", &[&worker]);
        assert_eq!(error.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    });
    let id: i64 = waiter.one("SELECT minion.enqueue('after')", &[]);
    assert_eq!(waiter.one::<i64>("SELECT id FROM minion.dequeue($1)", &[&worker]), id);
}

#[test]
fn statement_timeout_ends_the_wait() {
    let database = Database::new();
    let got = meanwhile(&database, "1 minute", "SET statement_timeout = '500ms'", |_, _| ());
    assert_eq!(got.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
}

#[test]
fn termination_ends_the_wait() {
    let database = Database::new();
    let got = meanwhile(&database, "1 minute", "", |client, backend| {
        assert!(client.one::<bool>("SELECT pg_terminate_backend($1)", &[&backend]));
    });
    let error = got.unwrap_err();
    // The client may see the end of the connection before it reads why.
    assert!(error.is_closed() || error.code() == Some(&SqlState::ADMIN_SHUTDOWN), "{error:?}");
}

#[test]
fn each_of_many_waiting_workers_gets_a_job_of_its_own() {
    let database = Database::new();
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let mut waiter = database.connect();
            let (worker, backend) = (waiter.register(), waiter.backend());
            let sql = "SELECT id FROM minion.dequeue($1, wait => '1 minute')";
            (thread::spawn(move || waiter.one::<i64>(sql, &[&worker])), backend)
        })
        .collect();
    let mut client = database.connect();
    for (_, backend) in &waiting {
        until_waiting(&mut client, *backend);
    }
    let enqueue = "SELECT minion.enqueue('task') FROM generate_series(1, 10)";
    let enqueued: Vec<i64> = client.all(enqueue, &[]);
    let mut claimed: Vec<i64> = waiting.into_iter().map(|(job, _)| job.join().unwrap()).collect();
    claimed.sort_unstable();
    assert_eq!(claimed, enqueued);
}

#[test]
fn waiting_is_refused_where_a_new_job_could_never_be_seen() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = client.register();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).unwrap();
        let error =
            client.query("SELECT * FROM minion.dequeue($1, wait => '1 minute')", &[&worker]);
        assert_eq!(error.unwrap_err().code(), Some(&SqlState::FEATURE_NOT_SUPPORTED));
        client.batch_execute("ROLLBACK").unwrap();
    }
}
