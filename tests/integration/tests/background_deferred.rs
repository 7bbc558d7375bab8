//! Deferred triggers of the users', which have their turn when a transaction commits: what one of them refuses keeps
//! nothing else from being done.

use integration::background::{add_old, make_due, until_enqueued, until_no_old};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, until};

const REFUSE: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'not this one'; END $$;
    CREATE CONSTRAINT TRIGGER refuse_old AFTER DELETE ON minion.jobs
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.task = 'kept') EXECUTE FUNCTION refuse();
    CREATE CONSTRAINT TRIGGER refuse_new AFTER INSERT ON minion.jobs
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.task = 'unwanted') EXECUTE FUNCTION refuse();
    CREATE CONSTRAINT TRIGGER refuse_end AFTER UPDATE ON minion.jobs
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (OLD.state = 'active' AND NEW.priority = 7) EXECUTE FUNCTION refuse()";

#[test]
fn what_a_deferred_trigger_refuses_keeps_no_other_from_being_removed() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let mut one = server.queue("one");
    run(&mut one, REFUSE);
    let keep = "INSERT INTO minion.jobs (task, state, finished)
        SELECT 'kept', 'finished', now() - interval '3 days' FROM generate_series(1, 3)";
    run(&mut one, keep);
    for _ in 0..3 {
        add_old(&mut one, 100);
        until_no_old(&mut one);
    }
    assert_eq!(one.one::<i64>("SELECT count(*) FROM minion.jobs WHERE task = 'kept'", &[]), 3);
}

#[test]
fn what_a_deferred_trigger_refuses_keeps_no_other_schedule_from_being_dispatched() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    run(&mut one, REFUSE);
    make_due(&mut one, "unwanted");
    for task in ["a", "b", "c"] {
        make_due(&mut one, task);
        until_enqueued(&mut one, task);
    }
    assert_eq!(one.one::<i64>("SELECT count(*) FROM minion.jobs WHERE task = 'unwanted'", &[]), 0);
}

#[test]
fn what_a_deferred_trigger_refuses_keeps_no_other_attempt_from_being_ended() {
    let Some(server) = Server::with_background(&[]) else { return };
    let mut one = server.queue("one");
    run(&mut one, REFUSE);
    one.register();
    let enqueue = "SELECT minion.enqueue('task', priority => n, time_limit => '100 milliseconds')
        FROM unnest('{7,6,5}'::int[]) AS n";
    run(&mut one, enqueue);
    run(&mut one, "SELECT minion.dequeue(1, max_jobs => 3)");
    let failed = "SELECT count(*) FROM minion.jobs WHERE state = 'failed'";
    until("the others are ended", || one.one::<i64>(failed, &[]) == 2);
    let active = "SELECT priority FROM minion.jobs WHERE state = 'active'";
    assert_eq!(one.all::<i32>(active, &[]), [7]);
}
