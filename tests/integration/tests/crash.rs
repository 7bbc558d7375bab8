//! The server crashes in the midst of work: nothing that was said to be done is undone, and nothing is
//! claimed twice. One test alone, since nobody else can use the server meanwhile.

use integration::server::{kill, postmaster, start, until_up};
use integration::{Ask, Database, until};
use postgres::Client;
use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What a worker was told before it lost its connection.
#[derive(Default)]
struct Told {
    enqueued: Vec<i64>,
    claimed: Vec<i64>,
    finished: Vec<i64>,
}

fn work(client: &mut Client, told: &mut Told) -> Result<(), postgres::Error> {
    loop {
        for _ in 0..2 {
            told.enqueued.push(client.query_one("SELECT minion.enqueue('task')", &[])?.get(0));
        }
        for row in client.query("SELECT id FROM minion.dequeue(1, max_jobs => 2)", &[])? {
            told.claimed.push(row.get(0));
        }
        if let Some(id) = told.claimed.last() {
            let done = client.query_one("SELECT minion.finish_job($1, 0)", &[id])?;
            if done.get(0) {
                told.finished.push(*id);
            }
        }
    }
}

#[test]
fn a_crash_loses_nothing_and_nothing_is_claimed_twice() {
    let database = Database::new();
    database.connect().register();
    let mut all = Told::default();
    for of_postmaster in [false, true, false] {
        let mut held = database.connect();
        held.batch_execute("SELECT minion.enqueue('held', queue => 'held')").unwrap();
        held.batch_execute("BEGIN").unwrap();
        let in_claim: i64 = held.one("SELECT id FROM minion.dequeue(1, queues => '{held}')", &[]);
        let (begun, begins) = mpsc::channel();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let mut client = database.connect();
                let begun = begun.clone();
                thread::spawn(move || {
                    let mut told = Told::default();
                    begun.send(()).unwrap();
                    work(&mut client, &mut told).expect_err("only the crash ends it");
                    told
                })
            })
            .collect();
        for _ in &workers {
            begins.recv().unwrap();
        }
        thread::sleep(Duration::from_millis(700));
        match of_postmaster {
            true => kill(&postmaster()),
            false => kill(&held.backend().to_string()),
        }
        for told in workers.into_iter().map(|worker| worker.join().unwrap()) {
            all.enqueued.extend(told.enqueued);
            all.claimed.extend(told.claimed);
            all.finished.extend(told.finished);
        }
        if of_postmaster {
            until("the server starts", start);
        }
        until_up(&database);

        let mut client = database.connect();
        let count =
            "SELECT count(*) FROM minion.jobs WHERE id = ANY ($1) AND state::text = ANY ($2)";
        let mut check = |ids: &Vec<i64>, states: &[&str]| {
            let found: i64 = client.one(count, &[ids, &states]);
            assert_eq!(found, ids.len() as i64, "{states:?}");
        };
        assert!(!all.finished.is_empty());
        check(&all.enqueued, &["inactive", "active", "finished"]);
        check(&all.claimed, &["active", "finished"]);
        check(&all.finished, &["finished"]);
        check(&vec![in_claim], &["inactive"]);
        let distinct: HashSet<_> = all.claimed.iter().collect();
        assert_eq!(distinct.len(), all.claimed.len(), "a job was claimed twice");

        // All that is left is claimed, and nothing else.
        let ready = "SELECT id FROM minion.jobs WHERE state = 'inactive' ORDER BY id";
        let ready: Vec<i64> = client.all(ready, &[]);
        let rest =
            "SELECT id FROM minion.dequeue(1, queues => '{default,held}', max_jobs => 100000)";
        let rest: Vec<i64> = client.all(rest, &[]);
        assert_eq!(rest, ready);
        let counts = "SELECT active_jobs + finished_jobs = (SELECT count(*) FROM minion.jobs)
            FROM minion.stats()";
        assert!(client.one::<bool>(counts, &[]));
        all.claimed.extend(rest);
    }
}
