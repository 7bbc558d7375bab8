//! stats() and pages of list_jobs() over millions of jobs.

use crate::Bench;
use crate::numbers::{grouped, median, milliseconds};
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, During, Outcome};
use std::thread;
use std::time::Instant;

/// Seven in ten are finished, two in a hundred have failed, and one in a hundred is delayed.
const LOAD: &str = "
    INSERT INTO minion.jobs (queue, task, priority, state, created, delayed, started, finished, args)
    SELECT 'queue' || n % 3, 'task' || n % 5, n % 4, state, time,
        CASE WHEN n % 100 = 99 THEN clock_timestamp() + interval '1 day' + n * interval '1 ms' ELSE time END,
        CASE WHEN state IN ('finished', 'failed') THEN time END,
        CASE WHEN state IN ('finished', 'failed') THEN time + interval '1 s' END,
        jsonb_build_array(n)
    FROM generate_series($1::bigint, $2::bigint) AS n,
        LATERAL (VALUES (
            now() - interval '3 hours' + n * interval '2 ms',
            (CASE WHEN n % 100 < 70 THEN 'finished' WHEN n % 100 < 72 THEN 'failed'
                ELSE 'inactive' END)::minion.job_state
        )) AS v (time, state)";
const CHUNK: i64 = 50_000;

const STATS: &str = "SELECT * FROM minion.stats()";
const PAGES: [(&str, &str); 4] = [
    ("the first page", "SELECT * FROM minion.list_jobs()"),
    (
        "before the middle id",
        "SELECT * FROM minion.list_jobs(before => (SELECT max(id) / 2 FROM minion.jobs))",
    ),
    ("failed ones", "SELECT * FROM minion.list_jobs(states => '{failed}')"),
    ("of one task", "SELECT * FROM minion.list_jobs(tasks => '{task1}')"),
];

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let rows = bench.sizes.big_rows;
    let database = bench.preloaded.create_queue("big")?;
    load(&database, rows)?;
    let size = grouped(rows as f64);
    let time = calls(&database, STATS)?;
    let mut table = vec![Row::value(
        format!("stats(), {size} jobs"),
        milliseconds(time),
        time,
        Bar::AtMost(2.0),
        "≤ 2 ms",
    )];
    for (name, sql) in PAGES {
        let time = calls(&database, sql)?;
        let what = format!("list_jobs(), {size} jobs, {name}");
        table.push(Row::value(what, milliseconds(time), time, Bar::AtMost(10.0), "≤ 10 ms"));
    }
    Ok(table.into())
}

fn load(database: &Database, rows: i64) -> Outcome<()> {
    // What only reads does not care, and gigabytes of WAL would slow down what is measured after it.
    database.run("ALTER TABLE minion.jobs SET UNLOGGED")?;
    let half = rows / 2;
    let loaders = [(1, half), (half + 1, rows)].map(|(from, to)| {
        let database = database.clone();
        thread::spawn(move || -> Outcome<()> {
            let mut client = database.connect()?;
            let mut next = from;
            while next <= to {
                let last = to.min(next + CHUNK - 1);
                client.execute(LOAD, &[&next, &last]).during("loading jobs")?;
                next = last + 1;
            }
            Ok(())
        })
    });
    for loader in loaders {
        loader.join().map_err(|_| "a loader panicked")??;
    }
    database.run("VACUUM (ANALYZE) minion.jobs")
}

/// The median, in milliseconds, of 21 calls, or of those that fit into a second.
fn calls(database: &Database, sql: &str) -> Outcome<f64> {
    let mut client = database.connect()?;
    let statement = client.prepare(sql).during(sql)?;
    client.query(&statement, &[]).during(sql)?;
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.len() < 21 && (times.is_empty() || began.elapsed().as_secs_f64() < 1.0) {
        let call = Instant::now();
        client.query(&statement, &[]).during(sql)?;
        times.push(call.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&times))
}
