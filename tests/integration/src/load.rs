//! Clients that enqueue and work, and remember what they were told, whatever happens to the server.

use crate::server::Server;
use crate::{Ask, until};
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What clients were told before they lost their connections.
#[derive(Default)]
pub struct Told {
    pub enqueued: Vec<i64>,
    pub claimed: Vec<i64>,
    pub finished: Vec<i64>,
    /// Other errors than of a lost connection.
    pub errors: Vec<String>,
    pub lost_connections: usize,
}

impl Told {
    pub fn add(&mut self, other: Self) {
        self.enqueued.extend(other.enqueued);
        self.claimed.extend(other.claimed);
        self.finished.extend(other.finished);
        self.errors.extend(other.errors);
        self.lost_connections += other.lost_connections;
    }

    /// Everything is as they were told.
    pub fn check(&self, client: &mut Client) {
        let count =
            "SELECT count(*) FROM minion.jobs WHERE id = ANY ($1) AND state::text = ANY ($2)";
        let mut check = |ids: &Vec<i64>, states: &[&str]| {
            let found: i64 = client.one(count, &[ids, &states]);
            assert_eq!(found, ids.len() as i64, "{states:?}");
        };
        assert!(!self.finished.is_empty());
        check(&self.enqueued, &["inactive", "active", "finished"]);
        check(&self.claimed, &["active", "finished"]);
        check(&self.finished, &["finished"]);
        let distinct: HashSet<_> = self.claimed.iter().collect();
        assert_eq!(distinct.len(), self.claimed.len(), "a job was claimed twice");
        assert_eq!(self.errors, [""; 0]);
    }

    /// All that is left is claimed, and nothing else.
    pub fn claim_the_rest(&mut self, client: &mut Client, queues: &[&str]) {
        let ready = "SELECT id FROM minion.jobs WHERE state = 'inactive' ORDER BY id";
        let ready: Vec<i64> = client.all(ready, &[]);
        let rest = "SELECT id FROM minion.dequeue(1, queues => $1, max_jobs => 1000000)";
        let rest: Vec<i64> = client.all(rest, &[&queues]);
        assert_eq!(rest, ready);
        let counts = "SELECT active_jobs + finished_jobs = (SELECT count(*) FROM minion.jobs)
            FROM minion.stats()";
        assert!(client.one::<bool>(counts, &[]));
        self.claimed.extend(rest);
    }
}

/// What worker 1 does again and again.
pub fn work(client: &mut Client, told: &mut Told) -> Result<(), postgres::Error> {
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
    Ok(())
}

/// Clients of a database in which worker 1 is registered, that connect anew whenever they have to.
pub struct Load {
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Told>>,
}

impl Load {
    pub fn new(server: &Server, database: &str, clients: usize) -> Self {
        let (stop, turns) = (Arc::default(), Arc::default());
        let clients = (0..clients)
            .map(|_| {
                let config = server.config(database);
                let (stop, turns) = (Arc::clone(&stop), Arc::clone(&turns));
                thread::spawn(move || client(&config, &stop, &turns))
            })
            .collect();
        Self { stop, turns, clients }
    }

    /// Waits until the clients have worked a while from now on.
    pub fn go_on(&self) {
        let before = self.turns.load(SeqCst);
        until("the clients work", || self.turns.load(SeqCst) >= before + 20);
    }

    pub fn end(self) -> Told {
        self.stop.store(true, SeqCst);
        let mut all = Told::default();
        for client in self.clients {
            all.add(client.join().unwrap());
        }
        all
    }
}

fn client(config: &Config, stop: &AtomicBool, turns: &AtomicUsize) -> Told {
    let mut told = Told::default();
    while !stop.load(SeqCst) {
        let Ok(mut client) = config.connect(NoTls) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        let mut ended = Ok(());
        while ended.is_ok() && !stop.load(SeqCst) {
            ended = work(&mut client, &mut told);
            turns.fetch_add(1, SeqCst);
        }
        match ended {
            Err(error) if !is_of_a_lost_connection(&error) => {
                told.errors.push(format!("{error:?}"))
            }
            Err(_) => told.lost_connections += 1,
            Ok(()) => {}
        }
    }
    told
}

fn is_of_a_lost_connection(error: &postgres::Error) -> bool {
    // What the server says before it closes the connection.
    const CLOSING: [SqlState; 2] = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN];
    error.code().is_none_or(|code| CLOSING.contains(code))
}
