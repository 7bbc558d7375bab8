//! How much of everything.

use crate::numbers::Rounds;
use crate::server::Outcome;
use std::env;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

pub struct Sizes {
    pub name: &'static str,
    /// Whether the result belongs into RESULTS.md.
    pub published: bool,
    /// No section begins later than that: a shared machine can be slow.
    pub latest_start: Duration,
    /// Every comparison is repeated so often, its variants taking turns.
    pub rounds: Rounds,
    /// Of one pgbench run.
    pub pgbench_seconds: u64,
    /// Of one run of the loops here.
    pub loop_seconds: f64,
    /// Of one run of the loops in the peers' languages, once to enqueue and once to work.
    pub race_seconds: f64,
    /// Jobs in front of a claim.
    pub front_jobs: i64,
    /// Claims of each round behind them.
    pub front_claims: usize,
    pub held_seconds: usize,
    /// The second that the last one is compared with.
    pub held_early: usize,
    pub held_repeats: usize,
    /// Of what is not jobs without limits.
    pub held_others_seconds: usize,
    pub waits: usize,
    /// Of each kind of those that may come late.
    pub late_jobs: usize,
    /// Of jobs that a listener is to hear of.
    pub bursts: usize,
    /// Old jobs that repair is behind with.
    pub backlog_jobs: i64,
    /// How long latencies are measured without them, and at most with them.
    pub backlog_seconds: [f64; 2],
    pub idle_settle_seconds: f64,
    pub idle_seconds: f64,
    pub big_rows: i64,
    pub few_calls: usize,
    pub many_calls: usize,
    /// Whether rates with 4 clients are measured without preload too, and the peers with a held snapshot.
    pub both: bool,
}

impl Sizes {
    pub fn chosen() -> Outcome<Sizes> {
        let quick = env::var("QUICK").unwrap_or_default();
        match quick.as_str() {
            "" | "0" => Ok(FULL),
            "1" => Ok(QUICK),
            "2" => Ok(SMOKE),
            other => Err(format!(
                "QUICK={other}: must be 0, 1 (5 minutes) or 2 (only to see that it runs)"
            )
            .into()),
        }
    }
}

const FULL: Sizes = Sizes {
    name: "full",
    published: true,
    latest_start: Duration::MAX,
    rounds: Rounds { number: 5, longest: Duration::from_secs(90) },
    pgbench_seconds: 3,
    loop_seconds: 1.5,
    race_seconds: 1.0,
    front_jobs: 1_000_000,
    front_claims: 40,
    held_seconds: 60,
    held_early: 5,
    held_repeats: 3,
    held_others_seconds: 60,
    waits: 300,
    late_jobs: 200,
    bursts: 100,
    backlog_jobs: 1_000_000,
    backlog_seconds: [20.0, 300.0],
    idle_settle_seconds: 17.0,
    idle_seconds: 10.0,
    big_rows: 5_000_000,
    few_calls: 100_000,
    many_calls: 1_000_000,
    both: true,
};

const QUICK: Sizes = Sizes {
    name: "quick",
    published: false,
    latest_start: Duration::from_secs(275),
    rounds: Rounds { number: 3, longest: Duration::from_secs(5) },
    pgbench_seconds: 1,
    loop_seconds: 0.5,
    race_seconds: 0.3,
    front_jobs: 100_000,
    front_claims: 20,
    held_seconds: 20,
    held_early: 3,
    held_repeats: 1,
    held_others_seconds: 10,
    waits: 30,
    late_jobs: 60,
    bursts: 30,
    backlog_jobs: 100_000,
    backlog_seconds: [3.0, 20.0],
    idle_settle_seconds: 2.0,
    idle_seconds: 2.0,
    big_rows: 500_000,
    few_calls: 1_500,
    many_calls: 15_000,
    both: false,
};

const SMOKE: Sizes = Sizes {
    name: "smoke",
    rounds: Rounds { number: 1, longest: Duration::ZERO },
    loop_seconds: 0.2,
    race_seconds: 0.2,
    front_jobs: 2_000,
    front_claims: 5,
    held_seconds: 4,
    held_others_seconds: 4,
    waits: 5,
    late_jobs: 20,
    bursts: 10,
    backlog_jobs: 20_000,
    backlog_seconds: [1.0, 10.0],
    idle_settle_seconds: 0.5,
    idle_seconds: 0.5,
    big_rows: 5_000,
    few_calls: 300,
    many_calls: 3_000,
    both: true,
    ..QUICK
};

impl Display for Sizes {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(
            f,
            "{} run: {} rounds of {} s (pgbench), {} s (loops), {} s (peers' loops); {} jobs in front of {} claims \
             a round; held snapshot {} s, {} times, others {} s; {} waits; {} jobs that may be late; {} bursts; {} old jobs; idle {} s; {} rows; {} and {} calls",
            self.name,
            self.rounds.number,
            self.pgbench_seconds,
            self.loop_seconds,
            self.race_seconds,
            self.front_jobs,
            self.front_claims,
            self.held_seconds,
            self.held_repeats,
            self.held_others_seconds,
            self.waits,
            self.late_jobs,
            self.bursts,
            self.backlog_jobs,
            self.idle_seconds,
            self.big_rows,
            self.few_calls,
            self.many_calls
        )
    }
}
