//! What the tests share: each has a database of its own, so that they run side by side.
//!
//! The server is the one that PGHOST, PGPORT and PGUSER name, as for psql.

pub mod background;
pub mod cost;
pub mod heads;
pub mod limits;
pub mod listener;
pub mod load;
pub mod readme;
pub mod server;

use postgres::types::{FromSqlOwned, ToSql};
use postgres::{Client, Config, NoTls};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// Longer than anything here takes, so that a test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub type Said = Arc<Mutex<Vec<String>>>;

/// A database that is dropped when the test ends.
pub struct Database {
    pub name: String,
}

impl Database {
    /// One with the extension in it.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let database = Self::empty();
        database.connect().batch_execute("CREATE EXTENSION minion").unwrap();
        database
    }

    pub fn empty() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("t_{}_{number}", process::id());
        connect("postgres").batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        Self { name }
    }

    /// One with an older version of the extension, whose script is frozen.
    pub fn of_version(version: &str) -> Self {
        let database = Self::empty();
        let (name, place) = (script_name(version), extension_directory());
        // A script that another test reads meanwhile is there as a whole.
        let copy = place.join(format!("{name}.{}", database.name));
        fs::copy(frozen_directory().join(&name), &copy)
            .and_then(|_| fs::rename(&copy, place.join(&name)))
            .unwrap_or_else(|error| panic!("{name} into {}: {error}", place.display()));
        let create = format!("CREATE EXTENSION minion VERSION '{version}'");
        database.connect().batch_execute(&create).unwrap();
        database
    }

    pub fn connect(&self) -> Client {
        connect(&self.name)
    }

    /// With settings of its own.
    pub fn connect_with(&self, set: impl FnOnce(&mut Config)) -> Client {
        let mut config = config(&self.name);
        set(&mut config);
        config.connect(NoTls).unwrap()
    }

    /// One that keeps the messages of what the server says besides.
    pub fn connect_hearing(&self) -> (Client, Said) {
        let said = Said::default();
        let heard = Arc::clone(&said);
        let client = self.connect_with(move |config| {
            config.notice_callback(move |notice| {
                heard.lock().unwrap().push(notice.message().to_owned());
            });
        });
        (client, said)
    }

    /// For a server that may be down.
    pub fn try_connect(&self) -> Result<Client, postgres::Error> {
        try_connect(&self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropped = connect("postgres").batch_execute(&drop);
        if !thread::panicking() {
            dropped.unwrap();
        }
    }
}

fn connect(database: &str) -> Client {
    try_connect(database).unwrap()
}

fn try_connect(database: &str) -> Result<Client, postgres::Error> {
    config(database).connect(NoTls)
}

fn config(database: &str) -> Config {
    let set = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let mut config = Config::new();
    config
        .host(&set("PGHOST"))
        .port(set("PGPORT").parse().expect("PGPORT is a number"))
        .user(&set("PGUSER"))
        .dbname(database)
        // What takes that long takes for ever; and how much repair() does must not depend on the machine.
        .options("-c lock_timeout=60s -c statement_timeout=240s -c minion.repair_limit=0");
    config
}

/// Short ways to run SQL.
pub trait Ask {
    /// The only value of the only row.
    fn one<T: FromSqlOwned>(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> T;
    /// The first value of each row.
    fn all<T: FromSqlOwned>(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Vec<T>;
    fn backend(&mut self) -> i32;
    fn register(&mut self) -> i64;
}

impl Ask for Client {
    fn one<T: FromSqlOwned>(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> T {
        self.query_one(sql, params).unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    fn all<T: FromSqlOwned>(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Vec<T> {
        let rows = self.query(sql, params).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn backend(&mut self) -> i32 {
        self.one("SELECT pg_backend_pid()", &[])
    }

    fn register(&mut self) -> i64 {
        self.one("SELECT minion.register_worker()", &[])
    }
}

/// Waits until `done` says so.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a backend sleeps in a call of the extension's.
pub fn until_waiting(client: &mut Client, backend: i32) {
    let sleeps = "
        SELECT count(*) = 1
        FROM pg_stat_activity
        WHERE pid = $1 AND state = 'active' AND wait_event_type = 'Extension'";
    until("dequeue waits", || client.one(sleeps, &[&backend]));
}

/// Runs one of the server's programs on a database and returns what it prints.
pub fn program(name: &str, database: &str, arguments: &[&str]) -> String {
    let output = Command::new(bin().join(name))
        .arg("--dbname")
        .arg(database)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output in UTF-8")
}

/// Of the server that runs.
pub fn server_directory() -> PathBuf {
    PathBuf::from(env::var("PGHOST").expect("PGHOST is not set"))
}

/// A program of the server's that runs as the owner of its data, who is not root.
pub fn server_program(name: &str) -> Command {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    let path = bin().join(name);
    let mut command = match is_root {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(path);
            command
        }
        false => Command::new(path),
    };
    command.current_dir("/").env("RUST_BACKTRACE", "1"); // as tools/cluster does
    command
}

/// Where the server looks for extensions' files.
pub fn extension_directory() -> PathBuf {
    let output = Command::new(bin().join("pg_config")).arg("--sharedir").output().unwrap();
    let directory = String::from_utf8(output.stdout).expect("a path in UTF-8");
    PathBuf::from(directory.trim_end()).join("extension")
}

/// Where the scripts of all versions are kept.
pub fn frozen_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../upgrade")
}

pub fn script_name(version: &str) -> String {
    format!("minion--{version}.sql")
}

/// Where the server's programs are.
pub fn bin() -> PathBuf {
    env::var_os("MINION_BIN").expect("MINION_BIN is not set").into()
}

/// Jobs in every state there is, workers and locks, as a queue in use has them.
pub fn fill_with_everything(client: &mut Client) {
    client
        .batch_execute(
            r#"
            SELECT minion.register_worker(host => 'here', pid => 1, status => '{"a": [null, "ü"]}');
            SELECT minion.register_worker(host => 'there', pid => 2);
            SELECT minion.broadcast('stop', '[1, {"b": null}]', '{2}');
            SELECT minion.lock('name', '1 day', 2), minion.lock('name', '2 days', 2);
            SELECT minion.lock('released', '1 day'), minion.unlock('released');
            SELECT minion.enqueue('active', priority => 9);
            SELECT minion.enqueue('failed', priority => 8);
            SELECT minion.enqueue('retried', priority => 7, attempts => 3);
            SELECT minion.enqueue('finished', '["ü", {"a": null}, 1e100]', priority => 6);
            SELECT minion.dequeue(1, max_jobs => 4);
            SELECT minion.fail_job(2, 0, '"why"'), minion.fail_job(3, 0, '"why"');
            SELECT minion.finish_job(4, 0, '{"some": ["result"]}'), minion.note(4, '{"a": {"b": null}}');
            SELECT minion.enqueue('ready', priority => -5, notes => '{"note": 1}');
            SELECT minion.enqueue('delayed', delay => '1 day');
            SELECT minion.enqueue('expiring', expire => '1 day', queue => 'another');
            SELECT minion.enqueue('blocked', parents => '{1,4,5}', priority => 3);
            SELECT minion.enqueue('blocked by failed', parents => '{2}');
            SELECT minion.enqueue('lax', parents => '{2}', lax => true);
            SELECT minion.enqueue('watching', parents => '{1}', queue => 'watched');
            SELECT minion.dequeue(2, queues => '{watched}');
            INSERT INTO minion.jobs (task, expires) VALUES ('expired', now() - interval '1 day');
            SELECT minion.enqueue('orphan', parents => '{-1,12}');
            SELECT minion.enqueue('removed'), minion.remove_job(14);
            "#,
        )
        .unwrap();
}

/// All that the tables hold for their users. Where a job is parked is the extension's own affair.
pub fn contents(client: &mut Client) -> Vec<Value> {
    client.all(
        "SELECT content.one
         FROM (
            SELECT 'job', id, to_jsonb(job) - 'parked_until' - 'waits_for' FROM minion.jobs AS job
            UNION ALL SELECT 'children', id, to_jsonb(child) FROM minion.children AS child
            UNION ALL SELECT 'lock', id, to_jsonb(lock) FROM minion.locks AS lock
            UNION ALL SELECT 'schedule', id, to_jsonb(schedule) FROM minion.schedules AS schedule
            UNION ALL SELECT 'worker', id, to_jsonb(worker) FROM minion.workers AS worker
            UNION ALL SELECT 'last', 1, to_jsonb(last_value) FROM minion.jobs_id_seq
            UNION ALL SELECT 'last', 2, to_jsonb(last_value) FROM minion.locks_id_seq
            UNION ALL SELECT 'last', 3, to_jsonb(last_value) FROM minion.schedules_id_seq
            UNION ALL SELECT 'last', 4, to_jsonb(last_value) FROM minion.workers_id_seq
         ) AS content (kind, id, one)
         ORDER BY content.kind, content.id",
        &[],
    )
}

/// Takes a queue that [`fill_with_everything`] made, or a copy of one, through what is left to do in it.
pub fn goes_on_working(client: &mut Client) {
    assert_eq!(tasks(client, "default"), ["lax", "orphan", "ready"]);
    assert_eq!(tasks(client, "another"), ["expiring"]);
    assert_eq!(tasks(client, "watched"), [""; 0]);
    client.batch_execute("SELECT minion.finish_jobs('{1,5}', '{0,0}')").unwrap();
    client.batch_execute("SELECT minion.retry_job(2, 0, queue => 'again')").unwrap();
    client.batch_execute("SELECT minion.remove_job(2)").unwrap();
    client.batch_execute("UPDATE minion.jobs SET delayed = now() WHERE task = 'delayed'").unwrap();
    assert_eq!(tasks(client, "default"), ["blocked", "delayed", "blocked by failed"]);
    assert_eq!(tasks(client, "watched"), ["watching"]);
    let commands: Value = client.one("SELECT minion.receive(2)", &[]);
    assert_eq!(commands, serde_json::json!([["stop", 1, {"b": null}]]));
    assert!(!client.one::<bool>("SELECT minion.lock('name', '1 day', 2)", &[]));
    assert!(client.one::<bool>("SELECT minion.unlock('name')", &[]));
    assert_eq!(client.one::<i64>("SELECT minion.enqueue('next')", &[]), 15);
    assert_eq!(client.one::<i64>("SELECT minion.register_worker()", &[]), 3);
    let expired: i64 = client.one("SELECT jobs_expired FROM minion.repair()", &[]);
    assert_eq!(expired, 1);
}

fn tasks(client: &mut Client, queue: &str) -> Vec<String> {
    let claim = "SELECT task FROM minion.dequeue(1, queues => $1, max_jobs => 10)";
    client.all(claim, &[&vec![queue]])
}
