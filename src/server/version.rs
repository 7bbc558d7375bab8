//! Versions of the extension.

/// This library's.
pub const LIBRARY: &str = env!("CARGO_PKG_VERSION");

/// Whether one is the other, or a later one.
pub fn has_reached(one: &str, other: &str) -> bool {
    parts(one) >= parts(other)
}

fn parts(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::has_reached;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(has_reached("0.10.0", "0.9.1"));
        assert!(!has_reached("0.9.1", "0.10.0"));
        assert!(has_reached("1.0.0", "0.10.0"));
        assert!(has_reached("0.4.0", "0.4.0"));
    }
}
