//! What NOTIFY costs those who enqueue while somebody listens, and how late he hears of a burst of jobs: from the answer
//! to its last commit to the first notification after which a look at the table shows all of it.

use crate::Bench;
use crate::numbers::{Random, median, milliseconds, per_second, percentile, ratios, take_turns};
use crate::pgbench::Run;
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, During, Outcome, Server};
use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, Statement};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const ENQUEUE: &str = include_str!("../scripts/enqueue.sql");
/// On, which is the default, and off.
const NOTIFIES: [&str; 2] = ["", "-c minion.notify=off"];
/// Of a burst.
const CONNECTIONS: usize = 4;
const JOBS: (u64, u64) = (1, 50);
/// Between one burst and the next.
const PAUSE_MS: (u64, u64) = (20, 200);
/// Who has not heard of a burst by then is not going to.
const LOST: Duration = Duration::from_secs(5);
const IN_TIME_MS: f64 = 20.0;

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let mut rows = costs(bench)?;
    let heard = bursts(&bench.preloaded, bench.sizes.bursts, bench.seed)?;
    let (p50, p99) = (percentile(&heard.late, 0.5), percentile(&heard.late, 0.99));
    rows.extend([
        Row::value(
            "a listener hears of a burst late: p50, p99",
            format!("{}, {}", milliseconds(p50), milliseconds(p99)),
            p99,
            Bar::AtMost(IN_TIME_MS),
            &format!("≤ {IN_TIME_MS:.0} ms"),
        ),
        Row::value(
            "bursts that a listener never hears of",
            format!("{} of {}", heard.lost, bench.sizes.bursts),
            heard.lost as f64,
            Bar::AtMost(0.0),
            "0",
        ),
    ]);
    let number = bench.sizes.bursts.div_ceil(5);
    let heard = bursts(&bench.plain, number, bench.seed)?;
    let [p50, p99] = [0.5, 0.99].map(|p| milliseconds(percentile(&heard.late, p)));
    rows.push(Row::value(
        "a listener hears of a burst late, without preload",
        format!("p50 {p50}, p99 {p99}, {} of {number} never", heard.lost),
        0.0,
        Bar::None,
        "",
    ));
    Ok(rows.into())
}

/// enqueue with minion.notify on against off.
fn costs(bench: &Bench) -> Outcome<Vec<Row>> {
    let database = bench.preloaded.create_queue("notify")?;
    let listener = Listener::start(&database, || Ok(0))?;
    let mut rows = Vec::new();
    for clients in [1, 4, 16] {
        database.run("SELECT minion.reset('all')")?;
        let rates = take_turns(bench.sizes.rounds, NOTIFIES.len(), |i, round| {
            let run = Run {
                database: &database,
                script: ENQUEUE,
                clients,
                seconds: bench.sizes.pgbench_seconds,
                seed: bench.seed + round as u64,
                define: &[],
                options: NOTIFIES[i],
            };
            Ok(run.run()?.rate)
        })?;
        let (on, off) = (&rates[0], &rates[1]);
        rows.push(Row::ratio(
            format!("enqueue, {}, notify on against off", crate::enqueue::clients(clients)),
            per_second(median(on)),
            per_second(median(off)),
            &ratios(on, off),
            Bar::AtLeast(0.95),
        ));
    }
    listener.end()?;
    Ok(rows)
}

/// What became of some bursts.
struct Bursts {
    /// Milliseconds.
    late: Vec<f64>,
    lost: usize,
}

fn bursts(server: &Server, number: usize, seed: u64) -> Outcome<Bursts> {
    let database = server.create_queue("bursts")?;
    let mut producers =
        (0..CONNECTIONS).map(|_| Producer::connect(&database)).collect::<Outcome<Vec<_>>>()?;
    let mut eyes = database.connect()?;
    let look = eyes.prepare("SELECT count(*) FROM minion.jobs").during("a look")?;
    let look = move || Ok(eyes.query_one(&look, &[]).during("a look")?.get(0));
    let listener = Listener::start(&database, look)?;
    let mut random = Random(seed);
    let mut bursts = Bursts { late: Vec::new(), lost: 0 };
    let mut jobs = 0;
    for _ in 0..number {
        thread::sleep(Duration::from_millis(random.between(PAUSE_MS.0, PAUSE_MS.1)));
        let burst = random.between(JOBS.0, JOBS.1) as usize;
        jobs += burst as i64;
        let committed = enqueue(&mut producers, burst)?;
        match listener.hear_of(jobs, committed + LOST)? {
            // He may be faster than the answer to the one who has committed.
            Some(at) => {
                let late = at.saturating_duration_since(committed);
                bursts.late.push(late.as_secs_f64() * 1e3);
            }
            None => bursts.lost += 1,
        }
    }
    listener.end()?;
    Ok(bursts)
}

struct Producer {
    client: Client,
    enqueue: Statement,
}

impl Producer {
    fn connect(database: &Database) -> Outcome<Producer> {
        let mut client = database.connect()?;
        let enqueue = client.prepare(ENQUEUE).during("enqueue")?;
        Ok(Producer { client, enqueue })
    }
}

/// By all of them at once, each job in a transaction of its own. When the last one was answered.
fn enqueue(producers: &mut [Producer], jobs: usize) -> Outcome<Instant> {
    let number = producers.len();
    thread::scope(|scope| {
        let parts = producers.iter_mut().enumerate().map(|(i, producer)| {
            let part = (jobs + i) / number;
            scope.spawn(move || -> Outcome<Instant> {
                for _ in 0..part {
                    producer.client.execute(&producer.enqueue, &[]).during("enqueue")?;
                }
                Ok(Instant::now())
            })
        });
        // All of them begin before the first one is waited for.
        let parts: Vec<_> = parts.collect();
        let ends = parts.into_iter().map(|part| part.join().map_err(|_| "a producer panicked")?);
        let ends = ends.collect::<Outcome<Vec<_>>>()?;
        ends.into_iter().max().ok_or_else(|| "nobody enqueued".into())
    })
}

/// One who LISTENs, in a thread.
struct Listener {
    heard: Receiver<Heard>,
    thread: JoinHandle<Outcome<()>>,
    ending: Arc<AtomicBool>,
}

struct Heard {
    /// When the notification arrived.
    at: Instant,
    /// How many jobs he saw when he looked then.
    jobs: i64,
}

impl Listener {
    /// `look`: what he looks at with each notification, as one does who works by them.
    fn start(
        database: &Database,
        look: impl FnMut() -> Outcome<i64> + Send + 'static,
    ) -> Outcome<Listener> {
        let mut client = database.connect()?;
        client.batch_execute("LISTEN \"minion.job\"").during("LISTEN")?;
        let (sender, heard) = mpsc::channel();
        let ending = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&ending);
        let thread = thread::spawn(move || listen(&mut client, look, &sender, &ends));
        Ok(Listener { heard, thread, ending })
    }

    /// The first notification after which he saw so many jobs. None if there was none by then.
    fn hear_of(&self, jobs: i64, until: Instant) -> Outcome<Option<Instant>> {
        loop {
            match self.heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(heard) if heard.jobs >= jobs => return Ok(Some(heard.at)),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err("the listener has gone".into()),
            }
        }
    }

    fn end(self) -> Outcome<()> {
        self.ending.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| "the listener panicked")?
    }
}

fn listen(
    client: &mut Client,
    mut look: impl FnMut() -> Outcome<i64>,
    sender: &Sender<Heard>,
    ending: &AtomicBool,
) -> Outcome<()> {
    let mut notifications = client.notifications();
    while !ending.load(Ordering::SeqCst) {
        let mut next = notifications.timeout_iter(Duration::from_millis(100));
        while next.next().during("LISTEN")?.is_some() {
            let at = Instant::now();
            sender.send(Heard { at, jobs: look()? })?;
        }
    }
    Ok(())
}
