//! Whether a backend grows with the number of its calls.

use crate::Bench;
use crate::numbers::grouped;
use crate::queue::Queue;
use crate::report::{Bar, Measured, Row};
use crate::server::{During, Outcome};
use std::fs;

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let database = bench.preloaded.create_queue("memory")?;
    let mut queue = Queue::connect(&database)?;
    // Here it is only the memory that counts.
    queue.client.batch_execute("SET synchronous_commit = off").during("SET")?;
    let backend: i32 =
        queue.client.query_one("SELECT pg_backend_pid()", &[]).during("pg_backend_pid")?.get(0);
    let (few, many) = (bench.sizes.few_calls, bench.sizes.many_calls);
    let mut sizes = Vec::new();
    let mut made = 0;
    for calls in [few, many] {
        while made < calls {
            queue.enqueue()?;
            queue.work()?;
            made += 3;
        }
        sizes.push(kilobytes(backend)?);
    }
    let text =
        |calls: usize, size: f64| format!("{} kB after {}", grouped(size), grouped(calls as f64));
    Ok(Row::ratio(
        "memory of a backend after calls of enqueue, dequeue, finish_job",
        text(many, sizes[1]),
        text(few, sizes[0]),
        &[sizes[1] / sizes[0]],
        Bar::AtMost(1.05),
    )
    .into())
}

/// Memory of its own, without what it has touched of the shared buffers.
fn kilobytes(pid: i32) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).during("/proc/PID/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| "/proc/PID/status has no RssAnon".into())
}
