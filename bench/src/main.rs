//! Measures minion against its bars and against other queues, on the two clusters that bench/run starts, and
//! prints a table. A full run also writes RESULTS.md and held_snapshot.svg.

mod backlog;
mod batches;
mod big;
mod claim;
mod enqueue;
mod front;
mod header;
mod held;
mod held_others;
mod idle;
mod late;
mod memory;
mod notify;
mod numbers;
mod peer;
mod pgbench;
mod picture;
mod queue;
mod race;
mod report;
mod server;
mod sizes;
mod waiting;

use peer::Peer;
use report::{Measured, Row};
use server::{Outcome, Server};
use sizes::Sizes;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs, path::PathBuf};

/// What every section needs.
pub struct Bench {
    pub sizes: Sizes,
    /// shared_preload_libraries = 'minion'
    pub preloaded: Server,
    pub plain: Server,
    pub peers: Vec<Peer>,
    /// The version of the extension pgq, or why it is missing.
    pub pgq: Result<String, String>,
    pub seed: u64,
}

struct Section {
    name: &'static str,
    /// Its place in the table; sections run in the order they are listed in.
    place: usize,
    measure: fn(&Bench) -> Outcome<Measured>,
}

/// The idle queue comes first, while the server has nothing to clean up; what writes gigabytes comes last.
const SECTIONS: [Section; 14] = [
    Section { name: "idle", place: 7, measure: idle::measure },
    Section { name: "waiting", place: 6, measure: waiting::measure },
    Section { name: "late", place: 6, measure: late::measure },
    Section { name: "enqueue", place: 0, measure: enqueue::measure },
    Section { name: "notify", place: 0, measure: notify::measure },
    Section { name: "claim", place: 1, measure: claim::measure },
    Section { name: "batches", place: 2, measure: batches::measure },
    Section { name: "race", place: 3, measure: race::measure },
    Section { name: "held", place: 5, measure: held::measure },
    Section { name: "held_others", place: 5, measure: held_others::measure },
    Section { name: "memory", place: 9, measure: memory::measure },
    Section { name: "backlog", place: 8, measure: backlog::measure },
    Section { name: "front", place: 4, measure: front::measure },
    Section { name: "big", place: 8, measure: big::measure },
];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False if a section failed, which a bar that is missed is not.
fn run() -> Outcome<bool> {
    let began = Instant::now();
    let seed = env::var("SEED").unwrap_or_else(|_| "1".into());
    let preloaded = Server::from_environment("with preload", "")?;
    let bench = Bench {
        sizes: Sizes::chosen()?,
        peers: Peer::all()?,
        pgq: peer::pgq(&preloaded)?,
        preloaded,
        plain: Server::from_environment("without preload", "PLAIN_")?,
        seed: seed.parse().map_err(|_| format!("SEED={seed}: must be a number"))?,
    };
    let only = env::var("ONLY").unwrap_or_default();
    let header = header::text(&bench)?;
    println!("{header}");

    let mut parts = Vec::new();
    let mut failed = false;
    for section in SECTIONS.iter().filter(|section| section.name.contains(&only)) {
        eprintln!("{:>4.0} s  {}", began.elapsed().as_secs_f64(), section.name);
        if began.elapsed() > bench.sizes.latest_start {
            parts.push((section.place, Row::not_measured(section.name, "no time left").into()));
            continue;
        }
        let measured = (section.measure)(&bench).unwrap_or_else(|error| {
            failed = true;
            eprintln!("bench: {}: {error}", section.name);
            Row::not_measured(section.name, &error.to_string()).into()
        });
        parts.push((section.place, measured));
        // Autovacuum would go on with them.
        for server in [&bench.preloaded, &bench.plain] {
            server.drop_databases().unwrap_or_else(|error| eprintln!("bench: {error}"));
        }
    }
    parts.sort_by_key(|(place, _)| *place);
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for (_, measured) in parts {
        rows.extend(measured.rows);
        lines.extend(measured.lines);
    }

    println!("{}", report::plain(&rows));
    let summary = report::summary(&rows);
    println!("{summary} ({:.0} s)", began.elapsed().as_secs_f64());
    if bench.sizes.published && only.is_empty() && !failed {
        let folder = PathBuf::from(server::variable("BENCH")?);
        let results = report::markdown(&header, &rows, &summary, began.elapsed());
        fs::write(folder.join("RESULTS.md"), results)?;
        fs::write(folder.join("held_snapshot.svg"), picture::draw(&lines))?;
    }
    Ok(!failed)
}
