//! A worker to copy: it takes jobs one at a time and runs the function of their task. SIGTERM, ^C and
//! `SELECT minion.broadcast('stop')` let it finish the job that it has, take no other, and end.
//!
//! Usage: `worker 'host=/run/postgresql user=postgres dbname=postgres' [attached]`. Attached: its jobs are given back as soon
//! as its connection has ended, where minion is in shared_preload_libraries.

mod heart;
mod server;
mod tasks;

use heart::Heart;
use postgres::Row;
use serde_json::{Value, json};
use server::{Answer, Attempt, Server};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::error::Error;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, process, thread};
use tasks::TASKS;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// What `minion.dequeue` returns.
pub struct Job {
    pub id: i64,
    pub args: Value,
    pub retries: i32,
    pub task: String,
}

const PAUSE: Duration = Duration::from_secs(1);

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
    let address =
        env::args().nth(1).ok_or("usage: worker 'host=... user=... dbname=...' [attached]")?;
    let register = match env::args().nth(2).as_deref() {
        None => "SELECT minion.register_worker(pid => $1)",
        Some("attached") => "SELECT minion.register_worker(pid => $1, attached => true)",
        Some(other) => return Err(format!("\"{other}\": only attached is known here").into()),
    };
    let mut server = Server::new(address.parse()?);
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stopping))?;
    }
    while !stopping.load(Ordering::Relaxed) {
        if let Err(error) = serve_as_one(&mut server, register, &stopping) {
            server::say("worker", &error);
            server.hang_up();
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// With one id. After an error there is another: what an answer that got lost has claimed is `repair()`'s. So there is
/// after a new connection: it is to the old one that the worker may be attached.
fn serve_as_one(server: &mut Server, register: &str, stopping: &Arc<AtomicBool>) -> Answer<()> {
    let worker: i64 =
        server.session()?.client.query_one(register, &[&(process::id() as i32)])?.get(0);
    // Unregisters the worker when it is dropped.
    let _heart = Heart::new(server.address.clone(), worker, Arc::clone(stopping));
    let names = TASKS.map(|(name, _)| name);
    let connections = server.connections;
    while !stopping.load(Ordering::Relaxed) && server.connections == connections {
        let session = server.session()?;
        let claimed = session.client.query_opt(&session.dequeue, &[&worker, &names.as_slice()])?;
        if let Some(row) = claimed {
            work(server, &row)?;
        }
    }
    Ok(())
}

fn work(server: &mut Server, row: &Row) -> Answer<()> {
    let attempt = Attempt { id: row.get(0), retries: row.get(2) };
    let ended = match run(server, row) {
        // What the server refuses, a result with U+0000 for instance, is an error of the task's.
        Ok(result) => server
            .end(&attempt, |session| &session.finish, &result)
            .or_else(|refusal| fail(server, &attempt, &server::text(&refusal))),
        Err(error) => fail(server, &attempt, &error.to_string()),
    };
    if !ended? {
        eprintln!("worker: job {}: attempt {} was no longer active", attempt.id, attempt.retries);
    }
    Ok(())
}

fn fail(server: &mut Server, attempt: &Attempt, reason: &str) -> Answer<bool> {
    server.end(attempt, |session| &session.fail, &json!(reason.replace('\0', "\\0")))
}

fn run(server: &mut Server, row: &Row) -> Outcome<Value> {
    // There is JSON that serde_json can't hold, such as 1e400.
    let job = Job { id: row.get(0), args: row.try_get(1)?, retries: row.get(2), task: row.get(3) };
    let (_, task) = TASKS.iter().find(|(name, _)| *name == job.task).ok_or("unknown task")?;
    let client = &mut server.session()?.client;
    panic::catch_unwind(AssertUnwindSafe(|| task(client, &job))).map_err(|_| "the task panicked")?
}
