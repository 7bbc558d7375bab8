//! An installation leaves the file alone that a running server has mapped: writing into it would kill the server.

use integration::{Ask, Database, bin};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

/// Runs tools/install as `make install` does. PROFILE is what the sandbox was built with, so little is built.
fn install(target: &str, pg_config: &Path) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/install"))
        .arg(target)
        .env("PG_CONFIG", pg_config)
        .output()
        .unwrap()
}

#[test]
fn sessions_go_on_and_new_ones_come_while_the_library_is_installed_again() {
    let pg_config = bin().join("pg_config");
    let output = Command::new(&pg_config).arg("--pkglibdir").output().unwrap();
    let library = String::from_utf8(output.stdout).expect("a path in UTF-8");
    let library = Path::new(library.trim_end()).join("minion.so");
    let what = |file: &Metadata| (file.ino(), file.len(), file.mtime(), file.mtime_nsec());

    let database = Database::new();
    let mut old = database.connect();
    let enqueue = "SELECT minion.enqueue('task')";
    assert_eq!(old.one::<i64>(enqueue, &[]), 1);
    for (round, target) in (1..).zip(["server", "sandbox"]) {
        let mapped = File::open(&library).unwrap();
        let before = what(&mapped.metadata().unwrap());
        let output = install(target, &pg_config);
        assert!(output.status.success(), "{target}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(what(&mapped.metadata().unwrap()), before, "{target} has written into the file");
        assert_ne!(library.metadata().unwrap().ino(), before.0, "{target} has installed nothing");
        assert_eq!(database.connect().one::<i64>(enqueue, &[]), 2 * round);
        assert_eq!(old.one::<i64>(enqueue, &[]), 2 * round + 1);
    }
    let rest = library.parent().unwrap().read_dir().unwrap();
    let rest = rest.filter(|file| file.as_ref().unwrap().file_name().as_encoded_bytes()[0] == b'.');
    assert_eq!(rest.count(), 0);
}

#[test]
fn a_wrong_pg_config_is_named() {
    for (wrong, why) in
        [("/nope", "PG_CONFIG=/nope: no such program"), ("/bin/true", "/bin/true is no pg_config")]
    {
        let output = install("server", Path::new(wrong));
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(why), "{said}");
    }
}
