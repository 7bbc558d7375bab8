//! The first look of a claim: at what shared memory knows of its lanes, or at the indexes.

use super::lane::{Front, Head, Source, read_head, read_lane};
use super::skip_scan::{
    PARKED_OF_QUEUES, PARKED_OF_TASKS, READY_OF_QUEUES, READY_OF_TASKS, TASKS_OF_QUEUE,
};
use crate::error::Error;
use crate::server::session::Session;
use crate::server::statement::{Param, params};
use crate::server::time::Timestamp;
use crate::server::value::TextArray;
use crate::shared::databases;
use crate::shared::heads::{Heads, KnownLanes, Reading};
use crate::shared::lane::{Lane, Position};
use crate::shared::waiting::Waiting;
use std::collections::{BinaryHeap, HashSet};
use std::time::Instant;

/// The lanes that a claim may look at: every task of the queues, or the tasks given.
pub struct Eligible {
    pub queues: TextArray,
    pub tasks: Option<TextArray>,
    pub tracked: Option<Tracked>,
}

/// The same for shared memory.
pub struct Tracked {
    pub heads: Heads,
    pub queues: Vec<String>,
    pub tasks: Option<Vec<String>>,
}

/// What a first look at the lanes shows.
#[derive(Default)]
pub struct Look {
    pub heads: BinaryHeap<Head>,
    /// Lanes in which a parked job's time has come.
    pub due: Vec<Due>,
    /// There are others that were not looked at, for it would be in vain.
    pub skipped: bool,
    /// It is not known when the first parked job of some lane is due.
    pub unsettled: bool,
    /// Of the lanes that shared memory does not know, and in which none is due: when the first one is.
    pub next_due: Option<Timestamp>,
    /// A lane that it is for this claim to verify.
    pub verify: Option<(Lane, Reading)>,
}

/// A lane in which a parked job's time has come.
pub struct Due {
    pub lane: Lane,
    /// What shared memory knew of it.
    pub reading: Option<Reading>,
}

impl Eligible {
    pub fn new(queues: TextArray, tasks: Option<TextArray>) -> Self {
        let tracked = Heads::here().map(|heads| Tracked {
            heads,
            queues: queues.distinct(),
            tasks: tasks.map(TextArray::distinct),
        });
        Self { queues, tasks, tracked }
    }

    /// Those of them whose queues are not paused; None if none is.
    pub fn without(&self, paused: &HashSet<String>) -> Option<Self> {
        let queues = self.queues.distinct();
        let left: Vec<String> =
            queues.iter().filter(|queue| !paused.contains(*queue)).cloned().collect();
        (left.len() < queues.len()).then(|| Self {
            queues: TextArray::from(left.clone()),
            tasks: self.tasks,
            tracked: self.tracked.as_ref().map(|tracked| Tracked {
                heads: tracked.heads,
                queues: left,
                tasks: tracked.tasks.clone(),
            }),
        })
    }

    /// The heads of all lanes whose first job is not worse than `worst`, and the lanes with due jobs; `again`: but
    /// for those in which somebody has just seen that none can run.
    pub fn look(
        &self,
        session: &Session,
        now: Timestamp,
        worst: i32,
        again: bool,
    ) -> Result<Look, Error> {
        let mut look = Look::default();
        let Some(tracked) = &self.tracked else {
            look.by_index(session, now, worst, self.queues.into(), self.tasks)?;
            return Ok(look);
        };
        let mut unknown = Vec::new();
        // Of what there is to verify, a claim does one thing.
        let mut verify = !databases::has_worker();
        for queue in &tracked.queues {
            let Some(known) = tracked.lanes(session, queue, now, &mut verify)? else {
                unknown.push(queue.as_str());
                continue;
            };
            look.verify = look.verify.or(known.verify);
            for (lane, reading) in known.lanes {
                let skip = again && reading.due_in_vain;
                look.skipped |= skip;
                if reading.due <= now && !skip {
                    let first = lane.first_parked(session)?;
                    look.unsettled |= !tracked.heads.raise_due(&reading, first);
                    if first <= now {
                        look.due.push(Due { lane: lane.clone(), reading: Some(reading) });
                    }
                }
                let (position, front) = (reading.bound, Front::Unseen(reading));
                if position.rank().is_some_and(|rank| rank <= worst) {
                    look.heads.push(Head { position, lane, source: Source::Ready, front });
                }
            }
        }
        if !unknown.is_empty() {
            look.by_index(session, now, worst, unknown.into(), self.tasks)?;
        }
        Ok(look)
    }

    /// Whether shared memory knows that there are none; None if it knows nothing of some lanes, and nobody is told
    /// what comes there.
    pub fn have_jobs(&self, now: Timestamp) -> Option<bool> {
        let tracked = self.tracked.as_ref()?;
        let mut any = false;
        for queue in &tracked.queues {
            let tasks = tracked.tasks.as_deref();
            any |= !tracked.heads.known(queue, tasks, now, &mut false)?.lanes.is_empty();
        }
        Some(any)
    }

    /// The lanes in which a parked job's time has come.
    pub fn due(&self, session: &Session, now: Timestamp) -> Result<Vec<Due>, Error> {
        let mut look = Look::default();
        match self.tracked {
            // No priority is better than this one.
            Some(_) => look = self.look(session, now, i32::MIN, false)?,
            None => look.due_by_index(session, now, self.queues.into(), self.tasks)?,
        }
        Ok(look.due)
    }
}

impl Look {
    fn by_index(
        &mut self,
        session: &Session,
        now: Timestamp,
        worst: i32,
        queues: Param,
        tasks: Option<TextArray>,
    ) -> Result<(), Error> {
        self.due_by_index(session, now, queues, tasks)?;
        let (clock, worst) = (Param::from(now), Param::from(worst));
        let rows = match tasks {
            None => session.run(&READY_OF_QUEUES, &[clock, queues, worst])?,
            Some(tasks) => session.run(&READY_OF_TASKS, &[clock, queues, worst, tasks.into()])?,
        };
        let mut heads: Vec<_> = (0..rows.count()).map(|row| read_head(&rows, row)).collect();
        heads.sort_unstable_by_key(|head| head.position);
        // A queue or task that was named twice.
        heads.dedup_by_key(|head| head.position);
        self.heads.extend(heads);
        Ok(())
    }

    fn due_by_index(
        &mut self,
        session: &Session,
        now: Timestamp,
        queues: Param,
        tasks: Option<TextArray>,
    ) -> Result<(), Error> {
        let rows = match tasks {
            None => session.run(&PARKED_OF_QUEUES, &[queues])?,
            Some(tasks) => session.run(&PARKED_OF_TASKS, &[queues, tasks.into()])?,
        };
        for row in 0..rows.count() {
            match rows.get(row, 3).expect("the condition excludes NULL") {
                due if due <= now => {
                    self.due.push(Due { lane: read_lane(&rows, row), reading: None })
                }
                later => self.next_due = self.next_due.into_iter().chain([later]).min(),
            }
        }
        Ok(())
    }
}

impl Tracked {
    /// A place among those who sleep until there is a job for them.
    pub fn wait(&self) -> Option<Waiting> {
        Waiting::begin(self.heads, &self.queues, self.tasks.as_deref())
    }

    /// The lanes of a queue that may have jobs; None if they can't be told from shared memory.
    pub fn lanes(
        &self,
        session: &Session,
        queue: &str,
        now: Timestamp,
        verify: &mut bool,
    ) -> Result<Option<KnownLanes>, Error> {
        let tasks = self.tasks.as_deref();
        if let Some(known) = self.heads.known(queue, tasks, now, verify) {
            return Ok(Some(known));
        }
        // The first claim since the server was started, or it is time to look again.
        let begin = Instant::now();
        let Some(version) = self.heads.learn(queue) else { return Ok(None) };
        // Before the look, which sees those that have ended by then.
        let in_doubt = session.has_prepared_transactions()?;
        let mut found: Vec<String> = session.run(&TASKS_OF_QUEUE, params![queue])?.column(1);
        found.sort_unstable();
        found.dedup();
        Ok(match self.heads.know(queue, version, &found, in_doubt, begin.elapsed()) {
            // The queue has had its turn: one of its lanes gets one as well.
            true => self.heads.known(queue, tasks, now, &mut true),
            false => None,
        })
    }

    /// Looks whether a lane has jobs that nobody told us of: a prepared transaction has been committed, or
    /// triggers were switched off. True if it has.
    pub fn verify(
        &self,
        session: &Session,
        (lane, reading): (Lane, Reading),
        now: Timestamp,
    ) -> Result<bool, Error> {
        let begin = Instant::now();
        let ready = lane.ready(session, now, Position::FIRST, reading.bound)?;
        let due = lane.first_parked(session)?;
        let in_doubt = session.has_prepared_transactions()?;
        let ready = ready.map(|head| head.position);
        Ok(self.heads.verified(&reading, ready, due, in_doubt, begin.elapsed()))
    }
}
