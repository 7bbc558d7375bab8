//! Statements are written in plain SQL and made independent of the caller's `search_path` here.
//!
//! PostgreSQL looks an operator up by the search path each time a plan is made, so whoever can put a
//! better matching `=` into a schema of that path would be called by us. `OPERATOR(pg_catalog.=)` is
//! proof against that but hard to read, so each statement is rewritten to it once, when it is prepared.
//! All operators written that way have the same precedence: put arithmetic inside a comparison in
//! parentheses. Functions, types and tables are qualified by hand; forms that hide an operator
//! (IN, BETWEEN, LIKE, IS DISTINCT FROM, NULLIF, CASE value WHEN, USING) are refused by a test.

/// The characters PostgreSQL makes operators of; ':' is not one, so casts stay as they are.
const OPERATOR: &str = "+-*/<>=~!@#%^&|`?";

/// `sql` with every operator qualified. A lone `*` is the star of `count(*)`, and the `=` after a column of
/// a SET list assigns.
pub fn qualify(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() * 2);
    let mut rest = sql;
    let mut depth = 0;
    // The depth of the SET list we are in, and whether its next `=` is the one that assigns.
    let mut set_list = None;
    let mut assigns = false;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\'' | '"' => quoted(rest, c),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            c if OPERATOR.contains(c) => run(rest, |c| OPERATOR.contains(c)),
            c if c.is_alphanumeric() => run(rest, |c| c.is_alphanumeric() || c == '_'),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        let here = set_list == Some(depth);
        match token {
            "(" => depth += 1,
            ")" => depth -= 1,
            "SET" => (set_list, assigns) = (Some(depth), true),
            "FROM" | "WHERE" if here => set_list = None,
            "," if here => assigns = true,
            "=" if here && assigns => assigns = false,
            "*" => {}
            _ if OPERATOR.contains(c) && !token.starts_with("--") => {
                out.extend(["OPERATOR(pg_catalog.", token, ")"]);
                continue;
            }
            _ => {}
        }
        out.push_str(token);
    }
    out
}

/// The length of the run of characters that `text` begins with.
fn run(text: &str, of: impl Fn(char) -> bool) -> usize {
    text.find(|c| !of(c)).unwrap_or(text.len())
}

/// The length of the literal or identifier that `text` begins with; a doubled quote just begins another.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::qualify;

    #[test]
    fn operators_are_qualified() {
        assert_eq!(
            qualify("SELECT a <= $1 AND (~b, c) >= (1, 2)"),
            "SELECT a OPERATOR(pg_catalog.<=) $1 AND (OPERATOR(pg_catalog.~)b, c) \
             OPERATOR(pg_catalog.>=) (1, 2)"
        );
    }

    #[test]
    fn an_assignment_is_not_a_comparison() {
        assert_eq!(
            qualify("UPDATE t SET a = (b = c), d = CASE WHEN e = f THEN 1 END FROM g WHERE h = i"),
            "UPDATE t SET a = (b OPERATOR(pg_catalog.=) c), \
             d = CASE WHEN e OPERATOR(pg_catalog.=) f THEN 1 END FROM g \
             WHERE h OPERATOR(pg_catalog.=) i"
        );
    }

    #[test]
    fn literals_identifiers_comments_casts_and_stars_are_not() {
        for sql in
            ["SELECT '<=' || ''''", "SELECT \"a=b\" -- a = b\n", "SELECT count(*), 1::int", "'é'"]
        {
            assert_eq!(qualify(sql).replace("OPERATOR(pg_catalog.||)", "||"), sql);
        }
    }

    /// Forms that look an operator up without naming it would escape [`qualify`], and so would a function
    /// or type without a schema.
    #[test]
    fn statements_use_no_form_that_hides_a_name() {
        const HIDING: [&str; 7] =
            [" IN (", " BETWEEN ", " LIKE ", "DISTINCT FROM", "NULLIF", "nullif", " USING "];
        const BUILT_IN: [&str; 4] = ["coalesce(", "ARRAY(", "ANY(", "EXISTS("];
        let mut files = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut statements = 0;
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files
                    .extend(std::fs::read_dir(path).expect("readable").flatten().map(|f| f.path()));
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("readable");
            // Those that macros make, too.
            let calls = source.split(concat!("Statement", "::new("));
            for part in calls.flat_map(|part| part.split(concat!("Statement", "::latest("))).skip(1)
            {
                let sql = part.split(";\n").next().unwrap_or_default();
                let sql = sql.split("&[").next().unwrap_or_default();
                let sql = sql.split("TYPES").next().unwrap_or_default();
                statements += 1;
                for form in HIDING {
                    assert!(!sql.contains(form), "{form} in {}: {sql}", path.display());
                }
                for (at, _) in sql.match_indices('(') {
                    let start =
                        sql[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_' && c != '.');
                    let call = &sql[start.map_or(0, |start| start + 1)..=at];
                    let first = call.chars().next().unwrap_or('(');
                    let is_function = first.is_lowercase() && !call.contains('.');
                    let is_alias = sql[..at].trim_end().rsplit(' ').nth(1) == Some("AS");
                    assert!(
                        !is_function || is_alias || BUILT_IN.contains(&call),
                        "{call} has no schema in {}: {sql}",
                        path.display()
                    );
                }
            }
        }
        assert!(statements > 30, "the search has missed the statements: {statements}");
    }
}
