//! What the tests share: each has a database of its own, so that they run side by side.
//!
//! The server is the one that PGHOST, PGPORT and PGUSER name, as for psql.

use postgres::types::{FromSqlOwned, ToSql};
use postgres::{Client, Config, NoTls};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, process, thread};

/// Longer than anything here takes, so that a test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(60);

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

    pub fn connect(&self) -> Client {
        connect(&self.name)
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
    let set = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    Config::new()
        .host(&set("PGHOST"))
        .port(set("PGPORT").parse().expect("PGPORT is a number"))
        .user(&set("PGUSER"))
        .dbname(database)
        // Whoever waits for a lock that long waits for ever.
        .options("-c lock_timeout=60s")
        .connect(NoTls)
        .unwrap()
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

/// Where the server looks for extensions' files.
pub fn extension_directory() -> PathBuf {
    let output = Command::new(bin().join("pg_config")).arg("--sharedir").output().unwrap();
    let directory = String::from_utf8(output.stdout).expect("a path in UTF-8");
    PathBuf::from(directory.trim_end()).join("extension")
}

fn bin() -> PathBuf {
    env::var_os("MINION_BIN").expect("MINION_BIN is not set").into()
}
