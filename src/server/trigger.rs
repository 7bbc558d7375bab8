//! Calls of trigger functions.

use crate::error::Error;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;

/// What a trigger function is made for.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    BeforeInsert,
    AfterInsert,
    AfterUpdate,
    AfterDelete,
    AfterTruncate,
    OfLimits,
    OfSchedules,
    /// A row of a lock is inserted or changed.
    OfLocks,
}

impl Event {
    fn is(self, event: u32) -> bool {
        use pg_sys::*;
        let timing = event & (TRIGGER_EVENT_ROW | TRIGGER_EVENT_TIMINGMASK);
        let operation = event & TRIGGER_EVENT_OPMASK;
        let after_row = TRIGGER_EVENT_AFTER | TRIGGER_EVENT_ROW;
        match self {
            Self::BeforeInsert => {
                timing == TRIGGER_EVENT_BEFORE | TRIGGER_EVENT_ROW
                    && operation == TRIGGER_EVENT_INSERT
            }
            Self::AfterInsert => timing == after_row && operation == TRIGGER_EVENT_INSERT,
            Self::AfterUpdate => timing == after_row && operation == TRIGGER_EVENT_UPDATE,
            Self::AfterDelete => timing == after_row && operation == TRIGGER_EVENT_DELETE,
            Self::AfterTruncate => operation == TRIGGER_EVENT_TRUNCATE,
            Self::OfLimits | Self::OfSchedules => timing == TRIGGER_EVENT_AFTER,
            Self::OfLocks => {
                timing == after_row
                    && matches!(operation, TRIGGER_EVENT_INSERT | TRIGGER_EVENT_UPDATE)
            }
        }
    }

    fn tables(self) -> &'static [&'static CStr] {
        match self {
            Self::OfLimits => &[c"limit_rules", c"paused_queues"],
            Self::OfSchedules => &[c"schedules"],
            Self::OfLocks => &[c"locks"],
            _ => &[c"jobs"],
        }
    }
}

/// Does a trigger's work where it is meant to be done: attached to another table, or to another event, it
/// would read columns that are not there. Raises what error there is with its own SQLSTATE.
pub fn answer<T>(
    trigger: &PgTrigger,
    event: Event,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, pg_sys::panic::ErrorReport> {
    let result = match is_meant(trigger, event) {
        true => work(),
        false => Err(Error::NoSuchTrigger),
    };
    match result {
        Ok(done) => Ok(done),
        Err(error) => {
            pg_sys::panic::ErrorReport::from(error).report(PgLogLevel::ERROR);
            unreachable!("an error was raised")
        }
    }
}

fn is_meant(trigger: &PgTrigger, event: Event) -> bool {
    let data = trigger.trigger_data();
    // SAFETY: the relation of a trigger call is open, and its name ends in a NUL; look-ups in the catalogue caches.
    unsafe {
        let table = &*(*data.tg_relation).rd_rel;
        let name = CStr::from_ptr(table.relname.data.as_ptr());
        event.is(data.tg_event)
            && event.tables().contains(&name)
            && table.relnamespace == pg_sys::get_namespace_oid(c"minion".as_ptr(), true)
    }
}
