//! background_workers: what runs by itself, for people to look at.

use crate::server::database;
use crate::server::identity::may_read_all_stats;
use crate::server::time::Timestamp;
use crate::shared::database::{Database, Known};
use crate::shared::databases::DATABASES;
use crate::shared::launcher::LAUNCHER;
use crate::shared::report::{Activity, Report};
use pgrx::prelude::*;

type Row = (
    Option<String>,
    Option<i32>,
    String,
    Option<TimestampWithTimeZone>,
    i64,
    i32,
    Option<String>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
);

/// What the view minion.background_workers shows.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn list_background_workers() -> TableIterator<
    'static,
    (
        name!(database, Option<String>),
        name!(pid, Option<i32>),
        name!(activity, String),
        name!(since, Option<TimestampWithTimeZone>),
        name!(starts, i64),
        name!(failures, i32),
        name!(last_error, Option<String>),
        name!(failed, Option<TimestampWithTimeZone>),
        name!(next_due, Option<TimestampWithTimeZone>),
    ),
> {
    let Some(databases) = DATABASES.get() else { return TableIterator::new(Vec::new()) };
    let (here, all) = (database::own(), may_read_all_stats());
    let launcher = LAUNCHER
        .get()
        .and_then(|launcher| pid(launcher.process.pid()))
        .map(|pid| (None, Some(pid), "starts workers".to_owned(), None, 0, 0, None, None, None));
    let workers = databases.all().filter(|one| all || one.oid() == here).filter_map(row);
    TableIterator::new(launcher.into_iter().chain(workers).collect::<Vec<_>>())
}

fn row(one: &Database) -> Option<Row> {
    let report = one.report.with(|report| *report);
    let is_known = matches!(one.known(), Known::HasExtension | Known::SwitchedOff);
    if !is_known && report.failures == 0 && report.activity != Activity::NoRoom {
        return None;
    }
    let until = one.until();
    Some((
        Some(database::name_of(one.oid())?),
        pid(one.worker.pid()),
        activity(one, &report).to_owned(),
        shown(report.since),
        report.starts,
        report.failures,
        report.error(),
        shown(report.failed),
        (Timestamp::BEFORE_ALL < until && until < Timestamp::INFINITY).then(|| until.shown()),
    ))
}

fn activity(one: &Database, report: &Report) -> &'static str {
    match report.activity {
        Activity::None if one.is_left() => "makes room for a command",
        // Nobody has seen it end.
        Activity::Waits | Activity::Does(_) if !one.worker.is_there() => "has nothing to do",
        Activity::None if one.known() == Known::SwitchedOff => "is switched off",
        Activity::None => "has nothing to do",
        Activity::NoRoom => "waits for a process",
        Activity::Failed => "has failed",
        Activity::Begins => "begins",
        Activity::Waits => "waits",
        Activity::Does(what) => what,
    }
}

fn pid(pid: i32) -> Option<i32> {
    (pid != 0).then_some(pid)
}

fn shown(at: Timestamp) -> Option<TimestampWithTimeZone> {
    (at.0 != 0).then(|| at.shown())
}
