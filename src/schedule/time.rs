//! When a schedule runs next, and next_run to try that out.

use crate::argument::given;
use crate::cron::Cron;
use crate::error::{Error, excerpt};
use crate::server::session::Session;
use crate::server::time::Timestamp;
use crate::server::zone::TimeZone;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// What cron expressions and time zones mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Of versions before 0.4.0: see [`Cron::parse_by_0_3`] and [`TimeZone::named_by_0_3`].
    Of0_3,
    Current,
}

impl Rules {
    /// Those of the extension's SQL: from the installation of this library to ALTER EXTENSION UPDATE, which
    /// rewrites the schedules, they mean what they did.
    pub fn in_force() -> Result<Self, Error> {
        Ok(if Session::with(|session| session.has_reached("0.4.0"))? {
            Self::Current
        } else {
            Self::Of0_3
        })
    }

    fn cron(self, cron: &str) -> Result<Cron, Error> {
        match self {
            Self::Of0_3 => Cron::parse_by_0_3(cron),
            Self::Current => Cron::parse(cron),
        }
        .map_err(|reason| Error::InvalidCron { cron: excerpt(cron), reason })
    }

    fn zone(self, timezone: &str) -> Result<TimeZone, Error> {
        match self {
            Self::Of0_3 => TimeZone::named_by_0_3(timezone),
            Self::Current => TimeZone::named(timezone),
        }
        .ok_or_else(|| Error::NoTimeZone { name: excerpt(timezone) })
    }
}

/// The first time after another at which a cron expression runs in a time zone.
pub fn next_time(
    rules: Rules,
    cron: &str,
    timezone: &str,
    after: Timestamp,
) -> Result<Timestamp, Error> {
    let (times, zone) = (rules.cron(cron)?, rules.zone(timezone)?);
    let none = || Error::InvalidCron {
        cron: excerpt(cron),
        reason: "no time within five years matches it".into(),
    };
    let next = times.next(after.unix_seconds(), &zone);
    next.and_then(Timestamp::from_unix_seconds).ok_or_else(none)
}

/// The first time after `after` at which a cron expression runs in a time zone.
///
/// `cron`: five fields (minute, hour, day of month, month, day of week) or a nickname such as @daily;
/// `timezone`: a name of pg_timezone_names or an offset from UTC such as +02:00.
///
/// Raises 22023 for a cron expression that means nothing or no time within five years, for a time zone that
/// does not exist and for an infinite time; 22004 for NULL. Semantics: Minion's, see docs/reference.md.
#[pg_extern(stable, parallel_safe)]
fn next_run(
    cron: Option<&str>,
    after: default!(Option<TimestampWithTimeZone>, "now()"),
    timezone: default!(Option<&str>, "'UTC'"),
) -> Result<TimestampWithTimeZone, ErrorReport> {
    let (cron, timezone) = (given("cron", cron)?, given("timezone", timezone)?);
    let after = given("after", after)?;
    if after.is_infinity() || after.is_neg_infinity() {
        let hint = "Use a time such as now().";
        return Err(Error::value("after", "an infinite one", "must be a time", hint).into());
    }
    let after = Timestamp(after.into());
    Ok(next_time(Rules::in_force()?, cron, timezone, after)?.shown())
}
