//! Nothing is late, and nothing is for nobody: what waits hears of all that there is, in time, and of its client's
//! end. What is measured is far below the time after which a waiter looks again without having heard of anything.

use integration::heads::{is_preloaded, prepare, run};
use integration::{Ask, Database, bin, until, until_waiting};
use postgres::Client;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A waiter that has heard of nothing looks again after 10 seconds.
const SOON: Duration = Duration::from_secs(5);

/// How long `call`, which waits for longer, goes on after `act` has returned; and what it returns.
fn answers_after<T>(
    database: &Database,
    mut waiter: Client,
    call: &str,
    act: impl FnOnce() -> T,
) -> (T, Vec<i64>, Duration) {
    let backend = waiter.backend();
    let call = call.to_string();
    let waiting = thread::spawn(move || (waiter.all::<i64>(&call, &[]), Instant::now()));
    until_waiting(&mut database.connect(), backend);
    let acted = act();
    let begin = Instant::now();
    let (ids, end) = waiting.join().unwrap();
    (acted, ids, end.saturating_duration_since(begin))
}

const DEQUEUE: &str = "SELECT id FROM minion.dequeue(1, wait => '1 minute')";

/// psql, which waits for what `call` says, and its backend.
fn psql(database: &Database, client: &mut Client, call: &str) -> (Child, i32) {
    // Another one each time: one that has been killed may be there still.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let application = format!("psql {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let child = Command::new(bin().join("psql"))
        .env("PGAPPNAME", &application)
        .args(["--no-psqlrc", "--dbname", &database.name, "--command", call])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let find = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND datname = $2";
    let mut backends: Vec<i32> = Vec::new();
    until("psql is there", || {
        backends = client.all(find, &[&application, &database.name]);
        !backends.is_empty()
    });
    until_waiting(client, backends[0]);
    (child, backends[0])
}

fn is_there(client: &mut Client, backend: i32) -> bool {
    client.one("SELECT count(*) > 0 FROM pg_stat_activity WHERE pid = $1", &[&backend])
}

#[test]
fn a_waiting_dequeue_whose_client_has_gone_claims_nothing_and_ends_by_itself() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    for job in 1..=3 {
        let call = "SELECT * FROM minion.dequeue(1, wait => '10 minutes')";
        let (mut child, backend) = psql(&database, &mut client, call);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(client.one::<i64>("SELECT minion.enqueue('task')", &[]), job);
        until("the waiter has left", || !is_there(&mut client, backend));
        let active = "SELECT count(*) FROM minion.jobs WHERE state <> 'inactive'";
        assert_eq!(client.one::<i64>(active, &[]), 0);
        run(&mut client, "DELETE FROM minion.jobs");
    }
    // With nothing that could wake it.
    for call in ["dequeue(1, wait => '10 minutes')", "wait_for_job(4, '10 minutes')"] {
        run(
            &mut client,
            "INSERT INTO minion.jobs (id, task, queue) VALUES (4, 'task', 'other') ON CONFLICT DO NOTHING",
        );
        let (mut child, backend) = psql(&database, &mut client, &format!("SELECT minion.{call}"));
        child.kill().unwrap();
        child.wait().unwrap();
        until("the waiter has left", || !is_there(&mut client, backend));
    }
}

/// Waits on one queue, in the background.
fn wait_on(database: &Database, queue: &str) -> JoinHandle<Vec<i64>> {
    wait_on_for(database, queue, "40 s")
}

/// The same for some queues.
fn wait_on_for(database: &Database, queues: &str, wait: &str) -> JoinHandle<Vec<i64>> {
    let mut waiter = database.connect();
    let backend = waiter.backend();
    let call =
        format!("SELECT id FROM minion.dequeue(1, wait => '{wait}', queues => '{{{queues}}}')");
    let waiting = thread::spawn(move || waiter.all::<i64>(&call, &[]));
    if wait == "40 s" {
        until_waiting(&mut database.connect(), backend);
    }
    waiting
}

/// In seconds, of the job that was the last of those: the worst of several would say how busy the machine is.
fn median_lateness(client: &mut Client) -> f64 {
    client.one(
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started - delayed)::float8)
        FROM minion.jobs
        WHERE started IS NOT NULL AND delayed > created",
        &[],
    )
}

#[test]
fn delayed_jobs_come_when_they_are_due_whoever_else_waits_for_other_queues() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    let stranger = wait_on(&database, "a");
    let mut waiters = vec![wait_on(&database, "q1"), wait_on(&database, "q1")];
    let enqueue = |client: &mut Client, delay: &str| {
        let delayed = "SELECT minion.enqueue('task', queue => 'q1', delay => $1::text::interval)";
        client.one::<i64>(delayed, &[&delay]);
    };
    for delay in ["0.6 s", "1.2 s"] {
        enqueue(&mut client, delay);
    }
    waiters.drain(..).for_each(|waiter| assert_eq!(waiter.join().unwrap().len(), 1));
    // A waiter that leaves hands on what it has kept.
    for _ in 0..3 {
        let (first, second) = (wait_on(&database, "q1"), wait_on(&database, "q1"));
        enqueue(&mut client, "0.5 s");
        enqueue(&mut client, "0.7 s");
        first.join().unwrap();
        second.join().unwrap();
    }
    // A lane that shared memory has never heard of.
    for at in 0..3 {
        let queue = format!("new {at}");
        let waiter = wait_on(&database, &queue);
        let delayed = "SELECT minion.enqueue('task', queue => $1, delay => '0.3 s')";
        client.one::<i64>(delayed, &[&queue]);
        waiter.join().unwrap();
    }
    let lateness = median_lateness(&mut client);
    assert!((0.0..0.5).contains(&lateness), "{lateness} s late");
    run(&mut client, "SELECT minion.enqueue('last', queue => 'a')");
    assert_eq!(stranger.join().unwrap().len(), 1);
}

#[test]
fn an_automatic_retry_comes_when_it_is_due() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    let stranger = wait_on(&database, "a");
    for job in 1..=3 {
        run(&mut client, "SELECT minion.enqueue('task', attempts => 2)");
        run(&mut client, "SELECT minion.dequeue(1)");
        let waiter = wait_on(&database, "default");
        client.one::<bool>(
            "SELECT minion.fail_job($1, 0, retry_delay => '0.4 s')",
            &[&i64::from(job)],
        );
        assert_eq!(waiter.join().unwrap(), [i64::from(job)]);
    }
    let lateness = median_lateness(&mut client);
    assert!((0.0..0.5).contains(&lateness), "{lateness} s late");
    run(&mut client, "SELECT minion.enqueue('last', queue => 'a')");
    stranger.join().unwrap();
}

#[test]
fn a_prepared_enqueue_and_a_prepared_end_are_heard_of_when_they_are_committed() {
    let mut queue = integration::heads::Queue::new();
    prepare(&mut queue, "SELECT minion.enqueue('task')");
    let name = queue.database.name.clone();
    let commit = format!("COMMIT PREPARED '{name}'");
    let waiter = queue.database.connect();
    let act = || {
        // It has seen that there is nothing.
        thread::sleep(Duration::from_millis(1500));
        run(&mut queue.other, &commit);
    };
    let ((), ids, late) = answers_after(&queue.database, waiter, DEQUEUE, act);
    assert_eq!(ids, [2]);
    assert!(late < SOON, "{late:?}");

    run(&mut queue.other, "BEGIN; SET LOCAL minion.notify = off; SELECT minion.finish_job(2, 0)");
    run(&mut queue.other, &format!("PREPARE TRANSACTION '{name}'"));
    let waiter = queue.database.connect();
    let call = "SELECT id FROM minion.wait_for_job(2, '1 minute')";
    let ((), ids, late) =
        answers_after(&queue.database, waiter, call, || run(&mut queue.other, &commit));
    assert_eq!(ids, [2]);
    assert!(late < SOON, "{late:?}");
}

#[test]
fn jobs_of_many_lanes_that_no_trigger_has_seen_are_found_soon() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    let insert = "SET session_replication_role = replica;
        INSERT INTO minion.jobs (task) SELECT 'task ' || number FROM generate_series(1, 32) AS number";
    // So that all lanes are known, and known to be empty.
    run(&mut client, insert);
    let all = "SELECT id FROM minion.dequeue(1, max_jobs => 32)";
    assert_eq!(client.all::<i64>(all, &[]).len(), 32);
    assert_eq!(client.all::<i64>(all, &[]).len(), 0);
    let mut other = database.connect();
    let (waiter, mut found, mut late) = (database.connect(), Vec::new(), Duration::ZERO);
    let mut waiter = Some(waiter);
    while found.len() < 32 {
        let one = waiter.take().unwrap_or_else(|| database.connect());
        let call = "SELECT id FROM minion.dequeue(1, wait => '1 minute', max_jobs => 32)";
        let first = found.is_empty();
        let act = || {
            if first {
                run(&mut other, insert)
            }
        };
        if first {
            let ((), ids, took) = answers_after(&database, one, call, act);
            found.extend(ids);
            late += took;
        } else {
            let mut one = one;
            let begin = Instant::now();
            found.extend(one.all::<i64>(call, &[]));
            late += begin.elapsed();
        }
    }
    assert_eq!(found.len(), 32);
    assert!(late < SOON, "{late:?}");
}

#[test]
fn a_claim_that_is_rolled_back_to_a_savepoint_leaves_its_job_to_who_waits() {
    let database = Database::new();
    let mut other = database.connect();
    other.register();
    run(&mut other, "SELECT minion.enqueue('task')");
    run(&mut other, "BEGIN; SAVEPOINT before; SELECT minion.dequeue(1)");
    let waiter = database.connect();
    let act = || run(&mut other, "ROLLBACK TO before");
    let ((), ids, late) = answers_after(&database, waiter, DEQUEUE, act);
    assert_eq!(ids, [1]);
    assert!(late < Duration::from_millis(700), "{late:?}");
    run(&mut other, "COMMIT");
}

/// How often the index was searched in which parents are looked up.
fn searches(client: &mut Client) -> i64 {
    run(client, "SELECT pg_stat_clear_snapshot()");
    client.one("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'jobs_pkey'", &[])
}

#[test]
fn who_waits_does_not_look_at_thousands_of_blocked_children_again_and_again() {
    const CHILDREN: i64 = 5_000;
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    run(&mut client, "SELECT minion.enqueue('parent')");
    run(&mut client, "SELECT minion.dequeue(1)");
    let children = "SELECT count(minion.enqueue('child', parents => '{1}')) FROM generate_series(1, $1::bigint)";
    client.one::<i64>(children, &[&CHILDREN]);
    let before = searches(&mut client);
    for (act, most) in [("SELECT pg_sleep(2)", 0), ("SELECT minion.finish_job(1, 0)", 1)] {
        let waiter = database.connect();
        let wait = if most == 0 { "2 s" } else { "1 minute" };
        let call = format!("SELECT id FROM minion.dequeue(1, wait => '{wait}')");
        let ((), ids, late) = answers_after(&database, waiter, &call, || run(&mut client, act));
        assert_eq!(ids.len(), most);
        assert!(late < SOON, "{late:?}");
    }
    // The first claim's last look, and the others' first ones, each of which is through all of them.
    let most = if is_preloaded(&mut client) { 12 } else { 40 } * CHILDREN;
    until("the statistics are there", || searches(&mut client) > before);
    let looked = searches(&mut client) - before;
    assert!(looked < most, "{looked} look-ups");
}

#[test]
fn a_sleeping_wait_for_job_is_in_nobodys_way() {
    let database = Database::new();
    let (mut client, waiter) = (database.connect(), database.connect());
    client.register();
    run(&mut client, "SELECT minion.enqueue('task')");
    run(&mut client, "SELECT minion.dequeue(1)");
    let act = || {
        run(
            &mut client,
            "BEGIN; LOCK minion.jobs, minion.children IN ACCESS EXCLUSIVE MODE; COMMIT",
        );
        run(&mut client, "SELECT minion.finish_job(1, 0)");
    };
    let call = "SELECT id FROM minion.wait_for_job(1, '1 minute')";
    let ((), ids, _) = answers_after(&database, waiter, call, act);
    assert_eq!(ids, [1]);
}

#[test]
fn who_waits_for_room_under_a_limit_hears_of_it_and_does_not_ask() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    run(&mut client, "SELECT minion.limit_task('task', 1), minion.enqueue('task')");
    run(&mut client, "SELECT minion.dequeue(1)");
    run(&mut client, "SELECT minion.enqueue('task', queue => 'other'), minion.enqueue('task')");
    // The end of one in another queue, and a claim in another queue that is undone.
    let waiter = database.connect();
    let call = "SELECT id FROM minion.dequeue(1, wait => '1 minute', queues => '{other}')";
    let act = || run(&mut client, "SELECT minion.finish_job(1, 0)");
    let ((), ids, late) = answers_after(&database, waiter, call, act);
    assert_eq!(ids, [2]);
    assert!(late < Duration::from_millis(700), "{late:?}");
    run(&mut client, "SELECT minion.enqueue('task', queue => 'other'), minion.finish_job(2, 0)");
    run(&mut client, "BEGIN; SELECT minion.dequeue(1)");
    let waiter = database.connect();
    let act = || run(&mut client, "ROLLBACK");
    let ((), ids, late) = answers_after(&database, waiter, call, act);
    assert_eq!(ids, [4]);
    assert!(late < Duration::from_millis(700), "{late:?}");
    if is_preloaded(&mut client) {
        let hits = "SELECT sum(hits)::bigint FROM minion.lanes() WHERE database = current_database() AND queue = 'default'";
        let before: i64 = client.one(hits, &[]);
        let call = "SELECT id FROM minion.dequeue(1, wait => '3 s')";
        client.all::<i64>(call, &[]);
        let looks = client.one::<i64>(hits, &[]) - before;
        assert!(looks <= 15, "{looks} looks in 3 seconds");
    }
}

/// Claims that take nothing, and all that there is to verify, until dropped: what a waiter has missed stays missed.
struct Stranger(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Stranger {
    fn new(database: &Database) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (mut client, is_over) = (database.connect(), over.clone());
        let claim = "SELECT id FROM minion.dequeue(1, queues => '{a,b}', min_priority => 100)";
        let work = move || {
            while !is_over.load(Ordering::Relaxed) {
                client.query(claim, &[]).unwrap();
                thread::sleep(Duration::from_millis(20));
            }
        };
        Self(over, Some(thread::spawn(work)))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[test]
fn what_a_waiter_was_woken_for_and_does_not_take_goes_to_another() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    // So that both queues are known.
    wait_on_for(&database, "a,b", "1 ms").join().unwrap();
    let _stranger = Stranger::new(&database);
    for _ in 0..3 {
        let both = wait_on_for(&database, "a,b", "40 s");
        let one = wait_on_for(&database, "a", "40 s");
        let begin = Instant::now();
        run(
            &mut client,
            "BEGIN; SELECT minion.enqueue('task', queue => 'a');
             SELECT minion.enqueue('task', queue => 'b', priority => 5); COMMIT",
        );
        assert_eq!(both.join().unwrap().len() + one.join().unwrap().len(), 2);
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    }
    // Whoever is woken first has nobody to tell.
    for _ in 0..3 {
        let call = "SELECT * FROM minion.dequeue(1, wait => '10 minutes', queues => '{a}')";
        let (mut child, _) = psql(&database, &mut client, call);
        let other = wait_on_for(&database, "a", "40 s");
        child.kill().unwrap();
        child.wait().unwrap();
        let begin = Instant::now();
        run(&mut client, "SELECT minion.enqueue('task', queue => 'a')");
        assert_eq!(other.join().unwrap().len(), 1);
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    }
    // One that will be due, and one that is ready, in the same moment.
    for _ in 0..3 {
        let waiter = wait_on_for(&database, "a", "40 s");
        let begin = Instant::now();
        run(
            &mut client,
            "BEGIN; SELECT minion.enqueue('later', queue => 'a', delay => '1 hour');
             SELECT minion.enqueue('now', queue => 'a'); COMMIT",
        );
        assert_eq!(waiter.join().unwrap().len(), 1);
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    }
}

#[test]
fn children_are_free_when_a_parent_expires_that_has_thousands_of_them() {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    run(&mut client, "SELECT minion.enqueue('parent', queue => 'other', expire => '3 s')");
    let children =
        "SELECT count(minion.enqueue('child', parents => '{1}')) FROM generate_series(1, 5000)";
    client.one::<i64>(children, &[]);
    let call = "SELECT id FROM minion.dequeue(1, wait => '40 s')";
    assert_eq!(client.all::<i64>(call, &[]).len(), 1);
    let late: f64 = client.one(
        "SELECT extract(epoch FROM clock_timestamp() - expires)::float8 FROM minion.jobs WHERE id = 1",
        &[],
    );
    assert!((0.0..2.0).contains(&late), "{late} s late");
}
