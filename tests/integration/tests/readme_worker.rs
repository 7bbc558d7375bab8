//! The README's worker is what people copy: it survives what comes.

use integration::heads::run;
use integration::readme::Queue;
use integration::{Ask, until};
use serde_json::json;

#[test]
fn a_waiting_worker_leaves_by_sigterm_and_is_unregistered() {
    let mut queue = Queue::new();
    for signal in ["TERM", "INT"] {
        let worker = queue.start_waiting_worker();
        worker.signal(signal);
        worker.ends_well();
        assert_eq!(queue.workers(), 0);
    }
}

#[test]
fn a_worker_that_is_to_end_finishes_its_job_and_takes_no_other() {
    let mut queue = Queue::new();
    let worker = queue.start_worker();
    let job = queue.hold();
    worker.signal("TERM");
    let other = queue.enqueue("ran", "other");
    queue.release();
    worker.ends_well();
    assert_eq!(queue.state(job), "finished");
    assert_eq!(queue.result(job), json!("held"));
    assert_eq!(queue.state(other), "inactive");
    assert_eq!(queue.workers(), 0);
}

#[test]
fn the_job_of_a_killed_worker_is_given_back_by_repair() {
    let mut queue = Queue::new();
    let worker = queue.start_worker();
    let job = queue.hold();
    worker.is_killed();
    run(&mut queue.client, "SET minion.missing_after = 0; SELECT minion.repair()");
    queue.release();
    let worker = queue.start_worker();
    queue.until_state(job, "finished");
    assert_eq!(queue.retries(job), 1);
    assert_eq!(queue.runs(), 2);
    worker.signal("TERM");
    worker.ends_well();
}

#[test]
fn what_json_cannot_hold_fails_its_job_and_never_the_worker() {
    let mut queue = Queue::new();
    let worker = queue.start_worker();
    let id = worker.id(&mut queue);
    let kinds = ["NUL", "surrogate", "NaN", "infinity", "set", "bytes", "key", "nested"];
    let mut jobs = Vec::new();
    for kind in kinds {
        jobs.push((kind, queue.enqueue("value", kind)));
    }
    for kind in kinds {
        jobs.push((kind, queue.enqueue("error", kind)));
    }
    jobs.push(("exit", queue.enqueue("exit", "enough")));
    jobs.push(("unspeakable", queue.enqueue("unspeakable", "one argument too many")));
    jobs.push(("unspeakable", queue.enqueue("unspeakable", "")));
    for (kind, job) in jobs {
        queue.until_state(job, "failed");
        let text = queue.result(job).as_str().unwrap_or_default().to_owned();
        assert!(!text.is_empty(), "{kind}");
        assert_eq!(queue.retries(job), 1, "{kind}: {text}");
    }
    let text: Vec<String> = queue.client.all(
        "SELECT result::text FROM minion.jobs WHERE task = 'error' AND id < $1 ORDER BY id",
        &[&11_i64],
    );
    assert_eq!(text, [r#""ValueError: a\\0b""#, r#""ValueError: a\\ud800b""#]);
    let last = queue.enqueue("ran", "last");
    queue.until_state(last, "finished");
    assert_eq!(worker.id(&mut queue), id, "{}", worker.said());
}

#[test]
fn a_job_that_takes_longer_than_missing_after_runs_once() {
    let mut queue = Queue::new();
    let worker = queue.start_worker();
    let job = queue.hold();
    run(&mut queue.client, "SET minion.missing_after = 3");
    let long = "SELECT clock_timestamp() > started + interval '7 s' FROM minion.jobs WHERE id = $1";
    until("the job has taken long", || {
        run(&mut queue.client, "SELECT minion.repair()");
        queue.client.one(long, &[&job])
    });
    queue.release();
    queue.until_state(job, "finished");
    assert_eq!(queue.retries(job), 0);
    assert_eq!(queue.runs(), 1);
    worker.signal("TERM");
    worker.ends_well();
}

#[test]
fn a_waiting_worker_that_loses_its_connection_says_why_and_goes_on_under_a_new_id() {
    let mut queue = Queue::new();
    let worker = queue.start_waiting_worker();
    let before = worker.id(&mut queue);
    queue.disconnect();
    until("the worker is there again", || worker.id(&mut queue) > before && queue.workers() == 1);
    assert!(worker.said().contains("terminating connection due to administrator command"));
    let job = queue.enqueue("ran", "job");
    queue.until_state(job, "finished");
    worker.signal("TERM");
    worker.ends_well();
    assert_eq!(queue.workers(), 0);
}

#[test]
fn a_job_whose_worker_loses_its_connection_runs_once_and_is_finished() {
    let mut queue = Queue::new();
    let worker = queue.start_worker();
    let job = queue.hold();
    queue.disconnect();
    queue.release();
    queue.until_state(job, "finished");
    assert_eq!(queue.retries(job), 0);
    assert_eq!(queue.result(job), json!("held"));
    assert!(worker.said().contains("terminating connection due to administrator command"));
    worker.signal("TERM");
    worker.ends_well();
    assert_eq!(queue.runs(), 1);
}

#[test]
fn a_job_whose_claim_was_answered_to_nobody_is_given_back_by_repair() {
    let mut queue = Queue::new();
    let worker = queue.start_worker_losing("dequeue");
    let before = worker.id(&mut queue);
    let job = queue.enqueue("ran", "job");
    until("the worker has a new id", || worker.id(&mut queue) > before && queue.workers() == 1);
    assert_eq!(queue.state(job), "active");
    run(&mut queue.client, "SELECT minion.repair()");
    queue.until_state(job, "finished");
    assert_eq!(queue.retries(job), 1);
    assert_eq!(queue.runs(), 1);
}

#[test]
fn a_job_whose_end_was_answered_to_nobody_is_ended_once() {
    let mut queue = Queue::new();
    let worker = queue.start_worker_losing("finish_job");
    let job = queue.enqueue("ran", "job");
    let said = format!("job {job}: attempt 0 was no longer active");
    until("it is said", || worker.said().contains(&said));
    assert_eq!(queue.state(job), "finished");
    let next = queue.enqueue("ran", "next");
    queue.until_state(next, "finished");
    assert_eq!(queue.runs(), 2);
}

#[test]
fn a_result_that_ends_the_connection_each_time_fails_its_job() {
    let mut queue = Queue::new();
    run(
        &mut queue.client,
        "CREATE FUNCTION public.crash() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN new; END $$;
         CREATE TRIGGER crash BEFORE UPDATE ON minion.jobs FOR EACH ROW
         WHEN (NEW.state = 'finished' AND NEW.args = '[\"crash\"]') EXECUTE FUNCTION public.crash()",
    );
    let _worker = queue.start_worker();
    let job: i64 = queue.client.one("SELECT minion.enqueue('ran', '[\"crash\"]')", &[]);
    let next = queue.enqueue("ran", "next");
    queue.until_state(next, "finished");
    assert_eq!(queue.state(job), "failed");
    assert_eq!(queue.runs(), 2);
}

#[test]
fn a_job_that_was_taken_away_meanwhile_is_reported() {
    let mut queue = Queue::new();
    let worker = queue.start_worker();
    let job = queue.hold();
    queue.client.one::<bool>("SELECT minion.fail_job($1, 0, retry_delay => '1 day')", &[&job]);
    queue.release();
    until("it is said", || worker.said().contains(&format!("job {job}: attempt 0 was no longer")));
    assert_eq!(queue.state(job), "inactive");
}

#[test]
fn a_worker_that_was_removed_goes_on_under_a_new_id() {
    let mut queue = Queue::new();
    let worker = queue.start_worker();
    let id = worker.id(&mut queue);
    let job = queue.hold();
    run(&mut queue.client, "DELETE FROM minion.workers");
    queue.release();
    queue.until_state(job, "finished");
    let next = queue.enqueue("ran", "next");
    queue.until_state(next, "finished");
    until("one worker is registered", || queue.workers() == 1);
    assert!(worker.id(&mut queue) >= id);
}

#[test]
fn a_job_whose_end_is_refused_is_left_to_repair_and_the_others_are_run() {
    let mut queue = Queue::new();
    run(
        &mut queue.client,
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON minion.jobs FOR EACH ROW
         WHEN (OLD.state = 'active' AND OLD.args = '[\"refused\"]') EXECUTE FUNCTION public.refuse()",
    );
    let worker = queue.start_worker();
    let before = worker.id(&mut queue);
    let refused = queue.enqueue("ran", "refused");
    let next = queue.enqueue("ran", "next");
    queue.until_state(next, "finished");
    until("the first id is gone", || worker.id(&mut queue) > before && queue.workers() == 1);
    assert!(worker.said().contains("not this one"));
    assert_eq!(queue.state(refused), "active");
    run(&mut queue.client, "DROP TRIGGER refuse ON minion.jobs; SELECT minion.repair()");
    queue.until_state(refused, "finished");
    assert_eq!(queue.retries(refused), 1);
}

#[test]
fn behind_a_deploy_of_eight_workers_each_of_twenty_jobs_runs_once() {
    let mut queue = Queue::new();
    let old: Vec<_> = (0..8).map(|_| queue.start_waiting_worker()).collect();
    let mut jobs = Vec::new();
    for number in 0..10 {
        jobs.push(queue.enqueue("ran", &number.to_string()));
    }
    old.iter().for_each(|worker| worker.signal("TERM"));
    let new: Vec<_> = (0..8).map(|_| queue.spawn_worker()).collect();
    for number in 10..20 {
        jobs.push(queue.enqueue("ran", &number.to_string()));
    }
    old.into_iter().for_each(|worker| worker.ends_well());
    for job in jobs {
        queue.until_state(job, "finished");
        assert_eq!(queue.retries(job), 0);
    }
    let names: i64 = queue.client.one("SELECT count(DISTINCT name) FROM public.ran", &[]);
    assert_eq!((names, queue.runs()), (20, 20));
    until("the new workers are there", || queue.workers() == 8);
    new.iter().for_each(|worker| worker.signal("TERM"));
    new.into_iter().for_each(|worker| worker.ends_well());
    assert_eq!(queue.workers(), 0);
}
