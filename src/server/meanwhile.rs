//! A value of this backend's that holds for a while.

use std::cell::Cell;
use std::thread::LocalKey;

/// A value that holds until this is dropped, also by an error; then it is again what it was.
pub struct Meanwhile<T: Copy + 'static> {
    cell: &'static LocalKey<Cell<T>>,
    before: T,
}

impl<T: Copy> Meanwhile<T> {
    pub fn set(cell: &'static LocalKey<Cell<T>>, value: T) -> Self {
        Self { cell, before: cell.replace(value) }
    }
}

impl<T: Copy> Drop for Meanwhile<T> {
    fn drop(&mut self) {
        self.cell.set(self.before);
    }
}
