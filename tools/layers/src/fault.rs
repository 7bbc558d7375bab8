use std::fmt;

/// What is wrong with a file; ordered as they are printed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    path: String,
    line: Option<usize>,
    what: String,
}

impl Fault {
    pub fn of(path: &str, what: String) -> Self {
        Self { path: path.to_owned(), line: None, what }
    }

    pub fn at(path: &str, line: usize, what: String) -> Self {
        Self { path: path.to_owned(), line: Some(line), what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}
