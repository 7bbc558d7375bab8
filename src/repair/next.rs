//! When there will be something for repair to do, where nothing happens meanwhile.

use crate::error::Error;
use crate::server::session::Session;
use crate::server::statement::Statement;
use crate::server::time::Timestamp;
use crate::settings;
use std::time::Duration;

/// What time alone makes stuck or lost is found so late: no index tells when that will be.
const SELDOM: Duration = Duration::from_secs(3_600);

static FIRST: Statement = Statement::new(
    "SELECT
        (SELECT worker.notified FROM minion.workers AS worker ORDER BY worker.notified LIMIT 1),
        (SELECT job.finished
        FROM minion.jobs AS job
        WHERE job.state = 'finished'
        ORDER BY job.finished, job.id
        LIMIT 1),
        (SELECT job.expires
        FROM minion.jobs AS job
        WHERE job.state = 'inactive' AND job.expires IS NOT NULL
        ORDER BY job.expires, job.id
        LIMIT 1),
        (EXISTS (
            SELECT FROM minion.jobs AS job WHERE job.state = 'inactive' AND job.parked_until IS NULL)
         OR EXISTS (
            SELECT FROM minion.jobs AS job WHERE job.state = 'inactive' AND job.parked_until IS NOT NULL)
         OR EXISTS (SELECT FROM minion.jobs AS job WHERE job.state = 'active'))",
    &[],
);

/// INFINITY if there is nothing that time could do anything to. `has_repaired`: what has come to its time is what could not be
/// repaired.
pub fn next(now: Timestamp, has_repaired: bool) -> Result<Timestamp, Error> {
    Session::with(|session| {
        let rows = session.run(&FIRST, &[])?;
        let after = |column, span: Duration| {
            let at: Option<Timestamp> = rows.get(0, column);
            at.map(|at| match at.after(span) {
                left if has_repaired && left <= now => now.after(SELDOM),
                next => next,
            })
        };
        let seldom = (rows.get(0, 4) == Some(true)).then(|| now.after(SELDOM));
        let all = [
            after(1, settings::missing_time()),
            after(2, settings::remove_time()),
            after(3, Duration::ZERO),
            seldom,
        ];
        Ok(all.into_iter().flatten().min().unwrap_or(Timestamp::INFINITY))
    })
}
