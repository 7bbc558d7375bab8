//! Those who LISTEN: of a burst of jobs they hear the first at once, and of the others once they are all there.

use super::turn::Turn;
use crate::claim::coming;
use crate::error::Error;
use crate::failure::Failure;
use crate::repair::parked::all_due;
use crate::server::bgworker;
use crate::server::by_itself::{transaction, transaction_as_owner};
use crate::server::notify::notify_now;
use crate::server::session::Session;
use crate::server::time::{Timestamp, clock};
use crate::settings;
use crate::shared::database::{Database, task};
use crate::shared::databases::{DATABASES, Databases};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// Whoever waits for a synchronous standby keeps the lock that each NOTIFY takes: this is how long it is waited for.
const PATIENCE_MS: &std::ffi::CStr = c"20";

/// Where so much of the time goes into looking for what has come due, that is seldom enough.
const PART: u32 = 20;
const LONGEST: Duration = Duration::from_secs(1);

/// Tells them.
pub fn tell(_: &Database) -> Result<Turn, Failure> {
    bgworker::set(c"lock_timeout", PATIENCE_MS);
    let told = transaction(c"minion: tells listeners", || {
        notify_now();
        Ok::<_, Error>(())
    });
    bgworker::set(c"lock_timeout", bgworker::LOCK_TIMEOUT);
    told?;
    Ok(Turn::never().not_before(clock().after(settings::notify_interval())))
}

/// Has them told of jobs that have come due, and says when the next ones will.
pub fn hear_of_due(database: &Database) -> Result<Turn, Failure> {
    let now = clock();
    let told = match database.told_until.load(SeqCst) {
        // Nobody has looked since the server was started.
        0 => DATABASES.get().map_or(now, Databases::began),
        // Unless the clock was wrong.
        told => Timestamp(told).min(now),
    };
    if !database.has_lanes.load(SeqCst) {
        transaction_as_owner(c"minion: looks for delayed jobs", || {
            Session::with(|session| {
                coming::track(&all_due(session, Timestamp::INFINITY)?);
                Ok(())
            })
        })?;
        database.has_lanes.store(true, SeqCst);
    }
    let begin = Instant::now();
    let (any, next) = transaction_as_owner(c"minion: looks for what has come due", || {
        Session::with(|session| coming::come_due(session, told, now))
    })?;
    database.told_until.store(now.0, SeqCst);
    if any && settings::notify() {
        database.ask(task::NOTIFY);
    }
    let pause = (begin.elapsed() * PART).min(LONGEST);
    Ok(Turn::at(next).not_before(clock().after(pause)))
}

/// How long a look for what is to be verified may take.
const LOOK: Duration = Duration::from_millis(5);
const EACH: Duration = Duration::from_secs(1);

/// Sees whether shared memory is right: jobs may have come without a word.
pub fn verify(_: &Database) -> Result<Turn, Failure> {
    transaction_as_owner(c"minion: verifies heads", || {
        Session::with(|session| coming::verify(session, LOOK))
    })?;
    Ok(Turn::at(clock().after(EACH)))
}
