//! All files of the extension, and all that is asked of them.

use crate::circles::{Circle, Imports, circles};
use crate::fault::Fault;
use crate::imports::{Path as Module, Source};
use crate::resolve::{Modules, imports};
use crate::rooms::{LIST, Rooms};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

const UNSAFE_IN: [&str; 2] = ["src/server/", "src/shared/"];
const MOST_LINES: usize = 350;
/// It is a table of contents.
const MOST_LINES_OF_LIB: usize = 79;

pub struct Report {
    pub files: usize,
    pub faults: Vec<Fault>,
}

struct File {
    /// From the root of the repository.
    path: String,
    module: Module,
    /// As docs/internals.md writes it.
    name: String,
    text: String,
}

pub fn check(root: &Path) -> io::Result<Report> {
    let mut files = Vec::new();
    read(&root.join("src"), &[], &mut files)?;
    files.sort_by(|one, other| one.path.cmp(&other.path));

    let mut faults = Vec::new();
    let imports = look_into(&files, &mut faults);
    faults.extend(files.iter().filter_map(too_long));
    faults.extend(circles(&imports).iter().map(|circle| told(circle, &files, &imports)));
    match fs::read_to_string(root.join(LIST)) {
        Ok(list) => match Rooms::read(&list) {
            Ok(rooms) => faults.extend(against(&rooms, &files, &imports)),
            Err(unread) => faults.extend(unread),
        },
        Err(error) => faults.push(Fault::of(LIST, error.to_string())),
    }
    faults.sort();
    Ok(Report { files: files.len(), faults })
}

fn read(directory: &Path, above: &[String], files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let written = [above, &[stem.to_owned()]].concat();
        if path.is_dir() {
            read(&path, &written, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let is_above = stem == "mod" || written == ["lib"];
            files.push(File {
                path: format!("src/{}.rs", written.join("/")),
                name: if stem == "mod" { above } else { &written }.join("/"),
                text: fs::read_to_string(&path)?,
                module: if is_above { above.to_vec() } else { written },
            });
        }
    }
    Ok(())
}

/// What each file imports; what can be said of a file by itself goes to the faults.
fn look_into(files: &[File], faults: &mut Vec<Fault>) -> Vec<BTreeMap<usize, usize>> {
    let modules: Modules = files.iter().map(|file| file.module.clone()).zip(0..).collect();
    let mut found = Vec::new();
    let mut tests = BTreeSet::new();
    for file in files {
        let source = Source::read(&file.text).unwrap_or_else(|error| {
            let line = error.span().start().line;
            faults.push(Fault::at(&file.path, line, format!("can't be read: {error}")));
            Source::default()
        });
        if !UNSAFE_IN.iter().any(|directory| file.path.starts_with(directory)) {
            let what = || format!("`unsafe` outside of {}", UNSAFE_IN.join(", "));
            faults.extend(source.unsafe_at.iter().map(|at| Fault::at(&file.path, *at, what())));
        }
        found.push(imports(&modules, &file.module, &source));
        tests.extend(source.tests.iter().map(|test| [&file.module[..], test].concat()));
    }
    for (file, found) in files.iter().zip(&mut found) {
        if tests.iter().any(|test| file.module.starts_with(test)) {
            found.clear();
        }
    }
    found
}

fn too_long(file: &File) -> Option<Fault> {
    let most = if file.name == "lib" { MOST_LINES_OF_LIB } else { MOST_LINES };
    let lines = file.text.lines().count();
    (lines > most).then(|| Fault::of(&file.path, format!("has {lines} lines, at most {most} fit")))
}

fn told(circle: &Circle, files: &[File], imports: &Imports) -> Fault {
    let first = &files[circle.way[0]];
    let mut what = format!("circle: {}", first.name);
    for step in circle.way.windows(2) {
        let (from, to) = (&files[step[0]], &files[step[1]]);
        what += &format!(" -> {} ({}:{})", to.name, from.path, imports[step[0]][&step[1]]);
    }
    if circle.files.len() >= circle.way.len() {
        let names: Vec<_> = circle.files.iter().map(|file| files[*file].name.as_str()).collect();
        what += &format!("; in circles with them: {}", names.join(", "));
    }
    Fault::at(&first.path, imports[circle.way[0]][&circle.way[1]], what)
}

fn against(rooms: &Rooms, files: &[File], imports: &Imports) -> Vec<Fault> {
    let names: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.name.as_str())).collect();
    let mut faults = rooms.strays(&names);
    for (from, imports) in files.iter().zip(imports) {
        for (to, line) in imports {
            let what = rooms.against(&from.name, &files[*to].name);
            faults.extend(what.map(|what| Fault::at(&from.path, *line, what)));
        }
    }
    faults
}
