//! How long after a job has been committed a waiting dequeue returns it.

use crate::Bench;
use crate::numbers::{Random, milliseconds, percentile};
use crate::queue::Queue;
use crate::report::{Bar, Measured, Row};
use crate::server::{Outcome, Server};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Between one job and the next, so that the waiter has been waiting for a while when it comes.
const PAUSE_MS: (u64, u64) = (20, 150);

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let times = latencies(&bench.preloaded, bench.sizes.waits, bench.seed)?;
    let (p50, p95) = (percentile(&times, 0.5), percentile(&times, 0.95));
    let mut rows = vec![
        Row::value(
            "a waiting dequeue after the commit, p50",
            milliseconds(p50),
            p50,
            Bar::AtMost(1.0),
            "≤ 1 ms",
        ),
        Row::value(
            "a waiting dequeue after the commit, p95",
            milliseconds(p95),
            p95,
            Bar::AtMost(5.0),
            "≤ 5 ms",
        ),
    ];
    let times = latencies(&bench.plain, bench.sizes.waits.div_ceil(5), bench.seed)?;
    let (p50, p95) = (percentile(&times, 0.5), percentile(&times, 0.95));
    let both = format!("p50 {}, p95 {}", milliseconds(p50), milliseconds(p95));
    rows.push(Row::value("a waiting dequeue, without preload", both, p50, Bar::None, ""));
    Ok(rows.into())
}

/// Milliseconds from the commit's answer at the enqueuer to the job's arrival at the waiter.
fn latencies(server: &Server, waits: usize, seed: u64) -> Outcome<Vec<f64>> {
    let database = server.create_queue("waiting")?;
    let mut waiter = Queue::connect(&database)?;
    let mut enqueuer = Queue::connect(&database)?;
    let (arrived, arrivals) = mpsc::channel();
    let waiting = thread::spawn(move || -> Outcome<()> {
        for _ in 0..waits {
            let (id, retries) = waiter.wait(30.0)?.ok_or("a waiting dequeue missed its job")?;
            arrived.send(Instant::now())?;
            waiter.finish(id, retries)?;
        }
        Ok(())
    });
    let mut random = Random(seed);
    let mut times = Vec::new();
    for _ in 0..waits {
        thread::sleep(Duration::from_millis(random.between(PAUSE_MS.0, PAUSE_MS.1)));
        enqueuer.enqueue()?;
        let committed = Instant::now();
        // An error of the waiter closes the channel, and is reported below.
        let Ok(arrival) = arrivals.recv() else { break };
        times.push(arrival.saturating_duration_since(committed).as_secs_f64() * 1e3);
    }
    waiting.join().map_err(|_| "the waiter panicked")??;
    Ok(times)
}
