use super::Source;

/// `line path`, or `line path as what a use calls it`.
fn names(text: &str) -> Vec<String> {
    let told = |name: &super::Name| {
        let called = name.called.iter().map(|called| format!(" as {called}"));
        format!("{} {}{}", name.line, name.path.join("::"), called.collect::<String>())
    };
    Source::read(text).expect("tokens").names.iter().map(told).collect()
}

#[test]
fn a_use_names_each_leaf_of_its_tree() {
    let text = "use crate::{a::{self, b as c,\nd::{E, f::*}}, g};\npub(crate) use super::h;";
    assert_eq!(
        names(text),
        [
            "1 crate::a as a",
            "1 crate::a::b as c",
            "2 crate::a::d::E as E",
            "2 crate::a::d::f as *",
            "2 crate::g as g",
            "3 super::h as h"
        ]
    );
}

#[test]
fn a_path_in_code_names_all_but_its_item() {
    assert_eq!(names("fn f() -> super::a::B { g(c::d) }"), ["1 super::a", "1 c"]);
    assert_eq!(names("fn f() { a::b::<crate::c::D>::e() }"), ["1 a", "1 crate::c"]);
}

#[test]
fn a_use_of_lifetimes_is_no_import() {
    assert_eq!(names("fn f() -> impl Sized + use<> { a::b() }"), ["1 a"]);
}

#[test]
fn a_macro_is_looked_into() {
    let text = "macro_rules! m { ($f:ident) => { $crate::a::$f(b![crate::c::D]) } }";
    assert_eq!(names(text), ["1 crate::a", "1 crate::c"]);
}

#[test]
fn visibility_and_other_crates_and_words_are_no_names() {
    let text = "pub(in crate::a) struct B(pub(super) u8);
        use ::a::b;
        fn c() { ::d::e() }
        /// crate::f::g
        const H: &str = \"crate::i::j\"; // crate::k::l";
    assert_eq!(names(text), [""; 0]);
}

#[test]
fn what_only_tests_have_names_nothing_and_ends_where_it_ends() {
    for text in [
        "#[cfg(test)] mod tests { use super::x; } fn f() { a::b() }",
        "#[cfg(test)] #[allow(x)] pub(crate) use x::{y, z}; fn f() { a::b() }",
        "#[cfg(any(test, feature = \"pg_test\"))] #[s] mod t { x::y() } fn f() { a::b() }",
        "#[cfg(test)] const X: [u8; 1] = { x::y }; fn f() { a::b() }",
        "#[cfg(test)] static X: u8 = if Y { 1 } else { x::y }; fn f() { a::b() }",
        "#[cfg(test)] const fn x<A, B>() { x::y() } fn f() { a::b() }",
        "struct S { #[cfg(test)] x: x::Y, f: a::B }",
        "fn f() { a::b() } mod tests { #![cfg(test)] use super::x; }",
    ] {
        assert_eq!(names(text), ["1 a"], "{text}");
    }
}

#[test]
fn what_only_some_versions_have_is_read() {
    assert_eq!(names("#[cfg(not(test))] use a::b;"), ["1 a::b as b"]);
    assert_eq!(names("#[cfg(feature = \"pg18\")] use a::b;"), ["1 a::b as b"]);
}
