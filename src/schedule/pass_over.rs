//! A schedule that a call goes on without.

use crate::error::excerpt;
use crate::failure::Failure;

/// Says that all others are seen to.
pub fn pass_over(name: &str, failure: Failure) {
    failure.pass_over(format!("schedule {}", excerpt(name)));
}
