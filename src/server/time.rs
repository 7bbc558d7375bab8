//! The clock, and points in time.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use std::ffi::c_int;
use std::time::Duration;

/// The clock, as PostgreSQL counts it. `now()` would stand still inside a transaction.
pub fn clock() -> Timestamp {
    // SAFETY: reads the system's clock.
    Timestamp(unsafe { pg_sys::GetCurrentTimestamp() })
}

unsafe extern "C-unwind" {
    // utils/timeout.h, which pgrx's bindings leave out.
    fn get_timeout_active(id: c_int) -> bool;
    fn get_timeout_finish_time(id: c_int) -> pg_sys::TimestampTz;
}

/// When the server will cancel what the client has asked for, because of statement_timeout or
/// transaction_timeout; None if it won't. The settings tell less: they may have changed since, and a message may
/// have several statements.
pub fn statement_ends() -> Option<Timestamp> {
    /// TimeoutIds, STATEMENT_TIMEOUT and, where there is one, TRANSACTION_TIMEOUT.
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    const TIMEOUTS: &[c_int] = &[3];
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    const TIMEOUTS: &[c_int] = &[3, 8];
    // SAFETY: both read variables of this backend.
    let ends =
        |id| unsafe { get_timeout_active(id).then(|| Timestamp(get_timeout_finish_time(id))) };
    TIMEOUTS.iter().filter_map(|id| ends(*id)).min()
}

/// A `timestamptz` in microseconds since 2000-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// PostgreSQL's 'infinity'.
    pub const INFINITY: Timestamp = Timestamp(i64::MAX);
    /// PostgreSQL's '-infinity'.
    pub const BEFORE_ALL: Timestamp = Timestamp(i64::MIN);

    /// So much later.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long it is until then: nothing if that has passed.
    pub fn since(self, now: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0))
    }

    /// For the caller of a function.
    pub fn shown(self) -> TimestampWithTimeZone {
        // SAFETY: both are a timestamptz.
        unsafe { TimestampWithTimeZone::from_datum(self.0.into(), false) }
            .expect("the value is not NULL")
    }
}

impl FromDatum for Timestamp {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        (!is_null).then_some(Self(datum.value() as i64))
    }
}

impl IntoDatum for Timestamp {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TIMESTAMPTZOID
    }
}
