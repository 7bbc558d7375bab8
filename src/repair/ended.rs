//! Jobs that have ended.

use super::budget::Budget;
use super::walk::{Place, walk};
use super::{Call, Did};
use crate::error::Error;
use crate::settings;
use crate::statement::{Chance, Statement, Timestamp, params};
use pgrx::pg_sys;

/// Those of which nobody knows when, and which would never be old: written where triggers do not fire.
macro_rules! next_undated {
    ($state:literal) => {
        Statement::new(
            concat!(
                "SELECT id
                FROM minion.jobs
                WHERE state = '",
                $state,
                "' AND finished IS NULL AND id >= $1
                ORDER BY finished, id
                LIMIT 10001"
            ),
            &[pg_sys::INT8OID],
        )
        .in_index_order()
    };
}

static NEXT_UNDATED: [Statement; 2] = [next_undated!("finished"), next_undated!("failed")];

static DATE: Statement = Statement::new(
    "UPDATE minion.jobs
    SET finished = $1
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM minion.jobs
        WHERE id = ANY ($2) AND finished IS NULL
          AND (state = $3::minion.job_state OR state = $4::minion.job_state)
        ORDER BY id
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID, pg_sys::TEXTOID, pg_sys::TEXTOID],
);

/// Old finished jobs from a place in the index on, whether they go or stay: kept parents must not be walked
/// over again for each batch.
static FIND_OLD: Statement = Statement::new(
    "SELECT old.id, old.finished
    FROM minion.jobs AS old
    WHERE old.state = 'finished' AND old.finished <= ($1 - $2) AND (old.finished, old.id) >= ($3, $4)
    ORDER BY old.finished, old.id
    LIMIT 10001",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
)
.in_index_order();

static LAST_OLD: Statement = Statement::new(
    "SELECT finished
    FROM minion.jobs
    WHERE state = 'finished' AND finished <= ($1 - $2)
    ORDER BY finished DESC
    LIMIT 1",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID],
)
.in_index_order();

static REMOVE_OLD: Statement = Statement::new(
    "DELETE FROM minion.jobs
    WHERE id = ANY (ARRAY(
        SELECT old.id
        FROM minion.jobs AS old
        WHERE old.id = ANY ($1) AND old.state = $2::minion.job_state AND old.finished <= ($3 - $4)
          AND NOT EXISTS (
            SELECT
            FROM minion.children AS family
            JOIN minion.jobs AS child ON child.id = family.id
            WHERE family.parents @> ARRAY[old.id] AND child.state <> $2::minion.job_state)
        ORDER BY old.id
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID],
);

/// Says of jobs that have ended, nobody knows when, that they did so now.
pub fn date(call: &Call, budget: &Budget, _: &mut Did) -> Result<(), Error> {
    for next in &NEXT_UNDATED {
        let (mut place, mut last) = (Place::default(), i64::MIN);
        let find = |most| {
            let found = place.next(&call.session.run_at_most(next, params![last], most + 1)?, most);
            last = found.ids.last().copied().unwrap_or(last);
            Ok(found)
        };
        walk(call, budget, "job", find, |ids| {
            Ok(call.session.run(&DATE, params![call.now, ids, "finished", "failed"])?.count())
        })?;
    }
    Ok(())
}

/// Removes the jobs that finished minion.remove_after ago, but the parents of unfinished ones. If the time
/// would not be enough for all that is old, half of it is for those from a place on that is left to chance: what
/// has to stay, and stands first, must not hide the rest for ever.
pub fn remove_old(call: &Call, budget: &Budget, did: &mut Did) -> Result<(), Error> {
    const LONG: i64 = 10 * 366 * 86_400_000_000;
    let first = (Timestamp(i64::MIN), i64::MIN);
    let Some((reached, _)) = remove_old_from(call, &budget.half(), did, first)? else {
        return Ok(());
    };
    let rows = call.session.run(&LAST_OLD, params![call.now, settings::remove_after()])?;
    let Some(Timestamp(last)) = rows.column(1).pop() else { return Ok(()) };
    let begin = reached.0.max(last.saturating_sub(LONG));
    let span = usize::try_from(last.saturating_sub(begin)).unwrap_or(0).max(1);
    let from = Timestamp(begin.saturating_add(Chance::new().below(span) as i64));
    remove_old_from(call, budget, did, (from, i64::MIN)).map(drop)
}

/// The place that it has got to, if that was not the end.
fn remove_old_from(
    call: &Call,
    budget: &Budget,
    did: &mut Did,
    mut from: (Timestamp, i64),
) -> Result<Option<(Timestamp, i64)>, Error> {
    let keep = settings::remove_after();
    let mut place = Place::default();
    let mut is_through = false;
    let find = |most| {
        let params = params![call.now, keep, from.0, from.1];
        let rows = call.session.run_at_most(&FIND_OLD, params, most + 1)?;
        let found = place.next(&rows, most);
        if let Some(&id) = found.ids.last() {
            from = (rows.get(rows.count() - 1, 2).expect("the comparison excludes NULL"), id);
        }
        is_through = found.is_last;
        Ok(found)
    };
    did.jobs_removed += walk(call, budget, "job", find, |ids| {
        Ok(call.session.run(&REMOVE_OLD, params![ids, "finished", call.now, keep])?.count())
    })?;
    Ok((!is_through).then_some(from))
}
