//! Many jobs at once: retry_jobs and remove_jobs, for those that list_jobs would list with the same filters.
//!
//! In batches of one statement each, from the lowest id to the highest as everybody locks jobs, so that
//! memory does not grow with their number.

use super::unique;
use crate::error::Error;
use crate::server::relation::lock_to_write;
use crate::server::session::Session;
use crate::server::statement::{Param, Statement, params};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::check_for_interrupts;
use crate::server::value::{Array, BigintArray, StateArray, TextArray};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// As many as the statements' LIMIT.
const BATCH: usize = 1_000;

/// $1 the clock, $2 where the batch begins, $3 to $8 the filters.
const TYPES: &[pg_sys::Oid] = &[
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INT8OID,
    pg_sys::INT8OID,
    pg_sys::INT8ARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::TEXTARRAYOID,
];

/// Locks the next jobs that match and are not active.
macro_rules! lock {
    ($from:literal) => {
        Statement::new(
            concat!(
                "SELECT job.id, job.unique_key
                FROM ",
                $from,
                "
                WHERE job.id >= $2 AND job.state <> 'active'
                  AND ($3 IS NULL OR job.id < $3)
                  AND ($4 IS NULL OR job.id = ANY ($4))
                  AND ($5 IS NULL OR (job.notes ?| $5 AND job.notes <> '{}'))
                  AND ($6 IS NULL OR job.queue = ANY ($6))
                  AND ($7 IS NULL OR job.state::pg_catalog.text = ANY ($7))
                  AND ($8 IS NULL OR job.task = ANY ($8))
                  AND NOT (job.state = 'inactive' AND job.expires IS NOT NULL AND job.expires <= $1)
                ORDER BY job.id
                LIMIT 1000
                FOR UPDATE OF job"
            ),
            TYPES,
        )
    };
}

static LOCK: Statement = lock!("minion.jobs AS job").in_index_order();

/// A few ids are looked up one by one, not come across on a walk over all jobs.
static LOCK_IDS: Statement = lock!(
    "(SELECT DISTINCT id FROM pg_catalog.unnest($4) AS given (id)) AS given
    JOIN minion.jobs AS job ON job.id = given.id"
);

/// All but those whose key another job has by now; of several with the same key, the oldest is retried.
static RETRY: Statement = Statement::latest(
    "WITH given AS MATERIALIZED (
        SELECT id, unique_key, (state = 'inactive') AS is_inactive,
            pg_catalog.row_number() OVER (PARTITION BY unique_key ORDER BY id) AS place
        FROM minion.jobs
        WHERE id = ANY ($2)
    )
    UPDATE minion.jobs AS job
    SET state = 'inactive',
        -- At its end, see FAIL in finish.rs.
        retries = (LEAST(job.retries, 2147483646) + 1),
        retried = $1, delayed = $1, parked_until = NULL, waits_for = NULL
    FROM given
    WHERE job.id = given.id
      AND (given.unique_key IS NULL OR given.is_inactive OR (given.place = 1 AND NOT EXISTS (
        SELECT
        FROM minion.jobs AS other
        WHERE other.unique_key = given.unique_key AND (other.state = 'inactive' OR other.state = 'active')
          AND other.id <> given.id)))",
    &[pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID],
);

static REMOVE: Statement =
    Statement::new("DELETE FROM minion.jobs WHERE id = ANY ($1)", &[pg_sys::INT8ARRAYOID]);

/// What list_jobs takes to choose jobs.
struct Filters {
    before: Option<i64>,
    ids: Option<BigintArray>,
    notes: Option<TextArray>,
    queues: Option<TextArray>,
    states: Option<TextArray>,
    tasks: Option<TextArray>,
}

impl Filters {
    fn new(
        before: Option<i64>,
        ids: Option<BigintArray>,
        notes: Option<TextArray>,
        queues: Option<TextArray>,
        states: Option<StateArray>,
        tasks: Option<TextArray>,
    ) -> Result<Self, Error> {
        let texts = |argument, names: Option<TextArray>| {
            names.map(|names| names.without_nulls(argument)).transpose()
        };
        Ok(Self {
            before,
            ids: ids.map(|ids| ids.without_nulls("ids")).transpose()?,
            notes: texts("notes", notes)?,
            queues: texts("queues", queues)?,
            states: states
                .map(|states| states.without_nulls("states").map(StateArray::texts))
                .transpose()?,
            tasks: texts("tasks", tasks)?,
        })
    }

    fn is_empty(&self) -> bool {
        let Self { before, ids, notes, queues, states, tasks } = self;
        let any = [notes, queues, states, tasks].into_iter().any(Option::is_some);
        before.is_none() && ids.is_none() && !any
    }

    /// Hands the ids of the jobs that match to `work`, batch by batch, and adds up what it says that it did.
    fn for_all(
        &self,
        session: &Session,
        now: Timestamp,
        mut work: impl FnMut(Vec<i64>, Vec<String>) -> Result<usize, Error>,
    ) -> Result<i64, Error> {
        let statement = if self.ids.is_some() { &LOCK_IDS } else { &LOCK };
        let (mut first, mut sum) = (i64::MIN, 0);
        lock_to_write(c"jobs");
        loop {
            let rows = session.run(statement, &self.params(now, first))?;
            let ids: Vec<i64> = rows.column(1);
            let count = ids.len();
            let next = ids.last().and_then(|id| id.checked_add(1));
            if count > 0 {
                sum += work(ids, rows.column(2))? as i64;
            }
            match next {
                Some(next) if count >= BATCH => first = next,
                _ => return Ok(sum),
            }
            check_for_interrupts();
        }
    }

    fn params(&self, now: Timestamp, first: i64) -> [Param; 8] {
        let Self { before, ids, notes, queues, states, tasks } = self;
        *params![now, first, *before, *ids, *notes, *queues, *states, *tasks]
    }
}

/// Puts failed jobs, or those of other states if `states` says so, back into their queues, all that list_jobs
/// would list with the same filters; returns how many. Active jobs are never touched, and a job whose
/// unique_key another one has by now is left alone.
///
/// `before`, `ids`, `notes`, `queues`, `states`, `tasks`: as for list_jobs, but `states` NULL means failed.
///
/// Raises 22004 for a NULL in an array.
#[pg_extern(requires = ["tables"])]
fn retry_jobs(
    before: default!(Option<i64>, "NULL"),
    ids: default!(Option<BigintArray>, "NULL"),
    notes: default!(Option<TextArray>, "NULL"),
    queues: default!(Option<TextArray>, "NULL"),
    states: default!(Option<StateArray>, "NULL"),
    tasks: default!(Option<TextArray>, "NULL"),
) -> Result<i64, ErrorReport> {
    let mut filters = Filters::new(before, ids, notes, queues, states, tasks)?;
    if filters.states.is_none() {
        filters.states = Some(TextArray::from(vec!["failed".to_owned()]));
    }
    let now = clock();
    Ok(Session::with(|session| {
        filters.for_all(session, now, |ids, keys| {
            let _held = unique::hold(keys);
            Ok(session.run(&RETRY, params![now, ids])?.count())
        })
    })?)
}

/// Removes the jobs that list_jobs would list with the same filters, but no active ones; returns how many.
/// Their children go on without them.
///
/// `before`, `ids`, `notes`, `queues`, `states`, `tasks`: as for list_jobs; at least one of them.
///
/// Raises 22004 for a NULL in an array, 22023 without any filter.
#[pg_extern(requires = ["tables"])]
fn remove_jobs(
    before: default!(Option<i64>, "NULL"),
    ids: default!(Option<BigintArray>, "NULL"),
    notes: default!(Option<TextArray>, "NULL"),
    queues: default!(Option<TextArray>, "NULL"),
    states: default!(Option<StateArray>, "NULL"),
    tasks: default!(Option<TextArray>, "NULL"),
) -> Result<i64, ErrorReport> {
    let filters = Filters::new(before, ids, notes, queues, states, tasks)?;
    if filters.is_empty() {
        return Err(Error::NoFilter.into());
    }
    Ok(Session::with(|session| {
        filters.for_all(session, clock(), |ids, _| Ok(session.run(&REMOVE, params![ids])?.count()))
    })?)
}
