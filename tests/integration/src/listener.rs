//! Who listens to the channel of jobs.

use crate::heads::run;
use crate::server::Server;
use crate::{Ask, until};
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A client that looks for jobs when it hears of some, and never else.
pub struct Listener {
    heard: Arc<Heard>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    /// The last job that was there.
    seen: AtomicI64,
    notifications: AtomicUsize,
    /// Of the process that notified last.
    by: AtomicI32,
    stop: AtomicBool,
}

impl Listener {
    pub fn new(server: &Server, database: &str) -> Self {
        let mut client = server.connect(database);
        run(&mut client, r#"LISTEN "minion.job""#);
        let heard = Arc::<Heard>::default();
        let keeps = Arc::clone(&heard);
        let thread = thread::spawn(move || {
            while !keeps.stop.load(SeqCst) {
                hear(&mut client, &keeps);
            }
        });
        Self { heard, thread: Some(thread) }
    }

    pub fn notifications(&self) -> usize {
        self.heard.notifications.load(SeqCst)
    }

    /// The last job that was there when it heard of any.
    pub fn seen(&self) -> i64 {
        self.heard.seen.load(SeqCst)
    }

    /// The process that notified it last.
    pub fn by(&self) -> i32 {
        self.heard.by.load(SeqCst)
    }

    /// Waits until it has heard of a job that is there.
    pub fn until_seen(&self, id: i64) {
        until(&format!("job {id} is heard of"), || {
            let hears = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
            assert!(hears, "the listener has failed");
            self.heard.seen.load(SeqCst) >= id
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.heard.stop.store(true, SeqCst);
        let joined = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            joined.expect("it is joined once").unwrap();
        }
    }
}

fn hear(client: &mut Client, heard: &Heard) {
    let (mut notifications, mut by) = (0, 0);
    {
        let mut coming = client.notifications();
        let mut take = |one: postgres::Notification| {
            assert_eq!(one.channel(), "minion.job");
            (notifications, by) = (notifications + 1, one.process_id());
        };
        coming.timeout_iter(Duration::from_millis(50)).next().unwrap().map(&mut take);
        while let Some(one) = coming.iter().next().unwrap() {
            take(one);
        }
    }
    if notifications > 0 {
        heard.by.store(by, SeqCst);
        heard.notifications.fetch_add(notifications, SeqCst);
        let last = "SELECT coalesce(max(id), 0) FROM minion.jobs WHERE delayed <= now()";
        heard.seen.store(client.one(last, &[]), SeqCst);
    }
}
