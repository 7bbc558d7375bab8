//! Servers of a test's own, beside the one that the tests share: it may stop them, kill them and use them up.

use crate::{connect, server_directory, server_program, until};
use postgres::{Client, Config, NoTls};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

/// Each has a directory of its own for its socket, so that all have the same.
const PORT: u16 = 5432;

/// Stopped and removed when it is dropped.
pub struct Server {
    directory: PathBuf,
}

impl Server {
    /// One that runs, with no database of its own yet.
    pub fn new(settings: &[&str]) -> Self {
        let server = Self::place();
        copy(&fresh(), &server.data());
        server.set(&[
            "fsync = off",
            "shared_buffers = '32MB'",
            "max_connections = 60",
            "max_worker_processes = 20",
            "max_prepared_transactions = 10",
            "allow_in_place_tablespaces = on",
            "log_line_prefix = '%m [%p] %b %d '",
            "listen_addresses = ''",
            &format!("port = {PORT}"),
        ]);
        server.use_own_socket();
        server.set(settings);
        server.start();
        server
    }

    /// One that preloads what the shared server does.
    pub fn alike() -> Self {
        match preloads() {
            true => Self::new(&[PRELOAD, "minion.background = off"]),
            false => Self::new(&[]),
        }
    }

    /// One with workers in the background. None without preloading: one time is enough.
    pub fn with_background(settings: &[&str]) -> Option<Self> {
        preloads().then(|| Self::new(&[&[PRELOAD], settings].concat()))
    }

    /// A copy that follows it.
    pub fn standby(&self) -> Self {
        let standby = Self::place();
        let copied = server_program("pg_basebackup")
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .args(["--username=postgres", &format!("--port={PORT}"), "--host"])
            .arg(&self.directory)
            .arg("--pgdata")
            .arg(standby.data())
            .status();
        assert!(copied.unwrap().success());
        standby.use_own_socket();
        standby.start();
        standby
    }

    /// An empty directory that belongs to the owner of the shared server's.
    fn place() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = server_directory().join(format!("server.{}.{number}", process::id()));
        fs::create_dir(&directory).unwrap();
        let owner = fs::metadata(server_directory()).unwrap();
        chown(&directory, Some(owner.uid()), Some(owner.gid())).unwrap();
        Self { directory }
    }

    /// Where its socket is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn port(&self) -> u16 {
        PORT
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn use_own_socket(&self) {
        self.set(&[&format!("unix_socket_directories = '{}'", self.directory.display())]);
    }

    /// Adds lines to its postgresql.conf, for the next start or [`Self::reload`].
    pub fn set(&self, settings: &[&str]) {
        let file = self.data().join("postgresql.conf");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}{}\n", settings.join("\n"))).unwrap();
    }

    pub fn reload(&self) {
        self.control(&["reload"]);
    }

    pub fn start(&self) {
        self.control(&["--log", &self.file("log"), "start"]);
    }

    /// `mode` is fast or immediate. How long it took.
    pub fn stop(&self, mode: &str) -> Duration {
        let begin = Instant::now();
        self.control(&["--mode", mode, "stop"]);
        begin.elapsed()
    }

    pub fn restart(&self) {
        self.stop("fast");
        self.start();
    }

    pub fn promote(&self) {
        self.control(&["promote"]);
    }

    /// Starts a copy that was stopped as a server of its own.
    pub fn start_promoted(&self) {
        fs::remove_file(self.data().join("standby.signal")).unwrap();
        self.start();
    }

    fn control(&self, arguments: &[&str]) {
        let succeeds = self.try_control(arguments);
        assert!(succeeds, "{arguments:?}\n{}", self.log());
    }

    fn try_control(&self, arguments: &[&str]) -> bool {
        let mut command = server_program("pg_ctl");
        command.arg("--silent").arg("--pgdata").arg(self.data()).args(arguments);
        command.status().unwrap().success()
    }

    /// Kills one of its processes, or the first one, and has it come back.
    pub fn crash(&self, pid: i32) {
        let mut witness = self.connect("postgres");
        kill(pid);
        until("the server has noticed", || witness.simple_query("").is_err());
        self.until_up();
    }

    /// Until it has come back by itself, or can be started again.
    pub fn until_up(&self) {
        until("the server is back", || {
            self.try_connect("postgres").is_ok() || self.has_ended() && self.try_start()
        });
    }

    fn try_start(&self) -> bool {
        self.try_control(&["--log", &self.file("log"), "start"])
    }

    fn has_ended(&self) -> bool {
        !Path::new(&format!("/proc/{}", self.postmaster())).exists()
    }

    /// The pid of the first process, which stands in the first line of its file.
    pub fn postmaster(&self) -> i32 {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        file.lines().next().map_or(0, |pid| pid.parse().expect("a pid"))
    }

    pub fn log(&self) -> String {
        let log = fs::read(self.file("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// How many lines of the log have it.
    pub fn logged(&self, what: &str) -> usize {
        self.log().lines().filter(|line| line.contains(what)).count()
    }

    /// The name of a file that is gone with it.
    pub fn file(&self, name: &str) -> String {
        self.directory.join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Runs one of the server's programs for clients.
    pub fn program(&self, name: &str, arguments: &[&str]) {
        let mut command = server_program(name);
        command.arg("--host").arg(&self.directory).arg(format!("--port={PORT}"));
        let output = command.args(["--username=postgres"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What workers and the launcher have complained of.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let of_background = log.lines().filter(|line| line.contains("] minion "));
        let complaints = of_background
            .filter(|line| KINDS.iter().any(|kind| line.contains(kind)))
            // Told to by the server, or by a test.
            .filter(|line| !line.contains("due to administrator command"));
        complaints.map(str::to_owned).collect()
    }

    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.directory)
            .port(PORT)
            .user("postgres")
            .dbname(database)
            .options("-c lock_timeout=60s -c statement_timeout=240s -c minion.repair_limit=0");
        config
    }

    pub fn connect(&self, database: &str) -> Client {
        self.try_connect(database).unwrap_or_else(|error| panic!("{database}: {error:?}"))
    }

    pub fn try_connect(&self, database: &str) -> Result<Client, postgres::Error> {
        self.config(database).connect(NoTls)
    }

    /// A connection to a new database with the extension.
    pub fn queue(&self, database: &str) -> Client {
        let mut client = self.empty(database);
        client.batch_execute("CREATE EXTENSION minion").unwrap();
        client
    }

    /// A connection to a new database.
    pub fn empty(&self, database: &str) -> Client {
        let create = format!("CREATE DATABASE {database}");
        self.connect("postgres").batch_execute(&create).unwrap();
        self.connect(database)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- end of {}/log", self.directory.display());
            eprintln!("{}\n---", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
        self.try_control(&["--mode", "immediate", "stop"]);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

const PRELOAD: &str = "shared_preload_libraries = 'minion'";
const KINDS: [&str; 4] = ["WARNING:", "ERROR:", "FATAL:", "PANIC:"];

fn preloads() -> bool {
    crate::heads::is_preloaded(&mut connect("postgres"))
}

/// The data of a new server, made once for all of them.
fn fresh() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = server_directory().join("fresh");
    if !fresh.exists() {
        // Also other processes find it as a whole, or not.
        let own = server_directory().join(format!("fresh.{}", process::id()));
        let made = server_program("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "--pgdata"])
            .arg(&own)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::rename(&own, &fresh).unwrap();
    }
    fresh
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}
