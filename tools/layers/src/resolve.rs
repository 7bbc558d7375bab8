//! From the names in a file to the files they name.

use crate::imports::{Name, Path, Source};
use std::collections::BTreeMap;

/// A name can be called by another, which is called by another; no one calls more often than this.
const CALLS: usize = 3;

/// The modules of the tree, each with its file.
pub type Modules = BTreeMap<Path, usize>;

/// The files that the file of `module` imports, each with the first line that does.
pub fn imports(modules: &Modules, module: &Path, source: &Source) -> BTreeMap<usize, usize> {
    let resolver = Resolver { modules, module, source };
    let mut imports = BTreeMap::new();
    for name in &source.names {
        let Some(path) = resolver.absolute(&name.within, &name.path, CALLS) else { continue };
        let Some((found, file)) = longest(modules, &path) else { continue };
        if found != module {
            imports.entry(file).or_insert(name.line);
        }
    }
    imports
}

/// The file that a path leads into: what follows its module are items.
fn longest<'a>(modules: &'a Modules, path: &[String]) -> Option<(&'a Path, usize)> {
    let (module, file) =
        (0..=path.len()).rev().find_map(|length| modules.get_key_value(&path[..length]))?;
    Some((module, *file))
}

struct Resolver<'a> {
    modules: &'a Modules,
    module: &'a Path,
    source: &'a Source,
}

impl Resolver<'_> {
    /// From the root of the crate; `None` for what comes from another crate, and for what isn't a module.
    fn absolute(&self, within: &[String], path: &[String], calls: usize) -> Option<Path> {
        let mut home = [self.module, within].concat();
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" if rest.first().is_some_and(|next| next == "super") => {
                return self.absolute(within, rest, calls);
            }
            "self" => return Some([&home, rest].concat()),
            "super" => {
                let up = path.iter().take_while(|word| *word == "super").count();
                home.truncate(home.len().checked_sub(up)?);
                return Some([&home, &path[up..]].concat());
            }
            _ => {}
        }
        // Outer modules too: `use super::*` takes all they have.
        (0..=within.len()).rev().find_map(|length| {
            let within = &within[..length];
            if self.source.children.contains(&[within, &path[..1]].concat()) {
                return Some([self.module, within, path].concat());
            }
            self.called(within, path, calls.checked_sub(1)?)
        })
    }

    /// The path through what a `use` calls its first word.
    fn called(&self, within: &[String], path: &[String], calls: usize) -> Option<Path> {
        self.source.names.iter().filter(|name| name.within == within).find_map(
            |Name { path: named, called, .. }| {
                let called = called.as_ref()?;
                if called != "*" && *called != path[0] {
                    return None;
                }
                let named = self.absolute(within, named, calls)?;
                if called == "*" {
                    let path = [&named, path].concat();
                    return self.modules.contains_key(&path[..=named.len()]).then_some(path);
                }
                Some([&named, &path[1..]].concat())
            },
        )
    }
}
