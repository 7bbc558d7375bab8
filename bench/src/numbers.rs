//! Medians, and how numbers are shown.

use crate::server::Outcome;
use std::time::{Duration, Instant};

/// The value below which the share `p` of all lies. NaN of nothing.
pub fn percentile(values: &[f64], p: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n => sorted[(((n - 1) as f64) * p).round() as usize],
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (n, middle) if n.is_multiple_of(2) => (sorted[middle - 1] + sorted[middle]) / 2.0,
        (_, middle) => sorted[middle],
    }
}

/// The rounds' ratios. Two values of one round were taken within seconds of each other, so a machine that is slower
/// for a while slows down both.
pub fn ratios(here: &[f64], against: &[f64]) -> Vec<f64> {
    here.iter().zip(against).map(|(a, b)| a / b).collect()
}

#[derive(Clone, Copy)]
pub struct Rounds {
    pub number: usize,
    pub longest: Duration,
}

/// Measures every variant once a round, each round beginning with another one, and no more rounds when it takes too
/// long. The result has the rounds' values of each variant.
pub fn take_turns<T>(
    Rounds { number, longest }: Rounds,
    variants: usize,
    mut measure: impl FnMut(usize, usize) -> Outcome<T>,
) -> Outcome<Vec<Vec<T>>> {
    let mut values: Vec<Vec<T>> = (0..variants).map(|_| Vec::new()).collect();
    let began = Instant::now();
    for round in 0..number {
        if round > 0 && began.elapsed() > longest {
            break;
        }
        for turn in 0..variants {
            let variant = (round + turn) % variants;
            values[variant].push(measure(variant, round)?);
        }
    }
    Ok(values)
}

/// `1,234,567`
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0
            && (digits.len() - i).is_multiple_of(3)
            && digit.is_ascii_digit()
            && !text.ends_with('-')
        {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn per_second(value: f64) -> String {
    format!("{}/s", grouped(value))
}

pub fn milliseconds(value: f64) -> String {
    match value {
        v if v < 1.0 => format!("{v:.3} ms"),
        v if v < 100.0 => format!("{v:.1} ms"),
        v => format!("{} ms", grouped(v)),
    }
}

/// Reproducible pauses need no better randomness (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        low + (z ^ (z >> 31)) % (high - low + 1)
    }
}
