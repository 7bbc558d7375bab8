//! Schedules: what an upgrade makes of those of an older version, and who does not wait for whom.

use integration::{Ask, Database};
use postgres::Client;

const UPDATE: &str = "ALTER EXTENSION minion UPDATE TO '0.4.0'";

/// Name and column of each schedule.
fn column(client: &mut Client, column: &str) -> Vec<String> {
    let list = format!("SELECT name || ' ' || {column} FROM minion.schedules ORDER BY id");
    client.all(&list, &[])
}

#[test]
fn an_upgrade_writes_time_zones_in_posix_style_as_the_offsets_that_they_were() {
    let database = Database::of_version("0.3.0");
    let (mut client, warnings) = database.connect_hearing();
    client
        .batch_execute(
            "INSERT INTO minion.schedules (name, cron, task, timezone, next_run)
             SELECT zone, '0 12 * * *', 'task', zone, '2026-01-01'
             FROM unnest('{+02:00,2,UTC+2,Foo5,A/B5,-05:30,+00:00,<+03>-3,:Europe/Berlin,
                CET-1CEST,Foo20,Foo5:30:15,
                UTC,Europe/Berlin,europe/berlin,Etc/GMT+5,CEST,Nowhere}'::text[]) AS zone",
        )
        .unwrap();
    let before: Vec<Option<String>> = client.all(
        "SELECT (CASE WHEN timezone NOT IN ('CEST', 'Nowhere', 'Foo5:30:15', ':Europe/Berlin')
            THEN timestamp '2026-01-15 12:00' AT TIME ZONE timezone END)::text
         FROM minion.schedules
         ORDER BY id",
        &[],
    );
    client.batch_execute(UPDATE).unwrap();
    assert_eq!(
        column(&mut client, "timezone"),
        [
            "+02:00 -02:00",
            "2 -02:00",
            "UTC+2 -02:00",
            "Foo5 -05:00",
            "A/B5 -05:00",
            "-05:30 +05:30",
            "+00:00 +00:00",
            "<+03>-3 +03:00",
            ":Europe/Berlin Europe/Berlin",
            "CET-1CEST CET-1CEST",
            "Foo20 Foo20",
            "Foo5:30:15 Foo5:30:15",
            "UTC UTC",
            "Europe/Berlin Europe/Berlin",
            "europe/berlin europe/berlin",
            "Etc/GMT+5 Etc/GMT+5",
            "CEST CEST",
            "Nowhere Nowhere",
        ]
    );
    let warnings = warnings.lock().unwrap();
    assert!(
        warnings[0]
            .contains(r#"schedule "+02:00": timezone "+02:00" is written "-02:00" from now on"#)
    );
    for (warning, name) in warnings[8..].iter().zip(["CET-1CEST", "Foo20"]) {
        let expected =
            format!("schedule \"{name}\" does not run: time zone \"{name}\" does not exist");
        assert!(warning.contains(&expected), "{warning}");
    }
    assert_eq!(warnings.len(), 10, "{warnings:?}");
    drop(warnings);
    // The same instants.
    let after: Vec<Option<String>> = client.all(
        "SELECT (CASE WHEN name NOT IN ('CEST', 'Nowhere', 'Foo5:30:15', ':Europe/Berlin', 'CET-1CEST', 'Foo20')
            THEN minion.next_run('0 12 15 1 *', '2026-01-01', timezone) END)::text
         FROM minion.schedules
         ORDER BY id",
        &[],
    );
    for (after, before) in after.iter().zip(before) {
        assert!(after.is_none() || *after == before, "{after:?} was {before:?}");
    }
    assert_eq!(after.iter().flatten().count(), 12);
}

#[test]
fn until_the_upgrade_schedules_mean_what_they_did() {
    let database = Database::of_version("0.3.0");
    let mut client = database.connect();
    let noon = "SELECT minion.next_run('0 12 * * *', '2026-01-15 00:00+00', '+02:00')
        = timestamptz '2026-01-15 14:00+00'";
    let odd_mondays = "SELECT minion.next_run('0 0 */2 * 1', '2026-05-17', 'UTC') = '2026-05-25'";
    client.batch_execute("SET timezone = 'UTC'").unwrap();
    assert!(client.one::<bool>(noon, &[]));
    assert!(client.one::<bool>(odd_mondays, &[]));
    client
        .batch_execute("SELECT minion.schedule('west', '0 12 * * *', 'task', timezone => '+02:00')")
        .unwrap();
    // One that is undone has changed nothing for the session either.
    client.batch_execute(&format!("BEGIN; {UPDATE}")).unwrap();
    assert!(!client.one::<bool>(noon, &[]));
    client.batch_execute("ROLLBACK").unwrap();
    assert!(client.one::<bool>(noon, &[]));
    client.batch_execute(UPDATE).unwrap();
    assert!(!client.one::<bool>(noon, &[]));
    assert!(!client.one::<bool>(odd_mondays, &[]));
    let kept = "SELECT next_run = minion.next_run(cron, now(), timezone) AND timezone = '-02:00'
        FROM minion.schedules";
    assert!(client.one::<bool>(kept, &[]));
}

#[test]
fn an_upgrade_works_next_run_out_again_where_the_days_mean_something_else() {
    let database = Database::of_version("0.3.0");
    let (mut client, warnings) = database.connect_hearing();
    client
        .batch_execute(
            // No leap day is near enough to be the next day that matches, but for the 28th of such a February.
            "SELECT minion.schedule(cron, cron, 'task', timezone => 'Europe/Berlin')
             FROM unnest(ARRAY[
                '0 0 29 2 */1', '0 0 29 2 *,5', '0 0 */30 1 1', '0 0 1 1 1', '0 0 1 1 *', '@yearly']) AS cron;
             INSERT INTO minion.schedules (name, cron, task, next_run)
             VALUES ('due', '0 0 1 1 */3', 'task', '2026-01-01'),
                ('on purpose', '0 0 1 1 */3', 'task', now() + interval '3 days 3 seconds'),
                ('invalid', '0 0 32 1 */3', 'task', now() + interval '3 days')",
        )
        .unwrap();
    let before = column(&mut client, "next_run");
    client.batch_execute(UPDATE).unwrap();
    let after = column(&mut client, "next_run");
    assert!(before[0] != after[0] && before[1] != after[1], "{after:?}");
    assert_eq!(before[3..], after[3..]);
    let right: Vec<bool> = client.all(
        "SELECT next_run = minion.next_run(cron, now(), timezone)
         FROM minion.schedules
         WHERE id <= 6
         ORDER BY id",
        &[],
    );
    assert_eq!(right, [true; 6]);
    assert!(warnings.lock().unwrap().is_empty());
}

#[test]
fn an_upgrade_brings_values_that_no_job_can_have_within_bounds() {
    let database = Database::of_version("0.3.0");
    let (mut client, warnings) = database.connect_hearing();
    client
        .batch_execute(
            "INSERT INTO minion.schedules (name, cron, task, next_run, expire, unique_key)
             VALUES ('good', '@daily', 'task', '2026-01-01', '1 day', repeat('k', 1000)),
                ('long', '@daily', 'task', '2026-01-01', NULL, repeat('k', 9600)),
                ('as long', '@daily', 'task', '2026-01-01', NULL, repeat('k', 9600)),
                ('longer', '@daily', 'task', '2026-01-01', NULL, repeat('k', 9601)),
                ('empty', '@daily', 'task', '2026-01-01', NULL, ''),
                ('negative', '@daily', 'task', '2026-01-01', '-1 day', NULL),
                ('absurd', '@daily', 'task', '2026-01-01', '178000000 years', NULL)",
        )
        .unwrap();
    client.batch_execute(UPDATE).unwrap();
    let expires = column(&mut client, "coalesce(expire::text, 'none')");
    assert_eq!(
        expires,
        [
            "good 1 day",
            "long none",
            "as long none",
            "longer none",
            "empty none",
            "negative 00:00:00",
            "absurd 10000 years"
        ]
    );
    let keys: Vec<Option<String>> =
        client.all("SELECT unique_key FROM minion.schedules ORDER BY id", &[]);
    assert_eq!(keys[0], Some("k".repeat(1000)));
    assert_eq!(keys[1], keys[2]);
    assert_ne!(keys[1], keys[3]);
    assert!(keys[1..5].iter().flatten().all(|key| (1..=1000).contains(&key.len())));
    assert_eq!(keys[4..].iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(warnings.lock().unwrap().len(), 6);
    let ran: Vec<String> = client.all("SELECT name FROM minion.dispatch_schedules()", &[]);
    assert_eq!(ran.len(), 7, "{ran:?}");
}

#[test]
fn a_schedule_whose_row_refuses_the_upgrade_stops_no_other() {
    let database = Database::of_version("0.3.0");
    let (mut client, warnings) = database.connect_hearing();
    client
        .batch_execute(
            "INSERT INTO minion.schedules (name, cron, task, timezone, next_run)
             VALUES ('stuck', '@daily', 'task', '2', '2026-01-01'), ('free', '@daily', 'task', '2', '2026-01-01');
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE 'not this one'; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON minion.schedules
                FOR EACH ROW WHEN (OLD.name = 'stuck') EXECUTE FUNCTION refuse()",
        )
        .unwrap();
    client.batch_execute(UPDATE).unwrap();
    assert_eq!(column(&mut client, "timezone"), ["stuck 2", "free -02:00"]);
    let warnings = warnings.lock().unwrap();
    assert!(warnings[0].contains(r#"schedule "stuck" is passed over: not this one"#));
    assert_eq!(warnings.len(), 2);
}

#[test]
fn a_dispatch_waits_for_nobody_who_is_about_to_take_a_key() {
    let database = Database::new();
    let (mut client, mut other) = (database.connect(), database.connect());
    client
        .batch_execute(
            "SELECT minion.schedule('keyed', '@daily', 'task', unique_key => 'key');
             SELECT minion.schedule('free', '@daily', 'task');
             UPDATE minion.schedules SET next_run = now() - interval '1 minute'",
        )
        .unwrap();
    let dispatch = "SELECT name FROM minion.dispatch_schedules()";
    let mut holder = other.transaction().unwrap();
    holder.batch_execute("SELECT minion.enqueue('task', unique_key => 'key')").unwrap();
    assert_eq!(client.all::<String>(dispatch, &[]), ["free"]);
    assert_eq!(client.all::<String>(dispatch, &[]), [""; 0]);
    holder.commit().unwrap();
    assert_eq!(client.all::<String>(dispatch, &[]), ["keyed"]);
    assert_eq!(client.one::<i64>("SELECT count(*) FROM minion.jobs", &[]), 2);
    // The job that has the key is there, whatever somebody is doing to it.
    client
        .batch_execute("UPDATE minion.schedules SET next_run = now() - interval '1 minute'")
        .unwrap();
    let mut holder = other.transaction().unwrap();
    holder.batch_execute("SELECT minion.note(min(id), '{}') FROM minion.jobs").unwrap();
    assert_eq!(client.all::<String>(dispatch, &[]).len(), 2);
}
