//! enqueue against an INSERT into a plain table with one index, by pgbench.

use crate::Bench;
use crate::numbers::{median, per_second, ratios, take_turns};
use crate::pgbench::Run;
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, During, Outcome, Server};

const ENQUEUE: &str = include_str!("../scripts/enqueue.sql");
const INSERT: &str = include_str!("../scripts/insert.sql");
const PLAIN: &str = "
    CREATE TABLE plain (
        id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        task text NOT NULL,
        args jsonb NOT NULL DEFAULT '[]'
    )";

struct Variant<'a> {
    database: &'a Database,
    script: &'static str,
    options: &'static str,
}

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let preloaded = database(&bench.preloaded)?;
    let plain = database(&bench.plain)?;
    let can_be_silent = has_notify(&preloaded)?;
    let variant = |database, script, options| Variant { database, script, options };
    let mut variants = vec![variant(&preloaded, INSERT, ""), variant(&preloaded, ENQUEUE, "")];
    let silent = can_be_silent.then(|| {
        variants.push(variant(&preloaded, ENQUEUE, "-c minion.notify=off"));
        variants.len() - 1
    });
    let with_preload = variants.len();
    variants.extend([variant(&plain, INSERT, ""), variant(&plain, ENQUEUE, "")]);

    let mut rows = Vec::new();
    for clients in [1, 4, 16] {
        for database in [&preloaded, &plain] {
            database.run("TRUNCATE plain")?;
            database.run("SELECT minion.reset('all')")?;
        }
        let both = bench.sizes.both && clients == 4;
        let count = if both { variants.len() } else { with_preload };
        let rates = take_turns(bench.sizes.rounds, count, |i, round| {
            let run = Run {
                database: variants[i].database,
                script: variants[i].script,
                clients,
                seconds: bench.sizes.pgbench_seconds,
                seed: bench.seed + round as u64,
                define: &[],
                options: variants[i].options,
            };
            Ok(run.run()?.rate)
        })?;
        let mut row = |what: &str, here: usize, base: usize, bar| {
            let (here, base) = (&rates[here], &rates[base]);
            let name = format!("enqueue, {}{what}", crate::enqueue::clients(clients));
            let (a, b) = (per_second(median(here)), format!("INSERT {}", per_second(median(base))));
            rows.push(Row::ratio(name, a, b, &ratios(here, base), bar));
        };
        row(", notify on", 1, 0, Bar::AtLeast(0.80));
        if let Some(silent) = silent {
            row(", notify off", silent, 0, Bar::AtLeast(0.80));
        }
        if both {
            row(", notify on, without preload", with_preload + 1, with_preload, Bar::None);
        }
    }
    if silent.is_none() {
        rows.push(Row::not_measured("enqueue, notify off", "no setting minion.notify"));
    }
    Ok(rows.into())
}

pub fn clients(number: usize) -> String {
    format!("{number} client{}", if number == 1 { "" } else { "s" })
}

fn database(server: &Server) -> Outcome<Database> {
    let database = server.create_queue("enqueue")?;
    database.run(PLAIN)?;
    Ok(database)
}

/// A setting that does not exist could be set all the same before the library is loaded.
fn has_notify(database: &Database) -> Outcome<bool> {
    let mut client = database.connect()?;
    client.execute("SELECT minion.backoff(1)", &[]).during("backoff")?;
    let exists = "SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'minion.notify')";
    Ok(client.query_one(exists, &[]).during("minion.notify")?.get(0))
}
