//! Questions about tokens, and which of a file are compiled for tests alone.

use proc_macro2::{Delimiter, TokenTree};

/// The conditions of `cfg`, without white space.
const TESTS_ONLY: [&str; 2] = ["test", "any(test,feature=\"pg_test\")"];

pub fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == word)
}

pub fn is_punct(token: Option<&TokenTree>, punct: char) -> bool {
    matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == punct)
}

pub fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<Vec<TokenTree>> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => {
            Some(group.stream().into_iter().collect())
        }
        _ => None,
    }
}

/// Whether `#[cfg(…)]` stands at `at`, or `#![cfg(…)]`, with one of the conditions above.
pub fn is_marked(tokens: &[TokenTree], at: usize) -> bool {
    if !is_punct(tokens.get(at), '#') {
        return false;
    }
    let bracket = at + 1 + usize::from(is_punct(tokens.get(at + 1), '!'));
    let Some(attribute) = group(tokens.get(bracket), Delimiter::Bracket) else { return false };
    let Some(condition) = group(attribute.get(1), Delimiter::Parenthesis) else { return false };
    let condition: String = condition.iter().map(ToString::to_string).collect();
    let condition: String = condition.split_whitespace().collect();
    is_word(attribute.first(), "cfg") && TESTS_ONLY.contains(&condition.as_str())
}

/// Where what is marked at `at` begins, after all its attributes, and where it ends.
pub fn extent(tokens: &[TokenTree], mut at: usize) -> (usize, usize) {
    if is_punct(tokens.get(at + 1), '!') {
        return (at, tokens.len());
    }
    while is_punct(tokens.get(at), '#') {
        at += 2;
    }
    if is_word(tokens.get(at), "pub") {
        at += 1 + usize::from(group(tokens.get(at + 1), Delimiter::Parenthesis).is_some());
    }
    let begins = at;
    let ends = Ends::of(tokens, at);
    while let Some(token) = tokens.get(at) {
        at += 1;
        let token = Some(token);
        if is_punct(token, ';')
            || (ends != Ends::Semicolon && group(token, Delimiter::Brace).is_some())
            || (ends == Ends::Comma && is_punct(token, ','))
        {
            break;
        }
    }
    (begins, at)
}

/// What ends an item; a comma ends what is none: a field, a variant, an arm.
#[derive(PartialEq)]
enum Ends {
    Semicolon,
    Braces,
    Comma,
}

impl Ends {
    fn of(tokens: &[TokenTree], at: usize) -> Self {
        let Some(TokenTree::Ident(word)) = tokens.get(at) else { return Self::Comma };
        match word.to_string().as_str() {
            "use" | "static" | "type" | "let" => Self::Semicolon,
            "const" => match tokens.get(at + 1) {
                Some(TokenTree::Ident(next))
                    if ["fn", "unsafe", "extern", "async"].iter().any(|word| next == word) =>
                {
                    Self::Braces
                }
                _ => Self::Semicolon,
            },
            "fn" | "mod" | "struct" | "enum" | "union" | "trait" | "impl" | "unsafe" | "async"
            | "extern" | "macro_rules" => Self::Braces,
            _ => Self::Comma,
        }
    }
}
