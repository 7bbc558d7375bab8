//! Workers that are attached to a session, where the server stops or has no room for more.

use integration::heads::{is_preloaded, run};
use integration::server::Server;
use integration::{Ask, until};
use postgres::Client;
use postgres::error::SqlState;

const ATTACH: &str = "SELECT minion.register_worker(attached => true)";
const AGAIN: &str = "SELECT minion.register_worker($1, attached => true)";
const WORKERS: &str = "SELECT id FROM minion.workers ORDER BY id";

fn removed(client: &mut Client) -> i64 {
    client.one("SELECT workers_removed FROM minion.repair()", &[])
}

/// Attaches workers until there is no room for another one. How many.
fn fill(client: &mut Client) -> i64 {
    run(client, "CREATE TEMPORARY TABLE attached (id bigint)");
    // What is undone of these is given back.
    let mut size = 50;
    let mut count = 0;
    while size > 0 {
        let insert = format!(
            "INSERT INTO attached SELECT minion.register_worker(attached => true) FROM generate_series(1, {size})"
        );
        match client.execute(&insert, &[]) {
            Ok(more) => count += more as i64,
            Err(error) => {
                assert_eq!(
                    error.code(),
                    Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED),
                    "{error:?}"
                );
                size /= 2;
            }
        }
        assert!(count < 1_000_000, "there is no end to it");
    }
    count
}

#[test]
fn workers_of_an_earlier_start_are_gone_and_a_full_table_has_room_again() {
    let server = Server::alike();
    let mut client = server.queue("queue");
    if !is_preloaded(&mut client) {
        return;
    }

    for of in ["a backend", "the postmaster", "nobody"] {
        let mut held = server.connect("queue");
        let [gone, back]: [i64; 2] = [held.one(ATTACH, &[]), held.one(ATTACH, &[])];
        let unattached = held.register();
        run(&mut held, "SELECT minion.enqueue('task'), minion.enqueue('task')");
        let claim = "SELECT id FROM minion.dequeue($1)";
        let lost: i64 = held.one(claim, &[&gone]);
        let kept: i64 = held.one(claim, &[&back]);
        assert_eq!(removed(&mut held), 0);
        match of {
            "a backend" => server.crash(held.backend()),
            "the postmaster" => server.crash(server.postmaster()),
            _ => server.restart(),
        }
        let mut client = server.connect("queue");
        // One of them is there again before anybody looks.
        let mut again = server.connect("queue");
        assert_eq!(again.one::<i64>(AGAIN, &[&back]), back);
        let row = client
            .query_one("SELECT workers_removed, jobs_abandoned FROM minion.repair()", &[])
            .unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1), "{of}");
        assert_eq!(client.all::<i64>(WORKERS, &[]), [back, unattached], "{of}");
        let state =
            "SELECT array_agg(state::text ORDER BY id) FROM minion.jobs WHERE id IN ($1, $2)";
        assert_eq!(client.one::<Vec<String>>(state, &[&lost, &kept]), ["failed", "active"]);
        run(&mut client, "DELETE FROM minion.workers; DELETE FROM minion.jobs");
    }

    let mut client = server.connect("queue");
    let mut many = server.connect("queue");
    let room = fill(&mut many);
    assert!(room >= 1_024, "{room}");
    // Others may still have their own, and register as before.
    client.register();
    let error = client.query_one(ATTACH, &[]).unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED));
    let first = "SELECT min(id) FROM attached";
    let first: i64 = many.one(first, &[]);
    assert_eq!(many.one::<i64>(AGAIN, &[&first]), first);
    assert_eq!(client.one::<i64>(AGAIN, &[&first]), first);
    // Of those that are unregistered there is room.
    run(&mut client, &format!("SELECT minion.unregister_worker({first})"));
    let new: i64 = client.one(ATTACH, &[]);
    assert!(client.query_one(ATTACH, &[]).is_err());
    // And of those that have ended, whether they are removed or not.
    let backend = many.backend();
    drop(many);
    until("the session ends", || {
        client.one("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", &[&backend])
    });
    let newer: i64 = client.one(ATTACH, &[]);
    assert_eq!(removed(&mut client), room - 1);
    let is_there = "SELECT count(*) FROM minion.workers WHERE id IN ($1, $2)";
    assert_eq!(client.one::<i64>(is_there, &[&new, &newer]), 2);
    // Of a table that was dropped, too, though the session is there.
    let mut many = server.connect("queue");
    assert_eq!(fill(&mut many), room - 2);
    run(&mut client, "DROP EXTENSION minion CASCADE; CREATE EXTENSION minion");
    client.one::<i64>(ATTACH, &[]);
    drop(many);
}
