//! With a worker in the background, who listens hears after each burst of jobs, whatever becomes of the worker.

use integration::background::{make_due, until_enqueued, until_served, until_worker, worker};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until};
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A client that looks for jobs when it hears of some, and never else.
struct Listener {
    heard: Arc<Heard>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    /// The last job that was there.
    seen: AtomicI64,
    notifications: AtomicUsize,
    /// Of the process that notified last.
    by: AtomicI32,
    stop: AtomicBool,
}

impl Listener {
    fn new(server: &Server, database: &str) -> Self {
        let mut client = server.connect(database);
        run(&mut client, r#"LISTEN "minion.job""#);
        let heard = Arc::<Heard>::default();
        let keeps = Arc::clone(&heard);
        let thread = thread::spawn(move || {
            while !keeps.stop.load(SeqCst) {
                hear(&mut client, &keeps);
            }
        });
        Self { heard, thread: Some(thread) }
    }

    fn notifications(&self) -> usize {
        self.heard.notifications.load(SeqCst)
    }

    /// Waits until it has heard of a job that is there.
    fn until_seen(&self, id: i64) {
        until(&format!("job {id} is heard of"), || {
            let hears = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
            assert!(hears, "the listener has failed");
            self.heard.seen.load(SeqCst) >= id
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.heard.stop.store(true, SeqCst);
        let joined = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            joined.expect("it is joined once").unwrap();
        }
    }
}

fn hear(client: &mut Client, heard: &Heard) {
    let (mut notifications, mut by) = (0, 0);
    {
        let mut coming = client.notifications();
        let mut take = |one: postgres::Notification| {
            assert_eq!(one.channel(), "minion.job");
            (notifications, by) = (notifications + 1, one.process_id());
        };
        coming.timeout_iter(Duration::from_millis(50)).next().unwrap().map(&mut take);
        while let Some(one) = coming.iter().next().unwrap() {
            take(one);
        }
    }
    if notifications > 0 {
        heard.by.store(by, SeqCst);
        heard.notifications.fetch_add(notifications, SeqCst);
        let last = "SELECT coalesce(max(id), 0) FROM minion.jobs WHERE delayed <= now()";
        heard.seen.store(client.one(last, &[]), SeqCst);
    }
}

fn enqueue(client: &mut Client) -> i64 {
    client.one("SELECT minion.enqueue('task')", &[])
}

#[test]
fn a_listener_hears_after_each_burst() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    let mut others: Vec<_> = (0..4).map(|_| server.connect("one")).collect();
    enqueue(&mut one);
    let pid = until_worker(&mut one, "one");
    for round in 0..200 {
        // One after the other, or at once.
        let last = match round % 2 {
            0 => (0..fastrand::u8(1..20)).map(|_| enqueue(&mut one)).max(),
            _ => thread::scope(|scope| {
                let bursts: Vec<_> = others
                    .iter_mut()
                    .map(|client| scope.spawn(|| (0..5).map(|_| enqueue(client)).max()))
                    .collect();
                bursts.into_iter().map(|burst| burst.join().unwrap()).max().unwrap()
            }),
        };
        listener.until_seen(last.expect("a job"));
    }
    // Nobody else notifies while it lives.
    if worker(&mut one, "one") == Some(pid) {
        assert_eq!(listener.heard.by.load(SeqCst), pid);
    }
}

#[test]
fn a_listener_hears_after_each_burst_when_the_worker_is_terminated_in_it() {
    let Some(server) = Server::with_background(&[]) else { return };
    let (mut one, mut watch) = (server.queue("one"), server.connect("postgres"));
    let listener = Listener::new(&server, "one");
    for round in 0..100 {
        if round % 4 != 3 {
            enqueue(&mut one);
            until_worker(&mut watch, "one");
        }
        let burst = thread::spawn(move || {
            let last = (0..fastrand::u8(1..30)).map(|_| enqueue(&mut one)).max();
            (one, last.expect("a job"))
        });
        thread::sleep(Duration::from_micros(fastrand::u64(0..8_000)));
        if let Some(pid) = worker(&mut watch, "one") {
            run(&mut watch, &format!("SELECT pg_terminate_backend({pid})"));
        }
        let (client, last) = burst.join().unwrap();
        one = client;
        listener.until_seen(last);
    }
    until_served(&mut one);
}

#[test]
fn a_listener_hears_no_more_often_than_it_is_to() {
    let Some(server) = Server::with_background(&["minion.notify_interval = '200ms'"]) else {
        return;
    };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    until_served(&mut one);
    let pid = until_worker(&mut one, "one");
    let (before, begin) = (listener.notifications(), Instant::now());
    let mut last = 0;
    while begin.elapsed() < Duration::from_secs(2) {
        last = enqueue(&mut one);
    }
    listener.until_seen(last);
    let most = begin.elapsed().as_millis() / 200 + 2;
    let heard = listener.notifications() - before;
    eprintln!("{heard} notifications for {last} jobs");
    if worker(&mut one, "one") == Some(pid) {
        assert!(heard as u128 <= most, "{heard} notifications, {most} at most");
    }
}

#[test]
fn a_listener_hears_of_what_is_committed_in_two_phases() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    for round in 0..20 {
        until_served(&mut one);
        until_worker(&mut one, "one");
        run(&mut one, "BEGIN");
        let id = enqueue(&mut one);
        run(&mut one, "PREPARE TRANSACTION 'one'");
        if round % 2 == 1 {
            until_served(&mut server.connect("one"));
        }
        // From any session of the database.
        run(&mut server.connect("one"), "COMMIT PREPARED 'one'");
        listener.until_seen(id);
    }
}

#[test]
fn a_listener_hears_when_a_delayed_job_comes_due() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    for milliseconds in [1, 10, 100, 300, 1_000, 3_000] {
        let enqueue = "SELECT minion.enqueue('task', delay => $1 * interval '1 millisecond')";
        let id: i64 = one.one(enqueue, &[&f64::from(milliseconds)]);
        listener.until_seen(id);
        // And when it is done from plain SQL.
        let insert = "INSERT INTO minion.jobs (task, delayed)
            VALUES ('task', now() + $1 * interval '1 millisecond') RETURNING id";
        let id: i64 = one.one(insert, &[&f64::from(milliseconds)]);
        listener.until_seen(id);
    }
    // Of what comes due again and again.
    let many = "SELECT max(minion.enqueue('task', delay => number * interval '20 milliseconds'))
        FROM generate_series(1, 100) AS number";
    let last: i64 = one.one(many, &[]);
    listener.until_seen(last);
}

#[test]
fn a_session_that_does_not_notify_is_not_heard() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    until_served(&mut one);
    let listener = Listener::new(&server, "one");
    run(&mut one, "SET minion.notify = off");
    for _ in 0..10 {
        enqueue(&mut one);
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(listener.notifications(), 0);
}

#[test]
fn a_listener_hears_when_the_worker_had_to_wait_for_somebody_else_s_notification() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    let listener = Listener::new(&server, "one");
    until_served(&mut one);
    until_worker(&mut one, "one");
    run(&mut one, "SET synchronous_commit = off");
    // A commit that waits for a standby keeps all others from notifying.
    server.set(&["synchronous_standby_names = 'nobody'"]);
    server.reload();
    let mut holder = server.connect("postgres");
    let pid = holder.backend();
    let notifies = "CREATE TABLE IF NOT EXISTS of_holder (); NOTIFY other";
    let holder = thread::spawn(move || run(&mut holder, notifies));
    let waits =
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep')";
    until("a commit waits", || one.one(waits, &[&pid]));
    let id = enqueue(&mut one);
    // Meanwhile all else goes on.
    make_due(&mut one, "meanwhile");
    until_enqueued(&mut one, "meanwhile");
    assert!(listener.heard.seen.load(SeqCst) < id);
    server.set(&["synchronous_standby_names = ''"]);
    server.reload();
    listener.until_seen(id);
    holder.join().unwrap();
}
