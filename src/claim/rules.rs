//! What is paused and what is limited, as each backend keeps it in mind: the server's invalidation messages tell it when
//! that changes, so that a claim where nothing is limited pays for one comparison.

use crate::error::Error;
use crate::server::identity::as_owner_of_jobs;
use crate::server::invalidation;
use crate::server::rows::Rows;
use crate::server::session::Session;
use crate::server::statement::Statement;
use crate::shared::lane::Lane;
use pgrx::datum::Interval;
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

/// How many jobs of a queue, a task, or a task in a queue may run.
pub struct Rule {
    pub queue: String,
    pub task: String,
    pub max_active: Option<i32>,
    pub starts: Option<(i32, Interval)>,
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
