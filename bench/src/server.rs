//! The two servers, and databases in them.

use postgres::{Client, Config, NoTls};
use std::env;
use std::error::Error;
use std::process::Command;

pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Says what failed.
pub trait During<T> {
    fn during(self, what: &str) -> Outcome<T>;
}

impl<T, E: Error> During<T> for Result<T, E> {
    fn during(self, what: &str) -> Outcome<T> {
        // The message of the server is in the source of a postgres::Error.
        self.map_err(|error| match error.source() {
            Some(source) => format!("{what}: {error}: {source}").into(),
            None => format!("{what}: {error}").into(),
        })
    }
}

pub fn variable(name: &str) -> Outcome<String> {
    env::var(name).map_err(|_| format!("{name} is not set; run me with: make bench").into())
}

#[derive(Clone)]
pub struct Server {
    pub label: &'static str,
    pub host: String,
    pub port: String,
    pub user: String,
}

impl Server {
    /// The variables of tools/cluster, with a prefix.
    pub fn from_environment(label: &'static str, prefix: &str) -> Outcome<Server> {
        Ok(Server {
            label,
            host: variable(&format!("{prefix}PGHOST"))?,
            port: variable(&format!("{prefix}PGPORT"))?,
            user: variable("PGUSER")?,
        })
    }

    pub fn database(&self, name: &'static str) -> Database {
        Database { server: self.clone(), name }
    }

    /// A new database.
    pub fn create(&self, name: &'static str) -> Outcome<Database> {
        self.tool("createdb", &[name])?;
        Ok(self.database(name))
    }

    /// A new database like another one.
    pub fn copy(&self, from: &str, name: &str) -> Outcome<()> {
        self.tool("createdb", &["--template", from, name])
    }

    /// All that were created.
    pub fn drop_databases(&self) -> Outcome<()> {
        let names = "SELECT datname::text FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'";
        let rows = self.database("postgres").connect()?.query(names, &[]).during("databases")?;
        rows.iter().try_for_each(|row| self.tool("dropdb", &["--force", row.get(0)]))
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> Outcome<()> {
        let mut command = Command::new(program);
        self.database("postgres").address(&mut command);
        let output = command.args(arguments).output().during(program)?;
        if output.status.success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program} {}: {}", arguments.join(" "), reason.trim()).into())
    }

    /// A new database with the extension.
    pub fn create_queue(&self, name: &'static str) -> Outcome<Database> {
        let database = self.create(name)?;
        database.run("CREATE EXTENSION minion")?;
        Ok(database)
    }
}

#[derive(Clone)]
pub struct Database {
    pub server: Server,
    pub name: &'static str,
}

impl Database {
    pub fn connect(&self) -> Outcome<Client> {
        let mut config = Config::new();
        config.host(&self.server.host).user(&self.server.user).dbname(self.name);
        config.port(self.server.port.parse().during("PGPORT")?);
        config.connect(NoTls).during(&format!("connecting to {}", self.name))
    }

    /// Tells a program where it is.
    pub fn address(&self, command: &mut Command) {
        let Server { host, port, user, .. } = &self.server;
        command.env("PGHOST", host).env("PGPORT", port).env("PGUSER", user);
        command.env("PGDATABASE", self.name);
    }

    /// Statements without parameters, in a connection of their own.
    pub fn run(&self, sql: &str) -> Outcome<()> {
        self.connect()?.batch_execute(sql).during(sql)
    }
}
