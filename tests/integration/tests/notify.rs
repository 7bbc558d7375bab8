//! NOTIFY "minion.job": who listens hears of every job that becomes claimable.

use integration::{Ask, Database, PATIENCE};
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;

struct Listening {
    _database: Database,
    client: Client,
    listener: Client,
}

impl Listening {
    fn new() -> Self {
        let database = Database::new();
        let (mut client, mut listener) = (database.connect(), database.connect());
        client.register();
        listener.batch_execute(r#"LISTEN "minion.job"; LISTEN done"#).unwrap();
        Self { _database: database, client, listener }
    }

    /// How many notifications the statements cause, each of which must be as it should be.
    fn heard(&mut self, sql: &str) -> usize {
        self.client.batch_execute(sql).unwrap();
        // Notifications come in the order of the commits.
        self.client.batch_execute("NOTIFY done").unwrap();
        let mut heard = 0;
        let mut notifications = self.listener.notifications();
        let mut notifications = notifications.timeout_iter(PATIENCE);
        loop {
            let next =
                notifications.next().unwrap().expect("the notification that ends the others");
            match next.channel() {
                "done" => return heard,
                channel => {
                    assert_eq!((channel, next.payload()), ("minion.job", ""));
                    heard += 1;
                }
            }
        }
    }
}

#[test]
fn a_job_that_becomes_claimable_is_announced() {
    let mut here = Listening::new();
    for (sql, why) in [
        ("SELECT minion.enqueue('parent')", "an enqueue"),
        ("SELECT minion.retry_job(1, 0)", "a retry"),
        ("SELECT minion.enqueue_many('[{\"task\": \"many\"}]')", "an enqueue of many"),
        ("INSERT INTO minion.jobs (task) VALUES ('plain')", "a plain INSERT"),
        ("UPDATE minion.jobs SET queue = 'other' WHERE id = 3", "a move to another queue"),
        ("UPDATE minion.jobs SET priority = 1 WHERE id = 3", "a new priority"),
    ] {
        assert_eq!(here.heard(sql), 1, "{why}");
    }
    here.heard("SELECT minion.enqueue('child', parents => '{1}', queue => 'children')");
    here.heard("SELECT minion.dequeue(1, max_jobs => 10, queues => '{default,children}')");
    assert_eq!(here.heard("SELECT minion.finish_job(1, 1)"), 1, "a child that is freed");
    here.heard("SELECT minion.enqueue('later', delay => '1 day')");
    let due = "UPDATE minion.jobs SET delayed = now() WHERE task = 'later'";
    assert_eq!(here.heard(due), 1, "a delay that is taken back");
    let failed = "SELECT minion.fail_job(2, 0, retry_delay => '0')";
    here.heard("UPDATE minion.jobs SET attempts = 2 WHERE id = 2");
    assert_eq!(here.heard(failed), 1, "an automatic retry without delay");
}

#[test]
fn a_transaction_announces_at_most_once() {
    let mut here = Listening::new();
    let many = "SELECT minion.enqueue('task') FROM generate_series(1, 1000)";
    assert_eq!(here.heard(many), 1);
    let mixed = "
        BEGIN;
        SELECT minion.enqueue('a');
        SAVEPOINT one;
        SELECT minion.enqueue('b');
        ROLLBACK TO SAVEPOINT one;
        SELECT minion.retry_job(1, 0);
        SAVEPOINT two;
        UPDATE minion.jobs SET priority = 2;
        RELEASE SAVEPOINT two;
        COMMIT";
    assert_eq!(here.heard(mixed), 1);
    let only_inside = "BEGIN; SAVEPOINT one; SELECT minion.enqueue('a'); RELEASE one; COMMIT";
    assert_eq!(here.heard(only_inside), 1);
}

#[test]
fn what_gives_nobody_work_is_not_announced() {
    let mut here = Listening::new();
    let delayed = "SELECT minion.enqueue('later', delay => '1 day')";
    assert_eq!(here.heard(delayed), 0, "a delayed job");
    assert_eq!(here.heard("SELECT minion.retry_job(1, 0, delay => '1 day')"), 0, "a delayed retry");
    let undone = "BEGIN; SELECT minion.enqueue('never'); ROLLBACK";
    assert_eq!(here.heard(undone), 0, "a rolled back enqueue");
    here.heard("SELECT minion.enqueue('task')");
    let id: i64 = here.client.one("SELECT id FROM minion.dequeue(1)", &[]);
    for sql in [
        format!("SELECT minion.note({id}, '{{\"a\": 1}}')"),
        format!("SELECT minion.finish_job({id}, 0)"),
        format!("SELECT minion.remove_job({id})"),
        "SELECT minion.dequeue(1)".into(),
        "SELECT minion.register_worker(1)".into(),
        "SELECT minion.repair()".into(),
    ] {
        assert_eq!(here.heard(&sql), 0, "{sql}");
    }
}
