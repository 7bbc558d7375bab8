//! dequeue and finish_job, one job each, against half of a single-row UPDATE by key, by pgbench.

use crate::Bench;
use crate::enqueue::clients;
use crate::numbers::{median, per_second, ratios, take_turns};
use crate::pgbench::Run;
use crate::queue::Filler;
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, Outcome, Server};

const CLAIM: &str = include_str!("../scripts/claim.sql");
const UPDATE: &str = include_str!("../scripts/update.sql");
const PLAIN: &str = "
    CREATE TABLE plain (id int PRIMARY KEY, n int NOT NULL);
    INSERT INTO plain SELECT n, 0 FROM generate_series(1, 100000) AS n;
    ANALYZE plain";
/// More than can be claimed in a second: a run must not meet an empty queue.
const AHEAD_PER_SECOND: i64 = 15_000;

struct Variant {
    database: Database,
    filler: Filler,
    claims: bool,
}

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let mut variants = variants(&bench.preloaded)?;
    let with_preload = variants.len();
    variants.extend(crate::claim::variants(&bench.plain)?);
    let seconds = bench.sizes.pgbench_seconds;
    let ahead = AHEAD_PER_SECOND * seconds as i64;
    let mut rows = Vec::new();
    for number in [1, 4, 16] {
        let both = bench.sizes.both && number == 4;
        let count = if both { variants.len() } else { with_preload };
        let mut first = 0;
        for variant in variants[..count].iter_mut().filter(|variant| variant.claims) {
            variant.filler.reset()?;
            variant.filler.fill(ahead)?;
            variant.filler.vacuum()?;
            // The same in all databases.
            first = variant.filler.register(number)?;
        }
        let rates = take_turns(bench.sizes.rounds, count, |i, round| {
            let variant = &mut variants[i];
            let run = Run {
                database: &variant.database,
                script: if variant.claims { CLAIM } else { UPDATE },
                clients: number,
                seconds,
                seed: bench.seed + round as u64,
                define: &[("first", first)],
                options: "",
            };
            let result = run.run()?;
            if variant.claims {
                variant.filler.fill(result.transactions)?;
                Ok(result.rate)
            } else {
                Ok(result.rate / 2.0)
            }
        })?;
        for base in (0..count).step_by(2) {
            let (bar, server) = match base {
                0 => (Bar::AtLeast(0.75), ""),
                _ => (Bar::None, ", without preload"),
            };
            let name = format!("dequeue + finish_job, {}{server}", clients(number));
            let (here, base) = (&rates[base + 1], &rates[base]);
            let (a, b) =
                (per_second(median(here)), format!("UPDATE / 2 {}", per_second(median(base))));
            rows.push(Row::ratio(name, a, b, &ratios(here, base), bar));
        }
    }
    Ok(rows.into())
}

/// The base, then the claims.
fn variants(server: &Server) -> Outcome<Vec<Variant>> {
    let database = server.create_queue("claim")?;
    database.run(PLAIN)?;
    let variant = |claims| -> Outcome<Variant> {
        let filler = Filler::connect(&database)?;
        Ok(Variant { database: database.clone(), filler, claims })
    };
    Ok(vec![variant(false)?, variant(true)?])
}
