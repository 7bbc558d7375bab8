//! Claims: from what a worker asks for to jobs that are his.
//!
//! `wanted` is what is asked for, and what comes of it. `best` is the walk: it has `look` ask shared memory, or the
//! indexes (`skip_scan`), which lanes have jobs, has those that are due freed or made to wait (`parked`), and takes the
//! best of all (`lane`, `take`), or a certain one (`by_id`), as far as `rules` and `limits` let it. `around` keeps what
//! users have on the table from stopping it, and `under_way` tells their triggers what it is at. `coming` looks for what comes by
//! time, and claims nothing.

pub mod around;
pub mod best;
mod by_id;
pub mod coming;
pub mod lane;
pub mod limits;
pub mod look;
pub mod parked;
pub mod rules;
mod skip_scan;
pub mod take;
pub mod under_way;
pub mod wanted;
