//! Heads: from which place on a lane may have ready jobs, and from when on parked ones may be due.
//!
//! A claim that knows starts its index scan there, instead of walking over the dead entries that earlier
//! claims have left and VACUUM may not take away yet; a lane that is known to be empty costs no scan at all.
//! The index is the truth, this is a hint, and these rules keep it from ever hiding a job:
//! - A bound is only raised to what a plain look without a filter saw first, whether that was locked or not;
//! - the reading was made before the snapshot of that look, and counts only if nothing has lowered the
//!   bound since (`version`);
//! - nobody raises who has changed anything himself, or sees an old snapshot: what he sees may never be;
//! - whatever makes a job ready lowers the bound when it has committed (see [`super::commit`]), and
//!   until then looks from its own jobs on itself.

use super::adding::find_or_add;
use super::database::task;
use super::databases;
use super::lane::{Lane, Position};
use super::lanes::Lanes;
use super::memory::Mode;
use super::notes;
use super::slot::{LaneState, Slot, VERIFY_MICROS, Vain};
use super::waiters::{ANY, wake_for_jobs};
use crate::server::time::{Timestamp, clock};
use crate::server::transaction::{has_changed_anything, snapshot_is_fixed};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What was known of a lane at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    slot: u32,
    pub bound: Position,
    version: u64,
    pub due: Timestamp,
    due_version: u64,
    ended: u64,
    /// Somebody has just seen that none of the jobs that are due can run.
    pub due_in_vain: bool,
}

/// What is known of the lanes of a queue.
#[derive(Default)]
pub struct KnownLanes {
    pub lanes: Vec<(Lane, Reading)>,
    /// One that it is for the caller to verify.
    pub verify: Option<(Lane, Reading)>,
}

/// The heads of a table's lanes.
#[derive(Clone, Copy)]
pub struct Heads {
    pub lanes: Lanes,
}

impl Heads {
    /// Those of this database's jobs; None as for [`Lanes::here`].
    pub fn here() -> Option<Self> {
        Lanes::here().map(|lanes| Self { lanes })
    }

    fn read(&self, at: u32, now: Timestamp) -> Reading {
        let ended = self.ended();
        let state = self.lanes.slot(at).state(|state| *state);
        let (own_ready, own_due) = notes::own(at);
        Reading {
            slot: at,
            bound: state.bound.min(own_ready),
            version: state.version,
            due: state.due.min(own_due),
            due_version: state.due_version,
            ended,
            due_in_vain: state.is_vain(now, ended) && !has_changed_anything(),
        }
    }

    fn ended(&self) -> u64 {
        self.lanes.slots.ended.load(Ordering::SeqCst)
    }

    /// The lanes of a queue, all or those of some tasks, that may have a job that is ready or due; None if
    /// not all of the queue's lanes are known, or it is for the caller to see whether they are. `verify`:
    /// whether the caller has time for one of these things, and false after it was given one.
    pub fn known(
        &self,
        queue: &str,
        tasks: Option<&[String]>,
        now: Timestamp,
        verify: &mut bool,
    ) -> Option<KnownLanes> {
        if notes::lost_count() {
            return None;
        }
        let may_have = |reading: &Reading| reading.bound < Position::END || reading.due <= now;
        let _held = self.lanes.slots.hold(Mode::Shared);
        let of_queue = self.lanes.slot(self.lanes.find(queue, "")?);
        let mut elects = |state: &mut LaneState| {
            let elected = *verify && may_raise() && state.elects(now);
            *verify &= !elected;
            elected
        };
        if !of_queue.state(|state| state.complete && !elects(state)) {
            return None;
        }
        let mut known = KnownLanes::default();
        let mut longest: Option<(Timestamp, u32, Reading)> = None;
        let mut keep = |at| {
            let slot = self.lanes.slot(at);
            let reading = self.read(at, now);
            if may_have(&reading) {
                slot.hits.fetch_add(1, Ordering::Relaxed);
                known.lanes.push((slot.lane(), reading));
            }
            // The one that has waited longest, so that each gets its turn.
            let since = slot.state(|state| state.verify_at);
            if since <= now && longest.is_none_or(|(least, ..)| since < least) {
                longest = Some((since, at, reading));
            }
        };
        self.lanes.for_each_of_queue(of_queue, queue, tasks, &mut keep);
        if let Some((_, at, reading)) = longest
            && self.lanes.slot(at).state(&mut elects)
        {
            known.verify = Some((self.lanes.slot(at).lane(), reading));
        }
        Some(known)
    }

    /// The state of a queue to give to [`Heads::know`] after its lanes were looked for.
    pub fn learn(&self, queue: &str) -> Option<u64> {
        let at = find_or_add(self.lanes, queue, "", |_| {})?;
        Some(self.lanes.slot(at).state(|state| state.version))
    }

    /// All the lanes that a look found which began after `learn` are tracked from now on. `in_doubt`: whether
    /// there were prepared transactions before it, which may have lanes that there was no room for. `took`: how
    /// long it was.
    pub fn know(
        &self,
        queue: &str,
        version: u64,
        tasks: &[String],
        in_doubt: bool,
        took: Duration,
    ) -> bool {
        let tracked =
            tasks.iter().all(|task| find_or_add(self.lanes, queue, task, |_| {}).is_some());
        let certain = may_raise();
        let _held = self.lanes.slots.hold(Mode::Shared);
        self.lanes.find(queue, "").is_some_and(|at| {
            self.lanes.slot(at).state(|state| {
                let unchanged = state.version == version;
                state.in_doubt &= in_doubt || !unchanged;
                let tracked = tracked && !state.in_doubt;
                state.complete &= tracked;
                state.complete |= tracked && certain && unchanged && !in_doubt;
                state.verify_at = later(took);
                state.complete
            })
        })
    }

    /// A look that began after the reading saw `first` before all other ready jobs, END if there was none.
    pub fn raise(&self, reading: &Reading, first: Position) {
        if may_raise() {
            self.lanes.slot(reading.slot).state(|state| {
                if state.version == reading.version && !state.in_doubt {
                    state.bound = state.bound.max(first);
                }
            });
        }
    }

    /// The same for the first parked job, INFINITY if there is none that waits for a time. False if somebody has
    /// parked one meanwhile, so that nobody knows: it is for the caller to look once more.
    pub fn raise_due(&self, reading: &Reading, first: Timestamp) -> bool {
        may_raise()
            && self.lanes.slot(reading.slot).state(|state| {
                let unchanged = state.due_version == reading.due_version;
                if unchanged && !state.in_doubt {
                    state.due = state.due.max(first);
                }
                unchanged || state.in_doubt
            })
    }

    /// A look at all due jobs that began after the reading found none that can run; `next`: when the first
    /// parked one after them is due.
    pub fn looked_in_vain(&self, reading: &Reading, next: Timestamp, took: Duration) {
        let vain = Vain::new(reading.due_version, reading.ended, next, took);
        if may_raise() {
            self.lanes.slot(reading.slot).state(|state| {
                if state.due_version == reading.due_version {
                    state.vain = vain;
                }
            });
            // Somebody is to make them wait for their parents, so that nobody looks at them meanwhile.
            if let Some(own) = databases::own() {
                own.ask(task::BLOCKED);
            }
        }
    }

    /// What a look below the bound has found: a job that nobody told us of, or None. `due`: the first parked
    /// job. `in_doubt`: whether there are prepared transactions. True if that makes a difference.
    pub fn verified(
        &self,
        reading: &Reading,
        ready: Option<Position>,
        due: Timestamp,
        in_doubt: bool,
        took: Duration,
    ) -> bool {
        let slot = self.lanes.slot(reading.slot);
        let version = self.lanes.slots.next_version();
        let healed = slot.state(|state| {
            state.verify_at = later(took);
            // Unless a transaction was prepared since.
            let unchanged =
                state.version == reading.version && state.due_version == reading.due_version;
            if state.in_doubt && !in_doubt && unchanged {
                // Whoever looked before does not know how they have ended.
                state.in_doubt = false;
                (state.version, state.due_version) = (version, version);
            }
            // The slot is another lane's by now, or somebody has put it right.
            let ready = ready.filter(|ready| *ready < state.bound);
            if let Some(ready) = ready {
                state.bound = ready;
                state.version = version;
            }
            let too_late = due < state.due;
            if too_late {
                state.due = due;
                state.due_version = version;
            }
            ready.is_some() || too_late
        });
        slot.heals.fetch_add(healed.into(), Ordering::Relaxed);
        if healed {
            let _held = self.lanes.slots.hold(Mode::Shared);
            wake_for_jobs(reading.slot, slot, 1, ANY);
        }
        healed
    }

    /// Wakes one of those who wait for a job of a lane.
    pub fn wake(&self, reading: &Reading) {
        let _held = self.lanes.slots.hold(Mode::Shared);
        wake_for_jobs(reading.slot, self.lanes.slot(reading.slot), 1, ANY);
    }

    /// The lanes of this table in which a parked job may be due.
    pub fn due_lanes(&self, now: Timestamp) -> Vec<(Lane, Reading)> {
        let _held = self.lanes.slots.hold(Mode::Shared);
        let all = self.lanes.all().map(|(at, slot)| (slot, self.read(at, now)));
        all.filter(|(_, reading)| reading.due <= now)
            .map(|(slot, reading)| (slot.lane(), reading))
            .collect()
    }

    /// Those of them in which somebody has seen that none of the jobs that are due can run.
    pub fn vain_lanes(&self) -> Vec<Lane> {
        let _held = self.lanes.slots.hold(Mode::Shared);
        let vain = self.lanes.all().filter(|(_, slot)| slot.state(|state| state.was_vain()));
        vain.map(|(_, slot)| slot.lane()).collect()
    }

    /// When the first parked job is due of the lanes in which none is.
    pub fn next_due(&self, now: Timestamp) -> Timestamp {
        let _held = self.lanes.slots.hold(Mode::Shared);
        let all = self.lanes.all().map(|(at, _)| self.read(at, now).due);
        all.filter(|due| *due > now).min().unwrap_or(Timestamp::INFINITY)
    }

    /// Keeps track of a lane from now on, if there is room.
    pub fn track(&self, lane: &Lane) {
        find_or_add(self.lanes, &lane.queue, &lane.task, |_| {});
    }

    /// The queues of this table.
    pub fn queues(&self) -> Vec<String> {
        let _held = self.lanes.slots.hold(Mode::Shared);
        let own = |slot: &&Slot| slot.is_of_queue() && slot.table() == self.lanes.table;
        let slots = self.lanes.slots.in_use().map(|(_, slot)| slot);
        slots.filter(own).map(|slot| slot.lane().queue).collect()
    }

    /// Whether a claim in some lanes has something to look at that nobody has seen to be in vain: jobs that have
    /// come due, what is to be verified, and, for whoever should not have heard of it, jobs that have become ready
    /// `since`.
    pub fn need_look(
        &self,
        queues: &[String],
        tasks: Option<&[String]>,
        now: Timestamp,
        since: u64,
    ) -> bool {
        let ended = self.ended();
        let verifies = !databases::has_worker();
        let needs = |state: &mut LaneState| {
            (verifies && state.verify_at <= now)
                || (state.due <= now && !state.is_vain(now, ended))
                || (state.bound < Position::END && state.version > since)
        };
        let mut any = false;
        let _held = self.lanes.slots.hold(Mode::Shared);
        let known = self.lanes.for_each_of(queues, tasks, |_, slot| any |= slot.state(needs));
        let verify = |queue: &String| {
            let at = self.lanes.find(queue, "");
            at.is_some_and(|at| {
                self.lanes.slot(at).state(|state| verifies && state.verify_at <= now)
            })
        };
        any || !known || queues.iter().any(verify)
    }
}

/// When to verify again what took so long.
fn later(took: Duration) -> Timestamp {
    let pause = (100 * took.as_micros() as i64).max(VERIFY_MICROS);
    Timestamp(clock().0 + pause)
}

/// What a transaction sees that has changed something, or that keeps an old snapshot, may never be so.
fn may_raise() -> bool {
    !has_changed_anything() && !snapshot_is_fixed()
}
