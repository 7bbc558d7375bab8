//! Everything that is the server's: statements and what they give, looks into indexes, locks, identities, the clock,
//! the planner, what it tells and asks. The only home of raw SPI and of index scans.
//!
//! `session` runs a `statement`, whose SQL `qualify` makes independent of the caller and whose plan `steer` and
//! `sizes` see to; `rows` is what it gives, `value` what passes through untouched, `types` what keeps both to what
//! they are in SQL. `probe` looks without a statement, and `row` is a row of `minion.jobs` there and in a `trigger`.
//! `guard`, `attempt` and `identity` are around work: what of it is undone, what it keeps locked, whose rights it has.
//! `bgworker` is the life of a process that serves no client, `by_itself` its transactions, and `utility` the commands that it is
//! to make room for. `advisory` and `relation` lock; `invalidation` tells when what a backend keeps in mind has changed, and `users` what
//! others have put on the table. `transaction`, `process`, `database` and `call` are where we are; `latch` sleeps.

pub mod advisory;
pub mod attempt;
pub mod backtrace;
pub mod bgworker;
pub mod by_itself;
pub mod call;
pub mod chance;
pub mod client;
pub mod database;
pub mod guard;
pub mod identity;
pub mod invalidation;
pub mod latch;
pub mod library;
pub mod meanwhile;
pub mod notify;
pub mod probe;
pub mod process;
mod qualify;
pub mod relation;
pub mod row;
pub mod rows;
pub mod sequence;
pub mod session;
pub mod sizes;
pub mod statement;
pub mod steer;
pub mod time;
pub mod transaction;
pub mod trigger;
pub mod types;
pub mod users;
pub mod utility;
pub mod value;
mod version;
pub mod zone;
