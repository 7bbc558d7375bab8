//! The layers, as docs/internals.md lists them, top to bottom.

use crate::fault::Fault;
use std::cmp::Ordering;

pub const LIST: &str = "docs/internals.md";

#[derive(Debug)]
pub struct Room {
    name: String,
    /// From the top.
    layer: usize,
    line: usize,
}

pub struct Rooms(Vec<Room>);

impl Rooms {
    pub fn read(text: &str) -> Result<Self, Vec<Fault>> {
        let mut rooms: Vec<Room> = Vec::new();
        let mut faults = Vec::new();
        let mut blocks = 0;
        let mut lines = text.lines().enumerate();
        while let Some((_, opening)) = lines.next() {
            let Some(info) = opening.strip_prefix("```") else { continue };
            let is_list = info.trim() == "layers";
            blocks += usize::from(is_list);
            for (layer, text) in lines.by_ref().take_while(|(_, line)| !line.starts_with("```")) {
                let names = text.trim().split("  ").next().unwrap_or_default();
                if !is_list || names.is_empty() {
                    continue;
                }
                for name in names.split(',').map(str::trim) {
                    let line = layer + 1;
                    let mut fault = |what| faults.push(Fault::at(LIST, line, what));
                    if name.is_empty() || name.contains(' ') {
                        fault(format!(
                            "`{name}` is no room: commas divide rooms, two spaces end them"
                        ));
                    } else if let Some(first) = rooms.iter().find(|room| room.name == name) {
                        fault(format!("room {name} is on line {} already", first.line));
                    } else {
                        rooms.push(Room { name: name.to_owned(), layer, line });
                    }
                }
            }
        }
        if blocks != 1 {
            faults.push(Fault::of(LIST, format!("has {blocks} blocks ```layers instead of one")));
        }
        if faults.is_empty() { Ok(Self(rooms)) } else { Err(faults) }
    }

    /// The room that a file, such as `shared/commit`, belongs to.
    fn of(&self, file: &str) -> Option<&Room> {
        let holds = |room: &&Room| {
            file.strip_prefix(&room.name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.0.iter().filter(holds).max_by_key(|room| room.name.len())
    }

    /// Why the first file may not import the second, unless it may.
    pub fn against(&self, from: &str, to: &str) -> Option<String> {
        let (from, above) = (self.of(from)?, self.of(to)?);
        let place = match above.layer.cmp(&from.layer) {
            Ordering::Greater => return None,
            Ordering::Equal if above.name == from.name => return None,
            Ordering::Equal => "stands beside it",
            Ordering::Less => "stands above it",
        };
        let line = above.line;
        Some(format!(
            "{} imports {to}, whose room {} {place} ({LIST}:{line})",
            from.name, above.name
        ))
    }

    /// Files, given by path and name, without a room, and rooms without a file.
    pub fn strays(&self, files: &[(&str, &str)]) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (path, name) in files {
            if self.of(name).is_none() {
                faults.push(Fault::of(path, format!("belongs to no room of {LIST}")));
            }
        }
        for Room { name, line, .. } in &self.0 {
            if !files.iter().any(|(_, file)| self.of(file).is_some_and(|room| room.name == *name)) {
                faults.push(Fault::at(LIST, *line, format!("room {name} has no file")));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::Rooms;

    fn rooms(list: &str) -> Rooms {
        Rooms::read(&format!("# A page\n\n```sql\nlayers\n```\n\n```layers\n{list}\n```\n"))
            .unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn faults(page: &str) -> Vec<String> {
        let faults = Rooms::read(page).err().unwrap_or_default();
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_may_import_its_own_room_and_those_below() {
        let rooms = rooms("lib\njob, lock  who changes state\n\nshared");
        for (from, to) in
            [("lib", "shared/a"), ("job", "job/a"), ("job/a", "job"), ("lock", "shared")]
        {
            assert_eq!(rooms.against(from, to), None, "{from} {to}");
        }
    }

    #[test]
    fn a_file_may_not_import_rooms_above_and_beside() {
        let rooms = rooms("lib\njob, lock  who changes state\nshared");
        assert_eq!(
            rooms.against("shared/a", "job/b"),
            Some(
                "shared imports job/b, whose room job stands above it (docs/internals.md:9)".into()
            )
        );
        assert_eq!(
            rooms.against("job/b", "lock"),
            Some("job imports lock, whose room lock stands beside it (docs/internals.md:9)".into())
        );
    }

    #[test]
    fn the_longest_room_has_the_file() {
        let rooms = rooms("shared/commit\nshared\nshare");
        assert_eq!(rooms.against("shared/commit", "shared/commits"), None);
        assert!(rooms.against("shared/commits", "shared/commit/a").is_some());
        assert!(rooms.against("share", "shared").is_some());
    }

    #[test]
    fn there_is_one_list() {
        assert_eq!(faults("layers"), ["docs/internals.md: has 0 blocks ```layers instead of one"]);
        assert_eq!(
            faults("```layers\na\n```\n```layers\nb\n```"),
            ["docs/internals.md: has 2 blocks ```layers instead of one"]
        );
        assert_eq!(faults("```layers\na\n```"), [""; 0]);
        assert!(rooms("a").of("layers").is_none(), "of another block");
    }

    #[test]
    fn a_room_is_one_word_and_stands_once() {
        assert_eq!(
            faults("```layers\na,  b\nc who\na\n```"),
            [
                "docs/internals.md:2: `` is no room: commas divide rooms, two spaces end them",
                "docs/internals.md:3: `c who` is no room: commas divide rooms, two spaces end them",
                "docs/internals.md:4: room a is on line 2 already"
            ]
        );
    }
}
