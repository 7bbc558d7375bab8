//! What a claim costs with a million jobs in front of it, against the same claim in a queue of 1,000 ready jobs.

use crate::Bench;
use crate::numbers::{grouped, median, milliseconds};
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, During, Outcome};
use postgres::Client;
use serde_json::Value;

const READY: i64 = 1_000;
/// Claims before those that count: plans are made, pages are read.
const WARM_UP: usize = 5;

struct Front {
    name: &'static str,
    load: &'static str,
}

/// Jobs in front have lower ids. Their times differ, as those of real jobs do.
const FRONTS: [Front; 6] = [
    Front {
        name: "ready",
        load: "INSERT INTO minion.jobs (task) SELECT 'bench' FROM generate_series(1, $1::bigint)",
    },
    Front {
        name: "delayed",
        load: "INSERT INTO minion.jobs (task, delayed)
               SELECT 'bench', clock_timestamp() + interval '1 day' + n * interval '1 ms'
               FROM generate_series(1, $1::bigint) AS n",
    },
    Front {
        name: "blocked",
        load: "WITH parent AS (SELECT minion.enqueue('parent', delay => '1 day') AS id)
               INSERT INTO minion.jobs (task, parents)
               SELECT 'bench', ARRAY[id] FROM parent, generate_series(1, $1::bigint)",
    },
    Front {
        name: "of another task",
        load: "INSERT INTO minion.jobs (task) SELECT 'other' FROM generate_series(1, $1::bigint)",
    },
    Front {
        name: "of another queue",
        load: "INSERT INTO minion.jobs (task, queue) SELECT 'bench', 'other' FROM generate_series(1, $1::bigint)",
    },
    Front {
        name: "finished",
        load: "INSERT INTO minion.jobs (task, state, started, finished)
               SELECT 'bench', 'finished', time, time
               FROM generate_series(1, $1::bigint) AS n, LATERAL (VALUES (now() - n * interval '1 ms')) AS v (time)",
    },
];

const READY_JOBS: &str =
    "INSERT INTO minion.jobs (task) SELECT 'bench' FROM generate_series(1, $1::bigint)";
const CLAIM: &str = "
    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
    SELECT * FROM minion.dequeue(1, tasks => '{bench}')";

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let base = bench.preloaded.create_queue("front_base")?;
    let behind = bench.preloaded.create_queue("front")?;
    let mut rows = Vec::new();
    for front in &FRONTS {
        let mut claimers = [
            Claimer::new(&base, None)?,
            Claimer::new(&behind, Some((front.load, bench.sizes.front_jobs)))?,
        ];
        // In turns, as everywhere; the medians are over all claims of all rounds.
        for round in 0..bench.sizes.rounds.number {
            for turn in 0..2 {
                claimers[(round + turn) % 2].claim(bench.sizes.front_claims)?;
            }
        }
        let [base, here] =
            claimers.map(|claimer| (median(&claimer.times), median(&claimer.buffers)));
        let show = |(time, buffers)| format!("{}, {buffers} buffers", milliseconds(time));
        // The worse of the two ratios.
        let ratio = [f64::max(here.0 / base.0, here.1 / base.1)];
        let name = format!(
            "a claim, {} jobs {} in front",
            grouped(bench.sizes.front_jobs as f64),
            front.name
        );
        rows.push(Row::ratio(name, show(here), show(base), &ratio, Bar::AtMost(1.5)));
    }
    Ok(rows.into())
}

struct Claimer {
    client: Client,
    /// Milliseconds inside the server, without the commit.
    times: Vec<f64>,
    /// Pages of tables and indexes looked at.
    buffers: Vec<f64>,
}

impl Claimer {
    /// A queue with those jobs in front and 1,000 ready ones.
    fn new(database: &Database, front: Option<(&str, i64)>) -> Outcome<Claimer> {
        let mut client = database.connect()?;
        // The commit is not measured.
        client.batch_execute("SET synchronous_commit = off").during("SET")?;
        client
            .batch_execute(
                "SELECT minion.reset('all'); ALTER SEQUENCE minion.workers_id_seq RESTART",
            )
            .during("reset")?;
        if let Some((load, jobs)) = front {
            client.execute(load, &[&jobs]).during("loading the jobs in front")?;
        }
        // As somebody does now and then: it gives each blocked job a parent to watch, once and for all.
        client.batch_execute("SELECT minion.repair()").during("repair")?;
        client.execute(READY_JOBS, &[&READY]).during("loading ready jobs")?;
        client.batch_execute("SELECT minion.register_worker()").during("register_worker")?;
        client.batch_execute("VACUUM (ANALYZE) minion.jobs").during("vacuum")?;
        let mut claimer = Claimer { client, times: Vec::new(), buffers: Vec::new() };
        claimer.claim(WARM_UP)?;
        claimer.times.clear();
        claimer.buffers.clear();
        Ok(claimer)
    }

    fn claim(&mut self, claims: usize) -> Outcome<()> {
        for _ in 0..claims {
            let explained: Value = self.client.query_one(CLAIM, &[]).during("a claim")?.get(0);
            let plan = &explained[0]["Plan"];
            if plan["Actual Rows"].as_f64() != Some(1.0) {
                return Err("a claim found no job".into());
            }
            let number = |value: &Value| value.as_f64().ok_or("EXPLAIN lacks a number");
            self.times.push(number(&explained[0]["Execution Time"])?);
            let hit = number(&plan["Shared Hit Blocks"])?;
            self.buffers.push(hit + number(&plan["Shared Read Blocks"])?);
        }
        Ok(())
    }
}
