//! Whoever waits for a job that is due later has it on time, whatever becomes of the timekeeper.

use integration::background::{until_worker, worker};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until, until_waiting};
use postgres::Client;
use std::thread;
use std::time::Duration;

/// A job for each of those who wait, all due within a moment.
fn enqueue(client: &mut Client, waiters: usize) {
    let many = "SELECT minion.enqueue('task', delay => random() * interval '200 milliseconds')
        FROM generate_series(1, $1)";
    client.all::<i64>(many, &[&(waiters as i32)]);
}

/// Waits for a job and does it. How late that was, in milliseconds.
fn wait(client: &mut Client, id: i64) -> f64 {
    let claim = "SELECT id FROM minion.dequeue($1, wait => '50 seconds')";
    let job: i64 = client.one(claim, &[&id]);
    assert!(client.one::<bool>("SELECT minion.finish_job($1, 0)", &[&job]));
    let late = "SELECT (extract(epoch FROM started - delayed) * 1000)::float8 FROM minion.jobs WHERE id = $1";
    client.one(late, &[&job])
}

fn with_waiters(server: &Server, rounds: usize, mut meanwhile: impl FnMut(&mut Client, usize)) {
    let (mut client, mut watch) = (server.queue("one"), server.connect("postgres"));
    let mut waiters: Vec<_> = (0..6)
        .map(|_| {
            let mut waiter = server.connect("one");
            let id = waiter.register();
            (waiter, id)
        })
        .collect();
    let mut late = vec![];
    for round in 0..rounds {
        let backends: Vec<_> = waiters.iter_mut().map(|(waiter, _)| waiter.backend()).collect();
        thread::scope(|scope| {
            let all: Vec<_> = waiters
                .iter_mut()
                .map(|(waiter, id)| scope.spawn(move || wait(waiter, *id)))
                .collect();
            backends.iter().for_each(|backend| until_waiting(&mut watch, *backend));
            enqueue(&mut client, all.len());
            meanwhile(&mut watch, round);
            late.extend(all.into_iter().map(|waiter| waiter.join().unwrap()));
        });
    }
    late.sort_by(f64::total_cmp);
    let part = |part: usize| late[(late.len() - 1) * part / 100];
    eprintln!(
        "late: {:.1} ms, p90 {:.1}, p99 {:.1}, {:.1} at most",
        part(50),
        part(90),
        part(99),
        part(100)
    );
    let done = "SELECT count(*) FROM minion.jobs WHERE state = 'finished'";
    assert_eq!(client.one::<i64>(done, &[]), late.len() as i64);
}

#[test]
fn who_waits_has_his_job_though_the_worker_is_terminated_meanwhile() {
    let Some(server) = Server::with_background(&[]) else { return };
    with_waiters(&server, 60, |watch, _| {
        until_worker(watch, "one");
        thread::sleep(Duration::from_millis(fastrand::u64(0..200)));
        if let Some(pid) = worker(watch, "one") {
            run(watch, &format!("SELECT pg_terminate_backend({pid})"));
        }
    });
}

#[test]
fn who_waits_has_his_job_with_the_background_on_and_off() {
    let Some(server) = Server::with_background(&[]) else { return };
    with_waiters(&server, 40, |_, round| {
        thread::sleep(Duration::from_millis(fastrand::u64(0..200)));
        server.set(&[["minion.background = off", "minion.background = on"][round % 2]]);
        server.reload();
    });
}

#[test]
fn who_waits_has_his_job_while_somebody_has_the_schedules_locked() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut holder = None;
    with_waiters(&server, 10, |watch, round| {
        if round == 3 {
            let mut client = server.connect("one");
            run(&mut client, "SELECT minion.schedule('due', '@yearly', 'due')");
            run(&mut client, "BEGIN; LOCK TABLE minion.schedules");
            until("it is locked", || client.simple_query("").is_ok());
            run(watch, "SELECT pg_reload_conf()"); // all duties have their turn
            holder = Some(client);
        }
    });
    run(&mut holder.expect("opened above"), "ROLLBACK");
}
