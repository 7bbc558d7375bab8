//! Advisory locks of the server's, in lock spaces of the extension's own.

use pgrx::{IntoDatum, pg_sys};

/// Takes the server's lock on a name of `minion.locks` until the transaction ends.
pub fn lock_name(name: &str) {
    lock(hash(name, 0), LockSpace::Names, Mode::Alone, false);
}

/// A lock that is given up when this is dropped.
struct Brief {
    key: u64,
    space: LockSpace,
    mode: Mode,
}

impl Brief {
    fn wait(key: u64, space: LockSpace, mode: Mode) -> Self {
        lock(key, space, mode, false);
        Self { key, space, mode }
    }

    /// None if somebody has it, and be it this session.
    fn at_once(key: u64, space: LockSpace, mode: Mode) -> Option<Self> {
        use pg_sys::LockAcquireResult::*;
        let taken = acquire(key, space, mode, true);
        // Dropped at once, it gives back what it has taken too much.
        let brief = (taken != LOCKACQUIRE_NOT_AVAIL).then(|| Self { key, space, mode });
        brief.filter(|_| taken == LOCKACQUIRE_OK)
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        // An error on its way through has the server release it.
        if !std::thread::panicking() {
            let tag = tag(self.key, self.space);
            // SAFETY: acquired when this was made, and released nowhere else.
            unsafe { pg_sys::LockRelease(&tag, self.mode as i32, false) };
        }
    }
}

/// A lock on a job's unique key: one who holds it may look for the key, and put it into the table for others
/// to see.
pub struct KeyLock(#[allow(dead_code)] Brief);

impl KeyLock {
    pub fn new(key: &str) -> Self {
        Self(Brief::wait(hash(key, 0), LockSpace::Keys, Mode::Alone))
    }
}

/// A lock on the places of one limit. Claims have it together while they take some; one who adds places, takes
/// some away or gives them to jobs has it alone.
pub struct LimitLock(#[allow(dead_code)] Brief);

impl LimitLock {
    /// None while somebody has it alone, or waits for it.
    pub fn together(queue: &str, task: &str) -> Option<Self> {
        Brief::at_once(limit(queue, task), LockSpace::Limit, Mode::Together).map(Self)
    }

    /// Waits for claims that are under way, each for the length of its call.
    pub fn alone(queue: &str, task: &str) -> Self {
        Self(Brief::wait(limit(queue, task), LockSpace::Limit, Mode::Alone))
    }

    /// None if somebody has it.
    pub fn alone_at_once(queue: &str, task: &str) -> Option<Self> {
        Brief::at_once(limit(queue, task), LockSpace::Limit, Mode::Alone).map(Self)
    }
}

/// Which places of a limit are meant.
#[derive(Clone, Copy)]
pub enum PlaceKind {
    Active,
    Start,
}

/// A lock on one place of a limit: who has it may put a job there. Given up as soon as that is done, or was in
/// vain; whoever comes then sees the changed row.
pub struct PlaceLock(#[allow(dead_code)] Brief);

impl PlaceLock {
    /// None if somebody has it.
    pub fn at_once(kind: PlaceKind, queue: &str, task: &str, number: i32) -> Option<Self> {
        let space = match kind {
            PlaceKind::Active => LockSpace::ActivePlaces,
            PlaceKind::Start => LockSpace::StartPlaces,
        };
        let key = limit(queue, task).wrapping_add(number as u64);
        Brief::at_once(key, space, Mode::Alone).map(Self)
    }

    /// The lock of the one who counts places beyond the limit against free ones below it.
    pub fn of_all(kind: PlaceKind, queue: &str, task: &str) -> Option<Self> {
        Self::at_once(kind, queue, task, -1)
    }
}

/// Of two limits that had the same number here, one would now and then take the other's places for busy.
fn limit(queue: &str, task: &str) -> u64 {
    hash(task, hash(queue, 0))
}

/// Takes the lock of the database's one dispatcher of schedules until the transaction ends, unless somebody
/// has it.
pub fn try_lock_dispatch() -> bool {
    lock(0, LockSpace::Dispatch, Mode::Alone, true)
}

/// Takes the lock on all limits until the transaction ends: they are changed one after the other.
pub fn lock_limits() {
    lock(0, LockSpace::Limits, Mode::Alone, false);
}

/// The same, unless somebody has it.
pub fn try_lock_limits() -> bool {
    lock(0, LockSpace::Limits, Mode::Alone, true)
}

fn hash(text: &str, seed: u64) -> u64 {
    // SAFETY: the hash function takes a varlena and a seed.
    let hash: Option<i64> = unsafe {
        pgrx::direct_function_call(
            pg_sys::hashvarlenaextended,
            &[text.into_datum(), (seed as i64).into_datum()],
        )
    };
    hash.expect("a hash is never NULL") as u64
}

/// Takes the lock of the database's one repair until the transaction ends, unless somebody has it.
pub fn try_lock_repair() -> bool {
    lock(0, LockSpace::Repair, Mode::Alone, true)
}

/// Shows until the transaction ends that a worker is there: it waits, and can say so in no other way.
pub fn lock_waiting_worker(id: i64) {
    lock(id as u64, LockSpace::Workers, Mode::Together, false);
}

/// False if a worker waits. Else nobody can be sure of it until the transaction ends.
pub fn try_lock_worker(id: i64) -> bool {
    lock(id as u64, LockSpace::Workers, Mode::Alone, true)
}

/// How many locks a transaction may well take until it ends: half of those that the server has room for.
pub fn locks_to_spare() -> usize {
    // SAFETY: reads what was set when the server started.
    let (each, backends) = unsafe { (pg_sys::max_locks_per_xact, pg_sys::MaxBackends) };
    each.max(1) as usize * backends.max(1) as usize / 2
}

/// Lock spaces of our own: users' advisory locks have 1 and 2 in this field.
#[derive(Clone, Copy)]
enum LockSpace {
    Names = 3,
    Repair = 4,
    Workers = 5,
    Keys = 6,
    Dispatch = 7,
    Limits = 8,
    Limit = 9,
    ActivePlaces = 10,
    StartPlaces = 11,
}

#[derive(Clone, Copy)]
enum Mode {
    Alone = pg_sys::ExclusiveLock as isize,
    Together = pg_sys::ShareLock as isize,
}

fn tag(key: u64, space: LockSpace) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: a variable of this backend.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.into(),
        locktag_field2: (key >> 32) as u32,
        locktag_field3: key as u32,
        locktag_field4: space as u16,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

fn lock(key: u64, space: LockSpace, mode: Mode, at_once: bool) -> bool {
    acquire(key, space, mode, at_once) != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

fn acquire(
    key: u64,
    space: LockSpace,
    mode: Mode,
    at_once: bool,
) -> pg_sys::LockAcquireResult::Type {
    let tag = tag(key, space);
    // SAFETY: the tag is plain data, and a lock of the transaction is released by the server when that ends.
    unsafe { pg_sys::LockAcquire(&tag, mode as i32, false, at_once) }
}
