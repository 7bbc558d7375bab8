//! The extension through the `postgres` crate: what a worker in Rust does.

use crate::server::{Database, During, Outcome};
use postgres::{Client, Statement};
use serde_json::{Value, json};

/// Jobs of one enqueue_many.
pub const MANY: usize = 1_000;
/// Jobs of one dequeue in batches.
pub const BATCH: i32 = 100;

pub struct Queue {
    pub client: Client,
    pub worker: i64,
    many: Value,
    enqueue: Statement,
    enqueue_many: Statement,
    claim: Statement,
    claim_batch: Statement,
    wait: Statement,
    finish: Statement,
    finish_batch: Statement,
}

impl Queue {
    pub fn connect(database: &Database) -> Outcome<Queue> {
        let mut client = database.connect()?;
        let worker = client
            .query_one("SELECT minion.register_worker()", &[])
            .during("register_worker")?
            .get(0);
        let mut prepare = |sql| client.prepare(sql).during(sql);
        Ok(Queue {
            worker,
            many: Value::Array(vec![json!({"task": "bench"}); MANY]),
            enqueue: prepare("SELECT minion.enqueue('bench')")?,
            enqueue_many: prepare("SELECT count(*) FROM minion.enqueue_many($1)")?,
            claim: prepare("SELECT id, retries FROM minion.dequeue($1)")?,
            claim_batch: prepare("SELECT id, retries FROM minion.dequeue($1, max_jobs => $2)")?,
            wait: prepare(
                "SELECT id, retries FROM minion.dequeue($1, wait => make_interval(secs => $2))",
            )?,
            finish: prepare("SELECT minion.finish_job($1, $2)")?,
            finish_batch: prepare("SELECT count(*) FROM minion.finish_jobs($1, $2)")?,
            client,
        })
    }

    pub fn enqueue(&mut self) -> Outcome<i64> {
        self.client.query_one(&self.enqueue, &[]).during("enqueue")?;
        Ok(1)
    }

    pub fn enqueue_many(&mut self) -> Outcome<i64> {
        let row =
            self.client.query_one(&self.enqueue_many, &[&self.many]).during("enqueue_many")?;
        Ok(row.get(0))
    }

    pub fn claim(&mut self) -> Outcome<Option<(i64, i32)>> {
        let row = self.client.query_opt(&self.claim, &[&self.worker]).during("dequeue")?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }

    /// Claims a job and finishes it. 0 if there is none.
    pub fn work(&mut self) -> Outcome<i64> {
        let Some((id, retries)) = self.claim()? else { return Ok(0) };
        self.finish(id, retries)?;
        Ok(1)
    }

    /// Claims jobs and finishes them. 0 if there are none.
    pub fn work_in_batches(&mut self) -> Outcome<i64> {
        let rows =
            self.client.query(&self.claim_batch, &[&self.worker, &BATCH]).during("dequeue")?;
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let retries: Vec<i32> = rows.iter().map(|row| row.get(1)).collect();
        let row =
            self.client.query_one(&self.finish_batch, &[&ids, &retries]).during("finish_jobs")?;
        let finished: i64 = row.get(0);
        if finished == ids.len() as i64 {
            Ok(finished)
        } else {
            Err(format!("finish_jobs finished {finished} of {} jobs", ids.len()).into())
        }
    }

    /// Waits for a job and claims it.
    pub fn wait(&mut self, seconds: f64) -> Outcome<Option<(i64, i32)>> {
        let row = self
            .client
            .query_opt(&self.wait, &[&self.worker, &seconds])
            .during("a waiting dequeue")?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }

    pub fn finish(&mut self, id: i64, retries: i32) -> Outcome<()> {
        let row = self.client.query_one(&self.finish, &[&id, &retries]).during("finish_job")?;
        if row.get(0) { Ok(()) } else { Err(format!("finish_job({id}, {retries}) said no").into()) }
    }
}

/// What happens to a queue before it is measured.
pub struct Filler {
    client: Client,
}

impl Filler {
    pub fn connect(database: &Database) -> Outcome<Filler> {
        Ok(Filler { client: database.connect()? })
    }

    /// Ready jobs, by plain SQL.
    pub fn fill(&mut self, jobs: i64) -> Outcome<()> {
        let fill =
            "INSERT INTO minion.jobs (task) SELECT 'bench' FROM generate_series(1, $1::bigint)";
        self.client.execute(fill, &[&jobs]).during("filling the queue").map(drop)
    }

    /// Nothing left, no worker either: the next one is number 1.
    pub fn reset(&mut self) -> Outcome<()> {
        let reset = "SELECT minion.reset('all'); ALTER SEQUENCE minion.workers_id_seq RESTART";
        self.client.batch_execute(reset).during("reset")?;
        self.vacuum()
    }

    /// Workers whose ids follow each other. The first of them.
    pub fn register(&mut self, workers: usize) -> Outcome<i64> {
        let register = "SELECT minion.register_worker() FROM generate_series(1, $1::bigint)";
        let rows = self.client.query(register, &[&(workers as i64)]).during("register_worker")?;
        rows.first().map(|row| row.get(0)).ok_or_else(|| "no worker was registered".into())
    }

    /// What autovacuum would do in a while.
    pub fn vacuum(&mut self) -> Outcome<()> {
        self.client.batch_execute("VACUUM (ANALYZE) minion.jobs").during("vacuum")
    }
}
