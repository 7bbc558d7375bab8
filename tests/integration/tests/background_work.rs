//! What nobody has to call any more: repair and schedules.

use integration::background::{
    add_old, make_due, until_enqueued, until_no_old, until_none, until_served, until_worker, worker,
};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, PATIENCE, until};
use postgres::fallible_iterator::FallibleIterator;

#[test]
fn what_time_leaves_behind_is_repaired_by_itself_in_spite_of_a_statement_timeout() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let mut one = server.empty("one");
    run(&mut one, "ALTER DATABASE one SET statement_timeout = '2s'");
    run(&mut one, "ALTER DATABASE one SET idle_in_transaction_session_timeout = '1s'");
    run(&mut one, "ALTER DATABASE one SET lock_timeout = '1s'");
    run(&mut one, "ALTER DATABASE one SET default_transaction_read_only = on");
    run(&mut one, "ALTER DATABASE one SET default_transaction_isolation = 'serializable'");
    run(&mut one, "ALTER DATABASE one SET search_path = nowhere");
    run(&mut one, "ALTER DATABASE one SET session_replication_role = replica");
    run(&mut one, "CREATE EXTENSION minion");
    for _ in 0..2 {
        add_old(&mut one, 10_000);
        run(
            &mut one,
            "INSERT INTO minion.jobs (task, state, finished)
             VALUES ('young', 'finished', now()), ('failed', 'failed', now() - interval '1 year');
             INSERT INTO minion.jobs (task, expires) VALUES ('expired', now() - interval '1 day');
             INSERT INTO minion.jobs (task, delayed) VALUES ('stuck', now() - interval '1 year');
             INSERT INTO minion.workers (id, host, pid, notified) VALUES (7, '', 1, now() - interval '1 year');
             INSERT INTO minion.jobs (task, state, worker, started)
             VALUES ('abandoned', 'active', 7, now() - interval '1 year');",
        );
        until_no_old(&mut one);
        let repaired = "SELECT NOT EXISTS (SELECT FROM minion.workers)
            AND array_agg(DISTINCT task || ' ' || state ORDER BY task || ' ' || state)
                = '{abandoned failed,failed failed,stuck failed,young finished}'
            FROM minion.jobs";
        until("all is repaired", || one.one(repaired, &[]));
    }
    until_served(&mut one);
    assert_eq!(server.complaints(), [""; 0]);
}

#[test]
fn a_job_whose_removal_is_refused_keeps_no_others_from_being_removed() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let mut one = server.queue("one");
    run(
        &mut one,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE 'not this one'; END $$;
         CREATE TRIGGER refuse BEFORE DELETE ON minion.jobs FOR EACH ROW
            WHEN (OLD.priority = 1) EXECUTE FUNCTION refuse();
         INSERT INTO minion.jobs (task, state, finished, priority)
         SELECT 'refused', 'finished', now() - interval '3 days', 1 FROM generate_series(1, 3)",
    );
    for _ in 0..3 {
        add_old(&mut one, 100);
        until_no_old(&mut one);
    }
    assert_eq!(one.one::<i64>("SELECT count(*) FROM minion.jobs", &[]), 3);
    run(&mut one, "DROP TRIGGER refuse ON minion.jobs");
    let none = "SELECT NOT EXISTS (SELECT FROM minion.jobs)";
    until("they are removed as well", || one.one(none, &[]));
}

#[test]
fn jobs_that_nobody_claims_hold_up_no_repair() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let mut one = server.queue("one");
    let due = "INSERT INTO minion.jobs (task, delayed)
        SELECT 'due', now() + interval '1 second' FROM generate_series(1, 100000)";
    run(&mut one, due);
    run(&mut one, "SELECT pg_sleep(1)"); // all have come due, and are parked still
    add_old(&mut one, 2_000);
    until_no_old(&mut one);
}

#[test]
fn a_schedule_runs_by_itself_however_it_becomes_due() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    let insert = |name: &str, next_run: &str, paused: bool| {
        format!(
            "INSERT INTO minion.schedules (name, cron, task, next_run, paused)
             VALUES ('{name}', '@yearly', '{name}', {next_run}, {paused})"
        )
    };
    let soon = "now() + interval '300 milliseconds'";
    run(&mut one, &insert("inserted due", "now()", false));
    until_enqueued(&mut one, "inserted due");
    run(&mut one, &insert("inserted", soon, false));
    until_enqueued(&mut one, "inserted");
    run(&mut one, "SELECT minion.schedule('updated', '@yearly', 'updated')");
    run(&mut one, "UPDATE minion.schedules SET next_run = now() WHERE name = 'updated'");
    until_enqueued(&mut one, "updated");
    for (name, resume) in [
        ("plain", "UPDATE minion.schedules SET paused = false WHERE name = 'plain'"),
        ("function", "SELECT minion.resume_schedule('function')"),
        (
            "upsert",
            "INSERT INTO minion.schedules (name, cron, task, next_run)
            VALUES ('upsert', '@yearly', 'upsert', now())
            ON CONFLICT (name) DO UPDATE SET paused = false, next_run = EXCLUDED.next_run",
        ),
    ] {
        run(&mut one, &insert(name, "now() - interval '1 minute'", true));
        until_served(&mut one);
        let none = "SELECT NOT EXISTS (SELECT FROM minion.jobs WHERE task = $1)";
        assert!(one.one::<bool>(none, &[&name]));
        run(&mut one, resume);
        until_enqueued(&mut one, name);
    }
    // In a transaction that takes its time, and one that is rolled back.
    run(&mut one, "BEGIN");
    run(&mut one, &insert("slow", "now()", false));
    let mut two = server.connect("one");
    until_served(&mut two);
    run(&mut one, "COMMIT");
    until_enqueued(&mut one, "slow");
    run(&mut one, &format!("BEGIN; {}; ROLLBACK", insert("never", "now()", false)));
    run(&mut one, &format!("BEGIN; {}", insert("prepared", "now()", false)));
    run(&mut one, "PREPARE TRANSACTION 'schedule'");
    until_served(&mut two);
    run(&mut one, "COMMIT PREPARED 'schedule'");
    until_enqueued(&mut one, "prepared");
    let once = "SELECT bool_and(jobs = 1) AND count(*) = 8 FROM (
        SELECT count(*) AS jobs FROM minion.jobs GROUP BY task) AS each";
    assert!(one.one::<bool>(once, &[]));
}

#[test]
fn a_schedule_that_raises_keeps_no_other_back() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    run(
        &mut one,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE 'not this one'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON minion.jobs FOR EACH ROW
            WHEN (NEW.task = 'refused') EXECUTE FUNCTION refuse()",
    );
    let begun = server.log().len();
    make_due(&mut one, "refused");
    for number in 0..5 {
        make_due(&mut one, &format!("task {number}"));
        until_enqueued(&mut one, &format!("task {number}"));
        until_served(&mut one);
    }
    // It is tried again, and not all the time.
    let lines = server.log()[begun..].matches("not this one").count();
    assert!((1..=20).contains(&lines), "{lines} lines\n{}", server.log());
    run(&mut one, "DROP TRIGGER refuse ON minion.jobs");
    until_served(&mut one); // so that it need not wait for its next try
    until_enqueued(&mut one, "refused");
}

#[test]
fn what_is_far_off_is_done_on_time_though_the_worker_has_left() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut watch = server.connect("postgres");
    let (mut one, mut two) = (server.queue("one"), server.queue("two"));
    let later = "now() + interval '25 seconds'";
    run(&mut one, "SELECT minion.schedule('later', '@yearly', 'later')");
    run(&mut one, &format!("UPDATE minion.schedules SET next_run = {later}"));
    two.register();
    run(&mut two, r#"SELECT minion.enqueue('later', delay => '25 seconds'); LISTEN "minion.job""#);
    until_worker(&mut watch, "one");
    let enqueued = "SELECT EXISTS (SELECT FROM minion.jobs WHERE task = 'later')";
    until("the worker leaves", || worker(&mut watch, "one").is_none());
    until_none(&mut watch, "two");
    until("the schedule runs", || one.one(enqueued, &[]));
    let late: f64 = one.one(
        "SELECT extract(epoch FROM last_run - created)::float8 - 25 FROM minion.schedules",
        &[],
    );
    eprintln!("{late} seconds late");
    let mut notifications = two.notifications();
    let mut notifications = notifications.timeout_iter(PATIENCE);
    let heard = notifications.next().unwrap().expect("a notification when the job is due");
    assert_eq!(heard.channel(), "minion.job");
}

#[test]
fn a_worker_that_sleeps_holds_nothing() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut watch = server.connect("postgres");
    let mut one = server.queue("one");
    until_served(&mut one);
    run(&mut one, "SELECT minion.enqueue('task', delay => '1 minute')");
    let nothing =
        "SELECT bool_and(backend_xmin IS NULL AND backend_xid IS NULL AND xact_start IS NULL
            AND state = 'idle' AND application_name <> ''
            AND NOT EXISTS (SELECT FROM pg_locks WHERE pg_locks.pid = activity.pid))
        FROM pg_stat_activity AS activity
        WHERE backend_type = 'minion worker' AND datname = 'one'";
    until("a worker holds nothing", || watch.one::<Option<bool>>(nothing, &[]) == Some(true));
    let nothing =
        "SELECT bool_and(backend_xmin IS NULL AND backend_xid IS NULL AND xact_start IS NULL
            AND NOT EXISTS (SELECT FROM pg_locks WHERE pg_locks.pid = activity.pid))
        FROM pg_stat_activity AS activity
        WHERE backend_type = 'minion launcher'";
    until("the launcher holds nothing", || watch.one::<Option<bool>>(nothing, &[]) == Some(true));
}
