//! However much stands in the queue, a claim looks at little of it: counted in buffers, which do not depend
//! on the machine.

use integration::cost::cost;
use integration::{Ask, Database};
use postgres::Client;

/// The most that one of ten calls looks at, once the session has its plans and its catalog.
fn most(client: &mut Client, call: &str) -> i64 {
    for _ in 0..3 {
        cost(client, call);
    }
    (0..10).map(|_| cost(client, call)).max().expect("ten numbers")
}

/// What a claim may look at besides: once a second one of them verifies a lane or a queue.
const SLACK: i64 = 100;

struct Queue {
    database: Database,
    client: Client,
}

const CLAIMS: [&str; 4] = [
    "SELECT * FROM minion.dequeue(1)",
    "SELECT * FROM minion.dequeue(1, queues => '{default,other,empty}')",
    "SELECT * FROM minion.dequeue(1, queues => '{default,other}', tasks => '{task 1,task 2}')",
    "SELECT * FROM minion.dequeue(1, queues => '{default,other}', min_priority => 3)",
];

const BATCH: &str = "SELECT * FROM minion.dequeue(1, queues => '{default,other}', max_jobs => 100)";

/// A job of every queue, task and priority that the claims above ask for, and then from the start again,
/// at times that all differ.
const READY: &str = "
    INSERT INTO minion.jobs (queue, task, priority, created, delayed)
    SELECT CASE number % 2 WHEN 0 THEN 'default' ELSE 'other' END,
        'task ' || number % 3, number % 5,
        now() - number * interval '1 millisecond', now() - number * interval '1 millisecond'
    FROM generate_series(1, $1) AS number";

impl Queue {
    fn new() -> Self {
        let database = Database::new();
        let mut client = database.connect();
        client.register();
        Self { database, client }
    }

    fn fill(&mut self, insert: &str, count: i32) {
        self.client.execute(insert, &[&count]).unwrap();
    }

    /// With what the server does by itself sooner or later done now.
    fn settle(&mut self) {
        self.client.batch_execute("VACUUM ANALYZE minion.jobs").unwrap();
    }
}

/// What a queue of a thousand ready jobs needs, and some more: an index of many pages has more levels.
fn limits(calls: &[&str]) -> Vec<i64> {
    let mut small = Queue::new();
    small.fill(READY, 1_000);
    small.settle();
    calls.iter().map(|call| 2 * most(&mut small.client, call) + SLACK).collect()
}

/// Fails unless each call is as cheap as its limit says.
fn check(queue: &mut Queue, calls: &[&str], limits: &[i64]) {
    for (call, &limit) in calls.iter().zip(limits) {
        let most = most(&mut queue.client, call);
        println!("{most} buffers (limit {limit}): {call}");
        assert!(most <= limit, "{most} buffers, more than {limit}: {call}");
    }
}

/// Claims stay cheap with `insert` done 200,000, or so many, times, before a thousand ready jobs.
fn stays_cheap(insert: &str, count: i32) {
    let mut queue = Queue::new();
    queue.fill(insert, count);
    queue.fill(READY, 1_000);
    // Who comes first may have to sort the others.
    queue.client.batch_execute("SELECT minion.dequeue(1, queues => '{default,other}')").unwrap();
    queue.settle();
    check(&mut queue, &CLAIMS, &limits(&CLAIMS));
    check(&mut queue, &[BATCH], &limits(&[BATCH]));
}

#[test]
fn claims_are_cheap_with_200_000_ready_jobs() {
    stays_cheap(READY, 200_000);
}

#[test]
fn claims_are_cheap_behind_200_000_delayed_jobs() {
    stays_cheap(
        "INSERT INTO minion.jobs (queue, task, priority, delayed)
         SELECT CASE number % 2 WHEN 0 THEN 'default' ELSE 'other' END,
            'task ' || number % 3, 9, now() + interval '1 day' + number * interval '1 millisecond'
         FROM generate_series(1, $1) AS number",
        200_000,
    );
}

#[test]
fn claims_are_cheap_behind_20_000_blocked_jobs() {
    stays_cheap(
        "WITH parent AS (
            INSERT INTO minion.jobs (queue, task) SELECT 'parents', 'task' FROM generate_series(1, 10)
            RETURNING id
         )
         INSERT INTO minion.jobs (queue, task, priority, delayed, parents)
         SELECT CASE number % 2 WHEN 0 THEN 'default' ELSE 'other' END,
            'task ' || number % 3, 9, now() - number * interval '1 millisecond',
            (SELECT array_agg(id) FROM parent)
         FROM generate_series(1, $1) AS number",
        20_000,
    );
}

/// However many children come due before their parents are done, one claim looks at some of them only, and
/// the next ones at the others.
#[test]
fn claims_see_to_60_000_blocked_jobs_in_batches() {
    /// Six attempts of four batches of a thousand.
    const MOST: i64 = 24_000;
    let mut queue = Queue::new();
    queue.fill(
        "WITH parent AS (INSERT INTO minion.jobs (task, queue) VALUES ('task', 'parents') RETURNING id)
         INSERT INTO minion.jobs (task, parents)
         SELECT 'task', ARRAY[id] FROM parent, generate_series(1, $1)",
        60_000,
    );
    let unseen = "SELECT count(*) FROM minion.jobs WHERE parents <> '{}' AND waits_for IS NULL";
    let mut left = 60_000;
    while left > 0 {
        assert_eq!(queue.client.all::<i64>("SELECT id FROM minion.dequeue(1)", &[]), [0; 0]);
        let now: i64 = queue.client.one(unseen, &[]);
        assert!(left - now <= MOST, "one claim saw to {} jobs", left - now);
        assert!(now < left, "claims see to no job any more");
        left = now;
    }
    // With a job that can run there is no reason to look further.
    queue.fill("INSERT INTO minion.jobs (task) SELECT 'task' FROM generate_series(1, $1)", 1);
    assert_eq!(queue.client.all::<i64>("SELECT id FROM minion.dequeue(1)", &[]), [60_002]);
}

/// What a look for a slot may cost besides, for each of the limited lanes.
const SLOTS: i64 = 30;

#[test]
fn claims_are_cheap_beside_200_000_jobs_behind_a_full_limit() {
    let mut queue = Queue::new();
    queue
        .client
        .batch_execute(
            "SELECT minion.limit_task('limited', 2), minion.limit_task('none', 0),
                minion.limit_task('rate', max_starts => 1, per => '1 hour')",
        )
        .unwrap();
    queue.fill(
        "INSERT INTO minion.jobs (queue, task, priority, delayed)
         SELECT CASE number % 2 WHEN 0 THEN 'default' ELSE 'other' END,
            ('{limited,none,rate}'::text[])[number % 3 + 1], 9, now() - number * interval '1 millisecond'
         FROM generate_series(1, $1) AS number",
        200_000,
    );
    queue.fill(READY, 1_000);
    queue
        .client
        .batch_execute("SELECT minion.dequeue(1, queues => '{default,other}', max_jobs => 3)")
        .unwrap();
    queue.settle();
    let active = "SELECT count(*) FROM minion.jobs WHERE state = 'active' AND priority = 9";
    assert_eq!(queue.client.one::<i64>(active, &[]), 3);
    let limits: Vec<i64> = limits(&CLAIMS).iter().map(|limit| limit + 6 * SLOTS).collect();
    check(&mut queue, &CLAIMS, &limits);
    let empty = "SELECT * FROM minion.dequeue(1, queues => '{default,other}', tasks => '{limited,none,rate}')";
    check(&mut queue, &[empty], &[SLACK + 6 * SLOTS]);
}

#[test]
fn claims_are_cheap_beside_200_000_jobs_of_a_paused_queue() {
    let mut queue = Queue::new();
    queue.fill(
        "INSERT INTO minion.jobs (queue, task, priority, delayed)
         SELECT 'paused', 'task ' || number % 3, 9, now() - number * interval '1 millisecond'
         FROM generate_series(1, $1) AS number",
        200_000,
    );
    queue.fill(READY, 1_000);
    queue.client.batch_execute("SELECT minion.pause_queue('paused')").unwrap();
    queue.settle();
    check(&mut queue, &CLAIMS, &limits(&CLAIMS));
    let calls = [
        "SELECT * FROM minion.dequeue(1, queues => '{paused}')",
        "SELECT * FROM minion.dequeue(1, queues => '{paused,empty}', tasks => '{task 1,task 2}')",
    ];
    check(&mut queue, &calls, &[SLACK, SLACK]);
}

#[test]
fn claims_are_cheap_behind_200_000_jobs_of_another_task() {
    let calls = [CLAIMS[2], "SELECT * FROM minion.dequeue(1, tasks => '{task 0,task 1,task 2}')"];
    let mut queue = Queue::new();
    queue.fill(
        "INSERT INTO minion.jobs (task, priority, delayed)
         SELECT 'another', 9, now() - number * interval '1 millisecond'
         FROM generate_series(1, $1) AS number",
        200_000,
    );
    queue.fill(READY, 1_000);
    queue.settle();
    check(&mut queue, &calls, &limits(&calls));
}

#[test]
fn claims_park_200_000_expired_jobs_in_batches_and_are_cheap_afterwards() {
    const EXPIRED: i32 = 200_000;
    /// One of each batch parks a thousand jobs, with some buffers each, and steps over the others.
    const BATCH_OF_EXPIRED: i64 = 1_000 * 40 + 2 * EXPIRED as i64;
    let mut queue = Queue::new();
    // Time passes by itself for jobs that are ready: no trigger sees it.
    queue.client.batch_execute("SET session_replication_role = replica").unwrap();
    queue.fill(
        "INSERT INTO minion.jobs (task, priority, delayed, expires)
         SELECT 'task ' || number % 3, 9, now() - interval '1 hour',
            now() - number * interval '1 millisecond'
         FROM generate_series(1, $1) AS number",
        EXPIRED,
    );
    queue.client.batch_execute("SET session_replication_role = origin").unwrap();
    queue.fill(READY, 3_000);
    queue.settle();
    let left = "
        SELECT count(*) FROM minion.jobs
        WHERE state = 'inactive' AND expires <= now() AND parked_until IS NULL";
    let (mut claims, mut worst) = (0, 0);
    while queue.client.one::<i64>(left, &[]) > 0 {
        let buffers = cost(&mut queue.client, CLAIMS[0]);
        assert!(buffers <= BATCH_OF_EXPIRED, "{buffers} buffers in claim {claims}");
        (claims, worst) = (claims + 1, worst.max(buffers));
        assert!(claims <= EXPIRED / 1_000 + 10, "claims don't park what is in their way");
        if claims % 20 == 0 {
            queue.settle();
        }
    }
    println!("{claims} claims until all were parked, at most {worst} buffers each");
    queue.settle();
    check(&mut queue, &CLAIMS, &limits(&CLAIMS));
}

#[test]
fn claims_are_cheap_with_a_queue_for_each_of_10_000_tenants() {
    let calls = [
        "SELECT * FROM minion.dequeue(1, queues => '{tenant 77}')",
        "SELECT * FROM minion.dequeue(1, queues => '{tenant 1,tenant 2,tenant 3,tenant 4}')",
    ];
    let tenants = "
        INSERT INTO minion.jobs (queue, task, delayed)
        SELECT 'tenant ' || number % 10000, 'task ' || number / 10000 % 2,
            now() - number * interval '1 millisecond'
        FROM generate_series(1, $1) AS number";
    let mut queue = Queue::new();
    queue.fill(tenants, 500_000);
    queue.settle();
    let mut small = Queue::new();
    small.fill(&tenants.replace("10000", "10"), 1_000);
    small.settle();
    let calls_of_small = [calls[0].replace("77", "7"), calls[1].into()];
    let limits: Vec<i64> =
        calls_of_small.iter().map(|call| 2 * most(&mut small.client, call) + SLACK).collect();
    check(&mut queue, &calls, &limits);
    // All of them at once: so many index probes for each lane.
    let all = "
        SELECT * FROM minion.dequeue(1, queues => ARRAY(
            SELECT 'tenant ' || number FROM generate_series(0, 9999) AS number))";
    let most = most(&mut queue.client, all);
    println!("{most} buffers: {all}");
    assert!(most <= 20_000 * 16, "{most} buffers for 20,000 lanes");
}

/// What others hold is passed over, however much of it there is, without walking on behind it.
#[test]
fn a_claim_that_finds_the_first_jobs_taken_walks_no_further_than_it_must() {
    let mut queue = Queue::new();
    queue.fill(READY, 200_000);
    queue.settle();
    let limits: Vec<i64> = limits(&CLAIMS).iter().map(|limit| limit + 200).collect();
    let mut other = queue.database.connect();
    let mut holding = other.transaction().unwrap();
    holding
        .query("SELECT * FROM minion.dequeue(1, queues => '{default,other}', max_jobs => 10)", &[])
        .unwrap();
    check(&mut queue, &CLAIMS, &limits);
}
