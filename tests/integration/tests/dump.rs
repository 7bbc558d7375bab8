//! pg_dump carries the queue: jobs in every state, workers, locks, and where the ids are.

use integration::{Ask, Database, contents, fill_with_everything, goes_on_working, program};
use std::env;
use std::fs;

/// A dump in the given format, restored into a new database.
fn copy(database: &Database, format: &str) -> Database {
    let path = env::temp_dir().join(format!("{}.dump", database.name));
    let file = path.to_str().expect("a path in UTF-8");
    program("pg_dump", &database.name, &["--format", format, "--file", file]);
    let copy = Database::empty();
    match format {
        "plain" => program(
            "psql",
            &copy.name,
            &["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file", file],
        ),
        _ => program("pg_restore", &copy.name, &["--exit-on-error", file]),
    };
    fs::remove_file(&path).unwrap();
    copy
}

fn survives(format: &str) {
    let database = Database::new();
    let mut client = database.connect();
    fill_with_everything(&mut client);
    let before = contents(&mut client);

    let copy = copy(&database, format);
    let mut restored = copy.connect();
    assert_eq!(contents(&mut restored), before);
    goes_on_working(&mut restored);

    assert_eq!(contents(&mut client), before, "a dump changed something");
    goes_on_working(&mut client);
}

#[test]
fn a_plain_dump_restores_the_queue_and_it_goes_on_working() {
    survives("plain");
}

#[test]
fn a_custom_dump_restores_the_queue_and_it_goes_on_working() {
    survives("custom");
}

/// Rows are dumped in the order they lie in, and a job that was changed lies behind its children.
#[test]
fn a_child_that_is_restored_before_its_parent_waits_for_it() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "SELECT minion.register_worker();
             SELECT minion.enqueue('parent');
             SELECT minion.enqueue('child', parents => '{1}');
             UPDATE minion.jobs SET notes = '{\"moved\": true}' WHERE task = 'parent';",
        )
        .unwrap();
    let copy = copy(&database, "custom");
    let mut client = copy.connect();
    let claim = "SELECT task FROM minion.dequeue(1, max_jobs => 10)";
    assert_eq!(client.all::<String>(claim, &[]), ["parent"]);
    client.batch_execute("SELECT minion.finish_job(1, 0)").unwrap();
    assert_eq!(client.all::<String>(claim, &[]), ["child"]);
}

#[test]
fn what_is_paused_limited_unique_and_scheduled_is_so_in_the_copy() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "SELECT minion.register_worker();
             SELECT minion.limit_queue('limited', 1, max_starts => 5, per => '1 day'), minion.pause_queue('paused');
             SELECT minion.enqueue('task', queue => queue, unique_key => queue || number)
             FROM unnest('{limited,paused}'::text[]) AS queue, generate_series(1, 2) AS number;
             SELECT minion.dequeue(1, queues => '{limited,paused}', max_jobs => 10);
             SELECT minion.schedule('nightly', '30 2 * * *', 'task', timezone => 'Europe/Berlin')",
        )
        .unwrap();
    let copy = copy(&database, "custom");
    let mut restored = copy.connect();
    assert_eq!(contents(&mut restored), contents(&mut client));
    let limits = "SELECT to_jsonb(one)::text FROM minion.limits AS one";
    assert_eq!(restored.all::<String>(limits, &[]), client.all::<String>(limits, &[]));
    let claim = "SELECT id FROM minion.dequeue(1, queues => '{limited,paused}', max_jobs => 10)";
    assert_eq!(restored.all::<i64>(claim, &[]), [0; 0]);
    let again = "SELECT minion.enqueue('task', unique_key => 'paused2')";
    assert_eq!(restored.one::<i64>(again, &[]), 4);
    assert!(restored.one::<bool>("SELECT minion.finish_job(1, 0)", &[]));
    assert_eq!(restored.all::<i64>(claim, &[]), [2]);
}

/// pg_dump emits the schema and its owner before the extension, its grants and what else is in it after.
#[test]
fn a_schema_with_another_owner_grants_and_objects_of_the_users_is_restored() {
    let database = Database::new();
    let mut client = database.connect();
    let [boss, user] = ["boss", "user"].map(|role| format!("{}_{role}", database.name));
    client
        .batch_execute(&format!(
            "CREATE ROLE {boss} SUPERUSER; CREATE ROLE {user};
             ALTER SCHEMA minion OWNER TO {boss};
             GRANT CREATE, USAGE ON SCHEMA minion TO {user};
             ALTER DEFAULT PRIVILEGES IN SCHEMA minion GRANT SELECT ON TABLES TO {user};
             CREATE TYPE minion.mood AS ENUM ('fine');
             CREATE VIEW minion.fine AS SELECT 'fine'::minion.mood AS mood, id FROM minion.jobs;
             SELECT minion.enqueue('task');"
        ))
        .unwrap();
    for format in ["plain", "custom"] {
        let copy = copy(&database, format);
        let mut restored = copy.connect();
        assert_eq!(contents(&mut restored), contents(&mut client));
        assert_eq!(restored.one::<i64>("SELECT id FROM minion.fine", &[]), 1);
        let owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'minion'";
        assert_eq!(restored.one::<String>(owner, &[]), boss);
    }
    client.batch_execute(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).unwrap();
    client
        .batch_execute(&format!("ALTER SCHEMA minion OWNER TO CURRENT_USER; DROP ROLE {boss}"))
        .unwrap();
}
