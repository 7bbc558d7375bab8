//! Durations of enqueue_many's objects, and what is wrong in one of these.

use crate::argument::positive_span;
use crate::error::{Error, excerpt};
use crate::failure::Failure;
use pgrx::PgTryBuilder;
use pgrx::datum::Interval;
use serde::Deserialize;
use std::str::FromStr;

/// A number of seconds, or an interval as text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number of seconds or an interval as text")]
pub enum Duration {
    Seconds(f64),
    Text(String),
}

impl Default for Duration {
    fn default() -> Self {
        Self::Seconds(0.0)
    }
}

impl Duration {
    pub fn interval(&self, argument: &'static str) -> Result<Interval, Problem> {
        let interval = match self {
            Self::Seconds(seconds) if seconds.abs() < 1e12 => {
                Interval::from_micros((seconds * 1e6).round() as i64)
            }
            Self::Seconds(seconds) => {
                return Err(Problem::new(argument, format!("{seconds} seconds are too many")));
            }
            Self::Text(text) => parsed(text).ok_or_else(|| {
                Problem::new(argument, format!("{} is not an interval", excerpt(text)))
            })?,
        };
        positive_span(argument, interval).map_err(Problem::with(argument))
    }
}

/// Interval text, as PostgreSQL reads it.
fn parsed(text: &str) -> Option<Interval> {
    let text = text.to_owned();
    // The input function changes nothing, so catching its error needs no subtransaction.
    PgTryBuilder::new(move || Interval::from_str(&text).ok())
        .catch_others(|caught| match Failure::from(&caught).is_of_a_value() {
            true => None,
            false => caught.rethrow(),
        })
        .execute()
}

/// What is wrong in an element, and where.
pub struct Problem {
    pub key: &'static str,
    pub what: String,
}

impl Problem {
    pub fn new(key: &'static str, what: String) -> Self {
        Self { key, what }
    }

    /// What an argument of enqueue may not be, said of a key.
    pub fn with(key: &'static str) -> impl Fn(Error) -> Self {
        move |error| Self::new(key, error.message_after(key))
    }
}
