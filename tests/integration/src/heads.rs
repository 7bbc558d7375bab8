//! For tests of what shared memory knows of lanes.

use crate::{Ask, Database};
use postgres::Client;

const CLAIM: &str = "SELECT id FROM minion.dequeue(1)";

/// Two connections to a database, in which worker 1 is registered.
pub struct Queue {
    // Dropped after the clients.
    pub one: Client,
    pub other: Client,
    pub database: Database,
}

impl Queue {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let database = Database::new();
        let (mut one, other) = (database.connect(), database.connect());
        one.register();
        Self { one, other, database }
    }

    pub fn enqueue(&mut self) -> i64 {
        self.one.one("SELECT minion.enqueue('task')", &[])
    }
}

pub fn claim(client: &mut Client) -> Vec<i64> {
    client.all(CLAIM, &[])
}

pub fn run(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// How often something was found only because somebody verified what was known.
pub fn heals(client: &mut Client) -> i64 {
    client.one(
        "SELECT coalesce(sum(heals), 0)::bigint FROM minion.lanes() WHERE database = current_database()",
        &[],
    )
}

pub fn is_preloaded(client: &mut Client) -> bool {
    client.one("SELECT current_setting('shared_preload_libraries') = 'minion'", &[])
}

/// Prepares a transaction with a job of an empty lane.
pub fn prepare(queue: &mut Queue, enqueue: &str) {
    queue.enqueue();
    assert_eq!(claim(&mut queue.one), [1]);
    assert_eq!(claim(&mut queue.one), [0; 0]);
    let name = queue.database.name.clone();
    run(&mut queue.other, &format!("BEGIN; SET LOCAL minion.notify = off; {enqueue}"));
    run(&mut queue.other, &format!("PREPARE TRANSACTION '{name}'"));
}
