//! A worker to copy: it takes jobs one at a time, runs the function of their task, and ends when somebody
//! calls `SELECT minion.broadcast('stop')`.
//!
//! Usage: `worker 'host=/run/postgresql user=postgres dbname=postgres'`

use postgres::{Client, NoTls};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::error::Error;
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What `minion.dequeue` returns.
struct Job {
    id: i64,
    args: Value,
    retries: i32,
    task: String,
}

/// Returns the job's result. An error fails the job, and the queue retries it while it has attempts left.
type Task = fn(&mut Client, &Job) -> Outcome<Value>;

/// Replace these by your own. Jobs of other tasks are left to other workers.
const TASKS: [(&str, Task); 2] = [("hash", hash), ("sum", sum)];

/// Much shorter than minion.missing_after, after which `minion.repair()` takes a silent worker for dead. Tasks
/// that may run longer than that need a heartbeat from a second thread, with a connection of its own.
const HEARTBEAT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Outcome<()> {
    let server = env::args().nth(1).ok_or("usage: worker 'host=... user=... dbname=...'")?;
    let mut client = Client::connect(&server, NoTls)?;
    let worker = register(&mut client, None)?;
    // After an error, as after a crash, the worker stays registered: repair() gives its job back.
    work(&mut client, worker)?;
    client.execute("SELECT minion.unregister_worker($1)", &[&worker])?;
    Ok(())
}

/// With an id this is the heartbeat.
fn register(client: &mut Client, worker: Option<i64>) -> Outcome<i64> {
    let pid = process::id() as i32;
    let register = "SELECT minion.register_worker(id => $1, pid => $2)";
    Ok(client.query_one(register, &[&worker, &pid])?.get(0))
}

fn work(client: &mut Client, worker: i64) -> Outcome<()> {
    // Prepared once, because the server would otherwise parse them again for each job.
    let dequeue = client.prepare(
        "SELECT id, args, retries, task
        FROM minion.dequeue($1, wait => '0.5 s', tasks => $2)",
    )?;
    let finish = client.prepare("SELECT minion.finish_job($1, $2, $3)")?;
    let fail = client.prepare("SELECT minion.fail_job($1, $2, $3)")?;
    let names = TASKS.map(|(name, _)| name);

    let mut heartbeat = Instant::now();
    loop {
        if heartbeat.elapsed() >= HEARTBEAT {
            register(client, Some(worker))?;
            if told_to_stop(client, worker)? {
                return Ok(());
            }
            heartbeat = Instant::now();
        }
        let Some(row) = client.query_opt(&dequeue, &[&worker, &names.as_slice()])? else {
            continue;
        };
        let job = Job { id: row.get(0), args: row.get(1), retries: row.get(2), task: row.get(3) };
        // Both return false, and change nothing, if repair() has given the job to somebody else meanwhile.
        match run(client, &job) {
            Ok(result) => client.execute(&finish, &[&job.id, &job.retries, &result])?,
            Err(error) => {
                client.execute(&fail, &[&job.id, &job.retries, &json!(error.to_string())])?
            }
        };
    }
}

/// Commands come as `[[command, argument, …], …]`.
fn told_to_stop(client: &mut Client, worker: i64) -> Outcome<bool> {
    let inbox: Value = client.query_one("SELECT minion.receive($1)", &[&worker])?.get(0);
    Ok(inbox.as_array().is_some_and(|commands| commands.iter().any(|command| command[0] == "stop")))
}

fn run(client: &mut Client, job: &Job) -> Outcome<Value> {
    let (_, task) = TASKS.iter().find(|(name, _)| *name == job.task).ok_or("unknown task")?;
    task(client, job)
}

/// `[path]` → the file's SHA-256 and size.
fn hash(_: &mut Client, job: &Job) -> Outcome<Value> {
    let path = job.args[0].as_str().ok_or("the first argument must be a path")?;
    if job.retries == 0 {
        mishap(&job.args[1])?;
    }
    let content = fs::read(path)?;
    let digest: String =
        Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({ "sha256": digest, "bytes": content.len() }))
}

/// What a second argument lets go wrong on the first attempt, to show what the queue does then.
fn mishap(kind: &Value) -> Outcome<()> {
    match kind.as_str() {
        Some("fail") => Err("failed on purpose".into()),
        Some("hang") => loop {
            thread::park();
        },
        _ => Ok(()),
    }
}

/// A child runs when all its parents have finished, and finds their results in their rows.
fn sum(client: &mut Client, job: &Job) -> Outcome<Value> {
    let row = client.query_one(
        "SELECT jsonb_build_object('files', count(*), 'bytes', sum((parent.result->>'bytes')::bigint))
        FROM minion.jobs AS child
        JOIN minion.jobs AS parent ON parent.id = ANY (child.parents)
        WHERE child.id = $1",
        &[&job.id],
    )?;
    Ok(row.get(0))
}
