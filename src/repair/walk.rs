//! A walk over rows that something is to be done with: batch by batch, as long as the time lasts, and around
//! those that it can't be done with.

use super::budget::{Budget, MOST};
use super::call::Call;
use super::spare::spare;
use crate::error::Error;
use crate::server::guard::guarded;
use crate::server::rows::Rows;
use crate::server::time::clock;
use crate::server::transaction::check_for_interrupts;

/// The next rows of a walk.
pub struct Found {
    pub ids: Vec<i64>,
    /// There are none behind them.
    pub is_last: bool,
}

impl Found {
    /// Of all that a look for [`MOST`] rows came across, those that a column says are meant.
    pub fn marked(rows: &Rows, column: i32) -> Self {
        let is_meant = |row: &usize| rows.get(*row, column) == Some(true);
        let ids = (0..rows.count()).filter(is_meant).filter_map(|row| rows.get(row, 1)).collect();
        Self { ids, is_last: rows.count() < MOST }
    }
}

/// Where a walk in index order is. Looks begin at the last row and not behind it, so that the first row of
/// all needs no place before it; hence they ask for one row more than they need.
#[derive(Default)]
pub struct Cursor(Option<i64>);

impl Cursor {
    /// What a look for one more than `most` rows has found; their ids are its first column.
    pub fn next(&mut self, rows: &Rows, most: usize) -> Found {
        let mut ids: Vec<i64> = rows.column(1);
        let is_last = ids.len() <= most;
        ids.retain(|id| Some(*id) != self.0);
        self.0 = ids.last().copied().or(self.0);
        Found { ids, is_last }
    }
}

/// What has come of a walk.
pub struct Walked {
    pub done: i64,
    /// The last row was tried.
    pub is_through: bool,
    /// Of the rows found last, some were not tried.
    leaves: bool,
}

impl Walked {
    /// Where the next walk is to begin: where the last look has got to, or where it began. None at the end.
    pub fn rest<T>(&self, begin: Option<T>, end: T) -> Option<T> {
        match self.is_through {
            true => None,
            false if self.leaves => begin,
            false => Some(end),
        }
    }
}

/// Hands what `find` finds to `work`, so many rows at a time as fit into the time, and adds up what that has
/// done. `find` locks nothing: `work` does that in its guard, for a row that is locked outside of a
/// subtransaction and changed inside of it costs a multixact. A batch that fails is put by, and seen to when all
/// others are done: what can't be done with some rows holds up no others, however many they are. `what` is such
/// as "job". Says how much was done, and whether that was all there is.
pub fn walk(
    call: &Call,
    budget: &Budget,
    what: &str,
    mut find: impl FnMut(usize) -> Result<Found, Error>,
    mut work: impl FnMut(Vec<i64>) -> Result<usize, Error>,
) -> Result<Walked, Error> {
    let mut done = 0;
    let (mut is_through, mut leaves) = (false, false);
    let mut failed = Vec::new();
    let mut size = 1;
    'all: loop {
        let found = find(size)?;
        let mut rest = found.ids.as_slice();
        loop {
            let (batch, others) = rest.split_at(size.min(rest.len()));
            let began = clock();
            if !batch.is_empty() {
                match guarded(|| work(batch.to_vec())) {
                    Ok(count) => done += count,
                    Err(_) => failed.push(batch.to_vec()),
                }
            }
            rest = others;
            if rest.is_empty() && found.is_last {
                is_through = true;
                break 'all;
            }
            if !budget.goes_on() {
                leaves = !rest.is_empty();
                break 'all;
            }
            size = budget.next_size(size, began);
            if rest.is_empty() {
                break;
            }
        }
        check_for_interrupts();
    }
    if !failed.is_empty() {
        let budget = budget.half();
        done += spare(what, failed, || budget.goes_on(), &mut work);
    }
    call.has_done(done);
    Ok(Walked { done: done as i64, is_through, leaves })
}
