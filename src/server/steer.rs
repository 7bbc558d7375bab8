//! The planner, while it plans for us: statements of ours bear a mark that the server hands over to the
//! planner's hook whenever it makes a plan, at first use and after each invalidation. Nothing is done when they
//! run, and nothing for other statements, but for those of functions that are run while ours are planned.
//!
//! A plan is made when the table's statistics are what they happen to be, right after a VACUUM of an empty
//! queue for instance, and kept while 200,000 jobs come in: so it must be the one that is right for a long
//! queue (see [`super::sizes`] as well). And compiling a plan takes longer than running it.

use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int};

/// The marks stand among the cursor options: bits that no version of the server uses, and which it hands over
/// as they are.
const STEERED: c_int = 1 << 29;
const ORDER_FROM_INDEX: c_int = 1 << 30;
const BY_GIN_INDEX: c_int = 1 << 28;
const MARKS: c_int = STEERED | ORDER_FROM_INDEX | BY_GIN_INDEX;

/// The options for a statement whose plan is to be steered, and maybe never to sort, or to use a GIN index.
pub const fn mark(order_from_index: bool, by_gin_index: bool) -> c_int {
    STEERED
        | if order_from_index { ORDER_FROM_INDEX } else { 0 }
        | if by_gin_index { BY_GIN_INDEX } else { 0 }
}

/// What the planner may choose.
#[derive(Clone, Copy)]
struct Choices {
    seqscan: bool,
    /// Does not mark the dead entries that it meets, so that each look meets them again. GIN indexes know no other.
    bitmapscan: bool,
    sort: bool,
    jit: bool,
}

impl Choices {
    fn of_session() -> Self {
        // SAFETY: plain variables of this backend.
        unsafe {
            Self {
                seqscan: pg_sys::enable_seqscan,
                bitmapscan: pg_sys::enable_bitmapscan,
                sort: pg_sys::enable_sort,
                jit: pg_sys::jit_enabled,
            }
        }
    }

    /// Sets what differs, until the nest level of settings ends that was begun last.
    ///
    /// Not the variables alone: a function with a SET clause that raises an error while our statement is planned
    /// would have them put back as it found them, and not as the session has them.
    fn set(self) {
        let now = Self::of_session();
        for (name, is, shall) in [
            (c"enable_seqscan", now.seqscan, self.seqscan),
            (c"enable_bitmapscan", now.bitmapscan, self.bitmapscan),
            (c"enable_sort", now.sort, self.sort),
            (c"jit", now.jit, self.jit),
        ] {
            if is != shall {
                let value: &CStr = if shall { c"on" } else { c"off" };
                // SAFETY: settings of the server that every user may change.
                unsafe {
                    pg_sys::set_config_option(
                        name.as_ptr(),
                        value.as_ptr(),
                        pg_sys::GucContext::PGC_USERSET,
                        pg_sys::GucSource::PGC_S_SESSION,
                        pg_sys::GucAction::GUC_ACTION_SAVE,
                        true,
                        0,
                        false,
                    );
                }
            }
        }
    }
}

thread_local! {
    /// What the session had chosen, while a statement of ours is planned.
    static CHOSEN: Cell<Option<Choices>> = const { Cell::new(None) };
    static NEXT: Cell<pg_sys::planner_hook_type> = const { Cell::new(None) };
}

/// What the planner is called with, and gives.
type Planned = *mut pg_sys::PlannedStmt;

unsafe extern "C-unwind" {
    /// The server's own. pgrx's would keep no more of an error than pgrx knows of, and every user's errors pass
    /// here.
    fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        params: pg_sys::ParamListInfo,
    ) -> Planned;
}

/// Whether what is being planned is a statement of ours.
pub fn plans_for_us() -> bool {
    CHOSEN.get().is_some()
}

/// To be called once, when the library is loaded.
pub fn install() {
    // SAFETY: hooks are chained while libraries are loaded, and this one is never unloaded.
    unsafe {
        NEXT.set(pg_sys::planner_hook);
        pg_sys::planner_hook = Some(plan);
    }
}

/// The hook. An error jumps over it, which is why nothing in it needs to be dropped.
unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    params: pg_sys::ParamListInfo,
) -> Planned {
    // SAFETY: handed on as they came.
    unsafe {
        if options & STEERED != 0 || CHOSEN.get().is_some() {
            return plan_within(query, text, options, params);
        }
        next(query, text, options, params)
    }
}

/// # Safety
///
/// The arguments are those of the hook.
unsafe fn next(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    params: pg_sys::ParamListInfo,
) -> Planned {
    // SAFETY: see above.
    unsafe {
        match NEXT.get() {
            Some(next) => next(query, text, options, params),
            None => standard_planner(query, text, options, params),
        }
    }
}

/// Plans one of ours with our choices, and another that is met on the way with those of the session. After an
/// error the server puts the settings back where it ends the (sub)transaction, and with them those of the
/// functions that the planner was running.
#[pg_guard]
unsafe extern "C-unwind" fn plan_within(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    params: pg_sys::ParamListInfo,
) -> Planned {
    struct Before(Option<Choices>);
    impl Drop for Before {
        fn drop(&mut self) {
            CHOSEN.set(self.0);
        }
    }
    let before = Before(CHOSEN.get());
    let chosen = before.0.unwrap_or_else(Choices::of_session);
    // SAFETY: we are in a transaction, and the level that is begun is ended here or by the server.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        match options & STEERED != 0 {
            true => {
                let sort = options & ORDER_FROM_INDEX == 0;
                let bitmapscan = options & BY_GIN_INDEX != 0;
                Choices { seqscan: false, bitmapscan, sort, jit: false }.set();
                CHOSEN.set(Some(chosen));
            }
            false => {
                chosen.set();
                CHOSEN.set(None);
            }
        }
        let planned =
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(query, text, options & !MARKS, params));
        pg_sys::AtEOXact_GUC(true, level);
        planned
    }
}
