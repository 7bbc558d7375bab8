//! The README's worker, as it is printed there, with tasks of the tests'.

use crate::heads::run;
use crate::{Ask, Database, until};
use postgres::Client;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

/// Beside the README's code. What a job does is said in a table, for whoever wants to look.
const TASKS: &str = r#"
import functools, os, sys, time
import psycopg, readme

class Connection(psycopg.Connection):
    """Loses, once, the answer to the statement that it is told to."""
    losing = os.environ["LOSING"]

    def execute(self, query, *values):
        cursor = super().execute(query, *values)
        if Connection.losing and Connection.losing in query and cursor.rowcount:
            Connection.losing = None
            self.close()
            raise psycopg.OperationalError("the answer got lost")
        return cursor

readme.connect = functools.partial(Connection.connect, **readme.connect.keywords)

def ran(name):
    with readme.connect() as db:
        db.execute("INSERT INTO public.ran VALUES (%s)", [name])

def hold(name):
    """Until there is that file."""
    ran(name)
    while not os.path.exists(name):
        time.sleep(0.01)
    return "held"

def nested():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep

BAD = {"NUL": "a\0b", "surrogate": "a\ud800b", "NaN": float("nan"), "infinity": float("inf"), "set": {1}, "bytes": b"a",
       "key": {"a\0b": 1}, "nested": nested()}

def value(name):
    return BAD[name]

def error(name):
    raise ValueError(BAD[name])

class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no text")

def unspeakable():
    raise Unspeakable()

readme.TASKS = {"ran": ran, "hold": hold, "value": value, "error": error, "exit": sys.exit, "unspeakable": unspeakable}
readme.HEARTBEAT = 0.2
readme.Worker().run()
"#;

/// Makes a module of the README's code, and runs the tasks with it.
const MAIN: &str = "
import sys, types
readme = sys.modules['readme'] = types.ModuleType('readme')
exec(sys.argv[1], readme.__dict__)
exec(sys.argv[2], {'__name__': 'tasks'})
";

/// A process, which is killed when the test ends.
pub struct Worker {
    process: Child,
    log: PathBuf,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// The README's only block of Python.
fn code() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let mut blocks = text.split("\n```python\n").skip(1);
    let block = blocks.next().expect("the README has a worker in Python");
    assert_eq!(blocks.next(), None, "the README has one worker in Python");
    block.split("\n```\n").next().expect("a block ends").to_owned()
}

impl Worker {
    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// What it has logged.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its id, if it is registered.
    pub fn id(&self, queue: &mut Queue) -> Option<i64> {
        let pid = self.process.id() as i32;
        queue.client.one("SELECT max(id) FROM minion.workers WHERE pid = $1", &[&pid])
    }

    fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended by itself, with success.
    pub fn ends_well(mut self) {
        until("the worker ends", || self.has_ended());
        assert!(self.process.wait().unwrap().success(), "{}", self.said());
    }

    /// Waits until it has been killed.
    pub fn is_killed(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A queue, and a table in which tasks say that they have run.
pub struct Queue {
    // Dropped before the database.
    pub client: Client,
    pub database: Database,
    workers_started: u32,
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.gate());
    }
}

impl Queue {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let database = Database::new();
        let mut client = database.connect();
        run(
            &mut client,
            "CREATE TABLE public.ran (name text);
             SET minion.backoff_base = 0",
        );
        Self { client, database, workers_started: 0 }
    }

    /// One that need not be there yet, and loses the answer to a statement with that word in it.
    fn spawn_worker_losing(&mut self, word: &str) -> Worker {
        self.workers_started += 1;
        let name = format!("{}_{}", self.database.name, self.workers_started);
        let log = env::temp_dir().join(format!("minion_{name}.log"));
        let process = Command::new("/usr/bin/python3")
            .args(["-B", "-c", MAIN, &code(), TASKS])
            .env("PGDATABASE", &self.database.name)
            .env("PGOPTIONS", "-c minion.backoff_base=0")
            .env("PGAPPNAME", "readme")
            .env("LOSING", word)
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .expect("/usr/bin/python3, which make setup installs");
        Worker { process, log }
    }

    /// One that need not be there yet.
    pub fn spawn_worker(&mut self) -> Worker {
        self.spawn_worker_losing("")
    }

    pub fn start_worker(&mut self) -> Worker {
        self.start_worker_losing("")
    }

    /// It loses, once, the answer to a statement with that word in it.
    pub fn start_worker_losing(&mut self, word: &str) -> Worker {
        let mut worker = self.spawn_worker_losing(word);
        until("the worker is registered", || {
            assert!(!worker.has_ended(), "{}", worker.said());
            worker.id(self).is_some()
        });
        worker
    }

    /// One that waits in dequeue.
    pub fn start_waiting_worker(&mut self) -> Worker {
        let worker = self.start_worker();
        let waits = "
            SELECT count(*) > 0
            FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'active' AND wait_event_type = 'Extension'";
        until("the worker waits", || self.client.one(waits, &[]));
        worker
    }

    pub fn enqueue(&mut self, task: &str, argument: &str) -> i64 {
        let enqueue = "SELECT minion.enqueue($1, jsonb_build_array($2::text), attempts => 2)";
        self.client.one(enqueue, &[&task, &argument])
    }

    /// A job that runs until [`Queue::release`].
    pub fn hold(&mut self) -> i64 {
        let gate = self.gate();
        let job = self.enqueue("hold", gate.to_str().expect("a path in UTF-8"));
        until("the job runs", || self.runs() == 1);
        job
    }

    pub fn release(&mut self) {
        fs::write(self.gate(), "").unwrap();
    }

    fn gate(&self) -> PathBuf {
        env::temp_dir().join(format!("minion_{}.gate", self.database.name))
    }

    /// How many tasks have begun.
    pub fn runs(&mut self) -> i64 {
        self.client.one("SELECT count(*) FROM public.ran", &[])
    }

    pub fn state(&mut self, job: i64) -> String {
        self.client.one("SELECT state::text FROM minion.jobs WHERE id = $1", &[&job])
    }

    pub fn until_state(&mut self, job: i64, state: &str) {
        until(&format!("job {job} is {state}"), || self.state(job) == state);
    }

    pub fn result(&mut self, job: i64) -> Value {
        self.client.one("SELECT result FROM minion.jobs WHERE id = $1", &[&job])
    }

    pub fn retries(&mut self, job: i64) -> i32 {
        self.client.one("SELECT retries FROM minion.jobs WHERE id = $1", &[&job])
    }

    pub fn workers(&mut self) -> i64 {
        self.client.one("SELECT count(*) FROM minion.workers", &[])
    }

    /// Ends the connection in which the worker dequeues.
    pub fn disconnect(&mut self) {
        let terminate = "
            WITH backend AS MATERIALIZED (
                SELECT pid
                FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'readme' AND query LIKE '%dequeue%'
            )
            SELECT count(pg_terminate_backend(pid)) FROM backend";
        assert_eq!(self.client.one::<i64>(terminate, &[]), 1);
    }
}
