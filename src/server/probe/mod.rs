//! Looks into an index without a statement, where each claim or finish would otherwise run one only to
//! learn that there is nothing, or which job is first: setting up a statement takes many times as long as
//! the look itself.

pub mod family;
pub mod holders;
mod index;
pub mod key;
mod keys;
pub mod places;
pub mod ready;
mod version;
pub mod worker;
