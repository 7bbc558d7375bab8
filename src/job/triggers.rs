//! The triggers on `minion.jobs` that need more than SQL.

use crate::error::Error;
use crate::shared::wake;
use crate::statement::{Session, Statement, params};
use pgrx::prelude::*;
use pgrx::{AllocatedByPostgres, WhoAllocated};

/// The children of a job that is done, in id order, so that two sessions never lock them crosswise. It
/// runs after the parent's row is locked, with a snapshot taken since: a child that was made to wait in
/// the meantime is seen, and one that is made to wait later finds its parent done.
/// $1 the parent, $2 whether only lax children can go on (it failed).
static WAKE: Statement = Statement::latest(
    "WITH child AS MATERIALIZED (
        SELECT id
        FROM minion.jobs
        WHERE waits_for = $1 AND (lax OR NOT $2)
        ORDER BY id
        FOR UPDATE
    )
    UPDATE minion.jobs AS job
    SET waits_for = NULL,
        parked_until = minion.place(
            job.delayed, job.expires, job.parents, job.lax, pg_catalog.clock_timestamp())
    FROM child
    WHERE job.id = child.id",
    &[pg_sys::INT8OID, pg_sys::BOOLOID],
);

/// Has the children of a job looked at again after it is done or gone; with an argument, only lax ones.
#[pg_trigger]
fn wake_children<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, Error> {
    let job = trigger.old().expect("the trigger is FOR EACH ROW on UPDATE and DELETE");
    let id = job.get_by_name::<i64>("id").ok().flatten().expect("id is a NOT NULL bigint");
    let only_lax = trigger.trigger().tgnargs > 0;
    Session::with(|session| session.run(&WAKE, params![id, only_lax]).map(drop))?;
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}

/// Announces that a job may have become claimable.
#[pg_trigger]
fn announce<'a>(
    _trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, Error> {
    wake::notify();
    Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
}
