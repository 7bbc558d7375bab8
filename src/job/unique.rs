//! Unique keys: one job at a time that is inactive or active has a key. The index `jobs_unique_key` holds
//! that; what is here finds the job that has it, without using up an id.
//!
//! An INSERT takes its id before the index is asked. So the key is looked for first, in the table and among
//! what others have not committed yet, under a lock that lasts until the new row is there for them to find.
//! Nobody holds it while waiting for another transaction, and one of 100,000 keys holds one lock at a time.

use super::new_job::{NewJob, TYPES, WITHOUT_LIMIT, insert};
use crate::argument::given;
use crate::error::{Error, excerpt};
use crate::server::advisory::KeyLock;
use crate::server::identity::as_owner_of_jobs;
use crate::server::probe::key::{self, Taken};
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use pgrx::pg_sys;

/// $1 the key, $2 the clock.
static HOLDER: Statement = Statement::latest(
    "SELECT id, (state = 'inactive' AND expires IS NOT NULL AND expires <= $2)
    FROM minion.jobs
    WHERE unique_key = $1 AND (state = 'inactive' OR state = 'active')",
    &[pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

static REMOVE_EXPIRED: Statement = Statement::latest(
    "DELETE FROM minion.jobs WHERE id = $1 AND state = $2::minion.job_state AND expires <= $3",
    &[pg_sys::INT8OID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID],
);

/// Plain SQL, and a retry of a job that had ended, take a key without its lock.
static INSERT: [Statement; 2] = [
    insert!(", unique_key", ", $12", "ON CONFLICT DO NOTHING", WITHOUT_LIMIT),
    insert!(", unique_key, time_limit", ", $12, $13", "ON CONFLICT DO NOTHING", TYPES.len()),
];

/// For when it is not the key that is taken: the server says what is.
static PLAIN_INSERT: [Statement; 2] = [
    insert!(", unique_key", ", $12", "", WITHOUT_LIMIT),
    insert!(", unique_key, time_limit", ", $12, $13", "", TYPES.len()),
];

/// Others may take and give back the key again and again while we look.
const TRIES: usize = 100;

/// The id of the job that has the key: one that is there, or the new one.
pub fn insert(session: &Session, now: Timestamp, job: &NewJob, key: &str) -> Result<i64, Error> {
    let mut in_vain = false;
    let mut kept = None;
    for _ in 0..TRIES {
        let held = KeyLock::new(key);
        match as_owner_of_jobs(|| holder(session, now, key))? {
            Some(Holder { id, is_expired: false }) => return Ok(id),
            // It gives its key back. Somebody may have it locked.
            Some(Holder { id, is_expired: true }) => {
                drop(held);
                let remove = || session.run(&REMOVE_EXPIRED, params![id, "inactive", now]);
                let is_kept = as_owner_of_jobs(remove)?.count() == 0;
                // Whoever had it locked has left it as it was: then it was not he who kept it.
                if is_kept && kept == Some(id) {
                    return Err(Error::Refused { table: "jobs" });
                }
                kept = is_kept.then_some(id);
                in_vain = false;
                continue;
            }
            None => {}
        }
        if let Some(taken) = key::taken(key) {
            drop(held);
            taken.wait();
            in_vain = false;
            continue;
        }
        let params = job.params(now);
        let (with_limit, params) = match job.time_limit {
            None => (0, &params[..WITHOUT_LIMIT]),
            Some(_) => (1, &params[..]),
        };
        let rows = match in_vain {
            // Nobody has the key, and yet there was no row.
            true => session.run(&PLAIN_INSERT[with_limit], params)?.written("jobs")?,
            false => session.run(&INSERT[with_limit], params)?,
        };
        if rows.count() > 0 {
            return given("id", rows.get(0, 1));
        }
        in_vain = true;
    }
    Err(Error::KeyTaken { key: excerpt(key) })
}

/// Whether [`insert`] would have to wait for somebody's transaction.
pub fn is_undecided(session: &Session, now: Timestamp, key: &str) -> Result<bool, Error> {
    match as_owner_of_jobs(|| holder(session, now, key))? {
        Some(Holder { is_expired, .. }) if !is_expired => Ok(false),
        _ => Ok(key::taken(key).is_some_and(|taken| taken.may_change())),
    }
}

struct Holder {
    id: i64,
    is_expired: bool,
}

/// The job that has a key now. To be called as the tables' owner, for a producer may not read jobs.
fn holder(session: &Session, now: Timestamp, key: &str) -> Result<Option<Holder>, Error> {
    let rows = session.run(&HOLDER, params![key, now])?;
    if rows.count() == 0 {
        return Ok(None);
    }
    Ok(Some(Holder { id: given("id", rows.get(0, 1))?, is_expired: rows.get(0, 2) == Some(true) }))
}

/// Locks many keys that nobody is about to take or to give back, for as long as the result lives.
pub fn hold(mut keys: Vec<String>) -> Vec<KeyLock> {
    // Two calls with the same keys lock them in the same order.
    keys.sort_unstable();
    keys.dedup();
    loop {
        let held: Vec<KeyLock> = keys.iter().map(|key| KeyLock::new(key)).collect();
        let taken = keys.iter().find_map(|key| key::taken(key).filter(Taken::may_change));
        let Some(taken) = taken else { return held };
        drop(held);
        taken.wait();
    }
}
