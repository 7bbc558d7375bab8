//! A library that is older than the extension's SQL must not run it: a function's arguments may have changed.

use super::{Session, Statement};
use crate::error::Error;

static INSTALLED: Statement =
    Statement::new("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'minion'", &[]);

const LIBRARY: &str = env!("CARGO_PKG_VERSION");

/// The error for a library that was loaded before ALTER EXTENSION UPDATE. An older extension is fine: its
/// functions stay in the library until it is updated too.
pub fn check(session: &Session) -> Result<(), Error> {
    match installed(session)? {
        Some(extension) if parts(&extension) > parts(LIBRARY) => {
            Err(Error::OldLibrary { library: LIBRARY, extension })
        }
        _ => Ok(()),
    }
}

/// Whether the extension's SQL is of a version, or of a later one.
pub fn has_reached(version: &str) -> Result<bool, Error> {
    let installed = Session::with(installed)?;
    Ok(installed.is_none_or(|extension| parts(&extension) >= parts(version)))
}

fn installed(session: &Session) -> Result<Option<String>, Error> {
    Ok(match session.run(&INSTALLED, &[])? {
        rows if rows.count() > 0 => rows.get(0, 1),
        _ => None,
    })
}

fn parts(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(parts("0.10.0") > parts("0.9.1"));
        assert!(parts("1.0.0") > parts("0.10.0"));
    }
}
