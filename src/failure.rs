//! Errors that were caught: of the server's, of users' triggers, and our own.

use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::prelude::PgSqlErrorCode;

/// Why a piece of work failed that others do not fail with.
#[derive(Debug)]
pub struct Failure {
    code: PgSqlErrorCode,
    message: String,
}

impl Failure {
    pub fn new(code: PgSqlErrorCode, message: String) -> Self {
        Self { code, message }
    }

    /// False for what is not the work's own fault: its transaction is to be tried again, there is no memory or
    /// disk space, somebody cancels, or the server ends.
    pub fn is_of_the_work(&self) -> bool {
        const NOT: [i32; 4] = [class(b"40"), class(b"53"), class(b"57"), class(b"58")];
        !NOT.contains(&(self.code as i32 & 0o7777))
    }

    /// Whether somebody else had something locked, that is all.
    pub fn is_of_a_lock(&self) -> bool {
        self.code == PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE
    }

    /// Whether it is only that others were at the same: what was undone may be tried again at once.
    pub fn is_of_others(&self) -> bool {
        self.is_of_a_lock() || self.code as i32 & 0o7777 == class(b"40")
    }

    pub fn code(&self) -> PgSqlErrorCode {
        self.code
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether a value is to blame, and nothing else.
    pub fn is_of_a_value(&self) -> bool {
        self.code as i32 & 0o7777 == class(b"22")
    }
}

/// As the server packs SQLSTATEs: six bits for each character, the first one lowest.
const fn class(code: &[u8; 2]) -> i32 {
    (code[0] - b'0') as i32 | ((code[1] - b'0') as i32) << 6
}

impl From<&CaughtError> for Failure {
    fn from(caught: &CaughtError) -> Self {
        match caught {
            CaughtError::PostgresError(report)
            | CaughtError::ErrorReport(report)
            | CaughtError::RustPanic { ereport: report, .. } => report.into(),
        }
    }
}

impl From<&ErrorReportWithLevel> for Failure {
    fn from(report: &ErrorReportWithLevel) -> Self {
        Self { code: report.sql_error_code(), message: report.message().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use pgrx::prelude::PgSqlErrorCode::{self, *};

    fn failure(code: PgSqlErrorCode) -> Failure {
        Failure::new(code, String::new())
    }

    #[test]
    fn only_data_exceptions_are_of_a_value() {
        for code in [
            ERRCODE_INVALID_DATETIME_FORMAT,
            ERRCODE_INTERVAL_FIELD_OVERFLOW,
            ERRCODE_DATETIME_FIELD_OVERFLOW,
        ] {
            assert!(failure(code).is_of_a_value());
        }
        for code in [
            ERRCODE_QUERY_CANCELED,
            ERRCODE_OUT_OF_MEMORY,
            ERRCODE_ADMIN_SHUTDOWN,
            ERRCODE_T_R_DEADLOCK_DETECTED,
            ERRCODE_INTERNAL_ERROR,
        ] {
            assert!(!failure(code).is_of_a_value());
        }
    }
}
