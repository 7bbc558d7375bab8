//! Ids that plain SQL has taken ahead of the sequence.

use integration::{Ask, Database};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

/// Many enqueue with a few keys, and take the jobs away again, while somebody takes the next ids by plain SQL. Each call
/// gives a job that has the key, or an error that names the primary key, as it is without a unique key.
#[test]
fn an_id_that_is_taken_is_not_blamed_on_the_key_however_many_enqueue() {
    const CONNECTIONS: u64 = 6;
    const CALLS: u32 = 200;
    let database = Database::new();
    let (ended, refused, ahead) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        let mut calls = Vec::new();
        for number in 0..CONNECTIONS {
            let (mut client, refused) = (database.connect(), &refused);
            calls.push(scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                for _ in 0..CALLS {
                    let key = format!("key {}", random.u32(..3));
                    let enqueue = "SELECT minion.enqueue('task', unique_key => $1)";
                    match client.query_one(enqueue, &[&key]) {
                        Ok(row) => {
                            let id: i64 = row.get(0);
                            if random.bool() {
                                client.one::<bool>("SELECT minion.remove_job($1)", &[&id]);
                            }
                        }
                        Err(error) => {
                            let message = error.as_db_error().expect("an error of the server's");
                            assert!(message.message().contains("jobs_pkey"), "{message:?}");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }));
        }
        let (mut client, ended, ahead) = (database.connect(), &ended, &ahead);
        let taking = scope.spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let taken = client
                    .execute(
                        "INSERT INTO minion.jobs (id, task)
                         SELECT last_value + number, 'ahead'
                         FROM minion.jobs_id_seq, generate_series(1, 8) AS number
                         ON CONFLICT DO NOTHING",
                        &[],
                    )
                    .unwrap();
                ahead.fetch_add(taken as u32, Ordering::Relaxed);
            }
        });
        calls.into_iter().for_each(|call| call.join().unwrap());
        ended.store(true, Ordering::Relaxed);
        taking.join().unwrap();
    });
    let mut client = database.connect();
    let (refused, ahead) = (refused.into_inner(), ahead.into_inner());
    println!(
        "{refused} of {} calls met an id that was taken; {ahead} were",
        CALLS * CONNECTIONS as u32
    );
    assert!(refused > 0, "no id was taken ahead");
    // A call uses up two ids when it meets one that is taken, and never goes on to look for a free one.
    let used: i64 = client.one("SELECT last_value FROM minion.jobs_id_seq", &[]);
    assert!(used <= 3 * i64::from(CALLS) * CONNECTIONS as i64, "{used} ids");
    let held: i64 = client.one(
        "SELECT coalesce(max(count), 0) FROM (
            SELECT count(*) FROM minion.jobs WHERE unique_key IS NOT NULL GROUP BY unique_key) AS keys",
        &[],
    );
    assert!(held <= 1, "{held} jobs have one key");
}
