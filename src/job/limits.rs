//! Paused queues, and limits: what a claim may not take, however much of it is ready.
//!
//! Each backend keeps in mind what is paused and limited, and is told by the server's invalidation messages
//! when that changes, so that a claim where nothing is limited pays for one comparison. Under a limit it
//! finds a place before it takes a job: a row of `minion.active_slots` or `minion.start_slots`, under a lock
//! that lasts until the job is written into it, or could not be had. A claim that has not committed counts as
//! well, for its place is seen to be about to change; none waits for another; and one that comes to nothing
//! has changed nothing, in a transaction block as elsewhere. When the job is not active any more, a trigger
//! gives the place back.
//!
//! A limit that was lowered leaves the places beyond it where they are. As long as they are taken, so many of
//! those below it have to stay free.
//!
//! All of this is done as the tables' owner: a worker can't be trusted with its own limit.

use crate::error::Error;
use crate::shared::bounds::{self, Kind};
use crate::shared::lane::Lane;
use crate::shared::transaction;
use crate::statement::lock::{LimitLock, PlaceLock, Places, lock_limits, lock_to_write};
use crate::statement::probe::slots::{self, Limited, Slot};
use crate::statement::{
    Rows, Session, Statement, Timestamp, as_owner_of_jobs, invalidation, oid_of, params,
};
use pgrx::datum::Interval;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

static PAUSED: Statement = Statement::latest("SELECT queue FROM minion.paused_queues", &[]);

/// A time is to be added to the clock: rows from before the table had CHECKs may have more.
static RULES: Statement = Statement::latest(
    "SELECT queue, task, max_active, max_starts, LEAST(per, '10000 years'::pg_catalog.interval)
    FROM minion.limit_rules",
    &[],
);

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

/// Into free slots, as far as there are any, and the others beyond the limit. Those of a claim that
/// is not over are passed over. $3 the limit, $4 the jobs; one of them may have got a slot meanwhile.
static GIVE_SLOTS: Statement = Statement::latest(
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

/// How many jobs of a queue, a task, or a task in a queue may run.
pub struct Rule {
    queue: String,
    task: String,
    max_active: Option<i32>,
    starts: Option<(i32, Interval)>,
}

/// All that is paused or limited.
#[derive(Default)]
pub struct Rules {
    pub paused: HashSet<String>,
    /// By queue and task; an empty name stands for any.
    limits: HashMap<String, HashMap<String, Rc<Rule>>>,
}

thread_local!(static KNOWN: RefCell<Option<Rc<Rules>>> = const { RefCell::new(None) });

impl Rules {
    /// What is so now: committed, or changed by this transaction.
    pub fn now(session: &Session) -> Result<Rc<Self>, Error> {
        if invalidation::is_current()
            && let Some(known) = KNOWN.with_borrow(Clone::clone)
        {
            return Ok(known);
        }
        // Should the look end in an error, there is nothing that could be taken for current.
        KNOWN.set(None);
        let rules = Rc::new(match invalidation::watch() {
            true => as_owner_of_jobs(|| Self::read(session))?,
            false => Self::default(),
        });
        KNOWN.set(Some(rules.clone()));
        Ok(rules)
    }

    fn read(session: &Session) -> Result<Self, Error> {
        let paused: Vec<String> = session.run(&PAUSED, &[])?.column(1);
        let mut limits: HashMap<String, HashMap<String, Rc<Rule>>> = HashMap::new();
        let rows = session.run(&RULES, &[])?;
        for row in 0..rows.count() {
            let rule = Rule::of(&rows, row);
            let of_queue = limits.entry(rule.queue.clone()).or_default();
            of_queue.insert(rule.task.clone(), Rc::new(rule));
        }
        Ok(Self { paused: paused.into_iter().collect(), limits })
    }

    /// Looks again at the next call, if there is anything that may have changed: whoever was woken because of
    /// a change may hear of it before the message.
    pub fn doubt() {
        let any = |rules: &Rules| !rules.paused.is_empty() || rules.has_limits();
        if KNOWN.with_borrow(|known| known.as_deref().is_some_and(any)) {
            KNOWN.set(None);
        }
    }

    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// The limits that a lane is under.
    pub fn of(&self, lane: &Lane) -> Vec<Rc<Rule>> {
        let names = [("", lane.task.as_str()), (&lane.queue, ""), (&lane.queue, &lane.task)];
        let rule = |(queue, task): (&str, &str)| self.limits.get(queue)?.get(task).cloned();
        names.into_iter().filter_map(rule).collect()
    }
}

impl Rule {
    fn of(rows: &Rows, row: usize) -> Self {
        let starts: Option<i32> = rows.get(row, 4);
        Self {
            queue: rows.get(row, 1).expect("queue is NOT NULL"),
            task: rows.get(row, 2).expect("task is NOT NULL"),
            max_active: rows.get(row, 3),
            starts: starts.zip(rows.get(row, 5)),
        }
    }

    /// Counts an active job that has no place, beyond the limit if there is none.
    fn count(&self, session: &Session, job: i64) -> Result<(), Error> {
        let Some(most) = self.max_active else { return Ok(()) };
        let (queue, task) = (self.queue.as_str(), self.task.as_str());
        lock_limits();
        let _places = LimitLock::alone(queue, task);
        as_owner_of_jobs(|| give(session, queue, task, most, vec![job]))
    }

    /// Counts a start that has no place, later if there is none.
    fn count_start(&self, session: &Session, now: Timestamp) -> Result<(), Error> {
        let Some((most, per)) = self.starts else { return Ok(()) };
        let (queue, task) = (self.queue.as_str(), self.task.as_str());
        as_owner_of_jobs(|| {
            lock_places_to_write();
            let limited = Limited { places: Places::Start, queue, task, most, now };
            if let Some(_limit) = LimitLock::together(queue, task)
                && let Slot::Locked(_places, place) = lock_place(&limited)
                && session.run(&TAKE_START, params![place, now, per])?.count() > 0
            {
                return Ok(());
            }
            session.run(&ADD_START, params![queue, task, most, now, per]).map(drop)
        })
    }
}

/// What one job needs to start under its limits, locked for it until this is dropped.
#[derive(Default)]
pub struct Slots {
    active: Vec<(Rc<Rule>, pg_sys::ItemPointerData)>,
    start: Vec<(Rc<Rule>, pg_sys::ItemPointerData, Interval)>,
    places: Vec<PlaceLock>,
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
fn lock_place(limited: &Limited) -> Slot {
    let kind = match limited.places {
        Places::Active => Kind::Active,
        Places::Start => Kind::Starts,
    };
    bounds::look(kind, (limited.queue, limited.task), |from| {
        let (slot, seen) = limited.lock(from);
        (slot, seen.map(|(first, xmin)| (first.unwrap_or(bounds::END), xmin)))
    })
}

impl Slots {
    /// What one job needs, or the limit that is reached.
    pub fn lock(rules: &[Rc<Rule>], now: Timestamp) -> Result<Self, Full> {
        as_owner_of_jobs(|| {
            lock_places_to_write();
            let mut slots = Self::default();
            for rule in rules {
                let (queue, task) = (rule.queue.as_str(), rule.task.as_str());
                let full = |(is_busy, until)| Full { rule: rule.clone(), is_busy, until };
                // Somebody is changing it.
                let limit = LimitLock::together(queue, task).ok_or_else(|| full((true, None)))?;
                slots.limits.push(limit);
                if let Some(most) = rule.max_active {
                    let limited = Limited { places: Places::Active, queue, task, most, now };
                    let place = slots.keep(lock_place(&limited)).map_err(full)?;
                    slots.active.push((rule.clone(), place));
                }
                if let Some((most, per)) = rule.starts {
                    let limited = Limited { places: Places::Start, queue, task, most, now };
                    let place = slots.keep(lock_place(&limited)).map_err(full)?;
                    slots.start.push((rule.clone(), place, per));
                }
                // Who goes by a limit that was set meanwhile may have looked before those locks were there.
                let starts = rule.starts.map(|(most, _)| most);
                if !slots::is_limit(queue, task, rule.max_active, starts) {
                    return Err(full((true, None)));
                }
            }
            Ok(slots)
        })
    }

    /// A place that was found, or whether others are at those that there are, and when there will be one.
    fn keep(&mut self, slot: Slot) -> Result<pg_sys::ItemPointerData, (bool, Option<Timestamp>)> {
        match slot {
            Slot::Locked(places, place) => {
                self.places.extend(places);
                Ok(place)
            }
            Slot::Busy => Err((true, None)),
            Slot::None(until) => Err((false, until)),
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
        active.iter().try_for_each(|rule| rule.count(session, job))?;
        start.iter().try_for_each(|rule| rule.count_start(session, now))
    }
}

/// Gives back the slots of a job that is not active any more. Whether it had any. What the backend has in
/// mind of limits has no say in this: a new one has given its slots before anybody is told of it.
pub fn free(session: &Session, job: i64) -> Result<bool, Error> {
    as_owner_of_jobs(|| {
        let removed = session.run(&REMOVE_FAR_BEYOND, params![job])?.count();
        if !slots::have_order() {
            return Ok(session.run(&FREE_UNDATED, params![job])?.count() + removed > 0);
        }
        let freed = session.run(&FREE, params![job])?;
        for row in 0..freed.count() {
            let column = "is NOT NULL";
            let (queue, task) =
                (freed.get(row, 1).expect(column), freed.get(row, 2).expect(column));
            let Timestamp(at) = freed.get(row, 3).expect(column);
            transaction::bounded(Kind::Active, oid_of(c"active_slots"), (queue, task), at);
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
    session.run(&GIVE_SLOTS, params![queue, task, most, jobs]).map(drop)
}

/// Counts a job that has become active in a lane, or come into it, without a claim. It can't be refused.
pub fn count(session: &Session, lane: &Lane, job: i64) -> Result<(), Error> {
    Rules::now(session)?.of(lane).iter().try_for_each(|rule| rule.count(session, job))
}

/// The same for the start of one that was claimed, but has turned out to be in this lane.
pub fn count_start(session: &Session, lane: &Lane, now: Timestamp) -> Result<(), Error> {
    Rules::now(session)?.of(lane).iter().try_for_each(|rule| rule.count_start(session, now))
}
