//! The connection on which jobs are taken and ended.

use crate::PAUSE;
use postgres::error::Severity;
use postgres::{Client, Config, Error, NoTls, Statement};
use serde_json::Value;
use std::error::Error as _;
use std::thread;

pub type Answer<T> = Result<T, Error>;

/// How often the end of a job is sent when the connection is lost meanwhile.
const SENDS: u32 = 3;

pub struct Server {
    pub address: Config,
    /// How many there have been.
    pub connections: u32,
    session: Option<Session>,
}

/// Which attempt at which job.
pub struct Attempt {
    pub id: i64,
    pub retries: i32,
}

/// Statements are prepared once, because the server would otherwise parse them again for each job.
pub struct Session {
    pub client: Client,
    pub dequeue: Statement,
    pub finish: Statement,
    pub fail: Statement,
}

impl Server {
    pub fn new(address: Config) -> Self {
        Self { address, connections: 0, session: None }
    }

    /// A new one, if there is none.
    pub fn session(&mut self) -> Answer<&mut Session> {
        match self.session.take() {
            Some(session) => Ok(self.session.insert(session)),
            None => {
                let session = Session::open(&self.address)?;
                self.connections += 1;
                Ok(self.session.insert(session))
            }
        }
    }

    pub fn hang_up(&mut self) {
        self.session = None;
    }

    /// Ends a job, whatever happens to the connection. False, and nothing is changed, if its attempt is not active
    /// any more: repair() has given it to somebody else, or the answer to a call before was lost.
    pub fn end(
        &mut self,
        attempt: &Attempt,
        statement: fn(&Session) -> &Statement,
        value: &Value,
    ) -> Answer<bool> {
        let mut sends = 0;
        loop {
            let answer = match self.session() {
                Ok(session) => {
                    sends += 1;
                    let statement = statement(session).clone();
                    session.client.query_one(&statement, &[&attempt.id, &attempt.retries, value])
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(row) => return Ok(row.get(0)),
                Err(error) if is_refusal(&error) || sends == SENDS => return Err(error),
                Err(error) => {
                    say("worker", &error);
                    self.hang_up();
                    thread::sleep(PAUSE);
                }
            }
        }
    }
}

impl Session {
    fn open(address: &Config) -> Answer<Self> {
        let mut client = address.connect(NoTls)?;
        Ok(Self {
            dequeue: client.prepare(
                "SELECT id, args, retries, task
                FROM minion.dequeue($1, wait => '0.5 s', tasks => $2)",
            )?,
            finish: client.prepare("SELECT minion.finish_job($1, $2, $3)")?,
            fail: client.prepare("SELECT minion.fail_job($1, $2, $3)")?,
            client,
        })
    }
}

/// Whether the server is still there, and does not want to.
fn is_refusal(error: &Error) -> bool {
    error.as_db_error().is_some_and(|error| error.parsed_severity() == Some(Severity::Error))
}

/// With what the server said, which is in the source of an error.
pub fn text(error: &Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

pub fn say(who: &str, error: &Error) {
    eprintln!("{who}: {}", text(error));
}
