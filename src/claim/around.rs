//! A way around jobs that something of users' keeps from being changed: a trigger, a constraint or a foreign key
//! that raises an error, a trigger that returns NULL. Such a job keeps a call from no other.

use crate::error::Error;
use crate::failure::Failure;
use crate::server::guard::guarded;
use crate::server::transaction::check_for_interrupts;
use crate::server::users;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

/// The LIMIT of the statements that lock.
pub const STATEMENT_LIMIT: usize = 1_000;

/// How many jobs are named one by one.
const NAMED: usize = 10;

/// The jobs that one call has passed over. It tries none of them again, however often it looks.
#[derive(Default)]
pub struct PassedOver {
    jobs: RefCell<HashSet<i64>>,
    /// Of those that were not named.
    failure: RefCell<Option<Failure>>,
    /// Some jobs were changed, with all that triggers of users' do then, whether the call returns them or not.
    has_changed: Cell<bool>,
    /// How many to take at once, since one was passed over.
    step: Cell<Option<usize>>,
}

/// What was done with the jobs that could be locked.
pub struct Done<T> {
    pub done: Vec<T>,
    /// The last of them, if there may be more behind it.
    pub stopped: Option<i64>,
    /// One was passed over.
    pub passed: bool,
}

impl<T> Done<T> {
    fn new(done: Vec<T>, locked: &[i64], most: usize) -> Self {
        let stopped = locked.last().copied().filter(|_| locked.len() >= most.min(STATEMENT_LIMIT));
        Self { done, stopped, passed: false }
    }
}

impl PassedOver {
    /// To be asked before each look.
    pub fn any(&self) -> bool {
        if !self.jobs.borrow().is_empty() && !users::may_interfere() {
            // Nothing is in the way any more.
            self.jobs.take();
            self.failure.take();
        }
        !self.jobs.borrow().is_empty()
    }

    pub fn has(&self, job: i64) -> bool {
        let jobs = self.jobs.borrow();
        !jobs.is_empty() && jobs.contains(&job)
    }

    /// How many of `most` to try at once. There may be thousands of jobs in a row that are passed over, and for each
    /// all of a batch would be tried in vain, and its halves: after one there is one, then two, and so on.
    pub fn at_once(&self, most: usize) -> usize {
        self.step.get().map_or(most, |step| step.min(most))
    }

    /// Whether one was passed over of those that were tried at once.
    pub fn tried(&self, passed: bool) {
        match passed {
            true => self.step.set(Some(1)),
            false => self.step.set(self.step.get().map(|step| step.saturating_mul(2))),
        }
    }

    fn add(&self, job: i64, failure: Failure) {
        self.jobs.borrow_mut().insert(job);
        match self.jobs.borrow().len() {
            ..=NAMED => failure.pass_over(format!("job {job}")),
            _ => drop(self.failure.replace(Some(failure))),
        }
    }

    pub fn has_changed(&self) -> bool {
        self.has_changed.get()
    }

    /// The call is over.
    pub fn tell_others(self) {
        let others = self.jobs.borrow().len().saturating_sub(NAMED);
        if let Some(failure) = self.failure.take() {
            failure.pass_over(format!("each of {others} other jobs"));
        }
    }

    /// Locks at most `most` jobs, and does `work` with them. If there is anything of users' on the table, `work`
    /// is told so, and both happen in one guard: with half of the jobs if it fails, down to the one that is to
    /// be passed over. Locked outside of the guard, a job would cost a multixact, and stay locked.
    pub fn around<T>(
        &self,
        mut most: usize,
        lock: impl Fn(usize) -> Result<Vec<i64>, Error>,
        work: impl Fn(Vec<i64>, bool) -> Result<Vec<T>, Error>,
    ) -> Result<Done<T>, Error> {
        if !users::may_interfere() {
            let locked = lock(most)?;
            let nothing = Done::new(Vec::new(), &locked, most);
            return match locked.is_empty() {
                true => Ok(nothing),
                false => Ok(Done { done: work(locked, false)?, ..nothing }),
            };
        }
        loop {
            let mut locked = None;
            let mut ids = Vec::new();
            let outcome = guarded(|| {
                let found = locked.insert(lock(most)?);
                ids.extend(found.iter().filter(|id| !self.has(**id)));
                match ids.is_empty() {
                    // Nothing stays locked, not even the table for long.
                    true => Err(Error::Refused { table: "jobs" }),
                    false => work(ids.clone(), true),
                }
            });
            let Some(locked) = locked else {
                // It was the look that failed, and whoever called is told why.
                lock(most)?;
                return Ok(Done::new(Vec::new(), &[], most));
            };
            let nothing = Done::new(Vec::new(), &locked, most);
            match (outcome, &ids[..]) {
                (Ok(done), _) => {
                    self.has_changed.set(true);
                    return Ok(Done { done, ..nothing });
                }
                (Err(_), []) => return Ok(nothing),
                (Err(failure), [id]) => {
                    self.add(*id, failure);
                    return Ok(Done { passed: true, ..nothing });
                }
                (Err(_), ids) => {
                    let half = ids[ids.len() / 2 - 1];
                    most = locked.iter().take_while(|id| **id != half).count() + 1;
                }
            }
            check_for_interrupts();
        }
    }
}
