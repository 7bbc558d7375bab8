//! What tests of jobs under limits share.

use crate::heads::run;
use crate::{Ask, Database};
use postgres::Client;

/// Active jobs without a place, and places of jobs that are not active.
pub const UNLIKE: &str = "
    SELECT count(*)
    FROM (SELECT id FROM minion.jobs WHERE state = 'active') AS job
    FULL JOIN (SELECT job FROM minion.active_slots WHERE job IS NOT NULL) AS slot ON slot.job = job.id
    WHERE job.id IS NULL OR slot.job IS NULL";

/// Worker 1, what `setup` does, and so many jobs of the task `task`.
pub fn with_jobs(setup: &str, count: i32) -> (Database, Client) {
    let database = Database::new();
    let mut client = database.connect();
    client.register();
    run(&mut client, setup);
    enqueue(&mut client, count);
    (database, client)
}

pub fn enqueue(client: &mut Client, count: i32) {
    let enqueue = "SELECT count(minion.enqueue('task')) FROM generate_series(1, $1)";
    client.one::<i64>(enqueue, &[&count]);
}

/// A job for worker 1.
pub fn dequeue(client: &mut Client) -> Vec<i64> {
    client.all("SELECT id FROM minion.dequeue(1)", &[])
}
