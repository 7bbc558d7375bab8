//! Every version's install script is kept, frozen, in tests/upgrade/. An upgrade from it must end in just
//! what a fresh install of the current version makes, and SQL must not change without a new version.

use integration::{
    Ask, Database, contents, extension_directory, fill_with_everything, frozen_directory,
    goes_on_working, program, script_name,
};
use postgres::error::SqlState;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The version that CREATE EXTENSION minion installs.
fn current() -> String {
    Database::empty()
        .connect()
        .one("SELECT default_version FROM pg_available_extensions WHERE name = 'minion'", &[])
}

/// The versions whose scripts are frozen, the current one left out.
fn older() -> Vec<String> {
    let current = script_name(&current());
    let Ok(files) = fs::read_dir(frozen_directory()) else { return Vec::new() };
    let names = files.map(|file| file.unwrap().file_name().into_string().expect("UTF-8"));
    names
        .filter(|name| *name != current)
        .filter_map(|name| Some(name.strip_prefix("minion--")?.strip_suffix(".sql")?.to_owned()))
        .filter(|version| !version.contains("--"))
        .collect()
}

/// A script's objects. Their order, and the lines of the sources that pgrx names, say nothing.
fn objects(script: &Path, advice: &str) -> Vec<String> {
    let text = fs::read_to_string(script)
        .unwrap_or_else(|error| panic!("{}: {error}; {advice}", script.display()));
    let mut objects: Vec<_> = text
        .split("/* <begin connected objects> */")
        .map(|object| {
            let lines = object.trim().lines();
            lines.filter(|line| !line.starts_with("-- src/")).collect::<Vec<_>>().join("\n")
        })
        .collect();
    objects.sort_unstable();
    objects
}

/// What only one of the two has.
fn difference<'a>(left: &'a [String], right: &'a [String]) -> Vec<&'a String> {
    let left_alone = left.iter().filter(|one| !right.contains(one));
    left_alone.chain(right.iter().filter(|one| !left.contains(one))).collect()
}

#[test]
fn the_sql_of_the_current_version_is_the_frozen_one() {
    let name = script_name(&current());
    let generated = extension_directory().join(&name);
    let frozen = frozen_directory().join(&name);
    let advice = format!(
        "freeze the script of this version: copy {} to tests/upgrade/{name}",
        generated.display()
    );
    let generated = objects(&generated, "install the extension first");
    let frozen = objects(&frozen, &advice);
    let differing = difference(&generated, &frozen);
    assert!(
        differing.is_empty(),
        "the SQL differs from tests/upgrade/{name}: released SQL never changes, so that a change needs a new \
         version with an upgrade script (if this version is not released yet: {advice})\n{differing:#?}"
    );
}

/// Everything that the extension owns: as SQL, which only pg_dump's mode for pg_upgrade shows, and as lists.
fn schema(database: &Database) -> Vec<String> {
    let sql = program("pg_dump", &database.name, &["--schema-only", "--binary-upgrade"]);
    let objects = program(
        "psql",
        &database.name,
        &["--no-psqlrc", "--tuples-only", "--command", r"\dx+ minion"],
    );
    let dumped = database.connect().all::<String>(
        "SELECT extversion || ' ' || dumped.name::regclass || ' ' || dumped.condition
         FROM pg_extension, unnest(extconfig, extcondition) AS dumped (name, condition)
         WHERE extname = 'minion'
         ORDER BY 1",
        &[],
    );
    // Not the numbers that the server gave, nor pg_dump's password of the day.
    let numbers = ["binary_upgrade", "WHERE oid = ", "SET relfrozenxid = ", ".setval("];
    let numbered =
        |line: &str| numbers.iter().any(|number| line.contains(number)) || line.starts_with('\\');
    let sql = sql.lines().filter(|line| !numbered(line));
    sql.chain(objects.lines()).map(str::to_owned).chain(dumped).collect()
}

/// Rows without the columns that they did not have before.
fn without_new(mut after: Vec<Value>, before: &[Value]) -> Vec<Value> {
    for (row, old) in after.iter_mut().zip(before) {
        if let (Some(row), Some(old)) = (row.as_object_mut(), old.as_object()) {
            row.retain(|column, _| old.contains_key(column));
        }
    }
    after
}

#[test]
fn an_upgrade_from_any_version_makes_what_an_install_makes_and_keeps_the_jobs() {
    let expected = schema(&Database::new());
    for version in older() {
        let database = Database::of_version(&version);
        let mut client = database.connect();
        fill_with_everything(&mut client);
        let before = contents(&mut client);
        client.batch_execute("ALTER EXTENSION minion UPDATE").unwrap();
        assert_eq!(without_new(contents(&mut client), &before), before, "upgraded from {version}");
        let upgraded = schema(&database);
        assert_eq!(difference(&upgraded, &expected), [""; 0], "upgraded from {version}");
        assert_eq!(upgraded, expected, "upgraded from {version}, in another order");
        // A session that knew the old version, and one that did not.
        goes_on_working(&mut client);
        assert_eq!(database.connect().one::<i64>("SELECT minion.enqueue('task')", &[]), 16);
    }
    // The comparison itself: two installs are equal, and a difference shows.
    let other = Database::new();
    assert_eq!(difference(&schema(&other), &expected), [""; 0]);
    let change = "CREATE OR REPLACE FUNCTION minion.is_unresolved(
            state minion.job_state, expires timestamptz, lax boolean, at timestamptz
        ) RETURNS boolean LANGUAGE sql RETURN false";
    other.connect().batch_execute(change).unwrap();
    assert_ne!(schema(&other), expected);
}

#[test]
fn an_update_from_0_3_0_mends_rows_that_make_no_sense_and_keeps_the_rights_on_repair() {
    let database = Database::of_version("0.3.0");
    let mut client = database.connect();
    // Roles are the cluster's.
    let role = format!("{}_operator", database.name);
    client
        .batch_execute(&format!(
            r#"CREATE ROLE "{role}";
             GRANT EXECUTE ON FUNCTION minion.repair() TO "{role}" WITH GRANT OPTION;
             INSERT INTO minion.limit_rules (queue, task, max_active, max_starts, per) VALUES
                 ('', '', 1, NULL, NULL),
                 (repeat('q', 1001), 't', 1, NULL, NULL),
                 ('a', '', -5, NULL, NULL),
                 ('b', '', 20000000, NULL, NULL),
                 ('c', '', NULL, -1, '1 day'),
                 ('d', '', NULL, 200000, '1 day'),
                 ('e', '', 3, 5, NULL),
                 ('f', '', 3, NULL, '1 day'),
                 ('g', '', NULL, 5, '-1 day'),
                 ('h', '', NULL, 0, '-1 day'),
                 ('i', '', NULL, 5, '178000000 years'),
                 ('j', 't', 3, 5, '1 day');
             SET session_replication_role = replica;
             INSERT INTO minion.jobs (task, state) VALUES ('a', 'finished'), ('b', 'failed');
             RESET session_replication_role;
             ALTER TABLE minion.jobs ENABLE ALWAYS TRIGGER jobs_updated;
             INSERT INTO minion.jobs (task, state, worker) VALUES ('c', 'active', 999)"#
        ))
        .unwrap();
    // The library is the new one already: what was there goes on working.
    client.batch_execute("DELETE FROM minion.limit_rules WHERE queue = 'b' RETURNING 1").unwrap();
    let row = client.query_one("SELECT * FROM minion.repair()", &[]).unwrap();
    assert_eq!((row.len(), row.get::<_, i64>("jobs_abandoned")), (5, 1));
    client
        .batch_execute(
            "INSERT INTO minion.limit_rules (queue, max_active) VALUES ('b', 20000000);
             SET session_replication_role = replica;
             UPDATE minion.jobs SET finished = NULL WHERE state = 'finished';
             RESET session_replication_role;
             ALTER EXTENSION minion UPDATE",
        )
        .unwrap();
    let rules: Vec<String> = client.all(
        "SELECT concat_ws(' ', queue, task, coalesce(max_active::text, '-'), coalesce(max_starts::text, '-'),
            coalesce(per::text, '-'))
         FROM minion.limit_rules
         ORDER BY queue",
        &[],
    );
    assert_eq!(
        rules,
        [
            "a  0 - -",
            "b  100000 - -",
            "c  - 0 1 day",
            "d  - 100000 1 day",
            "e  3 - -",
            "f  3 - -",
            "g  - - -",
            "h  - 0 00:00:01",
            "i  - 5 10000 years",
            "j t 3 5 1 day",
        ]
    );
    let fires = "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'jobs_updated'";
    assert_eq!(client.one::<String>(fires, &[]), "A");
    let may = "SELECT has_function_privilege($1, 'minion.repair()', 'EXECUTE WITH GRANT OPTION')
         AND NOT has_function_privilege('minion_reader', 'minion.repair()', 'EXECUTE')";
    assert!(client.one::<bool>(may, &[&role]));
    assert!(!client.one::<bool>("SELECT more FROM minion.repair()", &[]));
    let undated = "SELECT count(*) FROM minion.jobs WHERE state <> 'active' AND finished IS NULL";
    assert_eq!(client.one::<i64>(undated, &[]), 0);
    // A dump says what was granted by others than the extension, and only that.
    let granted: Vec<String> = program("pg_dump", &database.name, &["--schema-only"])
        .lines()
        .filter(|line| line.starts_with("GRANT") && line.contains("minion.repair()"))
        .map(str::to_owned)
        .collect();
    let grant = format!("GRANT ALL ON FUNCTION minion.repair() TO {role} WITH GRANT OPTION;");
    assert_eq!(granted, [grant]);
    client.batch_execute(&format!(r#"DROP OWNED BY "{role}"; DROP ROLE "{role}""#)).unwrap();
}

#[test]
fn an_update_leaves_what_the_user_has_granted_on_jobs_in_his_dumps() {
    let granted = |database: &Database| -> Vec<String> {
        program("pg_dump", &database.name, &["--schema-only"])
            .lines()
            .filter(|line| line.starts_with("GRANT") || line.starts_with("REVOKE"))
            .map(str::to_owned)
            .collect()
    };
    let database = Database::of_version("0.3.0");
    let mut client = database.connect();
    // Roles are the cluster's.
    let role = format!("{}_auditor", database.name);
    client
        .batch_execute(&format!(
            r#"CREATE ROLE "{role}";
             GRANT SELECT, DELETE ON minion.jobs TO "{role}";
             GRANT UPDATE (id, task, notes, result) ON minion.jobs TO "{role}""#
        ))
        .unwrap();
    let before = granted(&database);
    assert_eq!(before.len(), 5);
    client.batch_execute("ALTER EXTENSION minion UPDATE").unwrap();
    assert_eq!(granted(&database), before);
    let may = "SELECT has_any_column_privilege('minion_producer', 'minion.jobs', 'INSERT')
         AND NOT has_table_privilege('minion_producer', 'minion.jobs', 'INSERT')";
    assert!(client.one::<bool>(may, &[]));
    client.batch_execute(&format!(r#"DROP OWNED BY "{role}"; DROP ROLE "{role}""#)).unwrap();
}

#[test]
fn an_update_runs_deferred_triggers_of_the_users_before_it_alters_their_tables() {
    let database = Database::of_version("0.3.0");
    let mut client = database.connect();
    client
        .batch_execute(
            "SELECT minion.schedule('s', '@daily', 'task', timezone => '+02:00');
             INSERT INTO minion.limit_rules (queue, max_active) VALUES ('q', -1);
             CREATE TABLE seen (what text);
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO public.seen VALUES (TG_TABLE_NAME);
                 RETURN NULL;
             END $$;
             CREATE CONSTRAINT TRIGGER see AFTER UPDATE ON minion.schedules
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see();
             CREATE CONSTRAINT TRIGGER see AFTER UPDATE ON minion.limit_rules
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see()",
        )
        .unwrap();
    client.batch_execute("ALTER EXTENSION minion UPDATE").unwrap();
    let seen = "SELECT what FROM seen ORDER BY what";
    assert_eq!(client.all::<String>(seen, &[]), ["limit_rules", "schedules"]);
}

#[test]
fn an_update_goes_around_rows_that_a_trigger_of_the_users_keeps_as_they_are() {
    let database = Database::of_version("0.3.0");
    let mut client = database.connect();
    client
        .batch_execute(
            "INSERT INTO minion.limit_rules (queue, max_active) VALUES ('kept', -1), ('refused', -1), ('mended', -1);
             INSERT INTO minion.schedules (name, next_run, cron, timezone, task, expire, unique_key)
             SELECT name, now() - interval '1 minute', '@daily', 'UTC', 'task', '-1 day', ''
             FROM unnest('{kept,refused,mended}'::text[]) AS name;
             CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF OLD::text LIKE '%refused%' THEN
                     RAISE 'not this one';
                 END IF;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER keep BEFORE UPDATE ON minion.limit_rules FOR EACH ROW
             WHEN (OLD.queue <> 'mended') EXECUTE FUNCTION keep();
             CREATE TRIGGER keep BEFORE UPDATE ON minion.schedules FOR EACH ROW
             WHEN (OLD.name <> 'mended') EXECUTE FUNCTION keep();
             ALTER EXTENSION minion UPDATE",
        )
        .unwrap();
    let rules = "SELECT queue || max_active FROM minion.limit_rules ORDER BY queue";
    assert_eq!(client.all::<String>(rules, &[]), ["kept-1", "mended0", "refused-1"]);
    let schedules = "SELECT name FROM minion.schedules WHERE expire = '0' AND unique_key <> ''";
    assert_eq!(client.all::<String>(schedules, &[]), ["mended"]);
    // What is written from now on is checked.
    let refused = client
        .batch_execute("INSERT INTO minion.limit_rules (queue, max_active) VALUES ('new', -1)");
    assert_eq!(refused.unwrap_err().code(), Some(&SqlState::CHECK_VIOLATION));
    let ran = client.all::<String>("SELECT name FROM minion.dispatch_schedules()", &[]);
    assert_eq!(ran, ["mended"]);
    assert!(!client.one::<bool>("SELECT more FROM minion.repair()", &[]));
}

#[test]
fn an_update_from_0_4_0_takes_no_rights_from_roles_of_the_users_own() {
    let database = Database::of_version("0.4.0");
    let mut client = database.connect();
    let role = format!("{}_own", database.name);
    client
        .batch_execute(&format!(
            r#"CREATE ROLE "{role}";
             GRANT USAGE ON SCHEMA minion TO "{role}";
             GRANT ALL ON ALL TABLES IN SCHEMA minion TO "{role}";
             GRANT ALL ON ALL SEQUENCES IN SCHEMA minion TO "{role}";
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA minion TO "{role}";
             GRANT USAGE ON TYPE minion.job_state TO "{role}";
             ALTER TABLE minion.workers ADD COLUMN mine text;
             ALTER EXTENSION minion UPDATE;
             SET ROLE "{role}""#,
        ))
        .unwrap();
    // Where it is found by the statement, and then in the row that the session has written last.
    for _ in 0..3 {
        let worker = "SELECT minion.register_worker(CASE last_value WHEN 1 THEN
            CASE WHEN is_called THEN 1 END END, attached => true) FROM minion.workers_id_seq";
        assert_eq!(client.one::<i64>(worker, &[]), 1);
    }
    client.batch_execute("SELECT minion.enqueue('task', time_limit => '0.001 seconds')").unwrap();
    assert_eq!(client.all::<i64>("SELECT id FROM minion.dequeue(1)", &[]), [1]);
    client.batch_execute("SELECT pg_sleep(0.01), minion.repair()").unwrap();
    assert_eq!(client.one::<String>("SELECT state::text FROM minion.jobs", &[]), "failed");
    client.batch_execute("RESET ROLE").unwrap();
    client.batch_execute(&format!(r#"DROP OWNED BY "{role}"; DROP ROLE "{role}""#)).unwrap();
}
