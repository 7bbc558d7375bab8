//! Unique keys, asked for by many at once.

use integration::{Ask, Database};
use std::collections::HashMap;
use std::sync::{Barrier, Mutex};
use std::thread;

const CONNECTIONS: usize = 16;

#[test]
fn sixteen_connections_that_enqueue_with_the_same_key_make_one_job() {
    const ROUNDS: usize = 50;
    let database = Database::new();
    let barrier = Barrier::new(CONNECTIONS);
    let given: Mutex<HashMap<usize, Vec<i64>>> = Mutex::default();
    thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let (mut client, barrier, given) = (database.connect(), &barrier, &given);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    barrier.wait();
                    let key = format!("key {round}");
                    let id: i64 = match number % 3 {
                        0 => client.one(
                            "SELECT minion.enqueue_many(jsonb_build_array(jsonb_build_object(
                                'task', 'task', 'unique_key', $1::text)))",
                            &[&key],
                        ),
                        _ => client.one("SELECT minion.enqueue('task', unique_key => $1)", &[&key]),
                    };
                    given.lock().unwrap().entry(round).or_default().push(id);
                }
            });
        }
    });
    let given = given.into_inner().unwrap();
    for round in 0..ROUNDS {
        let ids = &given[&round];
        assert!(ids.iter().all(|id| *id == ids[0]), "round {round}: {ids:?}");
    }
    let mut client = database.connect();
    assert_eq!(client.one::<i64>("SELECT count(*) FROM minion.jobs", &[]), ROUNDS as i64);
    // The others have used up no ids.
    let enqueued: i64 = client.one("SELECT enqueued_jobs FROM minion.stats()", &[]);
    assert_eq!(enqueued, ROUNDS as i64);
}

/// Keys are enqueued while jobs that have them end, are retried and removed: never two at once, no error.
#[test]
fn a_key_is_never_held_twice_whatever_becomes_of_its_jobs() {
    let database = Database::new();
    thread::scope(|scope| {
        for number in 0..8 {
            let mut client = database.connect();
            scope.spawn(move || {
                let worker = client.register();
                let mut random = fastrand::Rng::with_seed(number);
                for _ in 0..300 {
                    let key = format!("key {}", random.u32(..3));
                    match random.u32(..4) {
                        0 | 1 => {
                            client.one::<i64>(
                                "SELECT minion.enqueue('task', unique_key => $1)",
                                &[&key],
                            );
                        }
                        2 => {
                            let claim = "SELECT id, retries FROM minion.dequeue($1)";
                            for row in client.query(claim, &[&worker]).unwrap() {
                                let (id, retries): (i64, i32) = (row.get(0), row.get(1));
                                let end = match random.bool() {
                                    true => "SELECT minion.finish_job($1, $2)",
                                    false => "SELECT minion.fail_job($1, $2)",
                                };
                                assert!(client.one::<bool>(end, &[&id, &retries]));
                            }
                        }
                        _ => {
                            client.one::<i64>("SELECT minion.retry_jobs()", &[]);
                        }
                    }
                }
            });
        }
    });
}
