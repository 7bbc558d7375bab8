//! The places of limits, as claims take them and those give them back who end a job.
//!
//! Under a limit a claim finds a place before it takes a job: a row of `minion.active_slots` or `minion.start_slots`,
//! under a lock that lasts until the job is written into it, or could not be had. A claim that has not committed counts
//! as well, for its place is seen to be about to change; none waits for another; and one that comes to nothing has
//! changed nothing, in a transaction block as elsewhere. When the job is not active any more, a trigger gives the
//! place back.
//!
//! A limit that was lowered leaves the places beyond it where they are. As long as they are taken, so many of
//! those below it have to stay free.
//!
//! All of this is done as the tables' owner: a worker can't be trusted with its own limit.

use super::rules::{Rule, Rules};
use crate::error::Error;
use crate::server::advisory::{LimitLock, PlaceKind, PlaceLock, lock_limits};
use crate::server::identity::as_owner_of_jobs;
use crate::server::probe::places::{FreePlace, Limited, have_order, is_limit};
use crate::server::relation::{lock_to_write, oid_of};
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use crate::server::time::Timestamp;
use crate::shared::bounds::{self, Kind};
use crate::shared::commit;
use crate::shared::lane::Lane;
use pgrx::datum::Interval;
use pgrx::pg_sys;
use std::rc::Rc;

/// A place by where its row is: an index leads to each of its versions that VACUUM may not take away yet. It has just
/// been seen there, and is ours.
static TAKE_ACTIVE: Statement = Statement::latest(
    "UPDATE minion.active_slots SET job = $2 WHERE ctid = $1 AND job IS NULL",
    &[pg_sys::TIDOID, pg_sys::INT8OID],
);

static TAKE_START: Statement = Statement::latest(
    "UPDATE minion.start_slots SET free_at = $2 + $3 WHERE ctid = $1 AND free_at <= $2",
    &[pg_sys::TIDOID, pg_sys::TIMESTAMPTZOID, pg_sys::INTERVALOID],
);

/// A start beyond the limit: the place that is the last to be free is so later. No claim is at it.
static ADD_START: Statement = Statement::latest(
    "UPDATE minion.start_slots AS slot
    SET free_at = GREATEST(slot.free_at, $4) + $5
    WHERE slot.queue = $1 AND slot.task = $2 AND slot.number = (
        SELECT number
        FROM minion.start_slots
        WHERE queue = $1 AND task = $2 AND number < $3
        ORDER BY free_at DESC
        LIMIT 1
        FOR NO KEY UPDATE SKIP LOCKED)",
    &[
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::INT4OID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INTERVALOID,
    ],
);

/// Far beyond the limit, which was lowered, a place ends with its job: claims look at all that there are. Nearer
/// to it places stay, so that they are there should it be raised at this moment, and repair removes them.
static REMOVE_FAR_BEYOND: Statement = Statement::latest(
    "DELETE FROM minion.active_slots AS slot
    WHERE slot.job = $1 AND EXISTS (
        SELECT
        FROM minion.limit_rules AS rule
        WHERE rule.queue = slot.queue AND rule.task = slot.task
          AND rule.max_active <= (slot.number - 16))",
    &[pg_sys::INT8OID],
);

static FREE: Statement = Statement::latest(
    "UPDATE minion.active_slots
    SET job = NULL, freed = pg_catalog.clock_timestamp()
    WHERE job = $1
    RETURNING queue, task, freed",
    &[pg_sys::INT8OID],
);

/// The same before 0.4.0.
static FREE_UNDATED: Statement = Statement::latest(
    "UPDATE minion.active_slots SET job = NULL WHERE job = $1",
    &[pg_sys::INT8OID],
);

/// Into free places, as far as there are any, and the others beyond the limit. Those of a claim that
/// is not over are passed over. $3 the limit, $4 the jobs; one of them may have got one meanwhile.
static GIVE: Statement = Statement::latest(
    "WITH free AS MATERIALIZED (
        SELECT number
        FROM minion.active_slots
        WHERE queue = $1 AND task = $2 AND job IS NULL AND number < $3
        ORDER BY number
        LIMIT pg_catalog.cardinality($4)
        FOR UPDATE SKIP LOCKED
    ), numbered AS (
        SELECT number, pg_catalog.row_number() OVER (ORDER BY number) AS place FROM free
    ), job AS (
        SELECT id, pg_catalog.row_number() OVER (ORDER BY id) AS place
        FROM pg_catalog.unnest($4) AS given (id)
        WHERE NOT EXISTS (
            SELECT
            FROM minion.active_slots AS slot
            WHERE slot.queue = $1 AND slot.task = $2 AND slot.job = given.id)
    ), into_free AS (
        UPDATE minion.active_slots AS slot
        SET job = job.id
        FROM numbered
        JOIN job ON job.place = numbered.place
        WHERE slot.queue = $1 AND slot.task = $2 AND slot.number = numbered.number
        RETURNING slot.job
    )
    INSERT INTO minion.active_slots (queue, task, number, job)
    SELECT $1, $2,
        ((SELECT GREATEST(pg_catalog.max(slot.number), $3 - 1)
         FROM minion.active_slots AS slot
         WHERE slot.queue = $1 AND slot.task = $2)
        + pg_catalog.row_number() OVER (ORDER BY job.id))::pg_catalog.int4,
        job.id
    FROM job
    WHERE job.place > (SELECT pg_catalog.count(*) FROM numbered)",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID, pg_sys::INT8ARRAYOID],
);

/// What one job needs to start under its limits, locked for it until this is dropped.
#[derive(Default)]
pub struct Places {
    active: Vec<(Rc<Rule>, pg_sys::ItemPointerData)>,
    start: Vec<(Rc<Rule>, pg_sys::ItemPointerData, Interval)>,
    locks: Vec<PlaceLock>,
    limits: Vec<LimitLock>,
}

/// A limit that lets no job start.
pub struct Full {
    pub rule: Rc<Rule>,
    /// Others are about to start, who may yet leave it.
    pub is_busy: bool,
    /// When time will let the next one start.
    pub until: Option<Timestamp>,
}

/// A free place, looked for where there may be some.
fn lock_place(limited: &Limited) -> FreePlace {
    let kind = match limited.kind {
        PlaceKind::Active => Kind::Active,
        PlaceKind::Start => Kind::Starts,
    };
    bounds::look(kind, (limited.queue, limited.task), |from| {
        let (place, seen) = limited.lock(from);
        (place, seen.map(|(first, xmin)| (first.unwrap_or(bounds::END), xmin)))
    })
}

impl Places {
    /// What one job needs, or the limit that is reached.
    pub fn lock(rules: &[Rc<Rule>], now: Timestamp) -> Result<Self, Full> {
        as_owner_of_jobs(|| {
            lock_places_to_write();
            let mut places = Self::default();
            for rule in rules {
                let (queue, task) = (rule.queue.as_str(), rule.task.as_str());
                let full = |(is_busy, until)| Full { rule: rule.clone(), is_busy, until };
                // Somebody is changing it.
                let limit = LimitLock::together(queue, task).ok_or_else(|| full((true, None)))?;
                places.limits.push(limit);
                if let Some(most) = rule.max_active {
                    let limited = Limited { kind: PlaceKind::Active, queue, task, most, now };
                    let place = places.keep(lock_place(&limited)).map_err(full)?;
                    places.active.push((rule.clone(), place));
                }
                if let Some((most, per)) = rule.starts {
                    let limited = Limited { kind: PlaceKind::Start, queue, task, most, now };
                    let place = places.keep(lock_place(&limited)).map_err(full)?;
                    places.start.push((rule.clone(), place, per));
                }
                // Who goes by a limit that was set meanwhile may have looked before those locks were there.
                let starts = rule.starts.map(|(most, _)| most);
                if !is_limit(queue, task, rule.max_active, starts) {
                    return Err(full((true, None)));
                }
            }
            Ok(places)
        })
    }

    /// A place that was found, or whether others are at those that there are, and when there will be one.
    fn keep(
        &mut self,
        place: FreePlace,
    ) -> Result<pg_sys::ItemPointerData, (bool, Option<Timestamp>)> {
        match place {
            FreePlace::Locked(locks, place) => {
                self.locks.extend(locks);
                Ok(place)
            }
            FreePlace::Busy => Err((true, None)),
            FreePlace::None(until) => Err((false, until)),
        }
    }

    /// The job has started. What a trigger of somebody's has done meanwhile may have taken its places, or taken
    /// them away.
    pub fn take(self, session: &Session, job: i64, now: Timestamp) -> Result<(), Error> {
        let mut active = Vec::new();
        let mut start = Vec::new();
        as_owner_of_jobs(|| {
            for (rule, place) in &self.active {
                if session.run(&TAKE_ACTIVE, params![*place, job])?.count() == 0 {
                    active.push(rule.clone());
                }
            }
            for (rule, place, per) in &self.start {
                if session.run(&TAKE_START, params![*place, now, *per])?.count() == 0 {
                    start.push(rule.clone());
                }
            }
            Ok(())
        })?;
        // Whoever wants a limit alone must not have it together with others.
        drop(self);
        active.iter().try_for_each(|rule| count_under(rule, session, job))?;
        start.iter().try_for_each(|rule| count_start_under(rule, session, now))
    }
}

/// Gives back the places of a job that is not active any more. Whether it had any. What the backend has in
/// mind of limits has no say in this: a new one has given its places before anybody is told of it.
pub fn free(session: &Session, job: i64) -> Result<bool, Error> {
    as_owner_of_jobs(|| {
        let removed = session.run(&REMOVE_FAR_BEYOND, params![job])?.count();
        if !have_order() {
            return Ok(session.run(&FREE_UNDATED, params![job])?.count() + removed > 0);
        }
        let freed = session.run(&FREE, params![job])?;
        for row in 0..freed.count() {
            let column = "is NOT NULL";
            let (queue, task) =
                (freed.get(row, 1).expect(column), freed.get(row, 2).expect(column));
            let Timestamp(at) = freed.get(row, 3).expect(column);
            commit::bounded(Kind::Active, oid_of(c"active_slots"), (queue, task), at);
        }
        Ok(freed.count() + removed > 0)
    })
}

/// See [`lock_to_write`].
pub fn lock_places_to_write() {
    lock_to_write(c"active_slots");
    lock_to_write(c"start_slots");
}

/// Gives places to active jobs that have none, beyond the limit if there is no free one. To be called as the
/// tables' owner, with the lock on all limits and the limit's own alone.
pub fn give(
    session: &Session,
    queue: &str,
    task: &str,
    most: i32,
    jobs: Vec<i64>,
) -> Result<(), Error> {
    session.run(&GIVE, params![queue, task, most, jobs]).map(drop)
}

/// Counts an active job that has no place, beyond the limit if there is none.
fn count_under(rule: &Rule, session: &Session, job: i64) -> Result<(), Error> {
    let Some(most) = rule.max_active else { return Ok(()) };
    let (queue, task) = (rule.queue.as_str(), rule.task.as_str());
    lock_limits();
    let _places = LimitLock::alone(queue, task);
    as_owner_of_jobs(|| give(session, queue, task, most, vec![job]))
}

/// Counts a start that has no place, later if there is none.
fn count_start_under(rule: &Rule, session: &Session, now: Timestamp) -> Result<(), Error> {
    let Some((most, per)) = rule.starts else { return Ok(()) };
    let (queue, task) = (rule.queue.as_str(), rule.task.as_str());
    as_owner_of_jobs(|| {
        lock_places_to_write();
        let limited = Limited { kind: PlaceKind::Start, queue, task, most, now };
        if let Some(_limit) = LimitLock::together(queue, task)
            && let FreePlace::Locked(_places, place) = lock_place(&limited)
            && session.run(&TAKE_START, params![place, now, per])?.count() > 0
        {
            return Ok(());
        }
        session.run(&ADD_START, params![queue, task, most, now, per]).map(drop)
    })
}

/// Counts a job that has become active in a lane, or come into it, without a claim. It can't be refused.
pub fn count(session: &Session, lane: &Lane, job: i64) -> Result<(), Error> {
    Rules::now(session)?.of(lane).iter().try_for_each(|rule| count_under(rule, session, job))
}

/// The same for the start of one that was claimed, but has turned out to be in this lane.
pub fn count_start(session: &Session, lane: &Lane, now: Timestamp) -> Result<(), Error> {
    Rules::now(session)?.of(lane).iter().try_for_each(|rule| count_start_under(rule, session, now))
}
