//! What 100 workers that wait for a job cost: processor time and WAL.

use crate::Bench;
use crate::numbers::grouped;
use crate::queue::Queue;
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, During, Outcome};
use postgres::Client;
use std::fs;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const WORKERS: usize = 100;
/// Linux counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// That much of one core counts as none.
const NEARLY_NOTHING: f64 = 0.5;

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let database = bench.preloaded.create_queue("idle")?;
    let mut observer = database.connect()?;
    let (settle, seconds) = (bench.sizes.idle_settle_seconds, bench.sizes.idle_seconds);
    let waiters = wait(&database, settle + seconds + 1.0)?;
    // What came before has been written by then, the record of running transactions too.
    thread::sleep(Duration::from_secs_f64(settle));
    let (ticks, wal) = (ticks(&mut observer)?, wal(&mut observer)?);
    thread::sleep(Duration::from_secs_f64(seconds));
    let written = crate::idle::wal(&mut observer)? - wal;
    let spent = crate::idle::ticks(&mut observer)? - ticks;
    for waiter in waiters {
        waiter.join().map_err(|_| "a waiter panicked")??;
    }
    let percent = 100.0 * spent as f64 / TICKS_PER_SECOND / seconds;
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
    ]
    .into())
}

fn wait(database: &Database, seconds: f64) -> Outcome<Vec<JoinHandle<Outcome<()>>>> {
    let queues = (0..WORKERS).map(|_| Queue::connect(database)).collect::<Outcome<Vec<_>>>()?;
    Ok(queues
        .into_iter()
        .map(|mut queue| thread::spawn(move || queue.wait(seconds).map(drop)))
        .collect())
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
