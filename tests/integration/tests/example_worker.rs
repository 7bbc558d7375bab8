//! The worker in examples/, which is there to be copied, survives what the README's survives.

use integration::heads::run;
use integration::{Ask, Database, until};
use postgres::Client;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::{env, path::PathBuf};

/// A process, which is killed when the test ends.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Built beside the tests.
fn program() -> PathBuf {
    static BUILT: Once = Once::new();
    let tests = env::current_exe().unwrap();
    let folder =
        tests.parent().and_then(|deps| deps.parent()).expect("tests are in target/debug/deps");
    BUILT.call_once(|| {
        let target = folder.parent().expect("target");
        let build = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package=worker", "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(build.unwrap().success());
    });
    folder.join("worker")
}

impl Worker {
    fn start(database: &Database, client: &mut Client) -> Self {
        let set = |name: &str| env::var(name).unwrap();
        let address = format!(
            "host='{}' port={} user={} dbname={} application_name=worker options='-c minion.backoff_base=0'",
            set("PGHOST"),
            set("PGPORT"),
            set("PGUSER"),
            database.name
        );
        let process = Command::new(program()).arg(address).stderr(Stdio::null()).spawn().unwrap();
        let worker = Self(process);
        until("the worker is registered", || worker.id(client).is_some());
        worker
    }

    fn id(&self, client: &mut Client) -> Option<i64> {
        client.one("SELECT max(id) FROM minion.workers WHERE pid = $1", &[&(self.0.id() as i32)])
    }

    fn ends_by_sigterm(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        until("the worker ends", || self.0.try_wait().unwrap().is_some());
        assert!(self.0.wait().unwrap().success());
    }
}

fn until_state(client: &mut Client, job: i64, state: &str) {
    let states = "SELECT state::text = $2 FROM minion.jobs WHERE id = $1";
    until(state, || client.one(states, &[&job, &state]));
}

#[test]
fn it_leaves_by_sigterm_and_is_unregistered() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = Worker::start(&database, &mut client);
    worker.ends_by_sigterm();
    assert_eq!(client.one::<i64>("SELECT count(*) FROM minion.workers", &[]), 0);
}

#[test]
fn arguments_that_it_cannot_read_fail_their_job_and_never_the_worker() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = Worker::start(&database, &mut client);
    let id = worker.id(&mut client);
    for args in ["[1e400]", "[null]", "[]", r#"["/nowhere"]"#] {
        let enqueue = "SELECT minion.enqueue('hash', $1::text::jsonb)";
        let job: i64 = client.one(enqueue, &[&args]);
        until_state(&mut client, job, "failed");
    }
    assert_eq!(worker.id(&mut client), id);
    worker.ends_by_sigterm();
}

#[test]
fn a_long_job_is_left_to_it_by_repair() {
    let database = Database::new();
    let mut client = database.connect();
    let _worker = Worker::start(&database, &mut client);
    let job: i64 = client.one("SELECT minion.enqueue('hash', '[\"/\", \"hang\"]')", &[]);
    until_state(&mut client, job, "active");
    run(&mut client, "SET minion.missing_after = 3");
    let long = "SELECT clock_timestamp() > started + interval '5 s' FROM minion.jobs WHERE id = $1";
    until("the job has taken long", || {
        run(&mut client, "SELECT minion.repair()");
        client.one(long, &[&job])
    });
    until_state(&mut client, job, "active");
}

#[test]
fn it_survives_a_lost_connection_under_a_new_id() {
    let database = Database::new();
    let mut client = database.connect();
    let worker = Worker::start(&database, &mut client);
    let before = worker.id(&mut client);
    let terminate = "
        WITH backend AS MATERIALIZED (
            SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'worker'
        )
        SELECT count(pg_terminate_backend(pid)) FROM backend";
    assert!(client.one::<i64>(terminate, &[]) > 0);
    until("the worker is there again", || worker.id(&mut client) > before);
    let job: i64 = client.one("SELECT minion.enqueue('sum')", &[]);
    until_state(&mut client, job, "finished");
    let result: Value = client.one("SELECT result FROM minion.jobs WHERE id = $1", &[&job]);
    assert_eq!(result, json!({"files": 0, "bytes": null}));
    worker.ends_by_sigterm();
    until("no worker is registered", || client.one("SELECT count(*) = 0 FROM minion.workers", &[]));
}
