//! Commands that the background has to know of, or to make room for.

use crate::server::process;
use crate::server::utility::Command;
use crate::server::{client, latch};
use crate::settings;
use crate::shared::commit;
use crate::shared::database::{Database, Known, task};
use crate::shared::databases;
use std::time::{Duration, Instant};

/// How long a worker may go on with what it is at before it is told to end.
const PATIENCE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);

/// What the server is about to do is noted for the time when it has committed, and a database that is to have nobody in it
/// is left by its worker.
pub fn before(command: Command) {
    match command {
        Command::Alone(database) => {
            commit::databases_changed();
            if let Some(database) = commit::make_room(database) {
                wait_for_end(database);
            }
        }
        Command::Databases => commit::databases_changed(),
        Command::Settings(database) => commit::settings_changed(database),
        Command::Extensions => commit::asks(task::LOOK),
        Command::CommitPrepared => {
            // What the transaction has done was written down by another one, which nobody here knows.
            commit::databases_changed();
            commit::asks(task::LOOK);
            if databases::own().is_some_and(|own| own.known() != Known::HasNot) {
                if settings::notify() {
                    commit::notify();
                }
                commit::limits_changed();
                commit::parent_changed();
                commit::asks(task::DUE | task::SCHEDULES | task::TRAFFIC);
            }
        }
    }
}

fn wait_for_end(database: &Database) {
    let (pid, begin) = (database.worker.pid(), Instant::now());
    let mut told = false;
    // A process that goes on is another one by now, or does not listen: the server says so then.
    while pid != 0 && pid != process::own() && process::is_alive(pid) && begin.elapsed() < LONGEST {
        if !told && begin.elapsed() > PATIENCE && database.worker.pid() == pid {
            process::terminate(pid);
            told = true;
        }
        latch::sleep(Duration::from_millis(1));
        client::must_be_there();
    }
}
