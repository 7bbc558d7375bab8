//! pgbench as the measure: its prepared statements, its clients, its clock.

use crate::server::{Database, During, Outcome};
use std::io::Write;
use std::process::{Command, Stdio};

pub struct Run<'a> {
    pub database: &'a Database,
    pub script: &'a str,
    pub clients: usize,
    pub seconds: u64,
    pub seed: u64,
    /// Values for the variables of the script.
    pub define: &'a [(&'a str, i64)],
    /// Settings for the sessions, as in PGOPTIONS.
    pub options: &'a str,
}

pub struct Result {
    /// Transactions per second, without the time it takes to connect.
    pub rate: f64,
    pub transactions: i64,
}

impl Run<'_> {
    /// Once more if not one transaction came through: then the disk stood still.
    pub fn run(&self) -> Outcome<Result> {
        for _ in 0..3 {
            if let Some(result) = self.once()? {
                return Ok(result);
            }
        }
        Err("pgbench: not one transaction in three runs".into())
    }

    fn once(&self) -> Outcome<Option<Result>> {
        let mut command = Command::new("pgbench");
        self.database.address(&mut command);
        command.args(["--no-vacuum", "--protocol=prepared", "--file=-"]);
        command.arg(format!("--client={}", self.clients));
        command.arg(format!("--jobs={}", self.clients.min(2)));
        command.arg(format!("--time={}", self.seconds));
        command.arg(format!("--random-seed={}", self.seed));
        for (name, value) in self.define {
            command.arg(format!("--define={name}={value}"));
        }
        command.env("PGOPTIONS", self.options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().during("pgbench")?;
        let mut stdin = child.stdin.take().ok_or("pgbench has no standard input")?;
        stdin.write_all(self.script.as_bytes()).during("pgbench")?;
        drop(stdin);
        let output = child.wait_with_output().during("pgbench")?;
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("error")).collect();
        if !output.status.success() || !errors.is_empty() {
            let reason = errors.first().copied().unwrap_or(stderr.trim());
            return Err(format!("pgbench: {reason}").into());
        }
        let value = |label: &str| -> Option<f64> {
            let rest = stdout.lines().find_map(|line| line.strip_prefix(label))?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let transactions = value("number of transactions actually processed: ")
            .ok_or("pgbench printed no number of transactions")? as i64;
        if transactions == 0 {
            return Ok(None);
        }
        let rate = value("tps = ").ok_or("pgbench printed no tps")?;
        Ok(Some(Result { rate, transactions }))
    }
}
