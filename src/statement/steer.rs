//! The planner, while it plans for us.

use pgrx::pg_sys;

/// What the planner may choose while a statement of ours runs, restored at the end.
///
/// A plan is made when the table's statistics are what they happen to be, right after a VACUUM of an empty
/// queue for instance, and kept while 200,000 jobs come in: so it must be the one that is right for a long
/// queue. And compiling a plan takes longer than running it.
pub struct Steered {
    seqscan: bool,
    sort: bool,
    jit: bool,
}

impl Steered {
    pub fn new(order_from_index: bool) -> Self {
        // SAFETY: plain variables of this backend, read by the planner only; what their settings show is
        // right again when this is dropped, by an error too.
        unsafe {
            let before = Self {
                seqscan: pg_sys::enable_seqscan,
                sort: pg_sys::enable_sort,
                jit: pg_sys::jit_enabled,
            };
            pg_sys::enable_seqscan = false;
            pg_sys::enable_sort = !order_from_index;
            pg_sys::jit_enabled = false;
            before
        }
    }
}

impl Drop for Steered {
    fn drop(&mut self) {
        // SAFETY: see above.
        unsafe {
            pg_sys::enable_seqscan = self.seqscan;
            pg_sys::enable_sort = self.sort;
            pg_sys::jit_enabled = self.jit;
        }
    }
}
