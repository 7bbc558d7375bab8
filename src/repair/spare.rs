//! Work on rows around those that it can't be done with.

use crate::error::Error;
use crate::server::chance::Chance;
use crate::server::guard::guarded;
use crate::server::transaction::check_for_interrupts;

/// How many rows are named one by one when they are passed over.
const NAMED: usize = 10;

/// Does `work` with batches of rows, each in a guard, and adds up what it says that it has done. A batch that
/// fails is tried again in halves, down to the rows that it can't be done with: those are passed over with a
/// WARNING. `what` is such as "job"; `goes_on` is asked before each further try. As there may never be time for
/// all of them, chance says which is next: each call gets at others.
pub fn spare(
    what: &str,
    mut batches: Vec<Vec<i64>>,
    mut goes_on: impl FnMut() -> bool,
    mut work: impl FnMut(Vec<i64>) -> Result<usize, Error>,
) -> usize {
    let mut chance = Chance::new();
    let (mut done, mut named, mut others) = (0, 0, 0);
    let mut last_failure = None;
    // One half of what has just failed.
    let mut next: Option<Vec<i64>> = None;
    loop {
        let mut batch = match next.take() {
            Some(batch) => batch,
            None if batches.is_empty() => break,
            None => batches.swap_remove(chance.below(batches.len())),
        };
        match guarded(|| work(batch.clone())) {
            Ok(count) => done += count,
            Err(failure) if batch.len() > 1 => {
                let mut half = batch.split_off(batch.len() / 2);
                if chance.below(2) == 0 {
                    std::mem::swap(&mut half, &mut batch);
                }
                batches.push(batch);
                next = Some(half);
                last_failure = Some(failure);
            }
            // As with rows that are locked themselves: they have their turn the next time.
            Err(failure) if failure.is_of_a_lock() => {}
            Err(failure) if named < NAMED => {
                named += 1;
                let id = batch.first().map_or_else(String::new, i64::to_string);
                failure.pass_over(format!("{what} {id}"));
            }
            Err(failure) => {
                others += batch.len();
                last_failure = Some(failure);
            }
        }
        if (next.is_some() || !batches.is_empty()) && !goes_on() {
            break;
        }
        check_for_interrupts();
    }
    let untried: usize = batches.iter().chain(&next).map(Vec::len).sum();
    if let Some(failure) = last_failure.filter(|_| others + untried > 0) {
        let which = if untried > 0 { "at least one" } else { "each" };
        failure.pass_over(format!("{which} of {} other {what}s", others + untried));
    }
    done
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use super::spare;
    use crate::server::transaction::nest_level;
    use pgrx::prelude::*;

    #[pg_test]
    fn what_can_not_be_done_with_some_rows_is_done_with_all_others() {
        let before = nest_level();
        Spi::run("CREATE TEMPORARY TABLE t (n bigint CHECK (n % 400 <> 7))").expect("SQL");
        let insert = |ids: Vec<i64>| {
            let count = ids.len();
            Spi::run_with_args("INSERT INTO t SELECT unnest($1)", &[ids.into()]).expect("SQL");
            Ok(count)
        };
        let batches = || vec![(1..=500).collect(), (501..=1_000).collect(), vec![7], vec![]];
        assert_eq!(spare("row", batches(), || true, insert), 997);
        let sum = Spi::get_one::<i64>("SELECT sum(n)::bigint FROM t");
        assert_eq!(sum, Ok(Some(500_500 - 7 - 407 - 807)));
        // It ends when it is told to.
        Spi::run("TRUNCATE t").expect("SQL");
        let mut asked = 0;
        let once = || {
            asked += 1;
            false
        };
        spare("row", batches(), once, insert);
        assert_eq!(asked, 1);
        assert_eq!(nest_level(), before);
    }
}
