//! Every setting (GUC) of the extension. Those of sessions are USERSET and work before the library's first use too:
//! the server keeps a value for an unknown setting and hands it over when it is defined.

use pgrx::datum::Interval;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::time::Duration;

const YEAR: f64 = 365.25 * 86_400.0;
/// No backoff is longer than this, whatever the formula says: a retry date must stay a timestamp.
const LONGEST_BACKOFF: f64 = 100.0 * YEAR;

static MISSING_AFTER: GucSetting<i32> = GucSetting::<i32>::new(30 * 60);
static REMOVE_AFTER: GucSetting<i32> = GucSetting::<i32>::new(2 * 86_400);
static STUCK_AFTER: GucSetting<i32> = GucSetting::<i32>::new(2 * 86_400);
static BACKOFF_BASE: GucSetting<i32> = GucSetting::<i32>::new(15);
static BACKOFF_EXPONENT: GucSetting<f64> = GucSetting::<f64>::new(4.0);
static BACKOFF_MAX: GucSetting<i32> = GucSetting::<i32>::new(0);
static REPAIR_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static NOTIFY: GucSetting<bool> = GucSetting::<bool>::new(true);
static BACKGROUND: GucSetting<bool> = GucSetting::<bool>::new(true);
static REPAIR_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);
static NOTIFY_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(10);
static MAX_LANES: GucSetting<i32> = GucSetting::<i32>::new(10_000);

/// Makes the settings known to the server.
pub fn define() {
    seconds(
        c"minion.missing_after",
        c"How long repair() lets a worker be silent before it removes it.",
        c"Its active jobs are then failed, or retried if they have attempts left.",
        &MISSING_AFTER,
    );
    seconds(
        c"minion.remove_after",
        c"How long repair() keeps finished jobs.",
        c"Parents of jobs that are not finished yet are kept longer; failed jobs are never removed.",
        &REMOVE_AFTER,
    );
    seconds(
        c"minion.stuck_after",
        c"How long past its due time a job may stay unclaimed before repair() fails it.",
        c"Counted from the job's \"delayed\" time, blocked jobs included.",
        &STUCK_AFTER,
    );
    seconds(
        c"minion.backoff_base",
        c"The shortest delay before an automatic retry.",
        c"The delay is this plus retries to the power of minion.backoff_exponent, in seconds.",
        &BACKOFF_BASE,
    );
    GucRegistry::define_float_guc(
        c"minion.backoff_exponent",
        c"How steeply the delay before an automatic retry grows.",
        c"The number of retries so far is raised to this power and taken as seconds.",
        &BACKOFF_EXPONENT,
        0.0,
        100.0,
        GucContext::Userset,
        GucFlags::empty(),
    );
    seconds(
        c"minion.backoff_max",
        c"The longest delay before an automatic retry, 0 for no limit.",
        c"Without a limit of yours it ends at 100 years.",
        &BACKOFF_MAX,
    );
    GucRegistry::define_int_guc(
        c"minion.repair_limit",
        c"How long one call of repair() works, 0 for until it is through.",
        c"It works no longer than half of what is left before statement_timeout; its row says whether there is more to do.",
        &REPAIR_LIMIT,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_bool_guc(
        c"minion.notify",
        c"Whether NOTIFY \"minion.job\" tells listeners of claimable jobs.",
        c"It costs a lock that all commits of the cluster take in turns; waiting calls of dequeue() do not need it.",
        &NOTIFY,
        GucContext::Userset,
        GucFlags::empty(),
    );
    define_background();
}

/// Of the background worker: a session's own values are of no use to it.
fn define_background() {
    GucRegistry::define_bool_guc(
        c"minion.background",
        c"Whether schedules, repair and notifications are seen to by a background worker.",
        c"Needs minion in shared_preload_libraries. Off in the configuration, for all databases; or with ALTER DATABASE, for one.",
        &BACKGROUND,
        GucContext::Suset,
        GucFlags::empty(),
    );
    GucRegistry::define_int_guc(
        c"minion.repair_interval",
        c"How often the background worker does what repair() does, 0 for never.",
        c"In short transactions, until there is nothing more to do. A database in which nothing happens is left in peace.",
        &REPAIR_INTERVAL,
        0,
        i32::MAX / 1_000,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"minion.notify_interval",
        c"How long the background worker waits at least from one NOTIFY to the next.",
        c"The first job after a pause is told of at once, and the last one always.",
        &NOTIFY_INTERVAL,
        0,
        60_000,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
}

/// The settings of the shared memory, which the server asks for when it starts.
pub fn define_shared() {
    GucRegistry::define_int_guc(
        c"minion.max_lanes",
        c"How many queues and tasks in queues shared memory has room for.",
        c"Claims in further ones still work, but get slower where dead rows pile up.",
        &MAX_LANES,
        16,
        1_000_000,
        GucContext::Postmaster,
        GucFlags::empty(),
    );
}

/// `minion.max_lanes`.
pub fn max_lanes() -> usize {
    MAX_LANES.get().max(0) as usize
}

/// `minion.background`.
pub fn background() -> bool {
    BACKGROUND.get()
}

/// `minion.repair_interval`; None for never.
pub fn repair_interval() -> Option<Duration> {
    match REPAIR_INTERVAL.get() {
        0 => None,
        seconds => Some(Duration::from_secs(seconds.unsigned_abs().into())),
    }
}

/// `minion.notify_interval`.
pub fn notify_interval() -> Duration {
    Duration::from_millis(NOTIFY_INTERVAL.get().unsigned_abs().into())
}

/// `minion.notify`.
pub fn notify() -> bool {
    NOTIFY.get()
}

fn seconds(
    name: &'static std::ffi::CStr,
    short: &'static std::ffi::CStr,
    long: &'static std::ffi::CStr,
    setting: &'static GucSetting<i32>,
) {
    GucRegistry::define_int_guc(
        name,
        short,
        long,
        setting,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_S,
    );
}

fn interval(setting: &GucSetting<i32>) -> Interval {
    Interval::from_micros(i64::from(setting.get()) * 1_000_000)
}

/// `minion.missing_after`.
pub fn missing_after() -> Interval {
    interval(&MISSING_AFTER)
}

/// The same as the machine counts time.
pub fn missing_time() -> Duration {
    Duration::from_secs(MISSING_AFTER.get().unsigned_abs().into())
}

/// `minion.remove_after`, as the machine counts time.
pub fn remove_time() -> Duration {
    Duration::from_secs(REMOVE_AFTER.get().unsigned_abs().into())
}

/// `minion.remove_after`.
pub fn remove_after() -> Interval {
    interval(&REMOVE_AFTER)
}

/// `minion.stuck_after`.
pub fn stuck_after() -> Interval {
    interval(&STUCK_AFTER)
}

/// `minion.repair_limit` in microseconds; None is for ever.
pub fn repair_limit() -> Option<i64> {
    match REPAIR_LIMIT.get() {
        0 => None,
        limit => Some(i64::from(limit) * 1_000),
    }
}

/// The delay before the automatic retry of a job that was retried `retries` times before. It saturates:
/// an error here would keep repair() from ever getting past such a job.
pub fn backoff(retries: i32) -> Interval {
    let wanted =
        f64::from(BACKOFF_BASE.get()) + f64::from(retries.max(0)).powf(BACKOFF_EXPONENT.get());
    let limit = match BACKOFF_MAX.get() {
        0 => LONGEST_BACKOFF,
        seconds => f64::from(seconds),
    };
    Interval::from_micros((wanted.min(limit) * 1e6) as i64)
}
