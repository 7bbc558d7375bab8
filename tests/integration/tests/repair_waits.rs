//! repair() and those who have rows locked that it comes across.

use integration::{Ask, Database};

#[test]
fn repair_waits_for_nobody_who_has_a_child_of_what_it_ends() {
    let database = Database::new();
    let mut client = database.connect();
    client
        .batch_execute(
            "SELECT minion.enqueue('parent', queue => 'p', expire => '1 second'),
                minion.enqueue('other', queue => 'p', expire => '1 second');
             SELECT minion.enqueue('child', parents => '{1}');
             SELECT minion.register_worker()",
        )
        .unwrap();
    // From now on, the child watches its parent.
    client.batch_execute("SELECT minion.dequeue(1)").unwrap();
    assert_eq!(client.one::<i64>("SELECT waits_for FROM minion.jobs WHERE task = 'child'", &[]), 1);
    client.batch_execute("SELECT pg_sleep(1.1)").unwrap();
    client.batch_execute("SET statement_timeout = '30s'").unwrap();
    let mut holder = database.connect();
    let mut holding = holder.transaction().unwrap();
    holding.batch_execute("SELECT FROM minion.jobs WHERE task = 'child' FOR UPDATE").unwrap();
    let expired = "SELECT jobs_expired FROM minion.repair()";
    let left = "SELECT task FROM minion.jobs ORDER BY id";
    assert_eq!(client.one::<i64>(expired, &[]), 1);
    assert_eq!(client.all::<String>(left, &[]), ["parent", "child"]);
    holding.commit().unwrap();
    assert_eq!(client.one::<i64>(expired, &[]), 1);
    assert_eq!(client.all::<String>(left, &[]), ["child"]);
    let claimed = "SELECT task FROM minion.dequeue(1)";
    assert_eq!(client.one::<String>(claimed, &[]), "child");
}
