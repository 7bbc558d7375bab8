//! What one claim does, and what it leaves to others.

use integration::heads::run;
use integration::limits::with_jobs;
use integration::{Ask, until};
use serde_json::Value;
use std::thread;

#[test]
fn a_claim_that_meets_only_blocked_jobs_sees_to_some_of_them_and_a_ready_one_is_claimed_beside_them()
 {
    let (_database, mut client) = with_jobs("SELECT", 0);
    run(
        &mut client,
        "INSERT INTO minion.jobs (task, queue) VALUES ('task', 'parents');
         INSERT INTO minion.jobs (task, priority, parents)
         SELECT 'task', 1, '{1}' FROM generate_series(1, 30000)",
    );
    let seen = "SELECT count(*) FROM minion.jobs WHERE waits_for IS NOT NULL";
    let mut before = 0;
    for _ in 0..3 {
        assert_eq!(client.all::<i64>("SELECT id FROM minion.dequeue(1)", &[]), [0; 0]);
        let now: i64 = client.one(seen, &[]);
        assert!(now > before && now <= before + 4_000, "from {before} to {now}");
        before = now;
    }
    let ready: i64 = client.one("SELECT minion.enqueue('task')", &[]);
    assert_eq!(client.all::<i64>("SELECT id FROM minion.dequeue(1)", &[]), [ready]);
}

/// As they are looked at twice: to free the job, and before it is claimed.
#[test]
fn a_claim_of_a_child_of_many_parents_looks_at_each_of_them_once_or_twice() {
    const PARENTS: i64 = 20_000;
    let (_database, mut client) = with_jobs("SELECT", 0);
    run(
        &mut client,
        "INSERT INTO minion.jobs (task, state, finished) SELECT 'task', 'finished', now() FROM generate_series(1, 20000);
         INSERT INTO minion.jobs (id, task, parents)
         SELECT 100000 + n, 'task', ARRAY(SELECT generate_series(1, 20000)) FROM generate_series(1, 2) AS n",
    );
    for (call, passes) in [
        ("SELECT id FROM minion.dequeue(1, id => 100001)", 1),
        ("SELECT id FROM minion.dequeue(1)", 2),
    ] {
        let plan: Value =
            client.one(&format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {call}"), &[]);
        let plan = &plan[0]["Plan"];
        let cost = plan["Shared Hit Blocks"].as_i64().unwrap()
            + plan["Shared Read Blocks"].as_i64().unwrap();
        println!("{cost} buffers: {call}");
        assert_eq!(plan["Actual Rows"], 1.0);
        assert!(cost <= PARENTS * 5 * passes, "{cost} buffers: {call}");
    }
}

/// The gate is shut as long as somebody moves the job: what was read of it is old when it opens.
#[test]
fn a_job_that_is_moved_into_a_full_limit_while_it_is_claimed_by_its_id_is_not_claimed() {
    let (database, mut client) = with_jobs(
        "SELECT minion.limit_queue('full', 1), minion.limit_queue('other', 9);
         SELECT minion.enqueue('first', queue => 'full');
         SELECT minion.dequeue(1, queues => '{full}');
         CREATE FUNCTION gate() RETURNS bool LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END'",
        1,
    );
    let role = format!("gated_{}", database.name);
    run(
        &mut client,
        &format!(
            "CREATE ROLE {role} IN ROLE minion_admin;
             ALTER TABLE minion.jobs ENABLE ROW LEVEL SECURITY;
             CREATE POLICY gate ON minion.jobs USING (gate())"
        ),
    );
    let id: i64 = client.one("SELECT max(id) FROM minion.jobs", &[]);
    let mut mover = database.connect();
    let mut claimer = database.connect();
    run(&mut claimer, &format!("SET ROLE {role}"));
    let waits = claimer.backend();
    let mut moving = mover.transaction().unwrap();
    moving.batch_execute("SELECT pg_advisory_xact_lock(1)").unwrap();
    moving.execute("UPDATE minion.jobs SET queue = 'full' WHERE id = $1", &[&id]).unwrap();
    let claimed = thread::scope(|scope| {
        let claim = scope.spawn(|| {
            let claim = "SELECT id FROM minion.dequeue(1, id => $1, queues => '{default,full}')";
            claimer.all::<i64>(claim, &[&id])
        });
        let locked = "SELECT count(*) = 1 FROM pg_locks WHERE pid = $1 AND NOT granted AND locktype = 'advisory'";
        until("the claim is at the gate", || client.one(locked, &[&waits]));
        moving.commit().unwrap();
        claim.join().unwrap()
    });
    run(&mut client, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    assert_eq!(claimed, [0; 0]);
    assert_eq!(client.one::<i64>("SELECT active FROM minion.limits WHERE queue = 'full'", &[]), 1);
}

#[test]
fn each_of_many_refused_jobs_in_a_row_is_tried_about_once() {
    const REFUSED: i32 = 500;
    let (_database, mut client) = with_jobs(
        "CREATE SEQUENCE tried;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM nextval(''tried''); IF NEW.id <= 500 THEN RAISE ''no''; END IF; RETURN NEW; END';
         CREATE TRIGGER refuse BEFORE UPDATE ON minion.jobs FOR EACH ROW
         WHEN (NEW.state = 'active') EXECUTE FUNCTION refuse()",
        REFUSED + 200,
    );
    let claim = "SELECT id FROM minion.dequeue(1, max_jobs => 100)";
    let claimed = client.all::<i64>(claim, &[]);
    assert_eq!(claimed, (501..=600).collect::<Vec<i64>>());
    let tried: i64 = client.one("SELECT last_value FROM tried", &[]);
    assert!(tried <= 650, "{tried} tries");
}
