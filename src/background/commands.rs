//! Commands that the background has to know of, or to make room for.

use crate::server::process;
use crate::server::utility::Command;
use crate::server::{client, latch};
use crate::settings;
use crate::shared::commit;
use crate::shared::databases::task;
use std::time::{Duration, Instant};

/// How long a worker may go on with what it is at before it is told to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the server is about to do is noted for the time when it has committed, and a database that is to have nobody in it
/// is left by its worker.
pub fn before(command: Command) {
    match command {
        Command::Alone(database) => {
            commit::databases_changed();
            if let Some(pid) = commit::make_room(database) {
                wait_for_end(pid);
            }
        }
        Command::Refused | Command::Databases => commit::databases_changed(),
        Command::Settings(database) => commit::settings_changed(database),
        Command::Extensions => commit::asks(task::LOOK),
        Command::CommitPrepared => {
            // What the transaction has done was written down by another one, which nobody here knows.
            if settings::notify() {
                commit::notify();
            }
            commit::limits_changed();
            commit::parent_changed();
            commit::asks(task::DUE | task::SCHEDULES | task::TRAFFIC);
        }
    }
}

fn wait_for_end(pid: i32) {
    let begin = Instant::now();
    let mut told = false;
    while process::is_alive(pid) {
        if !told && begin.elapsed() > PATIENCE {
            process::terminate(pid);
            told = true;
        }
        latch::sleep(Duration::from_millis(1));
        client::must_be_there();
    }
}
