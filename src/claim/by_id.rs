//! Claiming a certain job.

use super::around::PassedOver;
use super::lane::blocked;
use super::look::Eligible;
use super::take::{
    Claimed, activate, claimable, claimed_in, columns, returning, startable, take_and_look,
};
use super::under_way::UnderWay;
use crate::error::Error;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::clock;
use crate::server::users;
use crate::shared::lane::Lane;
use pgrx::pg_sys;

macro_rules! lock_id {
    () => {
        concat!(
            "SELECT job.id
            FROM minion.jobs AS job
            WHERE job.id = $3 AND job.queue = ANY ($4) AND ($5 IS NULL OR job.task = ANY ($5))
              AND ~job.priority <= $6
              AND ($7 IS NULL OR (job.queue = $7 AND job.task = $8)) AND ",
            claimable!(),
            " FOR UPDATE SKIP LOCKED"
        )
    };
}

/// $2 is the worker, for [`TAKE_ID`]; $7 and $8 the lane whose limits the claim goes by, if it does.
const ID_TYPES: &[pg_sys::Oid] = &[
    pg_sys::TIMESTAMPTZOID,
    pg_sys::INT8OID,
    pg_sys::INT8OID,
    pg_sys::TEXTARRAYOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
];

static LOCK_ID: Statement = Statement::new(lock_id!(), ID_TYPES);

static TAKE_ID: Statement = Statement::new(
    concat!(activate!(), "$2 WHERE job.id = (", lock_id!(), ")", returning!(), ", job.queue"),
    ID_TYPES,
);

/// A certain job, if it can run. `lane`: where it has to be, for its limits are those that were asked.
pub fn take_id(
    session: &Session,
    worker: i64,
    id: i64,
    eligible: &Eligible,
    worst: i32,
    lane: Option<&Lane>,
    passed: &PassedOver,
) -> Result<Vec<Claimed>, Error> {
    let (queue, task) = lane.map(|lane| (lane.queue.as_str(), lane.task.as_str())).unzip();
    let params = params![clock(), worker, id, eligible.queues, eligible.tasks, worst, queue, task];
    if users::may_interfere() {
        let lock = |_| Ok(session.run(&LOCK_ID, params)?.column(1));
        let take = |ids, _| take_and_look(session, worker, ids, lane);
        return Ok(passed.around(1, lock, take)?.done);
    }
    let _under_way = UnderWay::begin(&[id]);
    let rows = session.run(&TAKE_ID, params)?;
    Ok(claimed_in(session, &rows, lane))
}
