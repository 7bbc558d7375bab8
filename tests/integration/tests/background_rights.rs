//! What others have attached to the tables of minion's runs in the background with the rights of their owner, and no
//! more, and changes nothing for what comes after.

use integration::background::{
    add_old, make_due, until_enqueued, until_no_old, until_served, until_worker,
};
use integration::heads::run;
use integration::server::Server;
use integration::{Ask, PATIENCE, until};
use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, NoTls};

/// A database whose tables belong to `app`, and to which `evil` may attach triggers.
fn of_app(server: &Server) -> Client {
    let mut one = server.queue("one");
    run(
        &mut one,
        "CREATE ROLE app LOGIN;
         CREATE ROLE evil;
         GRANT USAGE, CREATE ON SCHEMA public TO evil;
         GRANT minion_admin TO evil;
         CREATE TABLE seen (who text, session text, what text, error text);
         GRANT INSERT ON seen TO PUBLIC;
         DO $$ DECLARE one regclass; BEGIN
            FOR one IN SELECT oid FROM pg_class WHERE relnamespace = 'minion'::regnamespace AND relkind = 'r' LOOP
                EXECUTE format('ALTER TABLE %s OWNER TO app', one);
            END LOOP;
         END $$;
         GRANT USAGE ON SCHEMA minion, public TO app;
         GRANT minion_admin TO app;
         GRANT TRIGGER ON ALL TABLES IN SCHEMA minion TO evil",
    );
    one
}

/// Tries to become more than it is, and notes as whom.
const FUNCTION: &str = r#"
    CREATE FUNCTION public.try_all() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        sql text;
    BEGIN
        FOREACH sql IN ARRAY '{
            "RESET ROLE; ALTER ROLE evil SUPERUSER",
            "RESET SESSION AUTHORIZATION; ALTER ROLE evil SUPERUSER",
            "SET SESSION AUTHORIZATION postgres; ALTER ROLE evil SUPERUSER",
            "SET ROLE postgres; ALTER ROLE evil SUPERUSER",
            "ALTER ROLE evil SUPERUSER",
            "CREATE TABLE public.of_superuser AS SELECT * FROM pg_authid"
        }'::text[] LOOP
            BEGIN
                EXECUTE sql;
                INSERT INTO public.seen VALUES (current_user, session_user, sql, 'none');
            EXCEPTION WHEN OTHERS THEN
                INSERT INTO public.seen VALUES (current_user, session_user, sql, SQLERRM);
            END;
        END LOOP;
        IF TG_WHEN = 'BEFORE' THEN
            RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
        END IF;
        RETURN NULL;
    END $$"#;

fn is_no_superuser(client: &mut Client) {
    let is_super = "SELECT rolsuper FROM pg_roles WHERE rolname = 'evil'";
    assert!(!client.one::<bool>(is_super, &[]));
    let others: Vec<String> = client.all(
        "SELECT DISTINCT who || ': ' || what || ': ' || error FROM seen WHERE who <> 'app' OR error = 'none'",
        &[],
    );
    assert_eq!(others, [""; 0]);
}

#[test]
fn triggers_of_others_run_with_the_rights_of_the_owner_of_the_tables() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let mut one = of_app(&server);
    run(&mut one, "SET SESSION AUTHORIZATION evil");
    run(&mut one, FUNCTION);
    for table in ["jobs", "schedules", "workers"] {
        run(
            &mut one,
            &format!(
                "CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON minion.{table}
                    FOR EACH ROW EXECUTE FUNCTION public.try_all();
                 CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON minion.{table}
                    FOR EACH STATEMENT EXECUTE FUNCTION public.try_all();
                 CREATE CONSTRAINT TRIGGER c AFTER INSERT OR UPDATE OR DELETE ON minion.{table}
                    DEFERRABLE INITIALLY DEFERRED
                    FOR EACH ROW EXECUTE FUNCTION public.try_all()"
            ),
        );
    }
    run(&mut one, "RESET SESSION AUTHORIZATION");
    // Those of this session are none of the background's.
    run(&mut one, "SET session_replication_role = replica");
    add_old(&mut one, 50);
    run(
        &mut one,
        "INSERT INTO minion.workers (host, pid, notified) VALUES ('', 1, now() - interval '1 year')",
    );
    run(
        &mut one,
        "INSERT INTO minion.schedules (name, cron, task, next_run) VALUES ('due', '@yearly', 'due', now())",
    );
    // Of a superuser's sessions others' triggers can make anything.
    let mut app = server.config("one").user("app").connect(NoTls).unwrap();
    run(&mut app, "SELECT minion.enqueue('wake')");
    until_enqueued(&mut one, "due");
    until_no_old(&mut one);
    let gone = "SELECT NOT EXISTS (SELECT FROM minion.workers)";
    until("the worker is removed", || one.one(gone, &[]));
    is_no_superuser(&mut one);
    let by_background = "SELECT count(*) > 100 FROM seen WHERE session <> who";
    assert!(one.one::<bool>(by_background, &[]));
    assert_eq!(server.complaints(), [""; 0]);
}

#[test]
fn settings_that_a_trigger_of_others_leaves_behind_change_nothing() {
    let Some(server) = Server::with_background(&["minion.repair_interval = '1s'"]) else { return };
    let mut one = of_app(&server);
    run(&mut one, "SET SESSION AUTHORIZATION evil");
    run(
        &mut one,
        "CREATE FUNCTION public.leave() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
            PERFORM set_config('search_path', 'public, pg_catalog', false),
                set_config('minion.notify', 'off', false),
                set_config('minion.remove_after', '3650d', false),
                set_config('lock_timeout', '1ms', false),
                set_config('default_transaction_read_only', 'on', false),
                set_config('default_transaction_deferrable', 'on', false),
                set_config('default_transaction_isolation', 'serializable', false),
                set_config('enable_indexscan', 'off', false),
                set_config('datestyle', 'german', false),
                set_config('intervalstyle', 'sql_standard', false),
                set_config('timezone', 'Asia/Kolkata', false),
                set_config('row_security', 'off', false),
                set_config('work_mem', '64kB', false),
                set_config('application_name', 'evil', false),
                pg_advisory_lock(1);
            CREATE TEMPORARY TABLE IF NOT EXISTS jobs (id bigint);
            PERFORM pg_sleep(0);
            RETURN NULL;
         END $$;
         CREATE TRIGGER a AFTER INSERT ON minion.jobs
            FOR EACH ROW WHEN (NEW.task = 'evil') EXECUTE FUNCTION public.leave();
         CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
         CREATE FUNCTION public.equal(bigint, bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
         CREATE OPERATOR public.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = public.equal);
         CREATE FUNCTION public.equal(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
         CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.equal);
         RESET SESSION AUTHORIZATION",
    );
    let mut listener = server.connect("one");
    run(&mut listener, r#"LISTEN "minion.job""#);
    for _ in 0..3 {
        until_served(&mut one);
        make_due(&mut one, "evil");
        until_enqueued(&mut one, "evil");
        until_worker(&mut one, "one");
        add_old(&mut one, 50);
        until_no_old(&mut one);
        until_served(&mut one);
        run(&mut one, "DELETE FROM minion.jobs; SELECT minion.unschedule('evil')");
        run(&mut one, "SELECT minion.enqueue('heard')");
        run(&mut listener, "");
        let mut notifications = listener.notifications();
        let heard = notifications.timeout_iter(PATIENCE).next().unwrap();
        heard.expect("a notification");
        while notifications.iter().next().unwrap().is_some() {}
    }
    assert_eq!(server.complaints(), [""; 0]);
}
