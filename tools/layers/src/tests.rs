//! Little trees, each with one thing wrong or with none.

use crate::tree::check;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

/// Removed also where a test fails.
struct Tree(PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn tree(files: &[(&str, &str)]) -> Tree {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let root = env::temp_dir().join(format!("layers-{}-{number}", process::id()));
    let tree = Tree(root);
    for (path, text) in files {
        let path = tree.0.join(path);
        fs::create_dir_all(path.parent().expect("in a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    tree
}

fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let report = check(&tree(files).0).expect("a tree that can be read");
    report.faults.iter().map(ToString::to_string).collect()
}

/// With the rooms lib, a, and b below it.
fn faults_in_rooms(files: &[(&str, &str)]) -> Vec<String> {
    let list = ("docs/internals.md", "```layers\nlib\na\nb\n```\n");
    let lib = ("src/lib.rs", "mod a;\nmod b;\n");
    faults(&[&[list, lib], files].concat())
}

#[test]
fn a_tree_in_order_has_no_fault() {
    let files = [
        ("src/a/mod.rs", "pub mod c;\nmod d;\nuse c::C;\nuse crate::b;"),
        ("src/a/c.rs", "use super::d::D;\nuse crate::b::e;\nfn f() { b::e::f() }"),
        ("src/a/d.rs", "#[cfg(test)]\nmod tests { use super::super::c; }"),
        ("src/b.rs", "mod e;\npub(in crate::a) fn f() { e::f() }"),
        ("src/b/e.rs", "/// unsafe, crate::a\npub fn f() {}\n#[cfg(test)]\nmod tests;"),
        ("src/b/e/tests.rs", "use crate::a;"),
    ];
    assert_eq!(faults_in_rooms(&files), [""; 0]);
}

#[test]
fn each_way_to_name_a_module_is_an_import() {
    for import in [
        "use crate::a::c;",
        "use crate::{a::{c::{self as d, *}}};",
        "use super::super::a::c::F;",
        "use super::*; fn f() { super::super::a::c::f() }",
        "fn f() { m!(x, [crate::a::c::f()]) }",
        "macro_rules! m { ($f:ident) => { $crate::a::c::$f() } }",
        "mod i { fn f() { super::super::super::a::c::f() } }",
        "use crate as root; use root::a as above; fn f() { above::c::f() }",
        "use crate::a; mod i { use super::*; fn f() { a::c::f() } }",
        "use crate::*; fn f() { a::c::f() }",
    ] {
        let faults = faults_in_rooms(&[
            ("src/a.rs", "mod c;"),
            ("src/a/c.rs", ""),
            ("src/b/mod.rs", "mod d;"),
            ("src/b/d.rs", import),
        ]);
        let what = "b imports a/c, whose room a stands above it (docs/internals.md:3)";
        assert!(faults.contains(&format!("src/b/d.rs:1: {what}")), "{import}: {faults:?}");
    }
}

#[test]
fn a_child_is_imported_by_its_name_and_not_by_its_declaration() {
    let circle = |parent| {
        faults_in_rooms(&[("src/a.rs", parent), ("src/a/c.rs", "use super::f;"), ("src/b.rs", "")])
    };
    assert_eq!(circle("mod c;\npub fn c() {}\nfn f() { self::c() }"), [""; 0]);
    for parent in ["mod c;\nuse c::C;", "mod c;\nfn f() { c::f() }", "mod c;\nuse self::c::C;"] {
        let told = "src/a.rs:2: circle: a -> a/c (src/a.rs:2) -> a (src/a/c.rs:1)";
        assert_eq!(circle(parent), [told], "{parent}");
    }
}

#[test]
fn a_longer_circle_names_all_that_are_in_it() {
    let told = faults_in_rooms(&[
        ("src/a.rs", "mod c;\nmod d;\nmod e;"),
        ("src/a/c.rs", "use super::d::D;\nuse crate::a::e::E;"),
        ("src/a/d.rs", "use super::c::C;"),
        ("src/a/e.rs", "\nuse super::d::D;"),
        ("src/b.rs", ""),
    ]);
    let way = "a/c -> a/d (src/a/c.rs:1) -> a/c (src/a/d.rs:1)";
    let told = told.iter().filter(|told| told.contains("circle")).collect::<Vec<_>>();
    assert_eq!(
        told,
        [&format!("src/a/c.rs:1: circle: {way}; in circles with them: a/c, a/d, a/e")]
    );
}

#[test]
fn each_file_has_a_room_and_each_room_a_file() {
    let files = [("src/a.rs", ""), ("src/c.rs", "")];
    let told = [
        "docs/internals.md:4: room b has no file",
        "src/c.rs: belongs to no room of docs/internals.md",
    ];
    assert_eq!(faults_in_rooms(&files), told);
}

#[test]
fn the_list_of_rooms_is_asked_for() {
    let told = faults(&[("src/lib.rs", "")]);
    assert!(told.len() == 1 && told[0].starts_with("docs/internals.md: "), "{told:?}");
    let told = faults(&[("src/lib.rs", ""), ("docs/internals.md", "```\nlib\n```\n")]);
    assert_eq!(told, ["docs/internals.md: has 0 blocks ```layers instead of one"]);
}

#[test]
fn unsafe_stands_where_it_may() {
    let text = "// unsafe\nconst A: &str = \"unsafe\";\nfn f() {\n    m!(unsafe { g() })\n}\n";
    let list = "```layers\nserver, shared\njob\n```\n";
    let told = faults(&[
        ("docs/internals.md", list),
        ("src/server/a.rs", text),
        ("src/shared/mod.rs", text),
        ("src/job.rs", text),
    ]);
    let what = "`unsafe` outside of src/server/, src/shared/";
    assert_eq!(told, [format!("src/job.rs:4: {what}")]);
}

#[test]
fn a_file_fits_on_a_few_screens() {
    let list = ("docs/internals.md", "```layers\nlib\na\n```\n");
    let of =
        |lib, a| faults(&[list, ("src/lib.rs", &"\n".repeat(lib)), ("src/a.rs", &"\n".repeat(a))]);
    assert_eq!(of(79, 350), [""; 0]);
    let told =
        ["src/a.rs: has 351 lines, at most 350 fit", "src/lib.rs: has 80 lines, at most 79 fit"];
    assert_eq!(of(80, 351), told);
}

#[test]
fn a_file_that_is_no_rust_is_told() {
    let told = faults_in_rooms(&[("src/a.rs", "\nfn f() {"), ("src/b.rs", "")]);
    assert!(told.len() == 1 && told[0].starts_with("src/a.rs:"), "{told:?}");
}
