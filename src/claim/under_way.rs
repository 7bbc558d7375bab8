//! What this backend's claims are at, for what triggers of users' do in the middle of them.

use super::lane::read_lane;
use super::limits;
use crate::error::Error;
use crate::server::identity::as_owner_of_jobs;
use crate::server::session::Session;
use crate::server::statement::{Statement, params};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};

/// Where a job is counted, if it is active.
static LANE_OF_ACTIVE: Statement = Statement::new(
    "SELECT queue, task FROM minion.jobs WHERE id = $1 AND state = $2::minion.job_state",
    &[pg_sys::INT8OID, pg_sys::TEXTOID],
);

thread_local! {
    /// In their order.
    static TAKEN: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
    static UNDER_LIMITS: Cell<usize> = const { Cell::new(0) };
    static TO_COUNT: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

/// Jobs that are being taken, besides those of a claim in whose middle this is one, until this is dropped, come
/// what may. The claim sees to their limits itself.
pub struct UnderWay {
    outer: Vec<i64>,
}

impl UnderWay {
    pub fn begin(ids: &[i64]) -> Self {
        TAKEN.with_borrow_mut(|taken| {
            let outer = taken.clone();
            taken.extend(ids);
            if !outer.is_empty() {
                taken.sort_unstable();
            }
            Self { outer }
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        TAKEN.with_borrow_mut(|taken| taken.clone_from(&self.outer));
    }
}

pub fn is_under_way(job: i64) -> bool {
    TAKEN.with_borrow(|taken| taken.binary_search(&job).is_ok())
}

/// A claim that has locks on limits. Whoever counts a job wants some of them alone, and two such claims would
/// wait for each other: what is to be counted meanwhile is so when the last of them is given up.
pub struct UnderLimits(());

impl UnderLimits {
    pub fn begin() -> Self {
        UNDER_LIMITS.set(UNDER_LIMITS.get() + 1);
        Self(())
    }

    /// To be called when the claim's own locks are given up. What was undone meanwhile is not counted.
    pub fn end(self, session: &Session) -> Result<(), Error> {
        if UNDER_LIMITS.get() > 1 {
            return Ok(());
        }
        let jobs = TO_COUNT.take();
        drop(self);
        for job in jobs {
            let rows = as_owner_of_jobs(|| session.run(&LANE_OF_ACTIVE, params![job, "active"]))?;
            if rows.count() > 0 {
                limits::count(session, &read_lane(&rows, 0), job)?;
            }
        }
        Ok(())
    }
}

impl Drop for UnderLimits {
    fn drop(&mut self) {
        UNDER_LIMITS.set(UNDER_LIMITS.get() - 1);
        if UNDER_LIMITS.get() == 0 {
            TO_COUNT.set(Vec::new());
        }
    }
}

/// Whether a job is counted later, for there is such a claim.
pub fn is_counted_later(job: i64) -> bool {
    let later = UNDER_LIMITS.get() > 0;
    if later {
        TO_COUNT.with_borrow_mut(|jobs| jobs.push(job));
    }
    later
}
