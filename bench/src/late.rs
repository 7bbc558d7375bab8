//! How late jobs come: from the moment at which a job is due, or its enqueuing is committed, to its arrival at a worker
//! that waits. Some workers wait on the same queues, some on others, and ten on queues without jobs: nobody may have to
//! rely on somebody else's being awake. And how late the jobs of schedules are, which the background worker enqueues.

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
const WAITERS: [&[&str]; 4] = [&["a"], &["b", "c"], &["a", "b"], &["c"]];
/// Those beside them, whose queues stay empty.
const OTHERS: [&[&str]; 10] = [&["empty"]; 10];
const DELAYS_MS: (u64, u64) = (200, 4_000);
const RETRY_DELAYS_MS: (u64, u64) = (200, 2_000);
/// Between one commit and the next.
const PAUSE_MS: (u64, u64) = (5, 50);
/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);
const ON_TIME_MS: f64 = 50.0;
/// When schedules are due, counted from the moment when the last of them is told so. Every other one is due right after
/// the one before it, while that is being seen to.
const SCHEDULES_MS: (u64, u64) = (200, 3_000);
const RIGHT_AFTER_MS: (u64, u64) = (1, 8);
const DISPATCHED_MS: f64 = 100.0;

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let mut rows = Vec::new();
    for server in [&bench.preloaded, &bench.plain] {
        let is_held_to_it = server.label == bench.preloaded.label;
        let mut crew = Crew::start(server)?;
        let mut random = Random(bench.seed);
        let jobs = bench.sizes.late_jobs;
        let delayed = crew.delayed(jobs, &mut random)?;
        let retried = crew.retried(jobs, &mut random)?;
        let committed = crew.committed(jobs, &mut random)?;
        // Of delayed jobs all are to be on time.
        rows.push(row("a delayed job", server, is_held_to_it, &delayed, 1.0));
        rows.push(row("an automatic retry", server, is_held_to_it, &retried, 0.99));
        rows.push(row("a job that is committed", server, is_held_to_it, &committed, 0.99));
        if is_held_to_it {
            rows.extend(scheduled(&mut crew, jobs.div_ceil(3), &mut random)?);
        }
        crew.end()?;
    }
    Ok(rows.into())
}

fn row(what: &str, server: &Server, is_held_to_it: bool, times: &[f64], share: f64) -> Row {
    let label = if is_held_to_it { String::new() } else { format!(", {}", server.label) };
    let bar = if is_held_to_it { Bar::AtMost(ON_TIME_MS) } else { Bar::None };
    let limit = if is_held_to_it { format!("≤ {ON_TIME_MS:.0} ms") } else { String::new() };
    let (held, shown) = shown(times, share);
    Row::value(
        format!("{} waiters, {what} is late: {}{label}", WAITERS.len() + OTHERS.len(), shown.0),
        shown.1,
        held,
        bar,
        &limit,
    )
}

/// What is held to the bar, and how all of it is shown: the names, and the values.
fn shown(times: &[f64], share: f64) -> (f64, (&'static str, String)) {
    let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|p| milliseconds(percentile(times, p)));
    let shown = match share {
        1.0 => ("p50, p99, worst", format!("{p50}, {p99}, {worst}")),
        _ => ("p50, p99", format!("{p50}, {p99}")),
    };
    (percentile(times, share), shown)
}

fn scheduled(crew: &mut Crew, jobs: usize, random: &mut Random) -> Outcome<[Row; 2]> {
    let (created, arrived) = crew.scheduled(jobs, random)?;
    let bar = format!("≤ {DISPATCHED_MS:.0} ms");
    let row = |what, times: &[f64], bar, limit: &str| {
        let (held, shown) = shown(times, 0.99);
        Row::value(
            format!("a schedule's job is {what} late: {}", shown.0),
            shown.1,
            held,
            bar,
            limit,
        )
    };
    Ok([
        row("created", &created, Bar::AtMost(DISPATCHED_MS), &bar),
        row("at a waiter", &arrived, Bar::None, ""),
    ])
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
            .chain(OTHERS)
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

    /// Of schedules whose next run somebody has set: milliseconds until their jobs are created, and until they arrive.
    fn scheduled(&mut self, jobs: usize, random: &mut Random) -> Outcome<(Vec<f64>, Vec<f64>)> {
        let new = "SELECT minion.schedule('at ' || $1, '0 0 1 1 *', 'work', queue => $2)";
        let set = self
            .client
            .prepare(
                "UPDATE minion.schedules SET next_run = greatest(clock_timestamp(), to_timestamp($2))
                    + make_interval(secs => $3)
                WHERE name = 'at ' || $1
                RETURNING extract(epoch FROM next_run)::float8",
            )
            .during("setting the next run")?;
        for job in 0..jobs {
            let names = [&job.to_string(), QUEUES[job % QUEUES.len()]];
            self.client.execute(new, &[&names[0], &names[1]]).during("schedule")?;
        }
        let mut due = Vec::new();
        for job in 0..jobs {
            let name = job.to_string();
            let (after, (low, high)) = match due.last() {
                Some(last) if job % 2 == 1 => (*last, RIGHT_AFTER_MS),
                _ => (0.0, SCHEDULES_MS),
            };
            let span = random.between(low, high) as f64 / 1e3;
            let row = self.client.query_one(&set, &[&name, &after, &span]).during("next_run")?;
            due.push(row.get::<_, f64>(0));
        }
        let run = self
            .client
            .prepare(
                "SELECT substr(schedule.name, 4), extract(epoch FROM job.created)::float8
                FROM minion.jobs AS job JOIN minion.schedules AS schedule ON schedule.last_job = job.id
                WHERE job.id = $1",
            )
            .during("the schedule of a job")?;
        let (mut created, mut arrived) = (Vec::new(), Vec::new());
        for _ in 0..jobs {
            let arrival = self.arrival()?;
            let row = self.client.query_one(&run, &[&arrival.id]).during("a schedule's job")?;
            let due = due[row.get::<_, &str>(0).parse::<usize>()?];
            created.push((row.get::<_, f64>(1) - due) * 1e3);
            arrived.push((arrival.at - due) * 1e3);
        }
        Ok((created, arrived))
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
