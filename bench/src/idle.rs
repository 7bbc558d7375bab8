//! What workers that wait for a job cost: 100 of them beside nothing, processor time and WAL; and one beside many
//! children that have to wait as well.

use crate::Bench;
use crate::numbers::grouped;
use crate::queue::{Filler, Queue};
use crate::report::{Bar, Measured, Row};
use crate::server::{During, Outcome, Server};
use postgres::Client;
use std::fs;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const WORKERS: usize = 100;
/// Linux counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// That much of one core counts as none.
const NEARLY_NOTHING: f64 = 0.5;
const CHILDREN: i64 = 20_000;
/// Percent of a core, beside them.
const LITTLE: f64 = 1.0;

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let mut rows = beside_nothing(bench)?;
    rows.push(beside_children(bench, &bench.preloaded, Bar::AtMost(LITTLE))?);
    rows.push(beside_children(bench, &bench.plain, Bar::None)?);
    Ok(rows.into())
}

/// One waiter, while the only parent of many children runs.
fn beside_children(bench: &Bench, server: &Server, bar: Bar) -> Outcome<Row> {
    let database = server.create_queue("children")?;
    let mut parent = Queue::connect(&database)?;
    parent.enqueue()?;
    parent.wait(0.0)?.ok_or("the parent was not claimed")?;
    parent
        .client
        .execute(
            "SELECT minion.enqueue_many(jsonb_agg(jsonb_build_object('task', 'child', 'parents', ARRAY[1])))
            FROM generate_series(1, $1::bigint)",
            &[&CHILDREN],
        )
        .during("enqueue_many")?;
    Filler::connect(&database)?.vacuum()?;
    let mut observer = database.connect()?;
    let (settle, seconds) = (bench.sizes.idle_settle_seconds, bench.sizes.idle_seconds);
    let waiter = Queue::connect(&database)?;
    let waiters = wait(vec![waiter], settle + seconds + 1.0);
    thread::sleep(Duration::from_secs_f64(settle));
    let before = ticks(&mut observer)?;
    thread::sleep(Duration::from_secs_f64(seconds));
    let percent = in_percent(ticks(&mut observer)? - before, seconds);
    join(waiters)?;
    let (label, limit) = match bar {
        Bar::None => (format!(", {}", server.label), String::new()),
        _ => (String::new(), format!("≤ {LITTLE} %")),
    };
    Ok(Row::value(
        format!(
            "one beside {} children of a running job: processor time{label}",
            grouped(CHILDREN as f64)
        ),
        format!("{percent:.1} % of a core"),
        percent,
        bar,
        &limit,
    ))
}

fn beside_nothing(bench: &Bench) -> Outcome<Vec<Row>> {
    let database = bench.preloaded.create_queue("idle")?;
    let mut observer = database.connect()?;
    let (settle, seconds) = (bench.sizes.idle_settle_seconds, bench.sizes.idle_seconds);
    let queues = (0..WORKERS).map(|_| Queue::connect(&database)).collect::<Outcome<Vec<_>>>()?;
    let waiters = wait(queues, settle + seconds + 1.0);
    // What came before has been written by then, the record of running transactions too.
    thread::sleep(Duration::from_secs_f64(settle));
    let (ticks, wal) = (ticks(&mut observer)?, wal(&mut observer)?);
    thread::sleep(Duration::from_secs_f64(seconds));
    let written = crate::idle::wal(&mut observer)? - wal;
    let spent = crate::idle::ticks(&mut observer)? - ticks;
    join(waiters)?;
    let percent = in_percent(spent, seconds);
    Ok(vec![
        Row::value(
            format!("{WORKERS} waiting workers: processor time"),
            format!("{percent:.1} % of a core"),
            percent,
            Bar::AtMost(NEARLY_NOTHING),
            "≈ 0 %",
        ),
        Row::value(
            format!("{WORKERS} waiting workers: WAL"),
            format!("{} bytes", grouped(written as f64)),
            written as f64,
            Bar::AtMost(0.0),
            "0 bytes",
        ),
    ])
}

type Waiter = JoinHandle<Outcome<()>>;

fn wait(queues: Vec<Queue>, seconds: f64) -> Vec<Waiter> {
    let begin = |mut queue: Queue| thread::spawn(move || queue.wait(seconds).map(drop));
    queues.into_iter().map(begin).collect()
}

fn join(waiters: Vec<Waiter>) -> Outcome<()> {
    for waiter in waiters {
        waiter.join().map_err(|_| "a waiter panicked")??;
    }
    Ok(())
}

fn in_percent(ticks: u64, seconds: f64) -> f64 {
    100.0 * ticks as f64 / TICKS_PER_SECOND / seconds
}

fn wal(observer: &mut Client) -> Outcome<i64> {
    let bytes = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
    Ok(observer.query_one(bytes, &[]).during("the position in the WAL")?.get(0))
}

/// Processor time of all processes of the server but the one that asks.
fn ticks(observer: &mut Client) -> Outcome<u64> {
    let processes = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    let mut sum = 0;
    for row in observer.query(processes, &[]).during("the server's processes")? {
        let pid: i32 = row.get(0);
        // One that has ended meanwhile counts for nothing.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name in parentheses may contain spaces; the 12th and 13th fields after it are utime and stime.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let times = fields.skip(11).take(2).map(|field| field.parse::<u64>());
        sum += times.sum::<Result<u64, _>>().during("/proc/PID/stat")?;
    }
    Ok(sum)
}
