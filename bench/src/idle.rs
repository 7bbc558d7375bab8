//! What costs something though nothing happens: the extension in many databases; 100 workers that wait for a job, beside
//! nothing; and one beside many children that have to wait as well.

use crate::Bench;
use crate::numbers::grouped;
use crate::queue::{Filler, Queue};
use crate::report::{Bar, Measured, Row};
use crate::server::{During, Outcome, Server};
use postgres::Client;
use std::fs;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const WORKERS: usize = 100;
/// With the extension, and nothing to do.
const DATABASES: usize = 20;
/// The background workers are through by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// By then the server has written down which transactions run, after which it writes nothing more.
const QUIET: Duration = Duration::from_secs(16);
/// Linux counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// That much of one core counts as none.
const NEARLY_NOTHING: f64 = 0.5;
const CHILDREN: i64 = 20_000;
/// Percent of a core, beside them.
const LITTLE: f64 = 1.0;

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    // In that many databases autovacuum would start a process every few seconds.
    set(&bench.preloaded, "ALTER SYSTEM SET autovacuum_naptime = '1d'")?;
    let rows = measure_all(bench);
    set(&bench.preloaded, "ALTER SYSTEM RESET autovacuum_naptime")?;
    Ok(rows?.into())
}

fn set(server: &Server, setting: &str) -> Outcome<()> {
    let database = server.database("postgres");
    database.run(setting)?;
    database.run("SELECT pg_reload_conf()")
}

fn measure_all(bench: &Bench) -> Outcome<Vec<Row>> {
    let mut rows = beside_nothing(bench)?;
    let created = create_databases(&bench.preloaded)?;
    // Meanwhile the many databases come to rest.
    let plain = beside_children(bench, &bench.plain, Bar::None)?;
    let databases = databases(bench, created)?;
    rows.push(beside_children(bench, &bench.preloaded, Bar::AtMost(LITTLE))?);
    rows.push(plain);
    rows.extend(databases);
    Ok(rows)
}

/// When the last one had been created.
fn create_databases(server: &Server) -> Outcome<Instant> {
    server.create_queue("idle_1")?;
    for number in 2..=DATABASES {
        server.copy("idle_1", &format!("idle_{number}"))?;
    }
    Ok(Instant::now())
}

fn databases(bench: &Bench, created: Instant) -> Outcome<Vec<Row>> {
    let mut observer = bench.preloaded.database("postgres").connect()?;
    let workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'minion worker'";
    let mut workers = || -> Outcome<i64> {
        Ok(observer.query_one(workers, &[]).during("background workers")?.get(0))
    };
    while workers()? > 0 && created.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(100));
    }
    thread::sleep(QUIET.saturating_sub(created.elapsed()));
    let left = workers()?;
    let what = format!("{DATABASES} databases with the extension and nothing to do");
    let (percent, written) = at_rest(&mut observer, bench.sizes.idle_seconds)?;
    let mut rows = cost(&what, percent, written);
    rows.push(Row::value(
        format!("{what}: background workers"),
        left.to_string(),
        left as f64,
        Bar::AtMost(0.0),
        "0",
    ));
    Ok(rows)
}

/// Percent of a core, and bytes of WAL.
fn at_rest(observer: &mut Client, seconds: f64) -> Outcome<(f64, i64)> {
    let (ticks, wal) = (ticks(observer)?, wal(observer)?);
    thread::sleep(Duration::from_secs_f64(seconds));
    let written = crate::idle::wal(observer)? - wal;
    let spent = crate::idle::ticks(observer)?.saturating_sub(ticks);
    Ok((in_percent(spent, seconds), written))
}

fn cost(what: &str, percent: f64, written: i64) -> Vec<Row> {
    vec![
        Row::value(
            format!("{what}: processor time"),
            format!("{percent:.1} % of a core"),
            percent,
            Bar::AtMost(NEARLY_NOTHING),
            "≈ 0 %",
        ),
        Row::value(
            format!("{what}: WAL"),
            format!("{} bytes", grouped(written as f64)),
            written as f64,
            Bar::AtMost(0.0),
            "0 bytes",
        ),
    ]
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
    let mut waiter = Queue::connect(&database)?;
    if server.label == bench.preloaded.label {
        until_placed(&mut waiter, &mut observer)?;
    }
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

/// Whoever looks at children in vain has them put out of the way, which takes a moment, once.
fn until_placed(waiter: &mut Queue, observer: &mut Client) -> Outcome<()> {
    let began = Instant::now();
    let placed = "
        SELECT NOT EXISTS (
            SELECT FROM minion.jobs WHERE state = 'inactive' AND parked_until <= now())";
    while !observer.query_one(placed, &[]).during("children")?.get::<_, bool>(0) {
        if began.elapsed() > PATIENCE {
            return Err("children are not put out of the way".into());
        }
        waiter.wait(0.5)?;
    }
    Ok(())
}

fn beside_nothing(bench: &Bench) -> Outcome<Vec<Row>> {
    let database = bench.preloaded.create_queue("idle")?;
    let mut observer = database.connect()?;
    let (settle, seconds) = (bench.sizes.idle_settle_seconds, bench.sizes.idle_seconds);
    let queues = (0..WORKERS).map(|_| Queue::connect(&database)).collect::<Outcome<Vec<_>>>()?;
    let waiters = wait(queues, settle + seconds + 1.0);
    // What came before has been written by then, the record of running transactions too.
    thread::sleep(Duration::from_secs_f64(settle));
    let (percent, written) = at_rest(&mut observer, seconds)?;
    join(waiters)?;
    Ok(cost(&format!("{WORKERS} waiting workers"), percent, written))
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

/// Processor time of the server and all its processes but the one that asks: those that are there, and those that have
/// been, which may have been many.
fn ticks(observer: &mut Client) -> Outcome<u64> {
    let own: i32 = observer.query_one("SELECT pg_backend_pid()", &[]).during("pid")?.get(0);
    let server = Process::look(own)?.ok_or("the observer has no process")?.parent;
    let mut sum = 0;
    for entry in fs::read_dir("/proc").during("/proc")? {
        let name = entry.during("/proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        match Process::look(pid)? {
            Some(process) if pid == server => sum += process.ticks + process.of_ended,
            Some(process) if process.parent == server && pid != own => sum += process.ticks,
            _ => {}
        }
    }
    Ok(sum)
}

/// What Linux says of one.
struct Process {
    parent: i32,
    ticks: u64,
    /// Of its children that have ended.
    of_ended: u64,
}

impl Process {
    /// None if it has ended.
    fn look(pid: i32) -> Outcome<Option<Process>> {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return Ok(None) };
        // The name in parentheses may contain spaces; of the fields after it, the second is the parent, the 12th to the
        // 15th are utime, stime, cutime and cstime.
        let fields: Vec<i64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .take(14)
            .map(|field| field.parse())
            .collect::<Result<_, _>>()
            .during("/proc/PID/stat")?;
        let [parent, .., user, system, user_ended, system_ended] = fields[..] else {
            return Err("/proc/PID/stat has too few fields".into());
        };
        Ok(Some(Process {
            parent: parent as i32,
            ticks: (user + system) as u64,
            of_ended: (user_ended + system_ended) as u64,
        }))
    }
}
