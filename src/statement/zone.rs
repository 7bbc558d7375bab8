//! The server's time zones, for cron expressions.

use super::Timestamp;
use crate::cron::Zone;
use pgrx::pg_sys;
use std::ffi::CString;

/// PostgreSQL counts from 2000-01-01, time zones from 1970-01-01.
const EPOCH_SECONDS: i64 = 946_684_800;

/// A time zone that the server knows; it keeps it as long as the backend lives.
pub struct TimeZone(*mut pg_sys::pg_tz);

impl TimeZone {
    /// By a name of pg_timezone_names, in any case, or in POSIX style.
    pub fn named(name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: takes a C string, of any length, and gives a zone that is never freed.
        let zone = unsafe { pg_sys::pg_tzset(name.as_ptr()) };
        // SAFETY: a zone from above. Zones with leap seconds are not what timestamps are counted in.
        (!zone.is_null() && unsafe { pg_sys::pg_tz_acceptable(zone) }).then_some(Self(zone))
    }
}

impl Zone for TimeZone {
    fn offset(&self, instant: i64) -> (i32, Option<i64>) {
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
                self.0,
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
