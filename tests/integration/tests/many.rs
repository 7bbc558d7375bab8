//! Big calls and big families.

use integration::{Ask, Database};

#[test]
fn enqueue_many_takes_100_000_jobs_in_one_call() {
    let database = Database::new();
    let mut client = database.connect();
    let ids: Vec<i64> = client.all(
        "SELECT minion.enqueue_many(jsonb_agg(jsonb_build_object(
            'task', 'task', 'args', jsonb_build_array(number), 'priority', number % 3)))
         FROM generate_series(1, 100000) AS number",
        &[],
    );
    assert_eq!(ids, (1..=100_000).collect::<Vec<i64>>());
    let wrong = "SELECT count(*) FROM minion.jobs WHERE args <> jsonb_build_array(id)";
    assert_eq!(client.one::<i64>(wrong, &[]), 0);

    let worker = client.register();
    let claim = "SELECT id FROM minion.dequeue($1, max_jobs => 50000)";
    let mut claimed: Vec<i64> = client.all(claim, &[&worker]);
    claimed.extend(client.all::<i64>(claim, &[&worker]));
    let mut in_order = ids.clone();
    in_order.sort_by_key(|id| (-(id % 3), *id));
    assert_eq!(claimed, in_order);
    let finish = "SELECT count(*) FROM minion.finish_jobs($1, array_fill(0, ARRAY[100000]))";
    assert_eq!(client.one::<i64>(finish, &[&claimed]), 100_000);
}

#[test]
fn a_hundred_children_of_20_000_parents_start_when_the_last_of_them_finishes() {
    const PARENTS: i32 = 20_000;
    const CHILDREN: i32 = 100;
    let database = Database::new();
    let mut client = database.connect();
    let worker = client.register();
    let parents: Vec<i64> = client.all(
        r#"SELECT minion.enqueue_many(jsonb_agg('{"task": "parent"}'::jsonb))
           FROM generate_series(1, $1)"#,
        &[&PARENTS],
    );
    let enqueue = client
        .prepare("SELECT minion.enqueue('child', queue => 'children', parents => $1)")
        .unwrap();
    let mut children: Vec<i64> = Vec::new();
    for _ in 0..CHILDREN {
        children.push(client.query_one(&enqueue, &[&parents]).unwrap().get(0));
    }
    let claim = "
        SELECT id FROM minion.dequeue($1, queues => '{children}', max_jobs => $2)";
    assert_eq!(client.all::<i64>(claim, &[&worker, &1]), [0; 0]);
    assert_eq!(client.all::<i64>(claim, &[&worker, &1]), [0; 0]);
    let held: Vec<i64> =
        client.all("SELECT id FROM minion.dequeue($1, max_jobs => $2)", &[&worker, &PARENTS]);
    assert_eq!(held, parents);
    // Oldest first, as a queue does it, all but one.
    let finish = "SELECT count(*) FROM minion.finish_jobs($1, array_fill(0, ARRAY[$2::int]))";
    for some in parents[..parents.len() - 1].chunks(1_000) {
        client.one::<i64>(finish, &[&some, &(some.len() as i32)]);
    }
    assert_eq!(client.all::<i64>(claim, &[&worker, &1]), [0; 0]);
    assert!(client.one::<bool>("SELECT minion.finish_job($1, 0)", &[parents.last().unwrap()]));
    let mut claimed: Vec<i64> = client.all(claim, &[&worker, &1]);
    claimed.extend(client.all::<i64>(claim, &[&worker, &1_000]));
    assert_eq!(claimed, children);
    let of_parent = "SELECT children FROM minion.list_jobs(ids => $1)";
    assert_eq!(client.one::<Vec<i64>>(of_parent, &[&vec![parents[7]]]), children);
    assert_eq!(client.one::<i64>(finish, &[&claimed, &CHILDREN]), i64::from(CHILDREN));
    client.batch_execute("SET minion.remove_after = 0").unwrap();
    let removed: i64 = client.one("SELECT jobs_removed FROM minion.repair()", &[]);
    assert_eq!(removed, i64::from(PARENTS + CHILDREN));
}
