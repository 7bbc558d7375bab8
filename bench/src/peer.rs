//! Other queues: small programs in their own languages, which bench/peers/ has. One process is one worker; it is given
//! one command a line and answers each with one line of JSON. It ends when its standard input does.

use crate::server::{Database, During, Outcome, Server, variable};
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

pub const WORKERS: usize = 4;

/// Modes that all programs have: the extension through the same driver.
pub const EXTENSION: &str = "extension";
pub const EXTENSION_IN_BATCHES: &str = "extension-batches";

pub struct Peer {
    pub name: &'static str,
    /// The mode in which it takes one job at a time, which is the name of its database too.
    pub mode: &'static str,
    /// The database of the extension in its race with this peer.
    pub extension: &'static str,
    /// Its best batched mode, if it has one.
    pub batches: Option<&'static str>,
    /// Under the folder of installed peers, or in PATH.
    interpreter: &'static str,
    script: &'static str,
    /// Or why it is missing.
    pub version: Result<String, String>,
}

impl Peer {
    pub fn all() -> Outcome<Vec<Peer>> {
        let new = |name, mode, extension, batches, interpreter, script| -> Outcome<Peer> {
            let mut peer = Peer {
                name,
                mode,
                extension,
                batches,
                interpreter,
                script,
                version: Err(String::new()),
            };
            peer.version = peer.probe()?;
            Ok(peer)
        };
        Ok(vec![
            new("Minion (Perl)", "minion", "against_minion", None, "perl", "minion.pl")?,
            new(
                "graphile-worker",
                "graphile",
                "against_graphile",
                Some("graphile-batches"),
                "node",
                "graphile.mjs",
            )?,
            new(
                "pgqueuer",
                "pgqueuer",
                "against_pgqueuer",
                Some("pgqueuer-batches"),
                "pgqueuer/bin/python",
                "pgqueuer_peer.py",
            )?,
        ])
    }

    fn command(&self, mode: &str) -> Outcome<Command> {
        let interpreter = match self.interpreter.contains('/') {
            true => format!("{}/{}", variable("PEERS")?, self.interpreter),
            false => self.interpreter.into(),
        };
        let mut command = Command::new(interpreter);
        command.arg(format!("{}/peers/{}", variable("BENCH")?, self.script)).arg(mode);
        Ok(command)
    }

    fn probe(&self) -> Outcome<Result<String, String>> {
        let output = match self.command("version")?.stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) => return Ok(Err(format!("{}: {error}", self.interpreter))),
        };
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(match output.status.success() {
            true => Ok(stdout.trim().into()),
            false => {
                // Perl says it first; the others say it in the line that is an error.
                let error = stderr.lines().find(|line| line.contains("Error: "));
                Err(error.or(stderr.lines().next()).unwrap_or("it does not run").trim().into())
            }
        })
    }

    /// Starts its workers.
    pub fn start(&self, mode: &str, database: &Database) -> Outcome<Crew> {
        let mut crew = Crew { name: format!("{} ({mode})", self.name), workers: Vec::new() };
        for i in 0..WORKERS {
            let mut command = self.command(mode)?;
            database.address(&mut command);
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .during(self.interpreter)?;
            let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                return Err("a worker has no standard input or output".into());
            };
            let lines = BufReader::new(stdout).lines();
            let mut worker = Worker { child, stdin: Some(stdin), lines };
            // The first one makes the tables, which the others find.
            if i == 0 {
                worker.answer(&crew.name)?;
            }
            crew.workers.push(worker);
        }
        for worker in &mut crew.workers[1..] {
            worker.answer(&crew.name)?;
        }
        Ok(crew)
    }
}

/// All peers, for the header.
pub fn versions(peers: &[Peer], pgq: &Result<String, String>) -> String {
    let mut texts: Vec<String> = Vec::new();
    for (name, version) in peers.iter().map(|peer| (peer.name, &peer.version)).chain([("pgq", pgq)])
    {
        texts.push(match version {
            Ok(version) => format!("{name} {version}"),
            Err(_) => format!("{name} is missing"),
        });
    }
    texts.join(", ")
}

/// pgq needs no program: it is SQL.
pub fn pgq(server: &Server) -> Outcome<Result<String, String>> {
    let version = "SELECT default_version FROM pg_available_extensions WHERE name = 'pgq'";
    let row = server.database("postgres").connect()?.query_opt(version, &[]).during("pgq")?;
    Ok(row.map(|row| row.get(0)).ok_or_else(|| "the extension pgq is not there".into()))
}

struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn say(&mut self, command: &str) -> Outcome<()> {
        let stdin = self.stdin.as_mut().ok_or("a worker has no standard input")?;
        writeln!(stdin, "{command}").during(command)
    }

    fn answer(&mut self, name: &str) -> Outcome<Value> {
        let Some(line) = self.lines.next() else { return Err(format!("{name} has ended").into()) };
        let line = line.during(name)?;
        serde_json::from_str(&line).map_err(|error| format!("{name}: {error}: {line}").into())
    }
}

pub struct Crew {
    name: String,
    workers: Vec<Worker>,
}

impl Crew {
    /// All at once.
    pub fn all(&mut self, command: &str) -> Outcome<Vec<Value>> {
        for worker in &mut self.workers {
            worker.say(command)?;
        }
        let name = &self.name;
        self.workers.iter_mut().map(|worker| worker.answer(name)).collect()
    }

    /// An empty queue, in which only these workers are registered.
    pub fn reset(&mut self) -> Outcome<()> {
        self.one("reset")?;
        self.all("register").map(drop)
    }

    /// Only the first one.
    pub fn one(&mut self, command: &str) -> Outcome<Value> {
        let worker = self.workers.first_mut().ok_or("no worker")?;
        worker.say(command)?;
        worker.answer(&self.name)
    }

    /// Jobs a second, of all workers together, until the last one is done.
    pub fn rate(&mut self, command: &str) -> Outcome<f64> {
        let (mut sum, mut longest) = (0.0, 0.0);
        for answer in self.all(command)? {
            let number = |key: &str| answer[key].as_f64().ok_or(format!("{}: {answer}", self.name));
            sum += number("jobs")?;
            longest = f64::max(longest, number("seconds")?);
        }
        match sum > 0.0 {
            true => Ok(sum / longest),
            false => Err(format!("{}: {command}: no job was done", self.name).into()),
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.stdin.take();
        }
        for worker in &mut self.workers {
            for _ in 0..50 {
                if !matches!(worker.child.try_wait(), Ok(None)) {
                    break;
                }
                thread::sleep(Duration::from_millis(100));
            }
            // One that has ended needs no kill, which is no error either.
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}
