//! The same work as other queues, with as many workers, through the same driver: jobs are enqueued for a while and
//! worked off, by the peer and by the extension in turns.

use crate::Bench;
use crate::numbers::{median, per_second, ratios, take_turns};
use crate::peer::{Crew, EXTENSION, EXTENSION_IN_BATCHES, Peer, WORKERS};
use crate::report::{Bar, Measured, Row};
use crate::server::{Database, Outcome};

/// Jobs per second.
#[derive(Clone, Copy)]
struct Rates {
    enqueue: f64,
    work: f64,
}

impl Rates {
    /// Through its whole life.
    fn life(&self) -> f64 {
        1.0 / (1.0 / self.enqueue + 1.0 / self.work)
    }
}

pub fn measure(bench: &Bench) -> Outcome<Measured> {
    let mut rows = Vec::new();
    for peer in &bench.peers {
        match &peer.version {
            Err(reason) => rows.push(Row::missing(&format!("against {}", peer.name), reason)),
            Ok(_) => rows.extend(against(bench, peer).unwrap_or_else(|error| {
                vec![Row::not_measured(&format!("against {}", peer.name), &error.to_string())]
            })),
        }
    }
    Ok(rows.into())
}

fn against(bench: &Bench, peer: &Peer) -> Outcome<Vec<Row>> {
    let own = bench.preloaded.create(peer.mode)?;
    let extension = bench.preloaded.create_queue(peer.extension)?;
    let mut modes =
        vec![(EXTENSION, &extension), (EXTENSION_IN_BATCHES, &extension), (peer.mode, &own)];
    modes.extend(peer.batches.map(|mode| (mode, &own)));
    let mut crews = modes
        .iter()
        .map(|(mode, database)| peer.start(mode, database))
        .collect::<Outcome<Vec<_>>>()?;
    let rates = take_turns(bench.sizes.rounds, crews.len(), |i, _| {
        race(&mut crews[i], modes[i].1, bench.sizes.race_seconds)
    })?;

    let (one, batches) = match peer.batches {
        // The bars against Minion are its multiples; it has no batches.
        None => (Bar::AtLeast(2.5), Bar::AtLeast(25.0)),
        Some(_) => (Bar::Above(1.0), Bar::Above(1.0)),
    };
    let best = rates.len() - 1;
    let mut rows = Vec::new();
    for (what, here, base, bar) in [("one by one", 0, 2, one), ("in batches", 1, best, batches)] {
        let name = format!("against {}, {what}, {WORKERS} workers", peer.name);
        let part =
            |rates: &[Rates], of: fn(&Rates) -> f64| rates.iter().map(of).collect::<Vec<_>>();
        let mut row = |name: String, of: fn(&Rates) -> f64, bar| {
            let (here, base) = (part(&rates[here], of), part(&rates[base], of));
            let (a, b) = (per_second(median(&here)), per_second(median(&base)));
            rows.push(Row::ratio(name, a, b, &ratios(&here, &base), bar));
        };
        row(name, Rates::life, bar);
        row("    of which enqueue".into(), |rates| rates.enqueue, Bar::None);
        row("    of which dequeue + finish".into(), |rates| rates.work, Bar::None);
    }
    Ok(rows)
}

fn race(crew: &mut Crew, database: &Database, seconds: f64) -> Outcome<Rates> {
    crew.reset()?;
    let enqueue = crew.rate(&format!("enqueue {seconds}"))?;
    // What autovacuum would do in a while: without statistics some queues' plans are bad.
    database.run("ANALYZE")?;
    let work = crew.rate(&format!("work {seconds}"))?;
    Ok(Rates { enqueue, work })
}
