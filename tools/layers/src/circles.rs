//! Files that import each other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

/// Which file imports which, and on which line.
pub type Imports = [BTreeMap<usize, usize>];

/// Files each of which reaches all the others.
#[derive(Debug, PartialEq)]
pub struct Circle {
    pub files: BTreeSet<usize>,
    /// The shortest way through some of them that ends where it begins.
    pub way: Vec<usize>,
}

pub fn circles(imports: &Imports) -> Vec<Circle> {
    let reached: Vec<BTreeSet<usize>> =
        (0..imports.len()).map(|file| reach(imports, file)).collect();
    let mut circles = Vec::new();
    let mut seen = BTreeSet::<usize>::new();
    for file in 0..imports.len() {
        if !reached[file].contains(&file) || seen.contains(&file) {
            continue;
        }
        let back = |other: &&usize| reached[**other].contains(&file);
        let files: BTreeSet<usize> = reached[file].iter().filter(back).copied().collect();
        seen.extend(&files);
        let ways: Vec<_> = files.iter().filter_map(|file| shortest(imports, *file)).collect();
        circles.extend(ways.into_iter().min_by_key(Vec::len).map(|way| Circle { files, way }));
    }
    circles
}

fn reach(imports: &Imports, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        next.extend(imports[file].keys().filter(|file| reached.insert(**file)));
    }
    reached
}

/// Both its first and its last file are `from`.
fn shortest(imports: &Imports, from: usize) -> Option<Vec<usize>> {
    let mut ways = vec![vec![from]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for file in imports[*way.last()?].keys() {
                if seen.insert(*file) {
                    longer.push([&way[..], &[*file]].concat());
                }
            }
        }
        if let Some(way) = longer.iter().find(|way| way.last() == Some(&from)) {
            return Some(way.clone());
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Circle, circles};
    use std::collections::{BTreeMap, BTreeSet};

    fn of<const N: usize>(imports: [&[usize]; N]) -> Vec<Circle> {
        let with_line = |file: &usize| (*file, 1);
        let each = |files: &[usize]| files.iter().map(with_line).collect::<BTreeMap<_, _>>();
        circles(&imports.map(each))
    }

    #[test]
    fn files_that_import_one_way_are_no_circle() {
        assert_eq!(of([&[1, 2], &[2], &[]]), []);
    }

    #[test]
    fn the_shortest_way_round_is_told() {
        let files = BTreeSet::from([0, 1, 2, 3]);
        assert_eq!(of([&[1], &[2], &[3], &[0, 2], &[0]]), [Circle { files, way: vec![2, 3, 2] }]);
    }

    #[test]
    fn circles_apart_are_told_apart() {
        let ways: Vec<_> = of([&[1], &[0, 2], &[3], &[2]]).into_iter().map(|it| it.way).collect();
        assert_eq!(ways, [[0, 1, 0], [2, 3, 2]]);
    }
}
