//! What arguments must be, beyond their SQL types.

use crate::error::{Error, excerpt, json_excerpt};
use crate::server::value::{Jsonb, Shape, interval_text};
use pgrx::datum::Interval;
use pgrx::prelude::*;
use std::ops::RangeInclusive;

/// As PostgreSQL compares intervals: 12 months of 30 days.
const YEAR_MICROS: i128 = 360 * 86_400 * 1_000_000;
/// PostgreSQL's timestamps end in 294276; nothing sensible comes near.
const LONGEST_MICROS: i128 = 10_000 * YEAR_MICROS;

/// The bytes of a name.
const NAME: RangeInclusive<usize> = 1..=1_000;

/// The value of an argument that may not be NULL.
pub fn given<T>(argument: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or(Error::Null { argument })
}

/// A duration that is finite and small enough to be added to the clock.
pub fn span(argument: &'static str, value: Interval) -> Result<Interval, Error> {
    // PostgreSQL 17's infinite intervals have the extremes of every field, and fail here too.
    if value.as_micros().abs() <= LONGEST_MICROS {
        return Ok(value);
    }
    Err(Error::value(
        argument,
        interval_text(value),
        "must be at most 10000 years",
        "Use an interval such as '5 minutes' or '90 days'.",
    ))
}

/// A duration that is not negative either.
pub fn positive_span(argument: &'static str, value: Interval) -> Result<Interval, Error> {
    let value = span(argument, value)?;
    if value.as_micros() >= 0 {
        return Ok(value);
    }
    Err(Error::value(
        argument,
        interval_text(value),
        "must not be negative",
        "Use '0' for at once, or an interval such as '5 minutes'.",
    ))
}

/// The name of a queue, task or lock.
pub fn name<'a>(argument: &'static str, value: &'a str) -> Result<&'a str, Error> {
    if NAME.contains(&value.len()) {
        return Ok(value);
    }
    Err(Error::Constraint {
        argument,
        value: excerpt(value),
        must: "must have 1 to 1000 bytes",
        hint: "Use a short name, and put data into args or notes.",
    })
}

/// For the table's CHECK, which the server parses anew for every statement: this is a fifth of the text.
#[pg_extern(immutable, parallel_safe)]
fn is_name(value: &str) -> bool {
    NAME.contains(&value.len())
}

/// See [`is_name`].
#[pg_extern(immutable, parallel_safe)]
fn is_array(value: Jsonb) -> bool {
    value.shape() == Shape::Array
}

/// See [`is_name`].
#[pg_extern(immutable, parallel_safe)]
fn is_object(value: Jsonb) -> bool {
    value.shape() == Shape::Object
}

/// How often a job may be tried.
pub fn at_least_one(value: i32) -> Result<i32, Error> {
    if value >= 1 {
        return Ok(value);
    }
    Err(Error::constraint(
        "attempts",
        value,
        "must be at least 1",
        "1 means that the job is not retried automatically.",
    ))
}

/// A JSON array, such as a job's args.
pub fn array(argument: &'static str, value: Jsonb) -> Result<Jsonb, Error> {
    shaped(argument, value, Shape::Array, "must be a JSON array", "For example '[1, \"two\"]'.")
}

/// A JSON object, such as a job's notes.
pub fn object(argument: &'static str, value: Jsonb) -> Result<Jsonb, Error> {
    shaped(argument, value, Shape::Object, "must be a JSON object", "For example '{\"key\": 1}'.")
}

fn shaped(
    argument: &'static str,
    value: Jsonb,
    shape: Shape,
    must: &'static str,
    hint: &'static str,
) -> Result<Jsonb, Error> {
    if value.shape() == shape {
        return Ok(value);
    }
    Err(Error::Constraint { argument, value: json_excerpt(&value.text()), must, hint })
}
