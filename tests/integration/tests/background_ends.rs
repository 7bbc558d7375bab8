//! Nobody has to call repair() for the jobs of a worker whose session has ended, and for those that take too long.

use integration::background::{launcher, until_none, until_served, worker};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, bin, until};
use postgres::{Client, Config, NoTls};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

/// The next turn of repair is far off.
const SETTINGS: &[&str] =
    &["minion.repair_interval = '1h'", "minion.backoff_base = 0", "minion.missing_after = '1h'"];

const ATTACH: &str = "SELECT minion.register_worker(attached => true)";

/// A job that an attached worker has claimed, who has two attempts.
fn claimed(client: &mut Client) -> i64 {
    let worker: i64 = client.one(ATTACH, &[]);
    let job: i64 = client.one("SELECT minion.enqueue('task', attempts => 2)", &[]);
    assert_eq!(client.all::<i64>("SELECT id FROM minion.dequeue($1)", &[&worker]), [job]);
    job
}

/// Another worker waits for the job, and has it.
fn comes_back(client: &mut Client, job: i64, how: &str) {
    let begin = Instant::now();
    let worker = client.register();
    let claim = "SELECT id FROM minion.dequeue($1, wait => '50 seconds')";
    assert_eq!(client.all::<i64>(claim, &[&worker]), [job], "{how}");
    eprintln!("{how}: {:?}", begin.elapsed());
    let late = "SELECT minion.finish_job($1, 0)";
    assert!(!client.one::<bool>(late, &[&job]), "{how}");
    assert!(client.one::<bool>("SELECT minion.finish_job($1, 1)", &[&job]), "{how}");
    let gone = "SELECT count(*) FROM minion.list_workers() WHERE attached";
    assert_eq!(client.one::<i64>(gone, &[]), 0, "{how}");
}

/// A client that can be killed.
fn psql(server: &Server, sql: &str) -> Child {
    let mut psql = Command::new(bin().join("psql"))
        .args(["--no-psqlrc", "--quiet", "--output=/dev/null", "--dbname", "one", "--host"])
        .arg(server.directory())
        .args(["--port", &server.port().to_string(), "--username=postgres"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = psql.stdin.take().expect("it is piped");
    stdin.write_all(sql.as_bytes()).unwrap();
    stdin.flush().unwrap();
    psql.stdin = Some(stdin);
    psql
}

/// Waits until an attached worker has a job.
fn until_claimed(client: &mut Client) -> i64 {
    let claimed = "SELECT max(job.id) FROM minion.jobs AS job
        JOIN minion.list_workers() AS worker ON worker.id = job.worker
        WHERE worker.attached AND job.state = 'active'";
    let mut job = None;
    until("a job is claimed", || {
        job = client.one(claimed, &[]);
        job.is_some()
    });
    job.expect("found above")
}

/// Hands on what a client and the server say, until it is dropped.
struct Proxy {
    ends: Vec<UnixStream>,
}

impl Proxy {
    fn new(server: &Server, place: &str) -> (Self, Client) {
        std::fs::create_dir(place).unwrap();
        let name = format!(".s.PGSQL.{}", server.port());
        let listener = UnixListener::bind(format!("{place}/{name}")).unwrap();
        let mut config = Config::new();
        config.host(place).port(server.port()).user("postgres").dbname("one");
        let connects = thread::spawn(move || config.connect(NoTls).unwrap());
        let client = listener.accept().unwrap().0;
        let there = UnixStream::connect(server.directory().join(name)).unwrap();
        for (from, to) in [(&client, &there), (&there, &client)] {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut from, &mut to));
        }
        (Self { ends: vec![client, there] }, connects.join().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
    }
}

#[test]
fn the_job_of_an_attached_worker_comes_back_however_its_session_ends() {
    let Some(server) = Server::with_background(SETTINGS) else { return };
    let mut other = server.queue("one");
    for round in 0..3 {
        let mut held = server.connect("one");
        let job = claimed(&mut held);
        held.close().unwrap();
        comes_back(&mut other, job, "it disconnects");

        let mut held = server.connect("one");
        let job = claimed(&mut held);
        let backend = held.backend();
        run(&mut held, "BEGIN");
        // It has its row locked until it is undone.
        assert!(held.one::<bool>("SELECT minion.finish_job($1, 0)", &[&job]));
        run(&mut other, &format!("SELECT pg_terminate_backend({backend})"));
        comes_back(&mut other, job, "it is ended in a transaction");

        let mut held = server.connect("one");
        let job = claimed(&mut held);
        let backend = held.backend();
        let ended = thread::spawn(move || held.batch_execute("SELECT pg_sleep(100)").unwrap_err());
        let sleeps = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1";
        until("it sleeps", || other.one::<Option<bool>>(sleeps, &[&backend]) == Some(true));
        run(&mut other, &format!("SELECT pg_terminate_backend({backend})"));
        comes_back(&mut other, job, "it is ended in a statement");
        ended.join().unwrap();

        let attach = format!(
            "SELECT minion.enqueue('task', attempts => 2) AS job \\gset\n{ATTACH} AS id \\gset\n
             SELECT minion.dequeue(:id);\n"
        );
        for (then, how) in [
            ("", "its client is killed"),
            (
                "BEGIN; SELECT minion.enqueue('never'), minion.finish_job(:job, 0);\n",
                "its client is killed in a transaction",
            ),
            (
                "SELECT minion.dequeue(:id, wait => '1 minute', tasks => '{nothing}');\n",
                "its client is killed while it waits",
            ),
        ] {
            let mut client = psql(&server, &format!("{attach}{then}"));
            let job = until_claimed(&mut other);
            if !then.is_empty() {
                let at_it =
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'psql'
                    AND (state = 'idle in transaction' OR wait_event_type = 'Extension'))";
                until("it is at it", || other.one(at_it, &[]));
            }
            client.kill().unwrap();
            client.wait().unwrap();
            comes_back(&mut other, job, how);
        }

        let (proxy, mut held) = Proxy::new(&server, &server.file(&format!("proxy{round}")));
        let job = claimed(&mut held);
        drop(proxy);
        comes_back(&mut other, job, "its connection is cut");
    }
    assert_eq!(
        other.one::<i64>("SELECT count(*) FROM minion.jobs WHERE state <> 'finished'", &[]),
        0
    );
}

#[test]
fn the_job_of_an_attached_worker_comes_back_when_nobody_is_there_to_see() {
    let Some(server) = Server::with_background(SETTINGS) else { return };
    let (mut other, mut watch) = (server.queue("one"), server.connect("postgres"));
    for round in 0..4 {
        let mut held = server.connect("one");
        let job = claimed(&mut held);
        let how = match round {
            0 => {
                until_none(&mut watch, "one");
                "the worker has nothing to do"
            }
            1 => {
                for pid in [worker(&mut watch, "one"), launcher(&mut watch)].into_iter().flatten() {
                    run(&mut watch, &format!("SELECT pg_terminate_backend({pid})"));
                }
                "the worker and the launcher end as well"
            }
            2 => {
                server.set(&["minion.background = off"]);
                server.reload();
                until_none(&mut watch, "one");
                server.set(&["minion.background = on"]);
                "the background is switched off"
            }
            _ => "all end at once",
        };
        held.close().unwrap();
        if round == 2 {
            server.reload();
        }
        comes_back(&mut other, job, how);
    }
    let mut many: Vec<_> = (0..30).map(|_| server.connect("one")).collect();
    for client in &mut many {
        claimed(client);
    }
    drop(many);
    let back = "SELECT count(*) = 30 FROM minion.jobs WHERE state = 'inactive' AND retries = 1";
    until("all of them are back", || other.one(back, &[]));
    until_served(&mut other);
}

#[test]
fn the_job_of_an_attached_worker_comes_back_after_a_restart_a_crash_and_a_promotion() {
    let Some(server) = Server::with_background(SETTINGS) else { return };
    server.queue("one").close().unwrap();
    for how in ["a restart", "a crash", "a crash of all", "a promotion"] {
        let mut held = server.connect("one");
        let job = claimed(&mut held);
        match how {
            "a restart" => server.restart(),
            "a crash" => server.crash(held.backend()),
            "a crash of all" => server.crash(server.postmaster()),
            _ => {
                let standby = server.standby();
                standby.promote();
                let mut client = standby.connect("one");
                until("it is promoted", || !client.one::<bool>("SELECT pg_is_in_recovery()", &[]));
                comes_back(&mut client, job, how);
                continue;
            }
        }
        comes_back(&mut server.connect("one"), job, how);
    }
}

#[test]
fn an_attempt_that_takes_too_long_is_given_back_though_its_worker_lives() {
    let Some(server) = Server::with_background(SETTINGS) else { return };
    let (mut one, mut other) = (server.queue("one"), server.connect("one"));
    let worker = one.register();
    run(&mut one, "SELECT minion.limit_task('task', 1)");
    let enqueue = "SELECT minion.enqueue('task', unique_key => 'key', time_limit => '1 second', attempts => $1)";
    let claim = "SELECT id FROM minion.dequeue($1)";
    let finish = "SELECT minion.finish_job($1, $2)";
    for _ in 0..3 {
        // With one attempt, it has failed.
        let job: i64 = one.one(enqueue, &[&1]);
        assert_eq!(one.all::<i64>(claim, &[&worker]), [job]);
        let failed = "SELECT state = 'failed' FROM minion.jobs WHERE id = $1";
        until("it has failed", || {
            one.one::<i64>("SELECT minion.register_worker($1)", &[&worker]); // a sign of life
            other.one(failed, &[&job])
        });
        let took =
            "SELECT extract(epoch FROM finished - started)::float8 FROM minion.jobs WHERE id = $1";
        eprintln!("failed after {} seconds", other.one::<f64>(took, &[&job]));
        let result = "SELECT result #>> '{}' FROM minion.jobs WHERE id = $1";
        assert_eq!(other.one::<String>(result, &[&job]), "Job exceeded its time limit");
        let inbox: serde_json::Value = one.one("SELECT minion.receive($1)", &[&worker]);
        assert_eq!(inbox, serde_json::json!([["stop", job]]));
        assert!(!one.one::<bool>(finish, &[&job, &0]));
        // Its key and its place are free; with two attempts, it is tried again.
        let second: i64 = one.one(enqueue, &[&2]);
        assert_ne!(second, job);
        assert_eq!(one.all::<i64>(claim, &[&worker]), [second]);
        assert_eq!(other.one::<i64>(enqueue, &[&2]), second);
        let another = other.register();
        let wait = "SELECT id FROM minion.dequeue($1, wait => '50 seconds')";
        assert_eq!(other.all::<i64>(wait, &[&another]), [second]);
        assert!(!one.one::<bool>(finish, &[&second, &0]));
        assert!(other.one::<bool>(finish, &[&second, &1]));
        one.one::<serde_json::Value>("SELECT minion.receive($1)", &[&worker]);
    }
}

#[test]
fn an_attempt_that_takes_too_long_is_noticed_though_the_worker_has_left_meanwhile() {
    let Some(server) = Server::with_background(SETTINGS) else { return };
    let (mut one, mut watch) = (server.queue("one"), server.connect("postgres"));
    let worker = one.register();
    let enqueue = "SELECT minion.enqueue('task', time_limit => '20 seconds')";
    let job: i64 = one.one(enqueue, &[]);
    assert_eq!(one.all::<i64>("SELECT id FROM minion.dequeue($1)", &[&worker]), [job]);
    until_none(&mut watch, "one");
    let failed = "SELECT state = 'failed' FROM minion.jobs WHERE id = $1";
    until("it has failed", || one.one(failed, &[&job]));
}
