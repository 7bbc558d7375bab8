//! Many jobs in one call against one call for each, with one client.

use crate::Bench;
use crate::numbers::{median, per_second, ratios, take_turns};
use crate::queue::{BATCH, Filler, MANY, Queue};
use crate::report::{Bar, Measured, Row};
use crate::server::Outcome;
use std::time::Instant;

type Step = fn(&mut Queue) -> Outcome<i64>;

const STEPS: [Step; 4] = [Queue::enqueue, Queue::enqueue_many, Queue::work, Queue::work_in_batches];

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let database = bench.preloaded.create_queue("batches")?;
    let mut queue = Queue::connect(&database)?;
    let mut filler = Filler::connect(&database)?;
    // For what the steps that work do beyond the others.
    let ahead = (60_000.0 * bench.sizes.loop_seconds) as i64;
    filler.fill(ahead)?;
    filler.vacuum()?;
    let rates = take_turns(bench.sizes.rounds, STEPS.len(), |i, _| {
        let rate = timed(&mut queue, STEPS[i], bench.sizes.loop_seconds)?;
        if i >= 2 {
            filler.fill((rate * bench.sizes.loop_seconds) as i64)?;
        }
        Ok(rate)
    })?;
    let row = |what: String, many: usize, one: usize| {
        let (here, against) = (&rates[many], &rates[one]);
        let against_text = format!("one by one {}", per_second(median(against)));
        Row::ratio(
            what,
            per_second(median(here)),
            against_text,
            &ratios(here, against),
            Bar::AtLeast(10.0),
        )
    };
    Ok(vec![
        row(format!("enqueue_many of {MANY}, 1 client"), 1, 0),
        row(format!("dequeue(max_jobs => {BATCH}) + finish_jobs, 1 client"), 3, 2),
    ]
    .into())
}

/// Jobs per second.
fn timed(queue: &mut Queue, step: Step, seconds: f64) -> Outcome<f64> {
    let (began, mut jobs) = (Instant::now(), 0);
    while began.elapsed().as_secs_f64() < seconds {
        match step(queue)? {
            0 => return Err("the queue ran empty".into()),
            done => jobs += done,
        }
    }
    Ok(jobs as f64 / began.elapsed().as_secs_f64())
}
