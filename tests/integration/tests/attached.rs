//! Workers that are attached to a session: they are gone with it, however it ends, and with nothing else.

use integration::heads::{is_preloaded, run};
use integration::{Ask, Database, program, until};
use postgres::Client;
use postgres::error::SqlState;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;

const ATTACH: &str = "SELECT minion.register_worker(attached => true)";
const AGAIN: &str = "SELECT minion.register_worker($1, attached => true)";
const WORKERS: &str = "SELECT id FROM minion.workers ORDER BY id";

/// A job, which a worker has claimed.
fn with_job(client: &mut Client, worker: i64) -> i64 {
    let job: i64 = client.one("SELECT minion.enqueue('task')", &[]);
    assert_eq!(client.all::<i64>("SELECT id FROM minion.dequeue($1)", &[&worker]), [job]);
    job
}

/// How many workers a repair removes, and whose jobs fail.
fn repair(client: &mut Client) -> (i64, i64) {
    let row = client.query_one("SELECT workers_removed, jobs_abandoned FROM minion.repair()", &[]);
    let row = row.unwrap();
    (row.get(0), row.get(1))
}

fn state(client: &mut Client, job: i64) -> String {
    client.one("SELECT state::text FROM minion.jobs WHERE id = $1", &[&job])
}

fn until_ended(client: &mut Client, backend: i32) {
    until("the session ends", || {
        client.one("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", &[&backend])
    });
}

fn end(client: Client, other: &mut Client) {
    let mut client = client;
    let backend = client.backend();
    drop(client);
    until_ended(other, backend);
}

/// A database with the extension, and two connections; None without preloading.
fn two() -> Option<(Client, Client, Database)> {
    let database = Database::new();
    let (mut one, other) = (database.connect(), database.connect());
    is_preloaded(&mut one).then_some((one, other, database))
}

#[test]
fn a_worker_is_gone_with_its_session_and_its_jobs_fail() {
    let Some((mut one, mut other, _database)) = two() else { return };
    let worker: i64 = one.one(ATTACH, &[]);
    let job = with_job(&mut one, worker);
    run(&mut one, "SELECT minion.enqueue('retried', attempts => 2)");
    let claim = "SELECT id FROM minion.dequeue($1)";
    let retried: i64 = one.one(claim, &[&worker]);
    let unattached = other.register();
    assert_eq!(repair(&mut other), (0, 0));
    let listed = "SELECT attached FROM minion.list_workers() ORDER BY id";
    assert_eq!(other.all::<bool>(listed, &[]), [true, false]);
    end(one, &mut other);
    assert_eq!(repair(&mut other), (1, 2));
    let result = "SELECT result #>> '{}' FROM minion.jobs WHERE id = $1";
    assert_eq!(other.one::<String>(result, &[&job]), "Worker went away");
    assert_eq!((&*state(&mut other, job), &*state(&mut other, retried)), ("failed", "inactive"));
    assert_eq!(other.all::<i64>(WORKERS, &[]), [unattached]);
    assert_eq!(repair(&mut other), (0, 0));
}

#[test]
fn without_preloading_an_attached_worker_is_like_any_other() {
    let database = Database::new();
    let (mut one, mut other) = (database.connect(), database.connect());
    if is_preloaded(&mut one) {
        return;
    }
    let worker: i64 = one.one(ATTACH, &[]);
    let job = with_job(&mut one, worker);
    one.one::<i64>(AGAIN, &[&worker]);
    assert!(!one.one::<bool>("SELECT attached FROM minion.list_workers()", &[]));
    end(one, &mut other);
    assert_eq!(repair(&mut other), (0, 0));
    assert_eq!(state(&mut other, job), "active");
    // One that was attached where there was memory for that is gone, unless it says otherwise.
    run(&mut other, "UPDATE minion.workers SET attached = now()");
    assert_eq!(other.one::<i64>(AGAIN, &[&worker]), worker);
    assert_eq!(repair(&mut other), (0, 0));
    run(&mut other, "UPDATE minion.workers SET attached = now()");
    assert_eq!(repair(&mut other), (1, 1));
}

/// psql, which reads what it is to do.
fn psql(database: &Database) -> Child {
    let client = integration::bin().join("psql");
    let mut psql = Command::new(client);
    psql.args(["--no-psqlrc", "--quiet", "--dbname", &database.name]);
    psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_worker_is_gone_when_its_client_is_killed() {
    let Some((_one, mut other, database)) = two() else { return };
    let mut client = psql(&database);
    let said = "SELECT minion.enqueue('task'); SELECT minion.register_worker(attached => true);
        SELECT minion.dequeue(1);\n";
    client.stdin.as_mut().unwrap().write_all(said.as_bytes()).unwrap();
    let active = "SELECT count(*) = 1 FROM minion.jobs WHERE state = 'active'";
    until("the job is claimed", || other.one(active, &[]));
    assert_eq!(repair(&mut other), (0, 0));
    client.kill().unwrap();
    client.wait().unwrap();
    until("the worker is gone", || repair(&mut other) == (1, 1));
}

#[test]
fn a_worker_that_is_terminated_in_a_transaction_leaves_no_lock() {
    let Some((mut one, mut other, _database)) = two() else { return };
    let worker: i64 = one.one(ATTACH, &[]);
    let job = with_job(&mut one, worker);
    run(&mut one, "BEGIN; UPDATE minion.jobs SET notes = '{\"a\": 1}'; SAVEPOINT a");
    run(&mut one, "UPDATE minion.workers SET status = '{}'; SELECT minion.unregister_worker(1)");
    let backend = one.backend();
    let sleeper = thread::spawn(move || one.batch_execute("SELECT pg_sleep(100)").is_err());
    let sleeps =
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'";
    until("it sleeps", || other.one(sleeps, &[&backend]));
    // It has the rows locked, and is there.
    assert_eq!(repair(&mut other), (0, 0));
    assert!(other.one::<bool>("SELECT pg_terminate_backend($1)", &[&backend]));
    until_ended(&mut other, backend);
    assert!(sleeper.join().unwrap());
    // One look is enough.
    assert_eq!(repair(&mut other), (1, 1));
    assert_eq!(state(&mut other, job), "failed");
}

#[test]
fn a_session_takes_all_its_workers_with_it_however_many_they_are() {
    let Some((mut one, mut other, database)) = two() else { return };
    let several = "SELECT minion.register_worker(attached => true) FROM generate_series(1, $1)";
    for count in [3, 90] {
        let workers: Vec<i64> = one.all(several, &[&count]);
        // In transactions of their own, too.
        let last: i64 = one.one(ATTACH, &[]);
        assert_eq!(last, workers[workers.len() - 1] + 1);
        run(&mut one, &format!("SELECT minion.unregister_worker({last})"));
        assert_eq!(repair(&mut other), (0, 0));
        end(one, &mut other);
        assert_eq!(repair(&mut other), (i64::from(count), 0));
        one = database.connect();
    }
}

#[test]
fn who_takes_a_worker_over_keeps_its_jobs_before_and_after_its_old_session_ends() {
    let Some((mut one, mut other, database)) = two() else { return };
    let worker: i64 = one.one(ATTACH, &[]);
    let job = with_job(&mut one, worker);
    // Before.
    let mut two = database.connect();
    assert_eq!(two.one::<i64>(AGAIN, &[&worker]), worker);
    assert_eq!(repair(&mut other), (0, 0));
    end(one, &mut other);
    assert_eq!(repair(&mut other), (0, 0));
    // After.
    end(two, &mut other);
    let mut three = database.connect();
    assert_eq!(three.one::<i64>(AGAIN, &[&worker]), worker);
    assert_eq!(repair(&mut other), (0, 0));
    assert_eq!(state(&mut other, job), "active");
    // While it does, and once it has.
    end(three, &mut other);
    let mut four = database.connect();
    run(&mut four, "BEGIN");
    assert_eq!(four.one::<i64>(AGAIN, &[&worker]), worker);
    assert_eq!(repair(&mut four), (0, 0));
    run(&mut four, "COMMIT; BEGIN");
    assert_eq!(repair(&mut other), (0, 0));
    assert_eq!(four.one::<i64>(AGAIN, &[&worker]), worker);
    assert_eq!(repair(&mut other), (0, 0));
    run(&mut four, "ROLLBACK");
    assert_eq!(repair(&mut other), (0, 0));
    assert_eq!(state(&mut other, job), "active");
    end(four, &mut other);
    assert_eq!(repair(&mut other), (1, 1));
    // Too late: it is there, and its job was given back.
    let mut five = database.connect();
    assert_eq!(five.one::<i64>(AGAIN, &[&worker]), worker);
    assert_eq!(repair(&mut other), (0, 0));
    assert_eq!(state(&mut other, job), "failed");
}

#[test]
fn who_waits_for_a_repair_that_removes_its_worker_registers_it_anew() {
    let Some((mut one, mut other, database)) = two() else { return };
    let worker: i64 = one.one(ATTACH, &[]);
    let job = with_job(&mut one, worker);
    end(one, &mut other);
    run(&mut other, "BEGIN");
    assert_eq!(repair(&mut other), (1, 1));
    let mut two = database.connect();
    let backend = two.backend();
    let taker = thread::spawn(move || {
        assert_eq!(two.one::<i64>(AGAIN, &[&worker]), worker);
        two
    });
    let waits =
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'";
    let mut watcher = database.connect();
    until("it waits for the row", || watcher.one(waits, &[&backend]));
    run(&mut other, "COMMIT");
    let two = taker.join().unwrap();
    assert_eq!(state(&mut other, job), "failed");
    assert_eq!(repair(&mut other), (0, 0));
    end(two, &mut other);
    assert_eq!(repair(&mut other), (1, 0));
}

#[test]
fn a_take_over_that_is_rolled_back_leaves_the_worker_to_its_session() {
    let Some((mut one, mut other, database)) = two() else { return };
    let worker: i64 = one.one(ATTACH, &[]);
    with_job(&mut one, worker);
    for undo in ["ROLLBACK", "ROLLBACK TO a; COMMIT"] {
        let mut two = database.connect();
        run(&mut two, "BEGIN; SAVEPOINT a; SAVEPOINT b");
        two.one::<i64>(AGAIN, &[&worker]);
        run(&mut two, "RELEASE b");
        run(&mut two, undo);
        end(two, &mut other);
        assert_eq!(repair(&mut other), (0, 0), "{undo}");
    }
    let mut two = database.connect();
    run(&mut two, "BEGIN");
    two.one::<i64>(AGAIN, &[&worker]);
    end(two, &mut other);
    assert_eq!(repair(&mut other), (0, 0));
    // And one that is rolled back when the old session has ended takes nothing with it.
    let mut two = database.connect();
    run(&mut two, "BEGIN");
    two.one::<i64>(AGAIN, &[&worker]);
    end(one, &mut other);
    run(&mut two, "ROLLBACK");
    assert_eq!(repair(&mut other), (1, 1));
}

#[test]
fn a_sign_of_life_from_elsewhere_leaves_the_worker_to_its_session() {
    let Some((mut one, mut other, _database)) = two() else { return };
    let worker: i64 = one.one(ATTACH, &[]);
    assert_eq!(other.one::<i64>("SELECT minion.register_worker($1)", &[&worker]), worker);
    assert_eq!(one.one::<i64>("SELECT minion.register_worker($1)", &[&worker]), worker);
    assert!(other.one::<bool>("SELECT attached FROM minion.list_workers()", &[]));
    assert_eq!(repair(&mut other), (0, 0));
    end(one, &mut other);
    assert_eq!(other.one::<i64>("SELECT minion.register_worker($1)", &[&worker]), worker);
    assert_eq!(repair(&mut other), (1, 0));
}

#[test]
fn a_worker_that_was_heard_of_just_now_is_attached_at_once_and_then_writes_nothing() {
    let Some((mut one, mut other, _database)) = two() else { return };
    let worker = one.register();
    let at = "SELECT ctid::text FROM minion.workers";
    run(&mut one, "SELECT minion.register_worker(1), minion.register_worker(1, attached => true)");
    assert!(one.one::<bool>("SELECT attached FROM minion.list_workers()", &[]));
    // Of a hundred calls in a row hardly any comes after 20 milliseconds.
    let mut places: Vec<String> = Vec::new();
    for _ in 0..100 {
        one.one::<i64>(AGAIN, &[&worker]);
        places.push(one.one(at, &[]));
    }
    places.dedup();
    assert!(places.len() < 90, "{places:?}");
    end(one, &mut other);
    assert_eq!(repair(&mut other), (1, 0));
}

#[test]
fn a_worker_is_no_longer_attached_when_it_is_unregistered_and_stays_so_if_that_is_undone() {
    let Some((mut one, mut other, database)) = two() else { return };
    let worker: i64 = one.one(ATTACH, &[]);
    let job = with_job(&mut one, worker);
    for undo in ["ROLLBACK", "ROLLBACK TO a; COMMIT"] {
        run(&mut one, "BEGIN; SAVEPOINT a; SELECT minion.unregister_worker(1)");
        run(&mut one, undo);
        assert_eq!(repair(&mut other), (0, 0), "{undo}");
    }
    assert_eq!(state(&mut other, job), "active");
    run(&mut one, "SELECT minion.unregister_worker(1)");
    assert_eq!(repair(&mut other), (0, 1));
    // Another one has the id, and is not attached.
    run(&mut other, "SELECT minion.register_worker(1)");
    end(one, &mut other);
    assert_eq!(repair(&mut other), (0, 0));
    // Away and back in one transaction.
    let mut two = database.connect();
    run(&mut two, "SELECT minion.register_worker(1, attached => true)");
    run(&mut two, "BEGIN; SELECT minion.unregister_worker(1)");
    run(&mut two, "SELECT minion.register_worker(1, attached => true); COMMIT");
    assert_eq!(repair(&mut other), (0, 0));
    end(two, &mut other);
    assert_eq!(repair(&mut other), (1, 0));
}

#[test]
fn a_registration_that_is_undone_leaves_nothing() {
    let Some((mut one, mut other, _database)) = two() else { return };
    run(&mut one, "BEGIN");
    let worker: i64 = one.one(ATTACH, &[]);
    assert_eq!(repair(&mut one), (0, 0));
    run(&mut one, "ROLLBACK");
    run(&mut other, &format!("SELECT minion.register_worker({worker}, attached => true)"));
    end(one, &mut other);
    assert_eq!(repair(&mut other), (0, 0));
    assert_eq!(other.all::<i64>(WORKERS, &[]), [worker]);
}

#[test]
fn a_worker_that_is_not_committed_when_its_session_ends_is_gone_when_it_is() {
    let Some((mut one, mut other, database)) = two() else { return };
    run(&mut one, "BEGIN");
    let worker: i64 = one.one(ATTACH, &[]);
    run(&mut one, &format!("PREPARE TRANSACTION '{}'", database.name));
    assert_eq!(repair(&mut other), (0, 0));
    end(one, &mut other);
    assert_eq!(repair(&mut other), (0, 0));
    run(&mut other, &format!("COMMIT PREPARED '{}'", database.name));
    assert_eq!(other.all::<i64>(WORKERS, &[]), [worker]);
    assert_eq!(repair(&mut other), (1, 0));
}

#[test]
fn a_new_extension_has_nothing_to_do_with_the_workers_of_the_old_one() {
    let Some((mut one, mut other, database)) = two() else { return };
    one.one::<i64>(ATTACH, &[]);
    run(&mut other, "DROP EXTENSION minion CASCADE; CREATE EXTENSION minion");
    // It has the same id. The old session protects it no more than it ends it.
    let mut other_worker = database.connect();
    assert_eq!(other_worker.one::<i64>(ATTACH, &[]), 1);
    end(one, &mut other);
    assert_eq!(repair(&mut other), (0, 0));
    let mut again = database.connect();
    assert_eq!(again.one::<i64>(ATTACH, &[]), 2);
    run(&mut other, "DROP EXTENSION minion CASCADE; CREATE EXTENSION minion");
    run(&mut other, "SELECT minion.register_worker()");
    run(
        &mut other,
        "UPDATE minion.workers SET attached = (SELECT max(backend_start) FROM pg_stat_activity)",
    );
    assert_eq!(repair(&mut other), (1, 0));
}

#[test]
fn a_session_that_forgets_all_it_knows_keeps_its_worker() {
    let Some((mut one, mut other, _database)) = two() else { return };
    let worker: i64 = one.one(ATTACH, &[]);
    run(&mut one, "DISCARD ALL");
    assert_eq!(repair(&mut other), (0, 0));
    assert_eq!(one.one::<i64>("SELECT minion.register_worker(1, attached => true)", &[]), worker);
    end(one, &mut other);
    assert_eq!(repair(&mut other), (1, 0));
}

#[test]
fn a_worker_of_a_restored_dump_is_gone() {
    let Some((mut one, mut other, database)) = two() else { return };
    let worker: i64 = one.one(ATTACH, &[]);
    with_job(&mut one, worker);
    let copy = Database::empty();
    let dump = program("pg_dump", &database.name, &[]);
    let path = std::env::temp_dir().join(&copy.name);
    std::fs::write(&path, dump).unwrap();
    program("psql", &copy.name, &["--quiet", "--no-psqlrc", "--file", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    let mut restored = copy.connect();
    assert_eq!(restored.all::<i64>(WORKERS, &[]), [worker]);
    assert_eq!(repair(&mut restored), (1, 1));
    assert_eq!(repair(&mut other), (0, 0));
}

#[test]
fn a_worker_that_can_not_be_removed_keeps_no_other_from_it() {
    let Some((mut one, mut other, _database)) = two() else { return };
    let several = "SELECT minion.register_worker(attached => true) FROM generate_series(1, 20)";
    one.all::<i64>(several, &[]);
    run(
        &mut other,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN IF OLD.id = 7 THEN RAISE 'not this one'; END IF; RETURN OLD; END $$;
         CREATE TRIGGER refuse BEFORE DELETE ON minion.workers FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    end(one, &mut other);
    assert_eq!(repair(&mut other), (19, 0));
    run(&mut other, "DROP TRIGGER refuse ON minion.workers");
    assert_eq!(repair(&mut other), (1, 0));
}

#[test]
fn the_0_4_0_sql_goes_on_registering_workers_and_repairing() {
    let database = Database::of_version("0.4.0");
    let mut client = database.connect();
    let worker = client.register();
    assert_eq!(client.one::<i64>("SELECT minion.register_worker($1)", &[&worker]), worker);
    let error = client.query_one(ATTACH, &[]).unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_FUNCTION));
    assert_eq!(repair(&mut client), (0, 0));
    assert!(client.one::<bool>("SELECT minion.unregister_worker($1)", &[&worker]));
    let role = format!("{}_operator", database.name);
    run(
        &mut client,
        &format!(
            r#"CREATE ROLE "{role}"; GRANT EXECUTE ON FUNCTION
             minion.register_worker(bigint, text, int, jsonb),
             minion.list_workers(bigint, bigint, bigint, bigint[])
             TO "{role}" WITH GRANT OPTION; ALTER EXTENSION minion UPDATE"#
        ),
    );
    let may = "SELECT has_function_privilege($1, $2, 'EXECUTE WITH GRANT OPTION')
        AND NOT has_function_privilege('public', $2, 'EXECUTE')";
    for function in [
        "minion.register_worker(bigint, text, int, jsonb, bool)",
        "minion.list_workers(bigint, bigint, bigint, bigint[])",
    ] {
        assert!(client.one::<bool>(may, &[&role, &function]), "{function}");
    }
    client.one::<i64>(ATTACH, &[]);
    run(&mut client, &format!(r#"DROP OWNED BY "{role}"; DROP ROLE "{role}""#));
}

#[test]
fn a_take_over_whose_commit_fails_leaves_the_worker_to_its_session() {
    let Some((mut one, mut other, database)) = two() else { return };
    run(&mut other, "CREATE TABLE a (n int); CREATE TABLE b (n int)");
    let worker: i64 = one.one(ATTACH, &[]);
    let job = with_job(&mut one, worker);
    // Each reads what the other one writes: the second to commit is refused then.
    let mut taker = database.connect();
    for client in [&mut taker, &mut other] {
        run(client, "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM a; SELECT FROM b");
    }
    assert_eq!(taker.one::<i64>(AGAIN, &[&worker]), worker);
    run(&mut taker, "INSERT INTO a VALUES (1)");
    run(&mut other, "INSERT INTO b VALUES (1); COMMIT");
    let refused = taker.batch_execute("COMMIT").unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
    end(taker, &mut other);
    assert_eq!(repair(&mut other), (0, 0));
    assert_eq!(state(&mut other, job), "active");
    end(one, &mut other);
    assert_eq!(repair(&mut other), (1, 1));
}
