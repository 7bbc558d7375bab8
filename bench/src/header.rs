//! What ran where: machine, versions, settings.

use crate::Bench;
use crate::numbers::{milliseconds, percentile};
use crate::peer;
use crate::server::{During, Outcome, Server};
use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

const SETTINGS: &str = "
    SELECT name, current_setting(name)
    FROM unnest(ARRAY['shared_preload_libraries', 'fsync', 'synchronous_commit', 'wal_level', 'shared_buffers',
        'max_wal_size', 'checkpoint_timeout', 'max_connections', 'autovacuum', 'jit']) AS name";

pub fn text(bench: &Bench) -> Outcome<String> {
    let mut client = bench.preloaded.database("postgres").connect()?;
    let row = client
        .query_one(
            "SELECT current_setting('server_version'), to_char(now(), 'YYYY-MM-DD'),
                (SELECT default_version FROM pg_available_extensions WHERE name = 'minion')",
            &[],
        )
        .during("the server's version")?;
    let (server, day): (String, String) = (row.get(0), row.get(1));
    let version: Option<String> = row.get(2);
    let version = version.ok_or("the extension is not installed in this server")?;

    let mut lines = vec![
        format!("minion {version}, PostgreSQL {server}, {day}"),
        machine()?,
        format!("peers: {}", peer::versions(&bench.peers, &bench.pgq)),
        disk(bench)?,
        bench.sizes.to_string(),
        format!(
            "seed {}; 1 to 16 clients for pgbench, 4 workers elsewhere where nothing else is said",
            bench.seed
        ),
    ];
    for server in [&bench.preloaded, &bench.plain] {
        lines.push(format!("{}: {}", server.label, settings(server)?));
    }
    Ok(lines.join("\n") + "\n")
}

fn settings(server: &Server) -> Outcome<String> {
    let rows = server.database("postgres").connect()?.query(SETTINGS, &[]).during("settings")?;
    let settings: Vec<String> = rows
        .iter()
        .map(|row| {
            let (name, value): (String, String) = (row.get(0), row.get(1));
            format!("{name}={}", if value.is_empty() { "''" } else { &value })
        })
        .collect();
    Ok(settings.join(" "))
}

/// What a commit waits for, on the disk of the clusters.
fn disk(bench: &Bench) -> Outcome<String> {
    let path = format!("{}/bench-disk", bench.preloaded.host);
    let mut file = File::create(&path).during(&path)?;
    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        let write = Instant::now();
        file.write_all(&[0; 8192]).during(&path)?;
        file.sync_data().during(&path)?;
        times.push(write.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(&path).during(&path)?;
    let [p50, p95, p100] = [0.5, 0.95, 1.0].map(|p| milliseconds(percentile(&times, p)));
    Ok(format!("8 kB written and flushed to disk: p50 {p50}, p95 {p95}, at most {p100}"))
}

fn machine() -> Outcome<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").during("/proc/cpuinfo")?;
    let memory = fs::read_to_string("/proc/meminfo").during("/proc/meminfo")?;
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |text: &str, name: &str, separator: char| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(separator)?.1.trim().trim_matches('"').to_string())
    };
    let model = field(&cpu, "model name", ':').unwrap_or_else(|| "unknown processor".into());
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kilobytes: f64 = field(&memory, "MemTotal", ':')
        .and_then(|size| size.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::NAN);
    let system = field(&system, "PRETTY_NAME", '=').unwrap_or_else(|| "Linux".into());
    Ok(format!("{model}, {cores} cores, {:.0} GiB of memory, {system}", kilobytes / 1_048_576.0))
}
