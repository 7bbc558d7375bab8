//! Cron expressions: what they mean, and when they run next. Pure: time zones come in from outside.

use std::iter;
use std::ops::RangeInclusive;

/// In minutes.
const HOUR: i64 = 60;
/// In minutes.
const DAY: i64 = 24 * HOUR;
const DAY_SECONDS: i64 = DAY * 60;
/// How far a search goes, in seconds: five years with two leap days.
pub const FIVE_YEARS: i64 = (5 * 365 + 2) * DAY_SECONDS;
/// No zone's clock was ever put back by more than a day and a few hours.
const LONGEST_REPETITION: i64 = 2 * DAY_SECONDS;
/// Sums of the above and an instant in here cannot overflow.
const INSTANTS: RangeInclusive<i64> = i64::MIN / 2..=i64::MAX / 2;

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A parsed expression: for each field a set of bits, bit n for the value n.
#[derive(Clone, Debug, PartialEq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// One of day of month and day of week is enough, for neither is a bare `*`.
    either_day: bool,
    /// The hour begins with `*`: times that the clock skips are left out, repeated ones run again.
    follows_real_time: bool,
}

/// A time zone. Instants are Unix seconds.
pub trait Zone {
    /// Seconds east of UTC at an instant, and the later instant until which they are known to be in force,
    /// None if that is forever.
    fn offset(&self, instant: i64) -> (i32, Option<i64>);
}

impl Cron {
    /// Five fields or a nickname, `0 9 * * MON-FRI` or `@daily`; the error is a reason that names the field
    /// and the value, `minute 61 is out of range (0 to 59)`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_ascii();
        if text.starts_with('@') {
            return match NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
                Some((_, fields)) => Self::parse(fields),
                None => Err(format!("nickname \"{}\" is unknown", shortened(text))),
            };
        }
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!(
                "expected five fields (minute, hour, day of month, month, day of week), found {}",
                fields.len()
            ));
        };
        Ok(Self {
            minutes: MINUTES.parse(minute)?,
            hours: HOURS.parse(hour)?,
            days: DAYS.parse(day)?,
            months: MONTHS.parse(month)?,
            // Sunday is 0 and 7.
            weekdays: WEEKDAYS.parse(weekday).map(|set| (set | set >> 7) & 0b111_1111)?,
            either_day: day != "*" && weekday != "*",
            follows_real_time: hour.starts_with('*'),
        })
    }

    /// What versions before 0.4.0 took it for: like Vixie cron, which takes each day field that begins with
    /// `*` for unrestricted, `*/2` too.
    pub fn parse_by_0_3(text: &str) -> Result<Self, String> {
        let mut fields = text.split_ascii_whitespace();
        let days = [fields.nth(2), fields.nth(1)];
        let starred = days.iter().flatten().any(|field| field.starts_with('*'));
        let cron = Self::parse(text)?;
        Ok(Self { either_day: cron.either_day && !starred, ..cron })
    }

    /// The first run strictly after an instant, None if there is none within five years.
    pub fn next(&self, after: i64, zone: &impl Zone) -> Option<i64> {
        if !INSTANTS.contains(&after) {
            return None;
        }
        // A fixed hour runs when the clock first reaches it or passes over it, so civil times before the
        // highest one that the clock has shown are done with.
        let mut reached = segments(zone, after - LONGEST_REPETITION, after + 1)
            .map(|segment| segment.end + segment.offset)
            .max()?;
        for Segment { start, end, offset } in segments(zone, after + 1, after + FIVE_YEARS) {
            let from = if self.follows_real_time { start + offset } else { reached };
            if let Some(time) = self.first(from, end + offset) {
                // A time before the start is one that was skipped.
                return Some((time - offset).max(start));
            }
            reached = reached.max(end + offset);
        }
        None
    }

    /// The first civil time in a span of civil seconds that all fields match.
    fn first(&self, from: i64, until: i64) -> Option<i64> {
        let mut minute = (from + 59).div_euclid(60);
        while minute * 60 < until {
            let day = minute.div_euclid(DAY);
            let (month, day_of_month) = date(day);
            if !has(self.months, month) {
                // No month has less than 28 days.
                minute = (day + (28 - day_of_month).max(0) + 1) * DAY;
            } else if self.runs_on(day, day_of_month)
                && let Some(time) = self.first_time(minute.rem_euclid(DAY))
            {
                let time = (day * DAY + time) * 60;
                return (time < until).then_some(time);
            } else {
                minute = (day + 1) * DAY;
            }
        }
        None
    }

    fn runs_on(&self, day: i64, day_of_month: i64) -> bool {
        let by_month = has(self.days, day_of_month);
        // 1970-01-01 was a Thursday.
        let by_week = has(self.weekdays, (day + 4).rem_euclid(7));
        if self.either_day { by_month || by_week } else { by_month && by_week }
    }

    /// The first time of day at or after another, both in minutes.
    fn first_time(&self, from: i64) -> Option<i64> {
        let hour = from / HOUR;
        if has(self.hours, hour)
            && let Some(minute) = least(self.minutes, from % HOUR)
        {
            return Some(hour * HOUR + minute);
        }
        Some(least(self.hours, hour + 1)? * HOUR + least(self.minutes, 0)?)
    }
}

/// A stretch of time with one offset from UTC.
struct Segment {
    start: i64,
    end: i64,
    offset: i64,
}

fn segments(zone: &impl Zone, mut start: i64, until: i64) -> impl Iterator<Item = Segment> {
    iter::from_fn(move || {
        if start >= until {
            return None;
        }
        let (offset, end) = zone.offset(start);
        let end = end.filter(|end| (start + 1..until).contains(end)).unwrap_or(until);
        let segment = Segment { start, end, offset: offset.into() };
        start = end;
        Some(segment)
    })
}

/// Month and day of month of a day counted from 1970-01-01.
fn date(day: i64) -> (i64, i64) {
    // Years that begin in March have the leap day at their end: day 0 is 0000-03-01, an era 400 years.
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // From March on, any five months in a row have 153 days.
    let month = (5 * of_year + 2) / 153;
    ((month + 2) % 12 + 1, of_year - (153 * month + 2) / 5 + 1)
}

fn has(set: u64, value: i64) -> bool {
    set >> value & 1 == 1
}

/// The least member of a set that is no less than a value.
fn least(set: u64, from: i64) -> Option<i64> {
    let members = set & u64::MAX << from;
    (members != 0).then(|| members.trailing_zeros().into())
}

/// One of the five fields: its values, and names for the first of them and those that follow.
struct Field {
    name: &'static str,
    least: i64,
    most: i64,
    names: &'static [&'static str],
}

const MINUTES: Field = Field { name: "minute", least: 0, most: 59, names: &[] };
const HOURS: Field = Field { name: "hour", least: 0, most: 23, names: &[] };
const DAYS: Field = Field { name: "day of month", least: 1, most: 31, names: &[] };
const MONTHS: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEKDAYS: Field = Field {
    name: "day of week",
    least: 0,
    most: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, item| Ok(set | self.item(item, text)?))
    }

    /// `*`, `a` or `a-b`, each perhaps with a `/step`. `text` is the whole field.
    fn item(&self, item: &str, text: &str) -> Result<u64, String> {
        let wrong = |text, what| Err(format!("{} \"{}\" {what}", self.name, shortened(text)));
        if item.is_empty() {
            return wrong(text, "has an empty item");
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                (range, self.number(" step", step, 1..=self.most - self.least + 1)?)
            }
            None => (item, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some(("", _) | (_, "")) => return wrong(item, "lacks an end of its range"),
            Some((from, to)) => {
                let (first, last) = (self.value(from)?, self.value(to)?);
                // FRI-SUN ends with the Sunday that follows.
                (first, if last < first && to.eq_ignore_ascii_case("SUN") { 7 } else { last })
            }
            None if range == "*" => (self.least, self.most),
            None => self.value(range).map(|value| (value, value))?,
        };
        if first > last {
            return wrong(item, "is out of range: it ends before it begins");
        }
        Ok((first..=last).step_by(step as usize).fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Result<i64, String> {
        match self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            Some(index) => Ok(self.least + index as i64),
            None => self.number("", text, self.least..=self.most),
        }
    }

    fn number(&self, part: &str, text: &str, range: RangeInclusive<i64>) -> Result<i64, String> {
        let Self { name, names, .. } = self;
        let shown = shortened(text);
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            let or_name = match names {
                [first, .., last] if part.is_empty() => format!(" or a name ({first} to {last})"),
                _ => String::new(),
            };
            return Err(format!("{name}{part} \"{shown}\" is not a number{or_name}"));
        }
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => {
                let (least, most) = range.into_inner();
                Err(format!("{name}{part} {shown} is out of range ({least} to {most})"))
            }
        }
    }
}

/// A megabyte of input shall not become a megabyte of message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(20) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}
