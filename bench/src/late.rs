//! How late jobs come: from the moment at which a job is due, or its enqueuing is committed, to its arrival at a worker
//! that waits. Some workers wait on the same queues, some on others, and two on a queue without jobs: nobody may have to
//! rely on somebody else's being awake.

use crate::Bench;
use crate::numbers::{Random, milliseconds, percentile};
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, During, Outcome, Server};
use postgres::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

const QUEUES: [&str; 3] = ["a", "b", "c"];
/// What each of the waiters waits for.
const WAITERS: [&[&str]; 6] = [&["a"], &["b", "c"], &["a", "b"], &["c"], &["empty"], &["empty"]];
const DELAYS_MS: (u64, u64) = (200, 4_000);
const RETRY_DELAYS_MS: (u64, u64) = (200, 2_000);
/// Between one commit and the next.
const PAUSE_MS: (u64, u64) = (5, 50);
/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);
const ON_TIME_MS: f64 = 50.0;

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let mut rows = Vec::new();
    for server in [&bench.preloaded, &bench.plain] {
        let mut crew = Crew::start(server)?;
        let mut random = Random(bench.seed);
        for (what, times) in [
            ("a delayed job", crew.delayed(bench.sizes.late_jobs, &mut random)?),
            ("an automatic retry", crew.retried(bench.sizes.late_jobs, &mut random)?),
            ("a job that is committed", crew.committed(bench.sizes.late_jobs, &mut random)?),
        ] {
            rows.push(row(what, server, server.label == bench.preloaded.label, &times));
        }
        crew.end()?;
    }
    Ok(rows.into())
}

fn row(what: &str, server: &Server, is_held_to_it: bool, times: &[f64]) -> Row {
    let (p50, p99) = (percentile(times, 0.5), percentile(times, 0.99));
    let label = if is_held_to_it { String::new() } else { format!(", {}", server.label) };
    let bar = if is_held_to_it { Bar::AtMost(ON_TIME_MS) } else { Bar::None };
    let limit = if is_held_to_it { format!("≤ {ON_TIME_MS:.0} ms") } else { String::new() };
    Row::value(
        format!("{} waiters on 4 queues, {what} is late: p50, p99{label}", WAITERS.len()),
        format!("{}, {}", milliseconds(p50), milliseconds(p99)),
        p99,
        bar,
        &limit,
    )
}

/// A job that has come to a waiter.
struct Arrival {
    id: i64,
    /// Seconds since 1970, as all times here: the server's clock is this machine's.
    at: f64,
}

struct Crew {
    client: Client,
    arrivals: Receiver<Arrival>,
    waiters: Vec<JoinHandle<Outcome<()>>>,
    ending: Arc<AtomicBool>,
}

fn now() -> Outcome<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64())
}

impl Crew {
    fn start(server: &Server) -> Outcome<Crew> {
        let database = server.create_queue("late")?;
        let (arrived, arrivals) = mpsc::channel();
        let ending = Arc::new(AtomicBool::new(false));
        let waiters = WAITERS
            .into_iter()
            .map(|queues| waiter(&database, queues, arrived.clone(), Arc::clone(&ending)))
            .collect::<Outcome<_>>()?;
        Ok(Crew { client: database.connect()?, arrivals, waiters, ending })
    }

    fn delayed(&mut self, jobs: usize, random: &mut Random) -> Outcome<Vec<f64>> {
        let enqueue =
            "SELECT minion.enqueue('work', queue => $1, delay => make_interval(secs => $2))";
        for job in 0..jobs {
            let delay = random.between(DELAYS_MS.0, DELAYS_MS.1) as f64 / 1e3;
            let queue = QUEUES[job % QUEUES.len()];
            self.client.execute(enqueue, &[&queue, &delay]).during("enqueue")?;
        }
        self.lateness(jobs)
    }

    /// The first attempt fails with a delay, and the second arrives.
    fn retried(&mut self, jobs: usize, random: &mut Random) -> Outcome<Vec<f64>> {
        let enqueue = "SELECT minion.enqueue('fail', jsonb_build_array($2::float8), queue => $1, attempts => 2)";
        for job in 0..jobs {
            let delay = random.between(RETRY_DELAYS_MS.0, RETRY_DELAYS_MS.1) as f64 / 1e3;
            let queue = QUEUES[job % QUEUES.len()];
            self.client.execute(enqueue, &[&queue, &delay]).during("enqueue")?;
        }
        self.lateness(jobs)
    }

    /// From the answer to the COMMIT on.
    fn committed(&mut self, jobs: usize, random: &mut Random) -> Outcome<Vec<f64>> {
        let mut times = Vec::new();
        for job in 0..jobs {
            thread::sleep(Duration::from_millis(random.between(PAUSE_MS.0, PAUSE_MS.1)));
            let mut transaction = self.client.transaction().during("BEGIN")?;
            let enqueue = "SELECT minion.enqueue('work', queue => $1)";
            transaction.execute(enqueue, &[&QUEUES[job % QUEUES.len()]]).during("enqueue")?;
            transaction.commit().during("COMMIT")?;
            let committed = now()?;
            times.push((self.arrival()?.at - committed).max(0.0) * 1e3);
        }
        Ok(times)
    }

    fn arrival(&self) -> Outcome<Arrival> {
        Ok(self.arrivals.recv_timeout(PATIENCE).map_err(|_| "a job came to no waiter")?)
    }

    /// Milliseconds of so many arrivals, each after its job was due.
    fn lateness(&mut self, jobs: usize) -> Outcome<Vec<f64>> {
        let due = self
            .client
            .prepare("SELECT extract(epoch FROM delayed)::float8 FROM minion.jobs WHERE id = $1")
            .during("due")?;
        let mut times = Vec::new();
        for _ in 0..jobs {
            let arrival = self.arrival()?;
            let due: f64 = self.client.query_one(&due, &[&arrival.id]).during("due")?.get(0);
            times.push((arrival.at - due) * 1e3);
        }
        Ok(times)
    }

    fn end(mut self) -> Outcome<()> {
        self.ending.store(true, Ordering::SeqCst);
        let end = "
            SELECT count(pg_terminate_backend(pid))
            FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend'
                AND pid <> pg_backend_pid()";
        self.client.execute(end, &[]).during("ending the waiters")?;
        for waiter in self.waiters {
            waiter.join().map_err(|_| "a waiter panicked")??;
        }
        Ok(())
    }
}

/// Says which jobs have come, until its connection is ended.
fn waiter(
    database: &Database,
    queues: &'static [&'static str],
    arrived: Sender<Arrival>,
    ending: Arc<AtomicBool>,
) -> Outcome<JoinHandle<Outcome<()>>> {
    let mut client = database.connect()?;
    let worker: i64 =
        client.query_one("SELECT minion.register_worker()", &[]).during("register_worker")?.get(0);
    Ok(thread::spawn(move || {
        let ended = wait(&mut client, worker, queues, &arrived);
        if ending.load(Ordering::SeqCst) { Ok(()) } else { ended }
    }))
}

fn wait(
    client: &mut Client,
    worker: i64,
    queues: &[&str],
    arrived: &Sender<Arrival>,
) -> Outcome<()> {
    // So long that nobody finds a job only because the call begins anew.
    let dequeue = client
        .prepare(
            "SELECT id, retries, args FROM minion.dequeue($1, wait => '5 minutes', queues => $2)",
        )
        .during("dequeue")?;
    let finish = client.prepare("SELECT minion.finish_job($1, $2)").during("finish_job")?;
    let fail = client
        .prepare("SELECT minion.fail_job($1, $2, retry_delay => make_interval(secs => $3))")
        .during("fail_job")?;
    loop {
        let Some(row) = client.query_opt(&dequeue, &[&worker, &queues]).during("dequeue")? else {
            continue;
        };
        let at = now()?;
        let (id, retries): (i64, i32) = (row.get(0), row.get(1));
        let args: serde_json::Value = row.get(2);
        match args[0].as_f64() {
            Some(delay) if retries == 0 => {
                client.execute(&fail, &[&id, &retries, &delay]).during("fail_job")?;
            }
            _ => {
                client.execute(&finish, &[&id, &retries]).during("finish_job")?;
                arrived.send(Arrival { id, at })?;
            }
        }
    }
}
