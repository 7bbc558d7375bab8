//! The planner's idea of how large our tables are, while it plans for us: always large, and with nothing known of
//! what is in them. So a statement has one plan, whatever the tables were when it was made, and whatever autovacuum
//! has seen of them: a plan that is good for a few rows, such as one that goes through all of them, would be kept
//! while a million come in, and statistics of a queue that was full a minute ago mislead just as those of an empty
//! one do.

use super::steer;
use pgrx::prelude::*;
use std::cell::Cell;

/// A million jobs. What is small in truth is looked up by its index all the same.
const ROWS: f64 = 1_000_000.0;
const PAGES: u32 = 20_000;
const PAGES_OF_INDEX: u32 = 5_000;
const HEIGHT_OF_INDEX: i32 = 2;

thread_local! {
    static NEXT_INFO: Cell<pg_sys::get_relation_info_hook_type> = const { Cell::new(None) };
    static NEXT_STATS: Cell<pg_sys::get_relation_stats_hook_type> = const { Cell::new(None) };
    static NEXT_INDEX_STATS: Cell<pg_sys::get_index_stats_hook_type> = const { Cell::new(None) };
}

/// To be called once, when the library is loaded.
pub fn install() {
    // SAFETY: hooks are chained while libraries are loaded, and this one is never unloaded.
    unsafe {
        NEXT_INFO.set(pg_sys::get_relation_info_hook);
        pg_sys::get_relation_info_hook = Some(size);
        NEXT_STATS.set(pg_sys::get_relation_stats_hook);
        pg_sys::get_relation_stats_hook = Some(statistics);
        NEXT_INDEX_STATS.set(pg_sys::get_index_stats_hook);
        pg_sys::get_index_stats_hook = Some(index_statistics);
    }
}

/// Whether a relation is to be planned for as if it were large. Everybody's planning asks.
fn is_ours(relation: pg_sys::Oid) -> bool {
    // SAFETY: an error jumps over nothing that needs to be dropped.
    steer::plans_for_us() && unsafe { is_in_schema(relation) }
}

#[pg_guard]
unsafe extern "C-unwind" fn is_in_schema(relation: pg_sys::Oid) -> bool {
    // SAFETY: look-ups in the catalogue caches.
    unsafe {
        pg_sys::get_rel_namespace(relation) == pg_sys::get_namespace_oid(c"minion".as_ptr(), true)
    }
}

/// The hooks. Errors jump over them, which is why nothing in them needs to be dropped.
unsafe extern "C-unwind" fn size(
    root: *mut pg_sys::PlannerInfo,
    relation: pg_sys::Oid,
    is_parent: bool,
    rel: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: handed on as they came; what is written is the planner's own copy of what it knows, and the list
    // is one of IndexOptInfo.
    unsafe {
        if let Some(next) = NEXT_INFO.get() {
            next(root, relation, is_parent, rel);
        }
        if !is_ours(relation) {
            return;
        }
        let rel = &mut *rel;
        (rel.pages, rel.tuples, rel.allvisfrac) = (PAGES, ROWS, 0.0);
        // Those that CREATE STATISTICS has gathered.
        rel.statlist = std::ptr::null_mut();
        let count = if rel.indexlist.is_null() { 0 } else { (*rel.indexlist).length };
        for number in 0..count {
            let index = (*(*rel.indexlist).elements.add(number as usize)).ptr_value;
            let index = &mut *index.cast::<pg_sys::IndexOptInfo>();
            (index.pages, index.tuples) = (PAGES_OF_INDEX, ROWS);
            if index.tree_height >= 0 {
                index.tree_height = HEIGHT_OF_INDEX;
            }
        }
    }
}

unsafe extern "C-unwind" fn statistics(
    root: *mut pg_sys::PlannerInfo,
    entry: *mut pg_sys::RangeTblEntry,
    attribute: pg_sys::AttrNumber,
    data: *mut pg_sys::VariableStatData,
) -> bool {
    // SAFETY: as above; none is what a table has that was never analyzed.
    unsafe {
        let is_table = (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION;
        if is_table && is_ours((*entry).relid) {
            (*data).statsTuple = std::ptr::null_mut();
            return true;
        }
        NEXT_STATS.get().is_some_and(|next| next(root, entry, attribute, data))
    }
}

unsafe extern "C-unwind" fn index_statistics(
    root: *mut pg_sys::PlannerInfo,
    index: pg_sys::Oid,
    attribute: pg_sys::AttrNumber,
    data: *mut pg_sys::VariableStatData,
) -> bool {
    // SAFETY: as above.
    unsafe {
        if is_ours(index) {
            (*data).statsTuple = std::ptr::null_mut();
            return true;
        }
        NEXT_INDEX_STATS.get().is_some_and(|next| next(root, index, attribute, data))
    }
}
