//! The README's worker outlives its server, and can be ended without. One test alone, since nobody else can use the server meanwhile.

use integration::readme::Queue;
use integration::{server_directory, server_program, until};
use std::env;

fn control(arguments: &[&str]) {
    let (data, log) = (server_directory().join("data"), server_directory().join("log"));
    let mut command = server_program("pg_ctl");
    command.arg("--pgdata").arg(data).arg("--log").arg(log).arg("--silent").args(arguments);
    assert!(command.status().unwrap().success(), "{arguments:?}");
}

/// On the same port, as tools/cluster started it.
fn start() {
    let port = env::var("PGPORT").expect("PGPORT is not set");
    control(&["--options", &format!("-p {port}"), "start"]);
}

fn stop() {
    control(&["--mode=fast", "stop"]);
}

#[test]
fn a_job_that_runs_while_the_server_is_restarted_runs_once_and_its_worker_goes_on_until_sigterm() {
    let mut queue = Queue::new();
    let worker = queue.start_worker();
    let job = queue.hold();
    stop();
    until("a heartbeat misses the server", || worker.said().contains("worker 1: "));
    start();
    queue.client = queue.database.connect();
    queue.release();
    queue.until_state(job, "finished");
    assert_eq!(queue.retries(job), 0);
    assert_eq!(queue.runs(), 1);
    let next = queue.enqueue("ran", "next");
    queue.until_state(next, "finished");
    // Without a server it has nothing to wait for.
    stop();
    worker.signal("TERM");
    worker.ends_well();
    start();
    queue.client = queue.database.connect();
}
