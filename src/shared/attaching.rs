//! What a session has to do with the workers that are tied to it, when its transaction ends and when it does. Allocated
//! once: there nothing may fail.

use pgrx::pg_sys;
use std::cell::Cell;

/// With more than these, a session that ends looks at all entries.
const MOST_OWN: usize = 64;

thread_local! {
    static OWN: [Cell<u32>; MOST_OWN] = const { [const { Cell::new(0) }; MOST_OWN] };
    static OWN_COUNT: Cell<usize> = const { Cell::new(0) };
}

/// An entry is this session's.
pub fn remember(at: u32) {
    OWN.with(|entries| {
        let count = OWN_COUNT.get();
        let is_known = entries.iter().take(count).any(|known| known.get() == at);
        if !is_known {
            if let Some(free) = entries.get(count) {
                free.set(at);
            }
            // One too many is remembered.
            OWN_COUNT.set((count + 1).min(MOST_OWN + 1));
        }
    });
}

/// Entries that may be this session's, and all that are are among them. None: any may.
pub fn own() -> Option<impl Iterator<Item = u32>> {
    let count = OWN_COUNT.get();
    let known = |at| OWN.with(|entries| entries.get(at).map_or(0, Cell::get));
    (count <= MOST_OWN).then(|| (0..count).map(known))
}

/// As many things that a transaction does with entries are left to its end.
const MOST: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    Nothing,
    /// The worker is to be this session's: there is a claim on its entry.
    Join,
    /// It is unregistered.
    Leave,
}

#[derive(Clone, Copy)]
pub struct Note {
    pub what: What,
    pub at: u32,
    /// The one that leaves.
    pub version: u32,
    /// Of this subtransaction.
    pub sub: pg_sys::SubTransactionId,
}

const NONE: Note = Note { what: What::Nothing, at: 0, version: 0, sub: 0 };

thread_local! {
    static NOTES: [Cell<Note>; MOST] = const { [const { Cell::new(NONE) }; MOST] };
    /// So that most transactions look at none.
    static ANY: Cell<bool> = const { Cell::new(false) };
}

/// False if there are too many.
pub fn add(what: What, at: u32, version: u32) -> bool {
    // SAFETY: reads the backend's transaction state.
    let sub = unsafe { pg_sys::GetCurrentSubTransactionId() };
    NOTES.with(|notes| {
        let Some(free) = notes.iter().find(|note| note.get().what == What::Nothing) else {
            return false;
        };
        free.set(Note { what, at, version, sub });
        ANY.set(true);
        true
    })
}

/// Takes those out that are meant, and does something with each.
pub fn take(is_meant: impl Fn(&Note) -> bool, mut work: impl FnMut(Note)) {
    change(|note| match is_meant(&note) {
        true => {
            work(note);
            NONE
        }
        false => note,
    });
}

/// Makes something else of each.
pub fn change(mut work: impl FnMut(Note) -> Note) {
    if !ANY.get() {
        return;
    }
    NOTES.with(|notes| {
        let mut any = false;
        for note in notes.iter().filter(|note| note.get().what != What::Nothing) {
            note.set(work(note.get()));
            any |= note.get().what != What::Nothing;
        }
        ANY.set(any);
    });
}
