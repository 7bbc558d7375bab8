//! A schedule that a call goes on without.

use crate::error::{Failure, excerpt};

/// Says that all others are seen to.
pub fn pass_over(name: &str, failure: Failure) {
    failure.pass_over(format!("schedule {}", excerpt(name)));
}
