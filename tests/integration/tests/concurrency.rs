//! Many workers at once, with everything that can get in their way.

use integration::{Ask, Database};
use postgres::Client;
use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;

const WORKERS: usize = 8;
/// Each worker enqueues and, with the others, works off 2,500 jobs.
const SHARE: usize = 2_500;

/// What the workers know of each other.
#[derive(Default)]
struct Board {
    enqueued: Vec<i64>,
    finished: HashMap<i64, usize>,
    attempts: HashMap<(i64, i32), usize>,
    /// Some worker panicked, and its jobs will never finish.
    gave_up: bool,
}

#[test]
fn twenty_thousand_jobs_on_eight_connections_finish_exactly_once_each() {
    let database = Database::new();
    let board = Mutex::new(Board::default());
    thread::scope(|scope| {
        for number in 0..WORKERS {
            let (database, board) = (&database, &board);
            scope.spawn(move || Worker::new(database, board, number).work());
        }
    });

    let board = board.into_inner().unwrap();
    assert_eq!(board.enqueued.len(), WORKERS * SHARE);
    assert!(board.attempts.values().all(|&claims| claims == 1), "an attempt was claimed twice");
    for id in &board.enqueued {
        assert_eq!(board.finished.get(id), Some(&1), "job {id} was finished so many times");
    }
    let unfinished = "SELECT count(*) FROM minion.jobs WHERE state <> 'finished'";
    let mut client = database.connect();
    assert_eq!(client.one::<i64>(unfinished, &[]), 0);
    let too_early = "SELECT count(*) FROM minion.jobs WHERE started < created OR started < delayed OR finished < started";
    assert_eq!(client.one::<i64>(too_early, &[]), 0);
}

struct Worker<'a> {
    client: Client,
    id: i64,
    /// A queue that nobody else takes jobs from.
    own: String,
    random: fastrand::Rng,
    board: &'a Mutex<Board>,
    enqueued: usize,
}

struct Job {
    id: i64,
    retries: i32,
    priority: i32,
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Ok(mut board) = self.board.lock()
        {
            board.gave_up = true;
        }
    }
}

impl<'a> Worker<'a> {
    fn new(database: &Database, board: &'a Mutex<Board>, number: usize) -> Self {
        let mut client = database.connect();
        let id = client.register();
        let random = fastrand::Rng::with_seed(number as u64);
        Self { client, id, own: format!("own {number}"), random, board, enqueued: 0 }
    }

    fn work(&mut self) {
        loop {
            for _ in 0..3 {
                self.enqueue();
            }
            let jobs = self.claim();
            if jobs.is_empty() && self.enqueued == SHARE && self.nothing_is_left() {
                return;
            }
            self.end(jobs);
        }
    }

    fn enqueue(&mut self) {
        let count = self.random.usize(1..5).min(SHARE - self.enqueued);
        if count == 0 {
            return;
        }
        let parents: Vec<i64> = {
            let enqueued = &self.board.lock().unwrap().enqueued;
            let newest = &enqueued[enqueued.len().saturating_sub(1_000)..];
            let count = if newest.is_empty() { 0 } else { self.random.usize(0..4) };
            (0..count).map(|_| newest[self.random.usize(..newest.len())]).collect()
        };
        let queue = if self.random.bool() { "shared" } else { &self.own };
        let priority = self.random.i32(-2..3);
        let ids: Vec<i64> = match count {
            1 => self.client.all(
                "SELECT minion.enqueue(
                    'task', jsonb_build_array($2::int), $1, priority => $2, attempts => 3, parents => $3)",
                &[&queue, &priority, &parents],
            ),
            _ => self.client.all(
                "SELECT minion.enqueue_many(jsonb_agg(jsonb_build_object(
                    'task', 'task ' || number, 'args', jsonb_build_array($2::int), 'queue', $1::text,
                    'priority', $2::int,
                    'attempts', 3, 'parents', $3::bigint[])))
                 FROM generate_series(1, $4) AS number",
                &[&queue, &priority, &parents, &(count as i32)],
            ),
        };
        self.enqueued += ids.len();
        self.board.lock().unwrap().enqueued.extend(ids);
    }

    fn claim(&mut self) -> Vec<Job> {
        let queues = match self.random.u32(..3) {
            0 => vec![self.own.as_str()],
            1 => vec!["shared"],
            _ => vec!["shared", self.own.as_str()],
        };
        let most = if self.random.bool() { 1 } else { self.random.i32(2..20) };
        // The statement's own snapshot may be older than the jobs that it claims: ask the job itself.
        let sql = "
            SELECT id, retries, (args ->> 0)::int
            FROM minion.dequeue($1, queues => $2, max_jobs => $3)";
        let rows = self.client.query(sql, &[&self.id, &queues, &most]).unwrap();
        let jobs: Vec<Job> = rows
            .iter()
            .map(|row| Job { id: row.get(0), retries: row.get(1), priority: row.get(2) })
            .collect();
        assert!(
            jobs.is_sorted_by_key(|job| (-i64::from(job.priority), job.id)),
            "claimed out of order"
        );
        let mut board = self.board.lock().unwrap();
        assert!(!board.gave_up, "another worker failed");
        for job in &jobs {
            *board.attempts.entry((job.id, job.retries)).or_default() += 1;
        }
        jobs
    }

    /// Most jobs finish, some fail and some are retried in mid-run, until they have been tried three times.
    fn end(&mut self, jobs: Vec<Job>) {
        let mut good = Vec::new();
        for job in jobs {
            let Job { id, retries, .. } = job;
            let retried: Option<bool> =
                match self.random.u32(..10) {
                    _ if retries >= 2 => None,
                    0 => Some(self.client.one(
                        "SELECT minion.fail_job($1, $2, retry_delay => '0')",
                        &[&id, &retries],
                    )),
                    1 => Some(self.client.one("SELECT minion.retry_job($1, $2)", &[&id, &retries])),
                    _ => None,
                };
            match retried {
                None => good.push(job),
                Some(done) => {
                    assert!(done, "job {id} belonged to this worker alone");
                    let late = "SELECT minion.finish_job($1, $2)";
                    assert!(!self.client.one::<bool>(late, &[&id, &retries]), "an old handle");
                }
            }
        }
        let finished: Vec<i64> = match good.as_slice() {
            [] => Vec::new(),
            [job] => self
                .client
                .all("SELECT $1::bigint WHERE minion.finish_job($1, $2)", &[&job.id, &job.retries]),
            _ => {
                let ids: Vec<_> = good.iter().map(|job| job.id).collect();
                let retries: Vec<_> = good.iter().map(|job| job.retries).collect();
                self.client.all("SELECT minion.finish_jobs($1, $2)", &[&ids, &retries])
            }
        };
        assert_eq!(finished.len(), good.len(), "each belonged to this worker alone");
        let mut board = self.board.lock().unwrap();
        for id in finished {
            *board.finished.entry(id).or_default() += 1;
        }
    }

    /// Other workers may still put jobs that they hold back into a queue.
    fn nothing_is_left(&mut self) -> bool {
        if self.board.lock().unwrap().enqueued.len() < WORKERS * SHARE {
            return false;
        }
        let left = "
            SELECT NOT EXISTS (SELECT FROM minion.jobs WHERE state <> 'finished' AND queue = ANY ($1))";
        self.client.one(left, &[&vec!["shared", self.own.as_str()]])
    }
}

/// Jobs are enqueued in any order of priority, from other connections, while one worker takes from the
/// queue alone: what it gets must never be worse than a job whose enqueue had returned when it asked.
#[test]
fn a_worker_that_is_alone_with_its_queue_sees_its_order() {
    let database = Database::new();
    // How many jobs of a priority are known to be there; less than 0 if claimed before their enqueuer knew.
    let known: Mutex<HashMap<i32, i64>> = Mutex::default();
    thread::scope(|scope| {
        for number in 0..4 {
            let (mut client, known) = (database.connect(), &known);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                for _ in 0..500 {
                    let priority = random.i32(-5..6);
                    let sql =
                        "SELECT minion.enqueue('task', jsonb_build_array($1::int), priority => $1)";
                    client.one::<i64>(sql, &[&priority]);
                    *known.lock().unwrap().entry(priority).or_default() += 1;
                }
            });
        }
        let mut client = database.connect();
        let worker = client.register();
        let mut claimed = 0;
        while claimed < 2_000 {
            let best = {
                let known = known.lock().unwrap();
                known.iter().filter(|(_, count)| **count > 0).map(|(priority, _)| *priority).max()
            };
            let sql = "SELECT (args ->> 0)::int FROM minion.dequeue($1)";
            for priority in client.all::<i32>(sql, &[&worker]) {
                assert!(best.is_none_or(|best| priority >= best), "{priority} before {best:?}");
                *known.lock().unwrap().entry(priority).or_default() -= 1;
                claimed += 1;
            }
        }
    });
}
