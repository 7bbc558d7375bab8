//! Whoever ends the processes in the background ends nobody's work.

use integration::background::{keep_busy, launcher, until_served, until_worker, worker};
use integration::heads::run;
use integration::load::Load;
use integration::server::Server;
use integration::{Ask, until};
use std::time::Duration;

const BUSY: &[&str] = &["minion.repair_interval = '1s'"];

#[test]
fn a_launcher_or_worker_that_is_killed_takes_nothing_with_it() {
    let Some(server) = Server::with_background(BUSY) else { return };
    server.queue("one").register();
    let load = Load::new(&server, "one", 4);
    for of_launcher in [false, true, false, true] {
        let mut watch = server.connect("postgres");
        load.go_on();
        until("there is one to kill", || {
            let victim = match of_launcher {
                true => launcher(&mut watch),
                false => worker(&mut watch, "one"),
            };
            victim.map(|pid| server.crash(pid)).is_some()
        });
        load.go_on();
        let mut watch = server.connect("postgres");
        until("the launcher is back", || launcher(&mut watch).is_some());
        until_worker(&mut watch, "one");
    }
    let mut told = load.end();
    assert!(told.lost_connections > 0);
    let mut one = server.connect("one");
    told.check(&mut one);
    told.claim_the_rest(&mut one, &["default"]);
    until_served(&mut one);
}

#[test]
fn a_launcher_or_worker_that_is_terminated_comes_back_and_nobody_notices() {
    let Some(server) = Server::with_background(BUSY) else { return };
    server.queue("one").register();
    let load = Load::new(&server, "one", 4);
    let mut watch = server.connect("postgres");
    for round in 0..20 {
        let victims: &[&str] = match round % 3 {
            0 => &["minion worker"],
            1 => &["minion launcher"],
            _ => &["minion worker", "minion launcher"],
        };
        until("the launcher is there", || launcher(&mut watch).is_some());
        until_worker(&mut watch, "one");
        let ended: Vec<i32> = watch.all(
            "SELECT pid FROM pg_stat_activity
             WHERE backend_type = ANY ($1) AND pg_terminate_backend(pid)",
            &[&victims],
        );
        until("they have ended", || {
            let still = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)";
            watch.one::<i64>(still, &[&ended]) == 0
        });
        load.go_on();
    }
    until("the launcher is back", || launcher(&mut watch).is_some());
    until_worker(&mut watch, "one");
    let mut told = load.end();
    assert_eq!(told.lost_connections, 0);
    let mut one = server.connect("one");
    told.check(&mut one);
    told.claim_the_rest(&mut one, &["default"]);
    until_served(&mut one);
}

#[test]
fn a_stop_waits_for_no_worker() {
    let Some(server) = Server::with_background(BUSY) else { return };
    server.queue("one").close().unwrap();
    let stop = |how: &str, mode: &str| {
        let took = server.stop(mode);
        eprintln!("a {mode} stop, {how}: {took:?}");
        assert!(took < Duration::from_secs(15), "{how}: {took:?}");
        server.start();
    };
    // In the way of all that the worker does.
    let (mut holder, mut one) = (server.connect("one"), server.connect("one"));
    keep_busy(&mut one);
    run(&mut holder, "BEGIN; LOCK TABLE minion.jobs");
    let mut watch = server.connect("postgres");
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE backend_type = 'minion worker' AND wait_event_type = 'Lock')";
    until("the worker waits for the lock", || watch.one(waits, &[]));
    stop("while the worker waits for a lock", "fast");
    // In the middle of long work.
    let mut one = server.connect("one");
    keep_busy(&mut one);
    let old = "INSERT INTO minion.jobs (task, state, finished)
        SELECT 'old', 'finished', now() - interval '3 days' FROM generate_series(1, 100000)";
    run(&mut one, old);
    until_worker(&mut one, "one");
    stop("while the worker works", "fast");
    stop("at the start", "fast");
    let mut one = server.connect("one");
    keep_busy(&mut one);
    until_worker(&mut one, "one");
    one.close().unwrap();
    stop("with nobody there but the worker", "smart");
    until_served(&mut server.connect("one"));
}
