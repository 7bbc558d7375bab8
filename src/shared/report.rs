//! What the background worker of a database does, for people to look at.

use crate::server::time::Timestamp;

/// What a worker is at. The first is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// There is none, for there is nothing to do.
    #[default]
    None,
    /// There is none, for the server has no process left.
    NoRoom,
    /// There is none, for one has failed: another one will be tried.
    Failed,
    /// It has been started.
    Begins,
    /// It waits for something to do.
    Waits,
    /// One of its duties.
    Does(&'static str),
}

/// As long as an error's message is kept.
const LONGEST: usize = 240;

#[derive(Clone, Copy)]
pub struct Report {
    pub activity: Activity,
    pub since: Timestamp,
    /// Workers that were started, and how often in a row one, or one of its duties, has failed.
    pub starts: i64,
    pub failures: i32,
    pub failed: Timestamp,
    error: [u8; LONGEST],
    bytes: u16,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            activity: Activity::None,
            since: Timestamp(0),
            starts: 0,
            failures: 0,
            failed: Timestamp(0),
            error: [0; LONGEST],
            bytes: 0,
        }
    }
}

impl Report {
    /// What has gone wrong last. Can't fail.
    pub fn set_error(&mut self, message: &[u8], now: Timestamp) {
        let bytes = message.len().min(LONGEST);
        if let (Some(to), Some(from)) = (self.error.get_mut(..bytes), message.get(..bytes)) {
            to.copy_from_slice(from);
        }
        self.bytes = bytes as u16;
        self.failed = now;
    }

    /// Whether this is what has gone wrong last.
    pub fn is_error(&self, message: &[u8]) -> bool {
        let bytes = message.len().min(LONGEST);
        self.error.get(..self.bytes.into()) == message.get(..bytes)
    }

    pub fn error(&self) -> Option<String> {
        let bytes = self.error.get(..self.bytes.into()).filter(|bytes| !bytes.is_empty())?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}
