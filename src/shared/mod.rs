//! What sessions share: where jobs are, who waits for them, and how they tell each other. From the bottom to the top:
//!
//! `memory` is the memory itself, `lane` and `tally` are the words for what stands in it. A lane is known by its `names`
//! and has a `slot` in the table of `slots`; `lanes` are those of one jobs table. `counters` add up their jobs, and
//! `adding` gives a lane its slot. `notes` and `changes` are what a transaction has done and not committed. `waiters` are
//! those who sleep (one of them: `waiter`). On that stand `heads`, from where on a lane has jobs; `counted`, how many; and
//! `bounds` (one of them: `bound`), by the same rules from where on there are holders of a lock, or free places of a limit.
//! `attached` are workers that are gone with a session: `tied` is their table, `attaching` what the session has to do.
//! `commit` has all
//! callbacks at a transaction's end. `waiting` is how a call sleeps until there is a job, and `shown` what people see.
//! `start` has all of it made.

mod adding;
mod afterwards;
pub mod attached;
mod attaching;
mod bound;
pub mod bounds;
mod changes;
pub mod commit;
pub mod counted;
mod counters;
pub mod database;
pub mod databases;
pub mod heads;
pub mod lane;
pub mod lanes;
pub mod launcher;
mod memory;
mod names;
pub mod notes;
mod process;
pub mod report;
pub mod shown;
mod slot;
mod slots;
pub mod start;
pub mod tally;
mod tied;
mod waiter;
pub mod waiters;
pub mod waiting;
