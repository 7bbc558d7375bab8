//! Jobs per second while another session holds a snapshot, so that no dead row or index entry can be removed: a
//! claim that walks over what earlier claims left gets slower and slower. Every worker enqueues a job, takes one and
//! finishes it; there are always 1,000 ready ones.

use crate::Bench;
use crate::numbers::{median, per_second};
use crate::peer::{Peer, WORKERS};
use crate::picture::Line;
use crate::queue::{Filler, Queue};
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, During, Outcome};
use postgres::Client;
use std::thread;
use std::time::{Duration, Instant};

const READY: i64 = 1_000;

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let seconds = bench.sizes.held_seconds;
    let mut measured = Measured { rows: Vec::new(), lines: Vec::new() };

    let preloaded = bench.preloaded.create_queue("held")?;
    let runs: Vec<Vec<f64>> = (0..bench.sizes.held_repeats)
        .map(|_| extension(&preloaded, seconds))
        .collect::<Outcome<_>>()?;
    add(bench, &mut measured, "minion", &runs, Bar::AtLeast(0.9));
    if !bench.sizes.both {
        return Ok(measured);
    }

    let plain = bench.plain.create_queue("held")?;
    let runs = [extension(&plain, seconds)?];
    add(bench, &mut measured, "minion, without preload", &runs, Bar::None);

    for peer in &bench.peers {
        let run = peer.version.clone().map(|_| with_peer(bench, peer, seconds));
        add_peer(bench, &mut measured, peer.name, run);
    }
    let run = bench.pgq.clone().map(|_| with_pgq(bench, seconds));
    add_peer(bench, &mut measured, "pgq", run);
    Ok(measured)
}

fn add_peer(
    bench: &Bench,
    measured: &mut Measured,
    name: &str,
    run: Result<Outcome<Vec<f64>>, String>,
) {
    let what = format!("snapshot held: {name}");
    match run {
        Ok(Ok(run)) => add(bench, measured, name, &[run], Bar::None),
        Ok(Err(error)) => measured.rows.push(Row::not_measured(&what, &error.to_string())),
        Err(reason) => measured.rows.push(Row::missing(&what, &reason)),
    }
}

/// A second means the three that end with it.
pub fn around(run: &[f64], second: usize) -> f64 {
    run[second - 3..second].iter().sum::<f64>() / 3.0
}

fn add(bench: &Bench, measured: &mut Measured, name: &str, runs: &[Vec<f64>], bar: Bar) {
    let (early, late) = (bench.sizes.held_early, bench.sizes.held_seconds);
    let all = |second| runs.iter().map(|run| around(run, second)).collect::<Vec<_>>();
    let ratios: Vec<f64> = runs.iter().map(|run| around(run, late) / around(run, early)).collect();
    measured.rows.push(Row::ratio(
        format!("snapshot held: {name}, second {late} against second {early}"),
        per_second(median(&all(late))),
        per_second(median(&all(early))),
        &ratios,
        bar,
    ));
    let per_second = (0..late).map(|i| median(&runs.iter().map(|run| run[i]).collect::<Vec<_>>()));
    measured.lines.push(Line { name: name.into(), values: per_second.collect() });
}

/// Sees what it sees until the connection is closed.
pub fn hold_snapshot(database: &Database) -> Outcome<Client> {
    let mut holder = database.connect()?;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
    holder.batch_execute(begin).during("holding a snapshot")?;
    Ok(holder)
}

fn extension(database: &Database, seconds: usize) -> Outcome<Vec<f64>> {
    let mut filler = Filler::connect(database)?;
    filler.reset()?;
    filler.fill(READY)?;
    filler.vacuum()?;
    let queues = (0..WORKERS).map(|_| Queue::connect(database)).collect::<Outcome<Vec<_>>>()?;
    let _holder = hold_snapshot(database)?;
    let loops = queues.into_iter().map(|mut queue| {
        counted(seconds, move || {
            queue.enqueue()?;
            queue.work()
        })
    });
    sum(loops.collect(), seconds)
}

fn with_peer(bench: &Bench, peer: &Peer, seconds: usize) -> Outcome<Vec<f64>> {
    let database = bench.preloaded.create(peer.mode)?;
    let mut crew = peer.start(peer.mode, &database)?;
    crew.reset()?;
    crew.one(&format!("fill {READY}"))?;
    database.run("VACUUM (ANALYZE)")?;
    let _holder = hold_snapshot(&database)?;
    let mut sum = vec![0.0; seconds];
    for answer in crew.all(&format!("cycle {seconds}"))? {
        for (i, jobs) in sum.iter_mut().enumerate() {
            *jobs += answer["each"][i].as_f64().ok_or("a worker answered without numbers")?;
        }
    }
    Ok(sum)
}

/// pgq hands out the events of a stretch of time, to each consumer all of them: three connections insert, one consumes.
fn with_pgq(bench: &Bench, seconds: usize) -> Outcome<Vec<f64>> {
    let database = bench.preloaded.create("pgq")?;
    database.run(
        "CREATE EXTENSION pgq;
         SELECT pgq.create_queue('bench');
         SELECT pgq.set_queue_config('bench', 'ticker_max_lag', '100 milliseconds');
         SELECT pgq.register_consumer('bench', 'consumer')",
    )?;
    let _holder = hold_snapshot(&database)?;
    let mut loops = Vec::new();
    for _ in 1..WORKERS {
        let mut client = database.connect()?;
        let insert =
            client.prepare("SELECT pgq.insert_event('bench', 'type', '[]')").during("pgq")?;
        loops.push(counted(seconds, move || {
            client.execute(&insert, &[]).during("pgq.insert_event")?;
            Ok(0)
        }));
    }
    let mut consumer = database.connect()?;
    loops.push(counted(seconds, move || consume(&mut consumer)));
    sum(loops, seconds)
}

fn consume(client: &mut Client) -> Outcome<i64> {
    client.execute("SELECT pgq.ticker('bench')", &[]).during("pgq.ticker")?;
    let batch: Option<i64> = client
        .query_one("SELECT pgq.next_batch('bench', 'consumer')", &[])
        .during("pgq.next_batch")?
        .get(0);
    let Some(batch) = batch else {
        thread::sleep(Duration::from_millis(10));
        return Ok(0);
    };
    let events = client
        .query("SELECT * FROM pgq.get_batch_events($1)", &[&batch])
        .during("pgq.get_batch_events")?;
    client.execute("SELECT pgq.finish_batch($1)", &[&batch]).during("pgq.finish_batch")?;
    Ok(events.len() as i64)
}

pub type Counted = thread::JoinHandle<Outcome<Vec<f64>>>;

/// Repeats the step in a thread, and counts its jobs second by second.
pub fn counted(seconds: usize, mut step: impl FnMut() -> Outcome<i64> + Send + 'static) -> Counted {
    thread::spawn(move || {
        let (began, mut counts) = (Instant::now(), vec![0.0; seconds]);
        while let Some(count) = counts.get_mut(began.elapsed().as_secs() as usize) {
            *count += step()? as f64;
        }
        Ok(counts)
    })
}

pub fn sum(loops: Vec<Counted>, seconds: usize) -> Outcome<Vec<f64>> {
    let mut sum = vec![0.0; seconds];
    for counts in loops {
        let counts = counts.join().map_err(|_| "a worker panicked")??;
        sum.iter_mut().zip(counts).for_each(|(all, one)| *all += one);
    }
    Ok(sum)
}
