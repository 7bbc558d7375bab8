//! How long an attempt may be active.

use crate::server::row::{Column, Row};
use crate::server::time::Timestamp;
use crate::shared::commit;
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::prelude::*;

/// More than this is as good as none.
const LONGEST_MICROS: i128 = 100 * 360 * 86_400 * 1_000_000;

/// What a `timestamptz` has to be before, unless it is infinite.
const END_OF_TIME: i64 = 9_223_371_331_200_000_000;

/// When an attempt that began at a time is out of time. Plain SQL may have written any limit: a negative one counts as
/// 0, one over 100 years as 100 years.
fn ends(started: Timestamp, limit: Interval) -> Timestamp {
    if started == Timestamp::BEFORE_ALL {
        return started;
    }
    let limit = limit.as_micros().clamp(0, LONGEST_MICROS) as i64;
    match started.0.saturating_add(limit) {
        end if end < END_OF_TIME => Timestamp(end),
        _ => Timestamp::INFINITY,
    }
}

/// For an index: when an attempt that began at a time is out of time. The same wherever it is asked, as days are 24
/// hours and months 30 days.
#[pg_extern(immutable, parallel_safe)]
fn time_limit_ends(started: TimestampWithTimeZone, time_limit: Interval) -> TimestampWithTimeZone {
    ends(Timestamp(started.into()), time_limit).shown()
}

/// Tells when an active job will be out of time.
pub fn tell_end(job: &Row) {
    if let Some(limit) = job.time_limit()
        && let Some(started) = job.get(Column::Started)
    {
        commit::timed(ends(started, limit));
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use super::{END_OF_TIME, LONGEST_MICROS, ends};
    use crate::server::time::Timestamp;
    use crate::shared::commit::is_heard;
    use crate::shared::notes::NOTES;
    use pgrx::datum::Interval;
    use pgrx::prelude::*;

    #[pg_test]
    fn a_transaction_tells_when_its_active_jobs_are_out_of_time_however_they_have_come_to_be_so() {
        let run = |sql| Spi::run(sql).expect("SQL");
        let told =
            || NOTES.with_borrow_mut(|notes| std::mem::replace(&mut notes.at, Timestamp::INFINITY));
        let first = || {
            let sql = "SELECT min(minion.time_limit_ends(started, time_limit)) FROM minion.jobs WHERE state = 'active'";
            let first = Spi::get_one::<TimestampWithTimeZone>(sql).expect("SQL").expect("a time");
            if is_heard() { Timestamp(first.into()) } else { Timestamp::INFINITY }
        };
        run(
            "SELECT minion.enqueue('a', time_limit => '1 hour'), minion.enqueue('b', priority => 1)",
        );
        run(
            "SELECT minion.register_worker(); SELECT minion.dequeue(currval('minion.workers_id_seq'))",
        );
        assert_eq!(told(), Timestamp::INFINITY);
        run("SELECT minion.dequeue(currval('minion.workers_id_seq'))");
        assert_eq!(told(), first());
        run("UPDATE minion.jobs SET started = now() - interval '1 minute' WHERE task = 'a'");
        assert_eq!(told(), first());
        run("UPDATE minion.jobs SET time_limit = '1 minute' WHERE task = 'a'");
        assert_eq!(told(), first());
        run("INSERT INTO minion.jobs (task, state, started, time_limit) VALUES
                ('c', 'active', now() - interval '1 day', '1 second')");
        assert_eq!(told(), first());
        run(
            "UPDATE minion.jobs SET time_limit = NULL; UPDATE minion.jobs SET notes = '{\"a\": 1}'",
        );
        assert_eq!(told(), Timestamp::INFINITY);
        run("DELETE FROM minion.jobs");
    }

    #[pg_test]
    fn no_start_and_no_limit_are_too_much_for_the_end_of_a_time_limit() {
        let end = |started, limit| ends(Timestamp(started), limit).0;
        let hour = Interval::from_micros(3_600_000_000);
        assert_eq!(end(5, hour), 3_600_000_005);
        assert_eq!(end(5, Interval::from_micros(-1)), 5);
        let most = Interval::new(i32::MAX, i32::MAX, i64::MAX).expect("an interval");
        let least = Interval::new(-i32::MAX, -i32::MAX, i64::MIN + 1).expect("an interval");
        assert_eq!(end(5, most), 5 + LONGEST_MICROS as i64);
        assert_eq!(end(5, least), 5);
        assert_eq!(end(i64::MIN, most), i64::MIN);
        assert_eq!(end(i64::MAX, least), i64::MAX);
        assert_eq!(end(END_OF_TIME - 1, hour), i64::MAX);
        assert_eq!(end(END_OF_TIME - 1, least), END_OF_TIME - 1);
    }
}
