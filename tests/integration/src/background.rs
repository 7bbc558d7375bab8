//! What is seen of the workers in the background.

use crate::heads::run;
use crate::{Ask, until};
use postgres::Client;
use std::time::{Duration, Instant};

/// What minion.background_workers shows of one.
#[derive(Debug)]
pub struct Shown {
    pub pid: Option<i32>,
    pub activity: Option<String>,
    pub starts: i64,
    pub failures: i32,
    pub last_error: Option<String>,
}

/// Of the worker of a database, if there is a row for it. The client's database has the extension.
pub fn shown(client: &mut Client, database: &str) -> Option<Shown> {
    let row = "SELECT pid, activity, starts, failures, last_error
        FROM minion.background_workers
        WHERE database = $1";
    client.query_opt(row, &[&database]).unwrap().map(|row| Shown {
        pid: row.get(0),
        activity: row.get(1),
        starts: row.get(2),
        failures: row.get(3),
        last_error: row.get(4),
    })
}

/// The process of a database's worker.
pub fn worker(client: &mut Client, database: &str) -> Option<i32> {
    let pid = "SELECT max(pid) FROM pg_stat_activity
        WHERE backend_type = 'minion worker' AND datname = $1";
    client.one(pid, &[&database])
}

/// How many databases have one.
pub fn workers(client: &mut Client) -> i64 {
    client.one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'minion worker'", &[])
}

pub fn launcher(client: &mut Client) -> Option<i32> {
    client.one("SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'minion launcher'", &[])
}

/// Waits until a database has a worker.
pub fn until_worker(client: &mut Client, database: &str) -> i32 {
    let mut pid = None;
    until(&format!("{database} has a worker"), || {
        pid = worker(client, database);
        pid.is_some()
    });
    pid.expect("one that was found")
}

pub fn until_none(client: &mut Client, database: &str) {
    until(&format!("{database} has no worker"), || worker(client, database).is_none());
}

/// Waits until `done` says so, which takes some milliseconds, and on a busy machine no more than seconds.
pub fn soon(what: &str, done: impl FnMut() -> bool) {
    let begin = Instant::now();
    until(what, done);
    let took = begin.elapsed();
    eprintln!("{what}: {took:?}");
    assert!(took < Duration::from_secs(10), "{what}: {took:?}");
}

/// A schedule that is due as soon as this is committed, for a job of this task.
pub fn make_due(client: &mut Client, task: &str) {
    run(
        client,
        &format!(
            "SELECT minion.schedule('{task}', '@yearly', '{task}');
             UPDATE minion.schedules SET next_run = now() WHERE name = '{task}'"
        ),
    );
}

/// Waits until there is a job of this task.
pub fn until_enqueued(client: &mut Client, task: &str) {
    let is_there = "SELECT EXISTS (SELECT FROM minion.jobs WHERE task = $1)";
    until(&format!("{task} is enqueued"), || client.one(is_there, &[&task]));
}

/// Waits until something is done by itself that is due now.
pub fn until_served(client: &mut Client) {
    run(client, "DELETE FROM minion.jobs WHERE task = 'serve'");
    make_due(client, "serve");
    until_enqueued(client, "serve");
    run(client, "SELECT minion.unschedule('serve'); DELETE FROM minion.jobs WHERE task = 'serve'");
}

/// Work for a worker: jobs that come due for some seconds, and old ones.
pub fn keep_busy(client: &mut Client) {
    run(
        client,
        "INSERT INTO minion.jobs (task, delayed)
         SELECT 'soon', now() + number * interval '5 milliseconds' FROM generate_series(1, 4000) AS number",
    );
    add_old(client, 1_000);
}

/// Jobs that finished long ago, which repair removes.
pub fn add_old(client: &mut Client, jobs: i32) {
    run(
        client,
        &format!(
            "INSERT INTO minion.jobs (task, state, finished)
             SELECT 'old', 'finished', now() - interval '3 days' FROM generate_series(1, {jobs})"
        ),
    );
}

pub fn until_no_old(client: &mut Client) {
    let gone = "SELECT NOT EXISTS (SELECT FROM minion.jobs WHERE task = 'old')";
    until("old finished jobs are gone", || client.one(gone, &[]));
}
