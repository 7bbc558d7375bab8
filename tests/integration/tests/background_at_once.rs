//! Many sessions create, rename, copy and drop databases at once, and whatever is there in the end has its worker.

use integration::background::{keep_busy, shown, until_served, workers};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until};
use postgres::Client;
use std::thread;

const SESSIONS: usize = 4;
const STEPS: usize = 25;

/// One database of a session's own, under one of two names.
struct Own<'a> {
    server: &'a Server,
    client: Client,
    names: [String; 2],
    now: Option<usize>,
}

impl Own<'_> {
    fn step(&mut self) {
        let [first, second] = &self.names;
        let Some(now) = self.now else {
            let create = match fastrand::bool() {
                true => format!("CREATE DATABASE {first} TEMPLATE original"),
                false => format!("CREATE DATABASE {first}"),
            };
            run(&mut self.client, &create);
            self.now = Some(0);
            return;
        };
        let (name, other) = if now == 0 { (first, second) } else { (second, first) };
        match fastrand::u8(0..8) {
            0 => {
                run(&mut self.client, &format!("DROP DATABASE {name}"));
                self.now = None;
            }
            1 => {
                run(&mut self.client, &format!("DROP DATABASE {name} WITH (FORCE)"));
                self.now = None;
            }
            2 => {
                run(&mut self.client, &format!("ALTER DATABASE {name} RENAME TO {other}"));
                self.now = Some(1 - now);
            }
            3 => {
                let setting = ["SET minion.background = off", "RESET ALL"][fastrand::usize(0..2)];
                run(&mut self.client, &format!("ALTER DATABASE {name} {setting}"));
            }
            4 => self.within("DROP EXTENSION IF EXISTS minion CASCADE"),
            5 => self.within(
                "BEGIN; CREATE EXTENSION IF NOT EXISTS minion; DROP EXTENSION minion; ROLLBACK",
            ),
            _ => {
                self.within("CREATE EXTENSION IF NOT EXISTS minion");
                let mut client = self.server.connect(&self.names[now]);
                keep_busy(&mut client);
                client.close().unwrap();
            }
        }
    }

    fn within(&self, sql: &str) {
        let now = self.now.expect("a database");
        let mut client = self.server.connect(&self.names[now]);
        run(&mut client, sql);
        client.close().unwrap();
    }
}

#[test]
fn whatever_is_there_in_the_end_has_a_worker_and_nothing_else_has() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let mut original = server.queue("original");
    keep_busy(&mut original);
    original.close().unwrap();
    thread::scope(|scope| {
        for number in 0..SESSIONS {
            let server = &server;
            scope.spawn(move || {
                let mut own = Own {
                    server,
                    client: server.connect("postgres"),
                    names: ["a", "b"].map(|name| format!("{name}{number}")),
                    now: None,
                };
                (0..STEPS).for_each(|_| own.step());
                if let Some(now) = own.now {
                    let name = own.names[now].clone();
                    run(&mut own.client, &format!("ALTER DATABASE {name} RESET ALL"));
                }
            });
        }
    });
    let mut client = server.connect("original");
    let names: Vec<String> = client
        .all("SELECT datname::text FROM pg_database WHERE datname ~ '^[ab][0-9]|^original$'", &[]);
    eprintln!("{names:?}");
    for name in &names {
        let mut one = server.connect(name);
        let has = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'minion')";
        match one.one(has, &[]) {
            true => until_served(&mut one),
            false => until("it is not shown", || shown(&mut client, name).is_none()),
        }
    }
    let known = "SELECT count(*) FROM minion.background_workers
        WHERE database IS NOT NULL AND database <> ALL ($1)";
    until("no others are shown", || client.one::<i64>(known, &[&names]) == 0);
    until("all is quiet in the end", || workers(&mut client) == 0);
    // A database may go while its worker connects.
    let mut complaints = server.complaints();
    complaints
        .retain(|line| !(line.contains("FATAL:  database ") && line.contains(" does not exist")));
    assert_eq!(complaints, [""; 0]);
    assert_eq!(server.logged("PANIC:"), 0);
}
