//! Jobs that have ended.

use super::budget::Budget;
use super::call::{Call, Did};
use super::walk::{Cursor, walk};
use crate::error::Error;
use crate::server::chance::Chance;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use crate::settings;
use pgrx::pg_sys;
use std::collections::HashSet;

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

/// The parents among some jobs that have a child that is not finished, and one such child of each. Looked for one by
/// one, by the index of children: a join would be as good as the planner's idea of how many there are.
static FIND_KEPT: Statement = Statement::new(
    "SELECT kept.id, kept.child
    FROM (
        SELECT old.id, (
            SELECT family.id
            FROM minion.children AS family
            WHERE family.parents @> ARRAY[old.id] AND (
                SELECT child.state <> $2::minion.job_state
                FROM minion.jobs AS child
                WHERE child.id = family.id)
            LIMIT 1) AS child
        FROM pg_catalog.unnest($1) AS old (id)
        OFFSET 0
    ) AS kept
    WHERE kept.child IS NOT NULL",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID],
)
.by_gin_index();

static PARENTS: Statement = Statement::new(
    "SELECT parents FROM minion.children WHERE id = ANY ($1)",
    &[pg_sys::INT8ARRAYOID],
);

static REMOVE_OLD: Statement = Statement::new(
    "DELETE FROM minion.jobs
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM minion.jobs
        WHERE id = ANY ($1) AND state = $2::minion.job_state AND finished <= ($3 - $4)
        ORDER BY id
        FOR UPDATE SKIP LOCKED))",
    &[pg_sys::INT8ARRAYOID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID],
);

/// Parents that have to stay as long as a child is not finished. One child may keep a million of them: once it was
/// met twice in a batch, all of its parents are known, and nobody asks for its sake again.
#[derive(Default)]
struct Kept(HashSet<i64>);

impl Kept {
    /// As many ids as are remembered, so that memory does not grow with the number of jobs.
    const MOST: usize = 4_000_000;

    /// Takes out of some old jobs those that have to stay.
    fn sort_out(&mut self, call: &Call, ids: &mut Vec<i64>) -> Result<(), Error> {
        ids.retain(|id| !self.0.contains(id));
        if ids.is_empty() {
            return Ok(());
        }
        let rows = call.session.run(&FIND_KEPT, params![ids.clone(), "finished"])?;
        let found: HashSet<i64> = rows.column(1).into_iter().collect();
        ids.retain(|id| !found.contains(id));
        let mut children: Vec<i64> = rows.column(2);
        children.sort_unstable();
        let twice = children.chunk_by(i64::eq).filter(|same| same.len() > 1);
        let twice: Vec<i64> = twice.map(|same| same[0]).collect();
        if twice.is_empty() {
            return Ok(());
        }
        if self.0.len() > Self::MOST {
            self.0.clear();
        }
        for parents in call.session.run(&PARENTS, params![twice])?.column::<Vec<Option<i64>>>(1) {
            self.0.extend(parents.into_iter().flatten());
        }
        Ok(())
    }
}

/// Says of jobs that have ended, nobody knows when, that they did so now.
pub fn date(call: &Call, budget: &Budget, _: &mut Did) -> Result<(), Error> {
    for next in &NEXT_UNDATED {
        let (mut cursor, mut last) = (Cursor::default(), i64::MIN);
        let find = |most| {
            let found =
                cursor.next(&call.session.run_at_most(next, params![last], most + 1)?, most);
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
    let mut kept = Kept::default();
    let Some((reached, _)) = remove_old_from(call, &budget.half(), did, &mut kept, first)? else {
        return Ok(());
    };
    let rows = call.session.run(&LAST_OLD, params![call.now, settings::remove_after()])?;
    let Some(Timestamp(last)) = rows.column(1).pop() else { return Ok(()) };
    let begin = reached.0.max(last.saturating_sub(LONG));
    let span = usize::try_from(last.saturating_sub(begin)).unwrap_or(0).max(1);
    let from = Timestamp(begin.saturating_add(Chance::new().below(span) as i64));
    remove_old_from(call, budget, did, &mut kept, (from, i64::MIN)).map(drop)
}

/// The place that it has got to, if that was not the end.
fn remove_old_from(
    call: &Call,
    budget: &Budget,
    did: &mut Did,
    kept: &mut Kept,
    mut from: (Timestamp, i64),
) -> Result<Option<(Timestamp, i64)>, Error> {
    let keep = settings::remove_after();
    let mut cursor = Cursor::default();
    let find = |most| {
        let params = params![call.now, keep, from.0, from.1];
        let rows = call.session.run_at_most(&FIND_OLD, params, most + 1)?;
        let found = cursor.next(&rows, most);
        if let Some(&id) = found.ids.last() {
            from = (rows.get(rows.count() - 1, 2).expect("the comparison excludes NULL"), id);
        }
        Ok(found)
    };
    let walked = walk(call, budget, "job", find, |mut ids| {
        kept.sort_out(call, &mut ids)?;
        if ids.is_empty() {
            return Ok(0);
        }
        Ok(call.session.run(&REMOVE_OLD, params![ids, "finished", call.now, keep])?.count())
    })?;
    did.jobs_removed += walked.done;
    Ok((!walked.is_through).then_some(from))
}
