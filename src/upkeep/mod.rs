//! What keeps the queue right, whoever writes to `minion.jobs` and how: where a job stands is worked out from its
//! facts, its children are looked at when it is done (`placing`), and those hear of it who have to (`telling`).
//! `written` is both, for a row as it was and as it is; `triggers` hand it the rows that SQL writes.

pub mod placing;
mod telling;
pub mod time_limit;
mod triggers;
mod written;
