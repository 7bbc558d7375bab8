//! Random operations, and after each of them what a worker would get must be what a plain query over the
//! rules says. A failure prints the seed and the statements so far.

use integration::{Database, PATIENCE};
use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage};
use std::thread;
use std::time::{Duration, Instant};

const QUEUES: [&str; 3] = ["default", "mail", "Ä"];
const TASKS: [&str; 3] = ["a", "b", "c"];
/// Times are set to odd half hours from now and the clock is moved by whole hours, so that what is due
/// cannot change between two statements.
const HALF_HOURS: [i32; 3] = [1, 3, 5];

/// What may be claimed, by the rules alone.
const CLAIMABLE: &str = "
    SELECT job.id
    FROM minion.jobs AS job
    WHERE job.state = 'inactive'
      AND job.delayed <= clock_timestamp()
      AND (job.expires IS NULL OR job.expires > clock_timestamp())
      AND NOT EXISTS (
        SELECT FROM minion.jobs AS parent
        WHERE parent.id = ANY (job.parents)
          AND CASE parent.state
                WHEN 'finished' THEN false
                WHEN 'failed' THEN NOT job.lax
                WHEN 'active' THEN true
                WHEN 'inactive' THEN parent.expires IS NULL OR parent.expires > clock_timestamp()
              END)";

struct Connection {
    client: Client,
    in_transaction: bool,
    savepoints: u32,
}

struct Run {
    seed: u64,
    random: fastrand::Rng,
    connections: Vec<Connection>,
    /// The one that acts.
    at: usize,
    log: Vec<String>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("seed {}; the statements up to here:\n{}", self.seed, self.log.join(";\n"));
        }
    }
}

impl Run {
    fn new(database: &Database, seed: u64, connections: usize) -> Self {
        let connections = (0..connections)
            .map(|_| Connection {
                client: database.connect(),
                in_transaction: false,
                savepoints: 0,
            })
            .collect();
        let random = fastrand::Rng::with_seed(seed);
        let mut run = Self { seed, random, connections, at: 0, log: Vec::new() };
        for at in 0..run.connections.len() {
            run.at = at;
            for setting in [
                "minion.missing_after = 3600",
                "minion.remove_after = 7200",
                "minion.stuck_after = 14400",
                "minion.backoff_base = 1800",
                "minion.backoff_exponent = 0",
                "lock_timeout = 20",
            ] {
                run.must(&format!("SET {setting}"));
            }
        }
        run.must("SELECT minion.register_worker() FROM generate_series(1, 6)");
        run
    }

    fn connection(&mut self) -> &mut Connection {
        &mut self.connections[self.at]
    }

    /// The first column of what the statement returns; None if other transactions did not let it through.
    fn run(&mut self, sql: &str) -> Option<Vec<String>> {
        self.log.push(format!("/* {} */ {sql}", self.at));
        match self.connection().client.simple_query(sql) {
            Ok(messages) => Some(
                messages
                    .iter()
                    .filter_map(|message| match message {
                        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("").to_owned()),
                        _ => None,
                    })
                    .collect(),
            ),
            Err(error)
                if self.connections.len() > 1
                    && [&SqlState::LOCK_NOT_AVAILABLE, &SqlState::T_R_SERIALIZATION_FAILURE]
                        .contains(&error.code().unwrap_or(&SqlState::INTERNAL_ERROR)) =>
            {
                self.log.push(format!("-- {error:?}"));
                if self.connection().in_transaction {
                    self.must("ROLLBACK");
                    self.connection().in_transaction = false;
                }
                None
            }
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    fn must(&mut self, sql: &str) -> Vec<String> {
        self.run(sql).expect("nothing that could wait for another transaction")
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.usize(..from.len())]
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.u32(..100) < percent
    }

    fn queue(&mut self) -> &'static str {
        self.pick(&QUEUES)
    }

    fn priority(&mut self) -> i32 {
        self.pick(&[0, 0, 0, 1, 2, -1, -2, i32::MIN, i32::MAX])
    }

    fn worker(&mut self) -> usize {
        self.at * 2 + self.random.usize(1..3)
    }

    fn subset(&mut self, of: &[&str]) -> String {
        literal(of.iter().filter(|_| self.random.bool()))
    }

    fn span(&mut self) -> String {
        format!("'{} minutes'", 30 * self.pick(&HALF_HOURS))
    }

    fn past_or_future(&mut self) -> String {
        let sign = self.pick(&["+", "-"]);
        let span = self.span();
        format!("clock_timestamp() {sign} interval {span}")
    }

    /// Parents are mostly jobs that exist, now and then one that comes later or never.
    fn parents(&mut self) -> String {
        let newest = match self.jobs("true").last() {
            Some((id, _)) => *id,
            None => 0,
        };
        let count = self.random.usize(..4);
        literal((0..count).map(|_| self.random.i64((newest - 15).max(-1)..=newest + 2)))
    }

    /// The jobs that the acting connection sees, as (id, retries).
    fn jobs(&mut self, condition: &str) -> Vec<(i64, i32)> {
        let sql = format!("SELECT id, retries FROM minion.jobs WHERE {condition} ORDER BY id");
        let rows = self.connection().client.query(&sql, &[]).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// One of them, nearly always with the right `retries`.
    fn job(&mut self, condition: &str) -> Option<(i64, i32)> {
        let jobs = self.jobs(condition);
        let (id, retries) = (!jobs.is_empty()).then(|| self.pick(&jobs))?;
        Some((id, if self.chance(5) { retries + 1 } else { retries }))
    }

    /// Does something random; false if that came to nothing.
    fn step(&mut self) -> bool {
        match self.random.u32(..100) {
            0..20 => self.enqueue(),
            20..27 => self.enqueue_many(),
            27..42 => self.dequeue(),
            42..54 => self.finish(),
            54..62 => self.fail(),
            62..72 => self.retry(),
            72..76 => self.by_id("SELECT minion.remove_job(%)"),
            76..78 => self.by_id(r#"SELECT minion.note(%, '{"a": {"b": null}}')"#),
            78..82 => self.insert(),
            82..94 => self.update(),
            94..96 => self.repair(),
            _ => self.transaction(),
        }
    }

    fn enqueue(&mut self) -> bool {
        let (task, queue, priority) = (self.pick(&TASKS), self.queue(), self.priority());
        let mut sql =
            format!("SELECT minion.enqueue('{task}', queue => '{queue}', priority => {priority}");
        if self.chance(25) {
            sql += &format!(", delay => {}", self.span());
        }
        if self.chance(25) {
            sql += &format!(", expire => {}", self.span());
        }
        if self.chance(45) {
            sql += &format!(", parents => {}, lax => {}", self.parents(), self.random.bool());
        }
        if self.chance(40) {
            sql += ", attempts => 3";
        }
        self.run(&(sql + ")")).is_some()
    }

    fn enqueue_many(&mut self) -> bool {
        let jobs: Vec<_> = (0..self.random.usize(1..4))
            .map(|_| {
                let (task, queue, priority) = (self.pick(&TASKS), self.queue(), self.priority());
                let parents = self.parents().replace("'{", "[").replace("}'", "]");
                let delay = self.pick(&[0, 0, 1800, 5400]);
                format!(
                    r#"{{"task": "{task}", "queue": "{queue}", "priority": {priority},
                        "parents": {parents}, "delay": {delay}}}"#
                )
            })
            .collect();
        self.run(&format!("SELECT minion.enqueue_many('[{}]')", jobs.join(","))).is_some()
    }

    /// Claims for good, and compares with what was to be expected.
    fn dequeue(&mut self) -> bool {
        let queues = self.subset(&QUEUES);
        let mut arguments = format!("queues => {queues}");
        let mut filter = format!(" AND job.queue = ANY ({queues})");
        if self.chance(40) {
            let tasks = self.subset(&TASKS);
            arguments += &format!(", tasks => {tasks}");
            filter += &format!(" AND job.task = ANY ({tasks})");
        }
        if self.chance(30) {
            let least = self.priority();
            arguments += &format!(", min_priority => {least}");
            filter += &format!(" AND job.priority >= {least}");
        }
        if self.chance(15) {
            let (id, _) = self.job("true").unwrap_or((1, 0));
            arguments += &format!(", id => {id}");
            filter += &format!(" AND job.id = {id}");
        }
        let most = if self.chance(50) { 1 } else { self.random.i32(1..8) };
        // One of its own for each connection: they would wait for each other's heartbeats.
        let worker = self.worker();
        let expected = self
            .must(&format!("{CLAIMABLE} {filter} ORDER BY job.priority DESC, job.id LIMIT {most}"));
        if self.run(&format!("SELECT minion.register_worker({worker})")).is_none() {
            return false;
        }
        let call =
            format!("SELECT id FROM minion.dequeue({worker}, {arguments}, max_jobs => {most})");
        let Some(claimed) = self.run(&call) else { return false };
        // Others may hold, or have finished, what this connection sees.
        assert!(self.connections.len() > 1 || claimed == expected, "{claimed:?}, not {expected:?}");
        true
    }

    fn finish(&mut self) -> bool {
        if self.chance(30) {
            let mut jobs = self.jobs("state = 'active'");
            jobs.retain(|_| self.random.bool());
            self.random.shuffle(&mut jobs);
            let ids = literal(jobs.iter().map(|(id, _)| id));
            let retries = literal(jobs.iter().map(|(_, retries)| retries));
            return self.run(&format!("SELECT minion.finish_jobs({ids}, {retries})")).is_some();
        }
        let Some((id, retries)) = self.job("state = 'active'") else { return false };
        self.run(&format!("SELECT minion.finish_job({id}, {retries})")).is_some()
    }

    fn fail(&mut self) -> bool {
        let Some((id, retries)) = self.job("state = 'active'") else { return false };
        let delay = self.pick(&["", ", retry_delay => '0'", ", retry_delay => '90 minutes'"]);
        self.run(&format!("SELECT minion.fail_job({id}, {retries}{delay})")).is_some()
    }

    fn retry(&mut self) -> bool {
        let Some((id, retries)) = self.job("true") else { return false };
        let mut sql = format!("SELECT minion.retry_job({id}, {retries}");
        if self.chance(25) {
            sql += &format!(", delay => {}", self.span());
        }
        if self.chance(15) {
            sql += &format!(", expire => {}", self.span());
        }
        if self.chance(20) {
            sql += &format!(", lax => {}", self.random.bool());
        }
        if self.chance(25) {
            sql += &format!(", parents => {}", self.parents());
        }
        if self.chance(20) {
            sql += &format!(", priority => {}, queue => '{}'", self.priority(), self.queue());
        }
        if self.chance(20) {
            sql += ", attempts => 2";
        }
        self.run(&(sql + ")")).is_some()
    }

    fn by_id(&mut self, sql: &str) -> bool {
        let Some((id, _)) = self.job("true") else { return false };
        self.run(&sql.replace('%', &id.to_string())).is_some()
    }

    fn insert(&mut self) -> bool {
        let (task, queue, priority) = (self.pick(&TASKS), self.queue(), self.priority());
        let sql = match self.random.u32(..3) {
            0 => format!("INSERT INTO minion.jobs (task) VALUES ('{task}')"),
            1 => format!(
                "INSERT INTO minion.jobs (task, queue, priority, delayed, expires)
                 VALUES ('{task}', '{queue}', {priority}, {}, {})",
                self.past_or_future(),
                self.past_or_future()
            ),
            _ => format!(
                "INSERT INTO minion.jobs (task, queue, state, parents, lax)
                 SELECT '{task}', '{queue}', state, {}, {}
                 FROM unnest(enum_range(NULL::minion.job_state)) AS state",
                self.parents(),
                self.random.bool()
            ),
        };
        self.run(&sql).is_some()
    }

    /// One job or several at once.
    fn update(&mut self) -> bool {
        let Some((id, _)) = self.job("true") else { return false };
        let change = match self.random.u32(..9) {
            0 => format!("delayed = {}", self.past_or_future()),
            1 => format!("expires = {}", self.past_or_future()),
            2 => "expires = NULL".into(),
            3 => format!("parents = {}", self.parents()),
            4 => "lax = NOT lax".into(),
            5 => format!("priority = {}", self.priority()),
            6 => format!("queue = '{}', task = '{}'", self.queue(), self.pick(&TASKS)),
            7 => format!("state = '{}'", self.pick(&["inactive", "active", "failed", "finished"])),
            _ => format!(
                "delayed = {}, lax = false, state = '{}'",
                self.past_or_future(),
                self.pick(&["inactive", "failed", "finished"])
            ),
        };
        let filter = match self.chance(70) {
            true => format!("id = {id}"),
            false => format!("id % 5 = {}", id % 5),
        };
        let sql = match self.chance(8) {
            true => format!("DELETE FROM minion.jobs WHERE {filter}"),
            false => format!("UPDATE minion.jobs SET {change} WHERE {filter}"),
        };
        self.run(&sql).is_some()
    }

    fn repair(&mut self) -> bool {
        self.run("SELECT minion.repair()").is_some()
    }

    /// Opens a transaction, or goes on or ends the one that is open.
    fn transaction(&mut self) -> bool {
        let (many, inside) = (self.connections.len() > 1, self.connection().in_transaction);
        if !inside {
            let begin = match many && self.chance(30) {
                true => "BEGIN ISOLATION LEVEL REPEATABLE READ",
                false => "BEGIN",
            };
            self.must(begin);
            let connection = self.connection();
            (connection.in_transaction, connection.savepoints) = (true, 0);
            return false;
        }
        let savepoints = self.connection().savepoints;
        match self.random.u32(..10) {
            0..5 => {
                self.end();
                true
            }
            5..8 if savepoints > 0 => {
                let how = self.pick(&["RELEASE", "ROLLBACK TO"]);
                self.must(&format!("{how} SAVEPOINT s{savepoints}"));
                if how == "RELEASE" {
                    self.connection().savepoints -= 1;
                }
                true
            }
            _ => {
                self.must(&format!("SAVEPOINT s{}", savepoints + 1));
                self.connection().savepoints += 1;
                false
            }
        }
    }

    fn end(&mut self) {
        if self.connection().in_transaction {
            let how = self.pick(&["COMMIT", "COMMIT", "ROLLBACK"]);
            self.must(how);
            self.connection().in_transaction = false;
        }
    }

    /// Lets hours pass, which the table can't tell from its times being hours ago.
    fn let_hours_pass(&mut self) {
        let hours = self.random.i32(1..4);
        self.must("SET session_replication_role = replica");
        self.must(&format!(
            "UPDATE minion.jobs SET
                created = created - interval '{hours} hours',
                delayed = delayed - interval '{hours} hours',
                expires = expires - interval '{hours} hours',
                finished = finished - interval '{hours} hours',
                parked_until = parked_until - interval '{hours} hours'"
        ));
        self.must(&format!(
            "UPDATE minion.workers SET notified = notified - interval '{hours} hours'"
        ));
        self.must("SET session_replication_role = origin");
        // Shared memory has heard nothing of it, and would find out by itself only after a while.
        self.must("UPDATE minion.jobs SET priority = priority WHERE state = 'inactive'");
    }

    fn remove_done(&mut self) {
        if self.jobs("true").len() > 60 {
            self.must("DELETE FROM minion.jobs WHERE state = 'finished' OR id % 3 = 0");
        }
    }

    /// What a worker would get now, all at once or one by one. Nothing of it stays.
    fn would_claim(&mut self, one_by_one: bool) -> Vec<String> {
        let inside = self.connection().in_transaction;
        self.must(if inside { "SAVEPOINT probe" } else { "BEGIN" });
        let worker = self.worker();
        self.must(&format!("SELECT minion.register_worker({worker})"));
        let queues = QUEUES.join(",");
        let mut claimed = Vec::new();
        loop {
            let most = if one_by_one { 1 } else { 1_000 };
            let some = self.must(&format!(
                "SELECT id FROM minion.dequeue({worker}, queues => '{{{queues}}}', max_jobs => {most})"
            ));
            let end = some.is_empty() || !one_by_one;
            claimed.extend(some);
            if end {
                break;
            }
        }
        self.must(if inside { "ROLLBACK TO SAVEPOINT probe" } else { "ROLLBACK" });
        claimed
    }

    fn claimable(&mut self) -> Vec<String> {
        self.must(&format!("{CLAIMABLE} ORDER BY job.priority DESC, job.id"))
    }

    fn check(&mut self) {
        let expected = self.claimable();
        let one_by_one = self.chance(30);
        let claimed = self.would_claim(one_by_one);
        assert_eq!(claimed, expected, "left: claimed, right: by the rules");
    }
}

#[test]
fn after_any_operation_a_claim_gets_what_the_rules_say_in_their_order() {
    for seed in seeds(6) {
        let database = Database::new();
        let mut run = Run::new(&database, seed, 1);
        for _ in 0..300 {
            if run.step() {
                run.check();
            }
            if run.chance(4) {
                run.let_hours_pass();
                run.check();
            }
            run.remove_done();
        }
    }
}

/// Each of three connections acts in transactions of its own, which overlap; who has to wait for another
/// gives up. When all have ended, what they did to each other's jobs must have left the queue right.
#[test]
fn after_any_overlap_of_transactions_a_claim_gets_what_the_rules_say_in_their_order() {
    for seed in seeds(6) {
        let database = Database::new();
        let mut run = Run::new(&database, seed, 3);
        for _ in 0..60 {
            for _ in 0..run.random.u32(4..16) {
                run.at = run.random.usize(..3);
                if !run.connection().in_transaction && run.chance(40) {
                    run.transaction();
                }
                run.step();
            }
            for at in 0..3 {
                run.at = at;
                run.end();
            }
            if run.chance(30) {
                run.let_hours_pass();
            }
            run.remove_done();
            // A child whose parents were all locked is looked at again a moment later.
            let begin = Instant::now();
            while run.would_claim(false) != run.claimable() && begin.elapsed() < PATIENCE / 10 {
                thread::sleep(Duration::from_millis(20));
            }
            run.check();
        }
    }
}

/// An array as SQL writes it.
fn literal<T: ToString>(elements: impl Iterator<Item = T>) -> String {
    let elements: Vec<_> = elements.map(|element| element.to_string()).collect();
    format!("'{{{}}}'", elements.join(","))
}

/// SEED=n repeats the run that failed.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}
