//! Times of schedules that can't be right, as a wrong clock or plain SQL leaves them.

use super::pass_over::pass_over;
use super::time::{Rules, next_time};
use crate::argument::given;
use crate::cron::FIVE_YEARS;
use crate::error::Error;
use crate::server::guard::guarded;
use crate::server::invalidation;
use crate::server::relation::lock_to_write;
use crate::server::rows::Rows;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use crate::server::transaction::check_for_interrupts;
use pgrx::prelude::*;

/// As many rows as the statement's LIMIT.
const BATCH: usize = 1_000;
/// In microseconds. Clocks differ that much: a run that was taken note of by one that was a little fast must not
/// come again.
const TOLERANCE: i64 = 60_000_000;

/// $1 what is too late for a next run, $2 for a last one.
static WRONG: Statement = Statement::new(
    "SELECT id, name, cron, timezone, next_run
    FROM minion.schedules
    WHERE (next_run = '-infinity' OR next_run > $1 OR last_run > $2) AND id > $3
    ORDER BY id
    LIMIT 1000
    FOR UPDATE SKIP LOCKED",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
);

static SET_RIGHT: Statement = Statement::new(
    "UPDATE minion.schedules
    SET next_run = $2, last_run = CASE WHEN last_run > $3 THEN $3 ELSE last_run END
    WHERE id = $1",
    &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID],
);

/// Works out next_run again where it is infinite or more than five years ahead, which no cron expression gives,
/// or where last_run lies in the future; says how many there were. One that is due stays due.
pub fn mend(session: &Session, now: Timestamp) -> Result<usize, Error> {
    // Before version 0.3.0, schedules are not ours yet.
    if !invalidation::exist() {
        return Ok(0);
    }
    lock_to_write(c"schedules");
    let rules = Rules::in_force()?;
    let (too_far, future) =
        (Timestamp(now.0 + FIVE_YEARS * 1_000_000), Timestamp(now.0 + TOLERANCE));
    let mut last = i64::MIN;
    let mut mended = 0;
    loop {
        let wrong = session.run(&WRONG, params![too_far, future, last])?;
        for row in 0..wrong.count() {
            check_for_interrupts();
            last = given("id", wrong.get(row, 1))?;
            let name: String = given("name", wrong.get(row, 2))?;
            match guarded(|| set_right(session, rules, now, &wrong, row)) {
                Ok(None) => mended += 1,
                Ok(Some(error)) => Error::NotDispatched { name, error: Box::new(error) }.warn(),
                Err(failure) => pass_over(&name, failure),
            }
        }
        if wrong.count() < BATCH {
            return Ok(mended);
        }
    }
}

/// Why its times can't be worked out, if that is so.
fn set_right(
    session: &Session,
    rules: Rules,
    now: Timestamp,
    wrong: &Rows,
    row: usize,
) -> Result<Option<Error>, Error> {
    let id: i64 = given("id", wrong.get(row, 1))?;
    let was: Timestamp = given("next_run", wrong.get(row, 5))?;
    let next = if was == Timestamp::BEFORE_ALL {
        now
    } else if was <= now {
        was
    } else {
        let (cron, timezone) =
            (given("cron", wrong.get(row, 3))?, given("timezone", wrong.get(row, 4))?);
        match next_time(rules, cron, timezone, now) {
            // It may have been set to something sooner on purpose.
            Ok(next) => next.min(was),
            Err(error) => return Ok(Some(error)),
        }
    };
    session.run(&SET_RIGHT, params![id, next, now])?.written("schedules")?;
    Ok(None)
}
