//! What those who enqueue and claim notice of a backlog that the background worker removes: old finished jobs, in a
//! database whose statements have little time. And whether it gets on with that.

use crate::Bench;
use crate::numbers::{grouped, milliseconds, percentile};
use crate::queue::Queue;
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, During, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const CLIENTS: usize = 2;
/// So often each of them enqueues, claims and finishes a job.
const PACE: Duration = Duration::from_millis(20);
const INTERVAL: Duration = Duration::from_secs(1);
const QUICK_MS: f64 = 10.0;
const SETTINGS: &str = "
    ALTER DATABASE backlog SET statement_timeout = '2s';
    ALTER DATABASE backlog SET minion.repair_interval = '1s'";
const NOT_YET: &str = "ALTER DATABASE backlog SET minion.repair_interval = 0";

const CHUNK: i64 = 50_000;
const LOAD: &str = "
    INSERT INTO minion.jobs (queue, task, args, state, created, delayed, started, finished)
    SELECT 'old', 'old', jsonb_build_array(n), 'finished', at, at, at, at
    FROM generate_series($1::bigint, $2::bigint) AS n,
        LATERAL (SELECT now() - interval '3 days' + n * interval '1 ms') AS old (at)";

/// The first of those that are left, for the oldest go first: to count them would take longer than they take to go.
const FIRST: &str = "
    SELECT (args->>0)::bigint
    FROM minion.jobs
    WHERE state = 'finished' AND finished <= now() - interval '1 day'
    ORDER BY finished, id
    LIMIT 1";

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let jobs = bench.sizes.backlog_jobs;
    let database = bench.preloaded.create_queue("backlog")?;
    database.run(SETTINGS)?;
    let [seconds, longest] = bench.sizes.backlog_seconds.map(Duration::from_secs_f64);
    let crew = Crew::start(&database)?;
    thread::sleep(seconds);
    let before = crew.end()?;

    database.run(NOT_YET)?;
    load(&database, jobs)?;
    let crew = Crew::start(&database)?;
    let left = watch(&database, jobs, longest)?;
    let meanwhile = crew.end()?;

    let size = grouped(jobs as f64);
    let row = |what: &str, before: &[f64], meanwhile: &[f64]| {
        let shown = |times: &[f64]| {
            let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|p| milliseconds(percentile(times, p)));
            format!("{p50}, {p99}, {worst}")
        };
        Row::value(
            format!("{what} while {size} old jobs are removed: p50, p99, worst"),
            shown(meanwhile),
            percentile(meanwhile, 0.99),
            Bar::AtMost(QUICK_MS),
            &format!("p99 ≤ {QUICK_MS:.0} ms"),
        )
        .beside(format!("before: {}", shown(before)))
    };
    let mut rows = vec![
        row("enqueue", &before.enqueue, &meanwhile.enqueue),
        row("dequeue", &before.dequeue, &meanwhile.dequeue),
    ];
    rows.extend(progress(&size, &left));
    Ok(rows.into())
}

/// How many are left after each interval, as long as there are any.
fn progress(size: &str, left: &[(f64, i64)]) -> [Row; 2] {
    let idle = left.windows(2).filter(|pair| pair[1].1 >= pair[0].1).count();
    let (seconds, rest) = *left.last().expect("there is a beginning");
    let rate = (left[0].1 - rest) as f64 / seconds;
    let end = match rest {
        0 => format!("{seconds:.0} s, {}/s", grouped(rate)),
        _ => format!("{} left after {seconds:.0} s, {}/s", grouped(rest as f64), grouped(rate)),
    };
    [
        Row::value(
            format!("intervals at which the {size} did not become fewer"),
            format!("{idle} of {}", left.len() - 1),
            idle as f64,
            Bar::AtMost(0.0),
            "0",
        ),
        Row::value(format!("the {size} are gone after"), end, seconds, Bar::None, ""),
    ]
}

fn load(database: &Database, jobs: i64) -> Outcome<()> {
    let mut client = database.connect()?;
    client.batch_execute("SET statement_timeout = 0").during("SET")?;
    let mut next = 1;
    while next <= jobs {
        let last = jobs.min(next + CHUNK - 1);
        client.execute(LOAD, &[&next, &last]).during("loading old jobs")?;
        next = last + 1;
    }
    // They have been there for days.
    for tidy in ["VACUUM (ANALYZE) minion.jobs", "CHECKPOINT"] {
        client.batch_execute(tidy).during(tidy)?;
    }
    Ok(())
}

/// Lets the worker begin, and looks after each interval. The seconds since the beginning, and how many there were.
fn watch(database: &Database, jobs: i64, longest: Duration) -> Outcome<Vec<(f64, i64)>> {
    let mut client = database.connect()?;
    let first = client.prepare(FIRST).during("the first old job")?;
    database.run(SETTINGS)?;
    let (began, mut left) = (Instant::now(), vec![(0.0, jobs)]);
    while left.last().is_some_and(|left| left.1 > 0) && began.elapsed() < longest {
        thread::sleep(INTERVAL);
        let row = client.query_opt(&first, &[]).during("the first old job")?;
        let rest = row.map_or(0, |row| jobs + 1 - row.get::<_, i64>(0));
        left.push((began.elapsed().as_secs_f64(), rest));
    }
    Ok(left)
}

/// Milliseconds of each call.
#[derive(Default)]
struct Times {
    enqueue: Vec<f64>,
    dequeue: Vec<f64>,
}

/// Those who enqueue, claim and finish all the while.
struct Crew {
    clients: Vec<JoinHandle<Outcome<Times>>>,
    ending: Arc<AtomicBool>,
}

impl Crew {
    fn start(database: &Database) -> Outcome<Crew> {
        let ending = Arc::new(AtomicBool::new(false));
        let start = |i| -> Outcome<_> {
            let (queue, ending) = (Queue::connect(database)?, Arc::clone(&ending));
            // In turn, about.
            let pause = PACE * i as u32 / CLIENTS as u32;
            Ok(thread::spawn(move || {
                thread::sleep(pause);
                work(queue, &ending)
            }))
        };
        let clients = (0..CLIENTS).map(start).collect::<Outcome<_>>()?;
        Ok(Crew { clients, ending })
    }

    fn end(self) -> Outcome<Times> {
        self.ending.store(true, Ordering::SeqCst);
        let mut all = Times::default();
        for client in self.clients {
            let times = client.join().map_err(|_| "a client panicked")??;
            all.enqueue.extend(times.enqueue);
            all.dequeue.extend(times.dequeue);
        }
        Ok(all)
    }
}

fn work(mut queue: Queue, ending: &AtomicBool) -> Outcome<Times> {
    let mut times = Times::default();
    let took = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let mut next = Instant::now();
    while !ending.load(Ordering::SeqCst) {
        let began = Instant::now();
        queue.enqueue()?;
        times.enqueue.push(took(began));
        let began = Instant::now();
        let job = queue.claim()?;
        times.dequeue.push(took(began));
        if let Some((id, retries)) = job {
            queue.finish(id, retries)?;
        }
        // Whoever was held up does not catch up.
        next = (next + PACE).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(times)
}
