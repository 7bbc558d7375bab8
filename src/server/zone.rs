//! The server's time zones, for cron expressions.

use super::time::Timestamp;
use crate::cron::Zone;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::{CStr, CString};

/// PostgreSQL counts from 2000-01-01, time zones from 1970-01-01.
const EPOCH_SECONDS: i64 = 946_684_800;
/// Hours that an offset from UTC may have, as in the server's own input of times.
const MOST_HOURS: i32 = 15;

/// A time zone.
#[derive(Clone, Copy)]
pub enum TimeZone {
    /// One that the server knows; it keeps it as long as the backend lives.
    OfServer(*mut pg_sys::pg_tz),
    /// So many seconds east of UTC.
    Fixed(i32),
}

impl TimeZone {
    /// By a name of pg_timezone_names, in any case, or by an offset of ISO 8601 with sign, hours and minutes:
    /// `+02:00` is two hours ahead of UTC.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(seconds) = iso_offset(name) {
            return Some(Self::Fixed(seconds));
        }
        let zone = load(name)?;
        is_listed(zone, name).then_some(Self::OfServer(zone))
    }

    /// As versions before 0.4.0 took it: whatever the server makes a time zone of. It takes what is no name
    /// for POSIX style, in which `+02:00`, `2` and `A/B2` are all two hours behind UTC.
    pub fn named_by_0_3(name: &str) -> Option<Self> {
        load(name).map(Self::OfServer)
    }

    /// How [`TimeZone::named`] calls a time zone that [`TimeZone::named_by_0_3`] calls `name`, if it can.
    pub fn name_since_0_4(self, name: &str) -> Option<String> {
        let accepted = |name: &str| iso_offset(name).is_none() && Self::named(name).is_some();
        if accepted(name) {
            return Some(name.to_owned());
        }
        let canonical = match self {
            Self::OfServer(zone) => canonical_name(zone),
            Self::Fixed(_) => None,
        };
        canonical.filter(|name| accepted(name)).or_else(|| match self.offset(0) {
            (seconds, None) => iso_text(seconds),
            _ => None,
        })
    }
}

fn load(name: &str) -> Option<*mut pg_sys::pg_tz> {
    let name = CString::new(name).ok()?;
    // SAFETY: takes a C string, of any length, and gives a zone that is never freed.
    let zone = unsafe { pg_sys::pg_tzset(name.as_ptr()) };
    // SAFETY: a zone from above. Zones with leap seconds are not what timestamps are counted in.
    (!zone.is_null() && unsafe { pg_sys::pg_tz_acceptable(zone) }).then_some(zone)
}

/// The name of its file or, of a zone in POSIX style, what it was given, in capitals.
fn canonical_name(zone: *mut pg_sys::pg_tz) -> Option<String> {
    // SAFETY: a zone of the server's has a name, which is as constant as it is.
    let name = unsafe { CStr::from_ptr(pg_sys::pg_get_timezone_name(zone)) };
    Some(name.to_str().ok()?.to_owned())
}

/// Whether pg_timezone_names has a zone that the server has found by a name. Most names tell by themselves:
/// to read the view takes 20 ms.
fn is_listed(zone: *mut pg_sys::pg_tz, name: &str) -> bool {
    thread_local!(static FOUND: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) });
    let Some(canonical) = canonical_name(zone) else { return false };
    // The server passes over a colon in front of a name.
    if !canonical.eq_ignore_ascii_case(name) {
        return false;
    }
    // POSIX style is all capitals by now, and has at least one digit: the rest comes from a file. Few names
    // of files are left: EST5EDT, GMT+0 and the like.
    if canonical.bytes().any(|byte| byte.is_ascii_lowercase())
        || !canonical.bytes().any(|byte| byte.is_ascii_digit())
    {
        return true;
    }
    let is_known = FOUND.with_borrow(|found| found.contains(&zone.addr()));
    if !is_known && has_file(&canonical) {
        FOUND.with_borrow_mut(|found| found.push(zone.addr()));
        return true;
    }
    is_known
}

/// Walks over all time zones that there are, as the view does.
fn has_file(name: &str) -> bool {
    // SAFETY: the walk is ended here or, after an error, with the (sub)transaction; the zone that it gives is
    // its own, and is looked at before the next one.
    unsafe {
        let walk = pg_sys::pg_tzenumerate_start();
        let mut found = false;
        while !found {
            let zone = pg_sys::pg_tzenumerate_next(walk);
            if zone.is_null() {
                break;
            }
            found =
                CStr::from_ptr(pg_sys::pg_get_timezone_name(zone)).to_bytes() == name.as_bytes();
        }
        pg_sys::pg_tzenumerate_end(walk);
        found
    }
}

/// Seconds east of UTC, of `+hh:mm` or `-hh:mm`.
fn iso_offset(text: &str) -> Option<i32> {
    let &[sign, h1, h0, b':', m1, m0] = text.as_bytes() else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    let hours = digit(h1)? * 10 + digit(h0)?;
    let minutes = digit(m1)? * 10 + digit(m0)?;
    let seconds = (hours * 60 + minutes) * 60;
    match sign {
        _ if hours > MOST_HOURS || minutes > 59 => None,
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn iso_text(seconds: i32) -> Option<String> {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let text = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    // Not with seconds, nor with more hours than are taken.
    (iso_offset(&text) == Some(seconds)).then_some(text)
}

impl Zone for TimeZone {
    fn offset(&self, instant: i64) -> (i32, Option<i64>) {
        let zone = match *self {
            Self::Fixed(seconds) => return (seconds, None),
            Self::OfServer(zone) => zone,
        };
        let (mut offset, mut next_offset) = (0, 0);
        let (mut is_dst, mut next_is_dst) = (0, 0);
        let mut boundary = 0;
        // SAFETY: all are variables of the types that the function fills in, and the zone is the server's.
        let found = unsafe {
            pg_sys::pg_next_dst_boundary(
                &instant,
                &mut offset,
                &mut is_dst,
                &mut boundary,
                &mut next_offset,
                &mut next_is_dst,
                zone,
            )
        };
        (offset as i32, (found > 0).then_some(boundary))
    }
}

impl Timestamp {
    /// The second that it is in, counted from 1970.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000) + EPOCH_SECONDS
    }

    /// None beyond PostgreSQL's calendar.
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        const END_OF_TIME: i64 = 9_223_371_331_200_000_000;
        let micros = seconds.checked_sub(EPOCH_SECONDS)?.checked_mul(1_000_000)?;
        (micros < END_OF_TIME).then_some(Self(micros))
    }
}
