//! The server crashes in the midst of work: nothing that was said to be done is undone, and nothing is
//! claimed twice.

use integration::Ask;
use integration::load::{Told, work};
use integration::server::Server;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[test]
fn a_crash_loses_nothing_and_nothing_is_claimed_twice() {
    let server = Server::alike();
    server.queue("queue").register();
    let mut all = Told::default();
    for of_postmaster in [false, true, false] {
        let mut held = server.connect("queue");
        held.batch_execute("SELECT minion.enqueue('held', queue => 'held')").unwrap();
        held.batch_execute("BEGIN").unwrap();
        let in_claim: i64 = held.one("SELECT id FROM minion.dequeue(1, queues => '{held}')", &[]);
        let (begun, begins) = mpsc::channel();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let mut client = server.connect("queue");
                let begun = begun.clone();
                thread::spawn(move || {
                    let mut told = Told::default();
                    begun.send(()).unwrap();
                    while work(&mut client, &mut told).is_ok() {}
                    told // only the crash ends it
                })
            })
            .collect();
        for _ in &workers {
            begins.recv().unwrap();
        }
        thread::sleep(Duration::from_millis(700));
        server.crash(if of_postmaster { server.postmaster() } else { held.backend() });
        for told in workers.into_iter().map(|worker| worker.join().unwrap()) {
            all.add(told);
        }

        let mut client = server.connect("queue");
        all.check(&mut client);
        let held = "SELECT state = 'inactive' FROM minion.jobs WHERE id = $1";
        assert!(client.one::<bool>(held, &[&in_claim]));
        all.claim_the_rest(&mut client, &["default", "held"]);
    }
}
