//! A look for the holders of a named lock.

use super::index::{Latest, Opened};
use super::keys::{is_from_bigint, is_name};
use crate::server::time::Timestamp;
use pgrx::pg_sys;

/// Columns, by their place in `sql/tables.sql`.
const ID: i32 = 1;
const EXPIRES: i32 = 2;

/// Who holds a lock, as far as is committed, and what this transaction has done.
pub struct Holders {
    /// Their ends and ids, by id.
    pub holders: Vec<(Timestamp, i64)>,
    /// No transaction before it was under way.
    pub xmin: pg_sys::TransactionId,
}

/// The first so many holders of a lock from an id on, which `from` is asked for, with the oid of the table, before
/// there is a snapshot. None if a statement has to look.
pub fn holders(
    name: &str,
    now: Timestamp,
    most: usize,
    from: &mut dyn FnMut(pg_sys::Oid) -> i64,
) -> Option<Holders> {
    let locks = Opened::new(c"locks", c"locks_holders")?;
    if !locks.is_readable() {
        return None;
    }
    let from = from(locks.table());
    let latest = Latest::new();
    let mut holders = Vec::new();
    locks.first(
        latest.get(),
        &mut [is_name(1, name), is_from_bigint(2, from, pg_sys::F_INT8GE)],
        |row| {
            let (expires, id) = (row.get(EXPIRES)?, row.get(ID)?);
            if expires > now {
                holders.push((expires, id));
            }
            (holders.len() >= most).then_some(())
        },
    );
    Some(Holders { holders, xmin: latest.xmin() })
}
