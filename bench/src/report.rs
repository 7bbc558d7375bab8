//! Rows, verdicts, and the two forms of the table.

use crate::numbers::{median, percentile};
use crate::picture::Line;
use std::time::Duration;

pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
    Above(f64),
    /// In the table for information.
    None,
}

impl Bar {
    fn met(&self, value: f64) -> Option<bool> {
        match *self {
            Bar::AtLeast(bar) => Some(value >= bar),
            Bar::AtMost(bar) => Some(value <= bar),
            Bar::Above(bar) => Some(value > bar),
            Bar::None => None,
        }
    }

    fn ratio_text(&self) -> String {
        match self {
            Bar::AtLeast(bar) => format!("≥ {bar:.2} ×"),
            Bar::AtMost(bar) => format!("≤ {bar:.2} ×"),
            Bar::Above(bar) => format!("> {bar:.2} ×"),
            Bar::None => String::new(),
        }
    }
}

pub struct Row {
    what: String,
    here: String,
    against: String,
    ratio: String,
    /// The lowest and the highest of the rounds' ratios, and how many there are.
    rounds: String,
    bar: String,
    verdict: String,
}

const PASS: &str = "PASS";
const SHORT: &str = "SHORT";
const NOT_MEASURED: &str = "not measured";
const MISSING: &str = "missing";

fn short(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
}

fn verdict(met: Option<bool>) -> String {
    match met {
        Some(true) => PASS,
        Some(false) => SHORT,
        None => "",
    }
    .into()
}

impl Row {
    /// The median of ratios of two measurements.
    pub fn ratio(
        what: impl Into<String>,
        here: String,
        against: String,
        ratios: &[f64],
        bar: Bar,
    ) -> Row {
        let ratio = median(ratios);
        let rounds = match ratios.len() {
            0 | 1 => String::new(),
            n => format!(
                "{}–{} ({n})",
                short(percentile(ratios, 0.0)),
                short(percentile(ratios, 1.0))
            ),
        };
        Row {
            what: what.into(),
            here,
            against,
            ratio: short(ratio),
            rounds,
            bar: bar.ratio_text(),
            verdict: verdict(bar.met(ratio)),
        }
    }

    /// A value that has a limit of its own, which `limit` puts in words.
    pub fn value(what: impl Into<String>, here: String, value: f64, bar: Bar, limit: &str) -> Row {
        Row {
            what: what.into(),
            here,
            against: String::new(),
            ratio: String::new(),
            rounds: String::new(),
            bar: limit.into(),
            verdict: verdict(bar.met(value)),
        }
    }

    /// With what it is to be compared with by eye.
    pub fn beside(self, against: String) -> Row {
        Row { against, ..self }
    }

    pub fn not_measured(what: &str, reason: &str) -> Row {
        Row::without_value(what, NOT_MEASURED, reason)
    }

    pub fn missing(what: &str, reason: &str) -> Row {
        Row::without_value(what, MISSING, reason)
    }

    fn without_value(what: &str, verdict: &str, reason: &str) -> Row {
        let reason: String = reason.lines().next().unwrap_or_default().chars().take(70).collect();
        Row {
            what: what.into(),
            here: String::new(),
            against: reason,
            ratio: String::new(),
            rounds: String::new(),
            bar: String::new(),
            verdict: verdict.into(),
        }
    }

    fn cells(&self) -> [&str; CELLS] {
        [&self.what, &self.here, &self.against, &self.ratio, &self.rounds, &self.bar, &self.verdict]
    }
}

/// What a section yields.
pub struct Measured {
    pub rows: Vec<Row>,
    pub lines: Vec<Line>,
}

impl From<Vec<Row>> for Measured {
    fn from(rows: Vec<Row>) -> Self {
        Measured { rows, lines: Vec::new() }
    }
}

impl From<Row> for Measured {
    fn from(row: Row) -> Self {
        vec![row].into()
    }
}

const CELLS: usize = 7;
const HEADINGS: [&str; CELLS] = ["what", "here", "against", "ratio", "rounds", "bar", ""];
const TO_THE_RIGHT: [bool; CELLS] = [false, true, true, true, true, true, false];

/// For a terminal.
pub fn plain(rows: &[Row]) -> String {
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|i| {
            let cells = rows.iter().map(|row| row.cells()[i].chars().count());
            cells.max().unwrap_or(0).max(HEADINGS[i].chars().count())
        })
        .collect();
    let line = |cells: [&str; CELLS]| {
        let mut text = String::new();
        for (i, cell) in cells.iter().enumerate() {
            let width = widths[i];
            let padded =
                if TO_THE_RIGHT[i] { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            text += &padded;
            text += "  ";
        }
        text.trim_end().to_string() + "\n"
    };
    let mut text = line(HEADINGS);
    text += &format!("{}\n", "-".repeat(widths.iter().sum::<usize>() + 2 * (HEADINGS.len() - 1)));
    for row in rows {
        text += &line(row.cells());
    }
    text
}

pub fn summary(rows: &[Row]) -> String {
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let mut text = format!("{} PASS, {} SHORT", count(PASS), count(SHORT));
    for verdict in [MISSING, NOT_MEASURED] {
        if count(verdict) > 0 {
            text += &format!(", {} {verdict}", count(verdict));
        }
    }
    text
}

const INTRODUCTION: &str = "\
# Results

The last full run of `make bench`. Each row compares two things that were measured in turn, in the same run: the values
are medians of the rounds, the ratio is the median of the rounds' ratios, beside it are the lowest, the highest and the
number of these. Rows without a bar are for information.
[README.md](README.md) says what is measured, and how.
";

/// For RESULTS.md.
pub fn markdown(header: &str, rows: &[Row], summary: &str, took: Duration) -> String {
    let minutes = took.as_secs() / 60;
    let mut text =
        format!("{INTRODUCTION}\n```text\n{header}```\n\n**{summary}**, in {minutes} minutes.\n\n");
    text += &format!("| {} |\n", HEADINGS.join(" | "));
    let rules = TO_THE_RIGHT.map(|right| if right { "--:" } else { ":--" });
    text += &format!("| {} |\n", rules.join(" | "));
    for row in rows {
        text += &format!("| {} |\n", row.cells().map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text + "\n## With a snapshot held open\n\n![Jobs per second over time](held_snapshot.svg)\n"
}
