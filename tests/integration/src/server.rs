//! The server that the tests run beside, stopped in one way or another and started again. For tests that have it to
//! themselves.

use crate::{Database, server_directory, server_program, until};
use std::process::Command;
use std::{env, fs};

/// Kills a process, which can do nothing about it.
pub fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
}

/// The postmaster's pid, which stands in the first line of its file.
pub fn postmaster() -> String {
    let file = fs::read_to_string(server_directory().join("data/postmaster.pid")).unwrap();
    file.lines().next().expect("a pid").to_owned()
}

fn control(arguments: &[&str]) -> bool {
    let mut command = server_program("pg_ctl");
    command.arg("--silent").arg("--pgdata").arg(server_directory().join("data"));
    command.args(arguments).status().unwrap().success()
}

pub fn stop() {
    assert!(control(&["--mode", "fast", "stop"]));
}

pub fn start() -> bool {
    let port = env::var("PGPORT").expect("PGPORT is not set");
    let log = server_directory().join("log");
    control(&["--log", log.to_str().expect("UTF-8"), "--options", &format!("-p {port}"), "start"])
}

pub fn until_up(database: &Database) {
    until("the server is back", || {
        database.try_connect().is_ok_and(|mut client| client.simple_query("SELECT 1").is_ok())
    });
}
