//! Claims where users have put something of their own on `minion.jobs`.

use integration::heads::run;
use integration::limits::{UNLIKE, dequeue, with_jobs};
use integration::{Ask, until, until_waiting};
use postgres::Client;
use postgres::error::SqlState;
use std::thread;

/// Refuses jobs whose first argument is true, and counts how often.
const REFUSE: &str = "
    CREATE SEQUENCE refused;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.args -> 0 = 'true' AND NEW.state = 'active' AND NEW.worker IS NOT NULL THEN
            PERFORM nextval('refused');
            RAISE 'not this one';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION refuse()";

const REFUSED: &str = "SELECT minion.enqueue('task', '[true]')";

const LIMITS: [&str; 3] = [
    "",
    "SELECT minion.limit_task('other', 1)",
    "SELECT minion.limit_task('task', 9, max_starts => 9, per => '1 hour'), minion.limit_queue('default', 8)",
];

fn passed_over(id: i64, why: &str) -> String {
    format!("job {id} is passed over: {why}")
}

fn places(client: &mut Client) -> Vec<(String, String, i64)> {
    let sql =
        "SELECT queue, task, job FROM minion.active_slots WHERE job IS NOT NULL ORDER BY 1, 2, 3";
    let rows = client.query(sql, &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// What runs when a job becomes active: `when` it fires, the `condition` of the job, and what it does.
fn at_start(client: &mut Client, when: &str, condition: &str, body: &str) {
    run(
        client,
        &format!(
            "CREATE FUNCTION at_start() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
            CREATE TRIGGER at_start {when} UPDATE ON minion.jobs FOR EACH ROW
            WHEN (NEW.state = 'active' AND OLD.state = 'inactive' AND {condition})
            EXECUTE FUNCTION at_start()"
        ),
    );
}

/// As of those who connect for each claim.
#[test]
fn a_job_that_a_trigger_refuses_does_not_keep_new_sessions_from_all_others() {
    for limit in LIMITS {
        let (database, mut client) = with_jobs(limit, 0);
        run(&mut client, REFUSE);
        run(&mut client, REFUSED);
        run(&mut client, "SELECT minion.enqueue('task') FROM generate_series(1, 3)");
        for id in [2, 3, 4] {
            let (mut session, said) = database.connect_hearing();
            assert_eq!(dequeue(&mut session), [id], "{limit}");
            assert_eq!(*said.lock().unwrap(), [passed_over(1, "not this one")]);
        }
        assert!(dequeue(&mut client).is_empty());
        run(&mut client, "DROP TRIGGER refuse ON minion.jobs");
        assert_eq!(dequeue(&mut client), [1]);
    }
}

#[test]
fn a_refused_job_is_passed_over_in_a_batch_by_its_id_and_under_a_fixed_snapshot() {
    let (database, mut client) = with_jobs(REFUSE, 3);
    run(&mut client, REFUSED);
    run(&mut client, "SELECT minion.enqueue('task') FROM generate_series(1, 1500)");
    let (mut session, said) = database.connect_hearing();
    let by_id = "SELECT id FROM minion.dequeue(1, id => $1)";
    assert!(session.all::<i64>(by_id, &[&4_i64]).is_empty());
    assert_eq!(session.all::<i64>(by_id, &[&3_i64]), [3]);
    run(&mut session, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    let batch = "SELECT id FROM minion.dequeue(1, max_jobs => $1)";
    assert_eq!(session.all::<i64>(batch, &[&3_i32]), [1, 2, 5]);
    run(&mut session, "COMMIT");
    let claimed = session.all::<i64>(batch, &[&1200_i32]);
    assert_eq!(claimed, (6..=1205).collect::<Vec<_>>());
    assert_eq!(*said.lock().unwrap(), vec![passed_over(4, "not this one"); 3]);
    let others = session.all::<i64>(batch, &[&1200_i32]);
    assert_eq!(others, (1206..=1504).collect::<Vec<_>>());
}

#[test]
fn of_many_refused_jobs_ten_are_named() {
    let (database, mut client) = with_jobs(REFUSE, 0);
    run(&mut client, "SELECT minion.enqueue('task', '[true]') FROM generate_series(1, 40)");
    run(&mut client, "SELECT minion.enqueue('task')");
    let (mut session, said) = database.connect_hearing();
    assert_eq!(dequeue(&mut session), [41]);
    let mut right: Vec<_> = (1..=10).map(|id| passed_over(id, "not this one")).collect();
    right.push("each of 30 other jobs is passed over: not this one".into());
    assert_eq!(*said.lock().unwrap(), right);
}

#[test]
fn a_call_that_waits_tries_a_refused_job_once_and_names_it_once() {
    for limit in LIMITS {
        let (database, mut client) = with_jobs(limit, 0);
        run(&mut client, REFUSE);
        run(&mut client, REFUSED);
        let (mut waiter, said) = database.connect_hearing();
        let backend = waiter.backend();
        let claimed = thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                waiter.all::<i64>("SELECT id FROM minion.dequeue(1, wait => '3 minutes')", &[])
            });
            for count in 1..=3 {
                until("it has looked", || said.lock().unwrap().len() >= count);
                until_waiting(&mut client, backend);
                if count < 3 {
                    run(&mut client, REFUSED);
                }
            }
            run(&mut client, "SELECT minion.enqueue('task')");
            waiting.join().unwrap()
        });
        assert_eq!(claimed, [4]);
        let once: Vec<_> = (1..=3).map(|id| passed_over(id, "not this one")).collect();
        assert_eq!(*said.lock().unwrap(), once, "{limit}");
        assert_eq!(client.one::<i64>("SELECT last_value FROM refused", &[]), 3);
    }
}

/// It holds nothing that the removal of the trigger would wait for.
#[test]
fn a_call_that_waits_claims_a_job_as_soon_as_nothing_refuses_it() {
    let (database, mut client) = with_jobs("SELECT minion.limit_task('task', 1)", 0);
    run(&mut client, REFUSE);
    run(&mut client, REFUSED);
    let (mut waiter, said) = database.connect_hearing();
    let backend = waiter.backend();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            waiter.all::<i64>("SELECT id FROM minion.dequeue(1, wait => '3 minutes')", &[])
        });
        until("it has looked", || !said.lock().unwrap().is_empty());
        until_waiting(&mut client, backend);
        run(&mut client, "UPDATE minion.jobs SET notes = '{\"seen\": 1}' WHERE id = 1");
        run(&mut client, "DROP TRIGGER refuse ON minion.jobs");
        run(&mut client, "UPDATE minion.jobs SET priority = 1 WHERE id = 1");
        assert_eq!(waiting.join().unwrap(), [1]);
    });
    assert_eq!(client.one::<i64>(UNLIKE, &[]), 0);
}

/// Whether a claim of `count` jobs writes them in a subtransaction: a row bears the id of what has written it.
fn opens_subtransaction(client: &mut Client, count: i32) -> bool {
    run(client, "SELECT minion.enqueue('task', priority => 1) FROM generate_series(1, 3); BEGIN");
    let own: String = client.one("SELECT pg_current_xact_id()::xid::text", &[]);
    let claim = "SELECT id FROM minion.dequeue(1, max_jobs => $1)";
    let claimed = client.all::<i64>(claim, &[&count]);
    assert_eq!(claimed.len(), count as usize);
    let written = "SELECT count(*) FROM minion.jobs WHERE id = ANY ($1) AND xmin::text = $2";
    let by_itself: i64 = client.one(written, &[&claimed, &own]);
    run(client, "COMMIT; DELETE FROM minion.jobs");
    assert!(by_itself == 0 || by_itself == i64::from(count));
    by_itself == 0
}

#[test]
fn a_claim_without_anything_of_users_opens_no_subtransaction() {
    for limit in ["", "SELECT minion.limit_task('task', 9), minion.limit_queue('default', 8)"] {
        let (_database, mut client) = with_jobs(limit, 0);
        for thing in [
            "SELECT",
            "CREATE INDEX i ON minion.jobs (created)",
            "ALTER TABLE minion.jobs ADD COLUMN c int NOT NULL DEFAULT 5",
            "CREATE TABLE of_jobs (id bigint REFERENCES minion.jobs ON UPDATE RESTRICT)",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER t BEFORE INSERT ON minion.jobs FOR EACH ROW EXECUTE FUNCTION f()",
        ] {
            run(&mut client, thing);
            assert!(!opens_subtransaction(&mut client, 1), "{thing} {limit}");
            assert!(!opens_subtransaction(&mut client, 2), "{thing} {limit}");
        }
    }
}

#[test]
fn what_users_add_to_the_table_is_minded_at_once_and_no_longer_than_it_is_there() {
    let (database, mut client) = with_jobs("CREATE TABLE known AS SELECT 1::bigint AS id", 0);
    run(
        &mut client,
        "ALTER TABLE known ADD PRIMARY KEY (id);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    );
    let mut other = database.connect();
    for (make, drop) in [
        (
            "CREATE TRIGGER t BEFORE UPDATE ON minion.jobs FOR EACH ROW EXECUTE FUNCTION f()",
            "ALTER TABLE minion.jobs DISABLE TRIGGER t",
        ),
        ("ALTER TABLE minion.jobs ENABLE TRIGGER t", "DROP TRIGGER t ON minion.jobs"),
        ("CREATE UNIQUE INDEX i ON minion.jobs (worker, id)", "DROP INDEX minion.i"),
        ("CREATE INDEX i ON minion.jobs ((1 / priority))", "DROP INDEX minion.i"),
        ("CREATE INDEX i ON minion.jobs (task) WHERE 1 / priority > 0", "DROP INDEX minion.i"),
        ("CREATE RULE r AS ON UPDATE TO minion.jobs DO ALSO NOTHING", "DROP RULE r ON minion.jobs"),
        (
            "ALTER TABLE minion.jobs ADD CONSTRAINT c CHECK (worker > 0) NOT VALID",
            "ALTER TABLE minion.jobs DROP CONSTRAINT c",
        ),
        (
            "ALTER TABLE minion.jobs ADD CONSTRAINT c FOREIGN KEY (worker) REFERENCES known",
            "ALTER TABLE minion.jobs DROP CONSTRAINT c",
        ),
        (
            "ALTER TABLE minion.jobs ADD COLUMN c int GENERATED ALWAYS AS (1 / priority) STORED",
            "ALTER TABLE minion.jobs DROP COLUMN c",
        ),
        (
            "ALTER TABLE minion.jobs ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE minion.jobs DISABLE ROW LEVEL SECURITY",
        ),
    ] {
        run(&mut other, make);
        assert!(opens_subtransaction(&mut client, 1), "{make}");
        assert!(opens_subtransaction(&mut client, 2), "{make}");
        run(&mut other, drop);
        assert!(!opens_subtransaction(&mut client, 1), "{drop}");
    }
}

#[test]
fn a_job_that_a_trigger_answers_with_null_is_passed_over_and_keeps_no_place() {
    let limits = "SELECT minion.limit_task('task', 1, max_starts => 1, per => '1 hour')";
    let (database, mut client) = with_jobs(limits, 2);
    at_start(&mut client, "BEFORE", "NEW.id = 1", "RETURN NULL;");
    let (mut session, said) = database.connect_hearing();
    assert_eq!(dequeue(&mut session), [2]);
    let why = "a trigger on minion.jobs has refused a row";
    assert_eq!(*said.lock().unwrap(), [passed_over(1, why)]);
    assert_eq!(client.one::<i64>(UNLIKE, &[]), 0);
}

#[test]
fn a_job_that_a_trigger_ends_as_it_starts_is_not_claimed_and_keeps_no_place() {
    for end in [
        "DELETE FROM minion.jobs WHERE id = NEW.id;",
        "PERFORM minion.finish_job(NEW.id, NEW.retries);",
        "UPDATE minion.jobs SET state = 'failed' WHERE id = NEW.id;",
    ] {
        let (_database, mut client) = with_jobs("SELECT minion.limit_task('task', 1)", 3);
        let body = format!("{end} RETURN NULL;");
        at_start(&mut client, "AFTER", "NEW.id IN (1, 2)", &body);
        assert_eq!(dequeue(&mut client), [3], "{end}");
        assert_eq!(places(&mut client), [(String::new(), "task".into(), 3)]);
        let left = "SELECT count(*) FROM minion.jobs WHERE state = 'inactive'";
        assert_eq!(client.one::<i64>(left, &[]), 0, "{end}");
    }
}

#[test]
fn an_old_job_that_breaks_a_check_of_users_is_passed_over() {
    let (database, mut client) = with_jobs("SELECT minion.enqueue('task', priority => 7)", 1);
    run(
        &mut client,
        "SELECT minion.enqueue('due', delay => '1 microsecond', priority => 7);
        SELECT minion.enqueue('due', delay => '1 microsecond');
        ALTER TABLE minion.jobs ADD CONSTRAINT not_seven CHECK (priority <> 7) NOT VALID",
    );
    let why = "new row for relation \"jobs\" violates check constraint \"not_seven\"";
    let (mut session, said) = database.connect_hearing();
    let claim = "SELECT id FROM minion.dequeue(1, max_jobs => 9)";
    assert_eq!(session.all::<i64>(claim, &[]), [2, 4]);
    let mut heard = said.lock().unwrap().clone();
    heard.sort();
    assert_eq!(heard, [passed_over(1, why), passed_over(3, why)]);
    // Where nothing may be freed, too.
    run(&mut client, "SELECT minion.enqueue('due', delay => '1 microsecond')");
    run(&mut client, "BEGIN");
    assert_eq!(client.all::<i64>(claim, &[]), [5]);
    run(&mut client, "COMMIT; ALTER TABLE minion.jobs DROP CONSTRAINT not_seven");
    assert_eq!(client.all::<i64>(claim, &[]), [1, 3]);
}

#[test]
fn a_foreign_key_or_an_index_of_users_keeps_a_worker_from_its_jobs_and_no_other() {
    let (_database, mut client) = with_jobs(
        "CREATE TABLE known (id bigint PRIMARY KEY);
        INSERT INTO known VALUES (2);
        ALTER TABLE minion.jobs ADD FOREIGN KEY (worker) REFERENCES known;
        CREATE UNIQUE INDEX one_each ON minion.jobs (worker) WHERE state = 'active'",
        2,
    );
    assert_eq!(client.register(), 2);
    let claim = "SELECT id FROM minion.dequeue($1, max_jobs => 2)";
    assert!(client.all::<i64>(claim, &[&1_i64]).is_empty());
    assert_eq!(client.all::<i64>(claim, &[&2_i64]), [1]);
    assert!(client.all::<i64>(claim, &[&2_i64]).is_empty());
    run(&mut client, "SELECT minion.finish_job(1, 0); INSERT INTO known VALUES (1)");
    assert_eq!(client.all::<i64>(claim, &[&1_i64]), [2]);
}

#[test]
fn where_the_table_of_jobs_has_nothing_of_users_an_error_is_the_callers() {
    let (_database, mut client) = with_jobs("SELECT minion.limit_task('task', 1)", 1);
    run(
        &mut client,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON minion.active_slots EXECUTE FUNCTION refuse()",
    );
    let error = client.query("SELECT id FROM minion.dequeue(1)", &[]).unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::RAISE_EXCEPTION));
    run(&mut client, "DROP TRIGGER refuse ON minion.active_slots");
    assert_eq!(dequeue(&mut client), [1]);
}

/// Its error is not about the job, and goes through the claim.
#[test]
fn a_job_made_active_by_plain_sql_after_a_claim_of_it_failed_has_a_place() {
    let (_database, mut client) = with_jobs("SELECT minion.limit_task('task', 1)", 2);
    at_start(&mut client, "BEFORE", "NEW.worker IS NOT NULL", "RAISE query_canceled;");
    let error = client.query("SELECT id FROM minion.dequeue(1)", &[]).unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    run(&mut client, "UPDATE minion.jobs SET state = 'active' WHERE id = 1");
    assert_eq!(client.one::<i64>("SELECT active FROM minion.limits", &[]), 1);
    assert_eq!(client.one::<i64>(UNLIKE, &[]), 0);
    assert!(dequeue(&mut client).is_empty());
}

/// What decides is the row as it is in the end.
#[test]
fn a_job_that_a_trigger_moves_when_it_starts_counts_where_it_is() {
    let before = ("BEFORE", "NEW.task := 'moved'; RETURN NEW;");
    let after = ("AFTER", "UPDATE minion.jobs SET task = 'moved' WHERE id = NEW.id; RETURN NULL;");
    for limits in [
        "SELECT minion.limit_task('task', 1), minion.limit_task('moved', 1), minion.limit_queue('default', 5)",
        "SELECT minion.limit_task('moved', 1), minion.limit_queue('default', 5)",
    ] {
        for (when, body) in [before, after] {
            for claim in ["minion.dequeue(1)", "minion.dequeue(1, id => 1)"] {
                let (_database, mut client) = with_jobs(limits, 1);
                at_start(&mut client, when, "NEW.task = 'task'", body);
                let task: String = client.one(&format!("SELECT task FROM {claim}"), &[]);
                assert_eq!(task, "moved", "{when} {claim}");
                let right = [
                    (String::new(), "moved".to_owned(), 1),
                    ("default".to_owned(), String::new(), 1),
                ];
                assert_eq!(places(&mut client), right, "{when} {claim}");
                run(&mut client, "SELECT minion.enqueue('moved')");
                assert!(dequeue(&mut client).is_empty());
                run(&mut client, "SELECT minion.finish_job(1, 0)");
                assert_eq!(dequeue(&mut client), [2]);
                assert_eq!(client.one::<i64>("SELECT max(active) FROM minion.limits", &[]), 1);
            }
        }
    }
}

#[test]
fn a_job_that_a_trigger_moves_into_a_limit_on_starts_has_started_there() {
    let limits = "SELECT minion.limit_task('moved', max_starts => 2, per => '1 hour')";
    let (_database, mut client) = with_jobs(limits, 3);
    let body = "NEW.task := 'moved'; RETURN NEW;";
    at_start(&mut client, "BEFORE", "NEW.task = 'task'", body);
    run(&mut client, "SELECT minion.enqueue('moved', priority => 1)");
    assert_eq!(dequeue(&mut client), [4]);
    assert_eq!(dequeue(&mut client), [1]);
    // One too many, which can't be refused.
    assert_eq!(dequeue(&mut client), [2]);
    run(&mut client, "SELECT minion.enqueue('moved', priority => 1)");
    assert_eq!(dequeue(&mut client), [3]);
    let later = "
        SELECT max(free_at) - min(free_at) > '1 hour 59 minutes' FROM minion.start_slots";
    assert!(client.one::<bool>(later, &[]));
}

/// A trigger makes another job active in the middle of a claim.
#[test]
fn two_jobs_never_have_one_place() {
    for limits in [
        "SELECT minion.limit_task('task', 2)",
        "SELECT minion.limit_task('task', 2), minion.limit_queue('default', 2)",
        "SELECT minion.limit_task('task', 1)",
    ] {
        let (_database, mut client) = with_jobs(limits, 3);
        let body = "UPDATE minion.jobs SET state = 'active' WHERE id = 2; RETURN NULL;";
        at_start(&mut client, "AFTER", "NEW.id = 1", body);
        run(&mut client, "BEGIN; SAVEPOINT s");
        assert_eq!(dequeue(&mut client), [1]);
        run(&mut client, "ROLLBACK TO s");
        assert_eq!(client.one::<i64>(UNLIKE, &[]), 0);
        assert_eq!(dequeue(&mut client), [1]);
        run(&mut client, "COMMIT");
        let jobs = "SELECT job FROM minion.active_slots WHERE task = 'task' AND job IS NOT NULL ORDER BY 1";
        assert_eq!(client.all::<i64>(jobs, &[]), [1, 2], "{limits}");
        assert_eq!(client.one::<i64>(UNLIKE, &[]), 0);
        assert!(dequeue(&mut client).is_empty(), "{limits}");
        run(&mut client, "SELECT minion.finish_job(1, 0), minion.finish_job(2, 0)");
        assert_eq!(dequeue(&mut client), [3]);
    }
}

#[test]
fn a_claim_in_the_middle_of_a_claim_has_places_of_its_own() {
    let limits = "SELECT minion.limit_task('task', 1), minion.limit_task('inner', 2)";
    let (_database, mut client) = with_jobs(limits, 2);
    run(&mut client, "SELECT minion.enqueue('inner'), minion.enqueue('inner')");
    let body = "
        PERFORM minion.dequeue(1, tasks => '{task,inner}');
        UPDATE minion.jobs SET state = 'active' WHERE id = 4;
        RETURN NULL;";
    at_start(&mut client, "AFTER", "NEW.id = 1", body);
    assert_eq!(client.all::<i64>("SELECT id FROM minion.dequeue(1)", &[]), [1]);
    let right = [
        (String::new(), "inner".to_owned(), 3),
        (String::new(), "inner".to_owned(), 4),
        (String::new(), "task".to_owned(), 1),
    ];
    assert_eq!(places(&mut client), right);
    assert_eq!(client.one::<i64>(UNLIKE, &[]), 0);
}

/// Each claim's trigger makes another job active, which is to be counted under the limit that all claims are at.
#[test]
fn claims_that_make_other_jobs_active_do_not_wait_for_each_other() {
    let limits = "SELECT minion.limit_task('task', 100), minion.limit_queue('default', 200)";
    let (database, mut client) = with_jobs(limits, 100);
    run(
        &mut client,
        "INSERT INTO minion.jobs (task, queue) SELECT 'task', 'follow' FROM generate_series(1, 100)",
    );
    let body = "
        UPDATE minion.jobs SET state = 'active', queue = 'default' WHERE id = NEW.id + 100;
        RETURN NULL;";
    at_start(&mut client, "AFTER", "NEW.id <= 100", body);
    thread::scope(|scope| {
        for _ in 0..6 {
            let mut session = database.connect();
            scope.spawn(move || {
                let claim = "SELECT id, retries FROM minion.dequeue(1)";
                for _ in 0..15 {
                    for job in session.query(claim, &[]).unwrap() {
                        let (id, retries): (i64, i32) = (job.get(0), job.get(1));
                        let finish = "SELECT minion.finish_job($1, $2)";
                        assert!(session.one::<bool>(finish, &[&id, &retries]));
                        assert!(session.one::<bool>(finish, &[&(id + 100), &0_i32]));
                    }
                }
            });
        }
    });
    assert_eq!(client.one::<i64>(UNLIKE, &[]), 0);
}

/// What a trigger has changed in a claim that came to nothing is not committed yet: nobody may alter the table.
#[test]
fn a_dequeue_that_waits_keeps_the_locks_of_what_was_changed() {
    let (database, mut client) = with_jobs("", 1);
    let body = "UPDATE minion.jobs SET state = 'finished' WHERE id = 1; RETURN NULL;";
    at_start(&mut client, "AFTER", "NEW.id = 1", body);
    let mut waiter = database.connect();
    let backend = waiter.backend();
    let call = "SELECT id FROM minion.dequeue(1, wait => '1 minute')";
    let waiting = thread::spawn(move || waiter.all::<i64>(call, &[]));
    until_waiting(&mut client, backend);
    let locks = "SELECT count(*) FROM pg_locks
        WHERE pid = $1 AND relation = 'minion.jobs'::regclass AND mode = 'RowExclusiveLock'";
    assert_eq!(client.one::<i64>(locks, &[&backend]), 1);
    run(&mut client, "SELECT minion.enqueue('task')");
    assert_eq!(waiting.join().unwrap(), [2]);
    let ended = "SELECT count(*) FROM minion.jobs WHERE state = 'finished'";
    assert_eq!(client.one::<i64>(ended, &[]), 1);
}
