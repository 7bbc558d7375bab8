//! Replace these by your own.

use crate::{Job, Outcome};
use postgres::Client;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{fs, thread};

/// Returns the job's result. An error fails the job, and the queue retries it while it has attempts left.
pub type Task = fn(&mut Client, &Job) -> Outcome<Value>;

/// Jobs of other tasks are left to other workers.
pub const TASKS: [(&str, Task); 2] = [("hash", hash), ("sum", sum)];

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
