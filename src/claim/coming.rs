//! Jobs that come due, and lanes that are to be verified, for a process that claims nothing.

use super::look::Tracked;
use crate::error::Error;
use crate::server::session::Session;
use crate::server::time::{Timestamp, clock};
use crate::shared::heads::Heads;
use crate::shared::lane::Lane;
use std::time::{Duration, Instant};

/// Shared memory keeps track of these lanes from now on.
pub fn track(lanes: &[Lane]) {
    if let Some(heads) = Heads::here() {
        lanes.iter().for_each(|lane| heads.track(lane));
    }
}

/// Whether a parked job has come due since some time, and when the next one will be. Nothing is locked: a claim would
/// pass over it.
pub fn come_due(
    session: &Session,
    since: Timestamp,
    now: Timestamp,
) -> Result<(bool, Timestamp), Error> {
    let Some(heads) = Heads::here() else { return Ok((false, Timestamp::INFINITY)) };
    let (mut any, mut next) = (false, Timestamp::INFINITY);
    for (lane, reading) in heads.due_lanes(now) {
        let first = lane.first_parked(session)?;
        // Somebody who parks a job meanwhile says so himself.
        heads.raise_due(&reading, first);
        let after = if first > since { first } else { lane.next_parked(session, since)? };
        if after <= now {
            any = true;
            // Whoever waits keeps time himself; but of several that come due in the same moment one may be nobody's.
            heads.wake(&reading);
            next = next.min(lane.next_parked(session, now)?);
        } else {
            next = next.min(after);
        }
    }
    Ok((any, next.min(heads.next_due(now))))
}

/// Looks whether shared memory is right about those lanes that are to be verified, as far as there is time.
pub fn verify(session: &Session, most: Duration) -> Result<(), Error> {
    let Some(heads) = Heads::here() else { return Ok(()) };
    let begin = Instant::now();
    for queue in heads.queues() {
        let tracked = Tracked { heads, queues: vec![queue.clone()], tasks: None };
        while begin.elapsed() < most {
            let known = tracked.lanes(session, &queue, clock(), &mut true)?;
            let Some(lane) = known.and_then(|known| known.verify) else { break };
            tracked.verify(session, lane, clock())?;
        }
    }
    Ok(())
}
