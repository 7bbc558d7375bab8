//! lanes() shows the lanes of this database, and of others to those who may read all statistics.

use integration::heads::{is_preloaded, run};
use integration::{Ask, Database};
use postgres::Client;

const SHOWN: &str = "
    SELECT coalesce(string_agg(queue || ' ' || task, ', ' ORDER BY queue, task), '')
    FROM minion.lanes()
    WHERE queue LIKE 'shown%' AND ($1 = '' OR database = $1)";

/// What a member of a role sees of a database, or of all.
fn shown(client: &mut Client, role: &str, database: &str) -> String {
    run(client, &format!("SET ROLE {role}"));
    let shown = client.one(SHOWN, &[&database]);
    run(client, "RESET ROLE");
    shown
}

fn enqueue(database: &Database, task: &str) {
    let queue = format!("shown {}", database.name);
    let mut client = database.connect();
    client.execute("SELECT minion.enqueue($1, queue => $2)", &[&task, &queue]).unwrap();
}

#[test]
fn the_lanes_of_other_databases_are_shown_to_those_who_may_read_all_statistics() {
    let (here, there) = (Database::new(), Database::new());
    enqueue(&here, "here");
    enqueue(&there, "there");
    let mut client = here.connect();
    if !is_preloaded(&mut client) {
        return;
    }
    let reader = format!("{}_reader", here.name);
    run(&mut client, &format!("CREATE ROLE {reader} IN ROLE minion_reader"));
    let [lane_here, lane_there] =
        [(&here, "here"), (&there, "there")].map(|(at, task)| format!("shown {} {task}", at.name));
    for role in [&*reader, "minion_reader", "minion_worker", "minion_admin"] {
        assert_eq!(shown(&mut client, role, ""), lane_here, "{role}");
    }
    run(&mut client, &format!("GRANT pg_read_all_stats TO {reader}"));
    for role in [&*reader, "NONE"] {
        assert_eq!(shown(&mut client, role, &here.name), lane_here, "{role}");
        assert_eq!(shown(&mut client, role, &there.name), lane_there, "{role}");
    }
    run(&mut client, &format!("DROP ROLE {reader}"));
}

#[test]
fn only_what_is_there_is_shown() {
    let (here, there) = (Database::new(), Database::new());
    let mut client = here.connect();
    if !is_preloaded(&mut client) {
        return;
    }
    // The table of before DROP and CREATE EXTENSION is another one.
    for database in [&here, &there] {
        enqueue(database, "old");
        run(&mut database.connect(), "DROP EXTENSION minion; CREATE EXTENSION minion");
        enqueue(database, "new");
        let new = format!("shown {0} new", database.name);
        assert_eq!(client.one::<String>(SHOWN, &[&database.name]), new);
    }
    run(&mut client, "BEGIN; DROP EXTENSION minion; CREATE EXTENSION minion");
    assert_eq!(client.one::<String>(SHOWN, &[&here.name]), "");
    run(&mut client, "ROLLBACK");
    // A database that is gone.
    let name = there.name.clone();
    drop(there);
    assert_eq!(client.one::<String>(SHOWN, &[&name]), "");
    let nameless =
        "SELECT count(*) FROM minion.lanes() WHERE database IS NULL AND queue IS NOT NULL";
    assert_eq!(client.one::<i64>(nameless, &[]), 0);
}

#[test]
fn lanes_are_not_shown_to_those_who_may_not_see_all_jobs() {
    let database = Database::new();
    enqueue(&database, "hidden");
    let mut client = database.connect();
    if !is_preloaded(&mut client) {
        return;
    }
    assert_ne!(shown(&mut client, "minion_reader", ""), "");
    run(&mut client, "ALTER TABLE minion.jobs ENABLE ROW LEVEL SECURITY");
    assert_eq!(shown(&mut client, "minion_reader", ""), "");
    assert_ne!(client.one::<String>(SHOWN, &[&database.name]), "");
}
