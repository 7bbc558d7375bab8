//! Paused queues, and limits: what a claim may not take, however much of it is ready.
//!
//! Each backend keeps in mind what is paused and limited, and is told by the server's invalidation messages
//! when that changes, so that a claim where nothing is limited pays for one comparison. Under a limit it
//! takes a slot before it takes a job: a row of `minion.active_slots` or `minion.start_slots`, locked with
//! SKIP LOCKED, so that a claim that has not committed counts as well, and none waits for another. When the
//! job is not active any more, a trigger gives the slot back.
//!
//! All of this is done as the tables' owner: a worker can't be trusted with its own limit.

use crate::error::Error;
use crate::shared::lane::Lane;
use crate::statement::probe::slots::{self, Slot};
use crate::statement::{
    Rows, Session, Statement, Timestamp, as_owner_of_jobs, invalidation, params,
};
use pgrx::datum::Interval;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

static PAUSED: Statement = Statement::latest("SELECT queue FROM minion.paused_queues", &[]);

static RULES: Statement = Statement::latest(
    "SELECT queue, task, max_active, max_starts, per FROM minion.limit_rules",
    &[],
);

/// Locked ones beyond a limit.
static REMOVE_SURPLUS: Statement = Statement::latest(
    "DELETE FROM minion.active_slots
    WHERE queue = $1 AND task = $2 AND number = ANY ($3) AND job IS NULL",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4ARRAYOID],
);

static TAKE_ACTIVE: Statement = Statement::latest(
    "UPDATE minion.active_slots SET job = $4 WHERE queue = $1 AND task = $2 AND number = $3",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID, pg_sys::INT8OID],
);

static TAKE_START: Statement = Statement::latest(
    "UPDATE minion.start_slots SET free_at = $4 + $5 WHERE queue = $1 AND task = $2 AND number = $3",
    &[
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::INT4OID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INTERVALOID,
    ],
);

static FREE: Statement = Statement::latest(
    "UPDATE minion.active_slots SET job = NULL WHERE job = $1 RETURNING queue, task, number",
    &[pg_sys::INT8OID],
);

/// A job that stands beyond the limit gets the slot, so that the ones beyond it empty. The job is locked too:
/// who is ending it has its slot from a snapshot, and must look again.
static REFILL: Statement = Statement::latest(
    "WITH surplus AS MATERIALIZED (
        SELECT slot.number, slot.job
        FROM minion.limit_rules AS rule
        JOIN minion.active_slots AS slot ON slot.queue = rule.queue AND slot.task = rule.task
        JOIN minion.jobs AS job ON job.id = slot.job
        WHERE rule.queue = $1 AND rule.task = $2 AND $3 < rule.max_active
          AND slot.number >= rule.max_active AND slot.job IS NOT NULL
        ORDER BY slot.number
        LIMIT 1
        FOR NO KEY UPDATE OF slot, job SKIP LOCKED
    ), moved AS (
        UPDATE minion.active_slots AS slot
        SET job = NULL
        FROM surplus
        WHERE slot.queue = $1 AND slot.task = $2 AND slot.number = surplus.number
    )
    UPDATE minion.active_slots AS slot
    SET job = surplus.job
    FROM surplus
    WHERE slot.queue = $1 AND slot.task = $2 AND slot.number = $3",
    &[pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::INT4OID],
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
}

/// What one job needs to start under its limits, locked for it.
#[derive(Default)]
pub struct Slots {
    active: Vec<(Rc<Rule>, i32)>,
    start: Vec<(Rc<Rule>, i32, Interval)>,
}

/// A limit that lets no job start.
pub struct Full {
    pub rule: Rc<Rule>,
    /// Others are about to start, who may yet leave it.
    pub is_busy: bool,
}

impl Slots {
    /// What one job needs, or the limit that is reached. Slots of others of its limits may be locked then.
    pub fn lock(
        session: &Session,
        rules: &[Rc<Rule>],
        now: Timestamp,
    ) -> Result<Result<Self, Full>, Error> {
        as_owner_of_jobs(|| {
            let mut slots = Self::default();
            for rule in rules {
                let (queue, task) = (rule.queue.as_str(), rule.task.as_str());
                if let Some(most) = rule.max_active {
                    // Beyond the limit, which was lowered, is an active job, or a claim under way.
                    let over = slots::has_active_slots(queue, task, most)
                        && (!remove_surplus(session, queue, task, most)?
                            || slots::has_active_slots(queue, task, most));
                    let slot = match over {
                        true => Slot::None,
                        false => slots::lock_active_slot(queue, task, most),
                    };
                    let Slot::Locked(number) = slot else { return Ok(Err(full(rule, &slot))) };
                    slots.active.push((rule.clone(), number));
                }
                if let Some((most, per)) = rule.starts {
                    let slot = slots::lock_start_slot(queue, task, now, most);
                    let Slot::Locked(number) = slot else { return Ok(Err(full(rule, &slot))) };
                    slots.start.push((rule.clone(), number, per));
                }
            }
            Ok(Ok(slots))
        })
    }

    /// The job has started.
    pub fn take(&self, session: &Session, job: i64, now: Timestamp) -> Result<(), Error> {
        as_owner_of_jobs(|| {
            for (rule, number) in &self.active {
                let params = params![rule.queue.as_str(), rule.task.as_str(), *number, job];
                session.run(&TAKE_ACTIVE, params)?;
            }
            for (rule, number, per) in &self.start {
                let (queue, task) = (rule.queue.as_str(), rule.task.as_str());
                session.run(&TAKE_START, params![queue, task, *number, now, *per])?;
            }
            Ok(())
        })
    }
}

fn full(rule: &Rc<Rule>, slot: &Slot) -> Full {
    Full { rule: rule.clone(), is_busy: matches!(slot, Slot::Busy) }
}

/// Takes away the slots beyond a limit that nobody has. Whether there were any.
pub fn remove_surplus(
    session: &Session,
    queue: &str,
    task: &str,
    most: i32,
) -> Result<bool, Error> {
    let free = slots::lock_surplus_slots(queue, task, most);
    let any = !free.is_empty();
    if any {
        session.run(&REMOVE_SURPLUS, params![queue, task, free])?;
    }
    Ok(any)
}

/// Gives back the slots of a job that is not active any more. Whether it had any. What the backend has in
/// mind of limits has no say in this: a new one has given its slots before anybody is told of it.
pub fn free(session: &Session, job: i64) -> Result<bool, Error> {
    as_owner_of_jobs(|| {
        let freed = session.run(&FREE, params![job])?;
        for row in 0..freed.count() {
            let queue: &str = freed.get(row, 1).expect("queue is NOT NULL");
            let task: &str = freed.get(row, 2).expect("task is NOT NULL");
            let number: i32 = freed.get(row, 3).expect("number is NOT NULL");
            session.run(&REFILL, params![queue, task, number])?;
        }
        Ok(freed.count() > 0)
    })
}
