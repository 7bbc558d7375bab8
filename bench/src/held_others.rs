//! Calls that change the same few rows again and again, while another session holds a snapshot, so that no version of
//! them can be removed: locks, heartbeats, and claims under limits.

use crate::Bench;
use crate::held::{Counted, around, counted, hold_snapshot, sum};
use crate::numbers::per_second;
use crate::peer::WORKERS;
use crate::queue::{Filler, Queue};
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, During, Outcome};

const READY: i64 = 1_000;

struct Case {
    what: &'static str,
    database: &'static str,
    setup: &'static str,
    /// Begins to repeat the call, for so many seconds.
    start: fn(Queue, usize) -> Outcome<Counted>,
}

/// No limit here ever holds a job back: what is measured is what it costs to count.
const CASES: [Case; 4] = [
    Case { what: "lock and unlock of one name", database: "held_lock", setup: "", start: lock },
    Case {
        what: "register_worker with an id",
        database: "held_heartbeat",
        setup: "",
        start: heartbeat,
    },
    Case {
        what: "minion under a limit with max_active",
        database: "held_max_active",
        setup: "SELECT minion.limit_task('bench', max_active => 100)",
        start: work,
    },
    Case {
        what: "minion under a limit with max_starts",
        database: "held_max_starts",
        setup: "SELECT minion.limit_task('bench', max_starts => 10000, per => '1 second')",
        start: work,
    },
];

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let (early, late) = (bench.sizes.held_early, bench.sizes.held_others_seconds);
    let mut rows = Vec::new();
    for case in &CASES {
        let run = per_case(&bench.preloaded.create_queue(case.database)?, case, late)?;
        let (begin, end) = (around(&run, early), around(&run, late));
        rows.push(Row::ratio(
            format!("snapshot held: {}, second {late} against second {early}", case.what),
            per_second(end),
            per_second(begin),
            &[end / begin],
            Bar::AtLeast(0.9),
        ));
    }
    Ok(rows.into())
}

fn per_case(database: &Database, case: &Case, seconds: usize) -> Outcome<Vec<f64>> {
    database.run(case.setup)?;
    let mut filler = Filler::connect(database)?;
    filler.fill(READY)?;
    filler.vacuum()?;
    let queues = (0..WORKERS).map(|_| Queue::connect(database)).collect::<Outcome<Vec<_>>>()?;
    let _holder = hold_snapshot(database)?;
    let begin = |mut queue: Queue| {
        // The disk is out of it.
        queue.client.batch_execute("SET synchronous_commit = off").during("SET")?;
        (case.start)(queue, seconds)
    };
    sum(queues.into_iter().map(begin).collect::<Outcome<_>>()?, seconds)
}

fn lock(queue: Queue, seconds: usize) -> Outcome<Counted> {
    let mut client = queue.client;
    let lock = client.prepare("SELECT minion.lock('bench', '1 minute', 4)").during("lock")?;
    let unlock = client.prepare("SELECT minion.unlock('bench')").during("unlock")?;
    Ok(counted(seconds, move || {
        client.execute(&lock, &[]).during("lock")?;
        client.execute(&unlock, &[]).during("unlock")?;
        Ok(1)
    }))
}

fn heartbeat(queue: Queue, seconds: usize) -> Outcome<Counted> {
    let Queue { mut client, worker, .. } = queue;
    let register = client.prepare("SELECT minion.register_worker($1)").during("register_worker")?;
    Ok(counted(seconds, move || {
        client.execute(&register, &[&worker]).during("register_worker")?;
        Ok(1)
    }))
}

/// A job is enqueued, claimed and finished in turn, as without limits.
fn work(mut queue: Queue, seconds: usize) -> Outcome<Counted> {
    Ok(counted(seconds, move || {
        queue.enqueue()?;
        queue.work()
    }))
}
