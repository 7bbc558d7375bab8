//! The names of modules in a file's tokens, those that macros are given among them.

#[cfg(test)]
mod tests;

use crate::tokens::{extent, group, is_marked, is_punct, is_word};
use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};
use std::collections::BTreeSet;

/// A module or an item, one segment each.
pub type Path = Vec<String>;

/// A path as it is written, in the modules written out within the file.
#[derive(Debug, PartialEq)]
pub struct Name {
    pub within: Path,
    pub path: Path,
    pub line: usize,
    /// What a `use` calls it: `*` for all that is in it.
    pub called: Option<String>,
}

/// What one file says; all modules are relative to it.
#[derive(Default)]
pub struct Source {
    pub names: Vec<Name>,
    /// Declared with `mod name;`.
    pub children: BTreeSet<Path>,
    /// Those of them that only tests have.
    pub tests: BTreeSet<Path>,
    /// Lines.
    pub unsafe_at: Vec<usize>,
}

impl Source {
    pub fn read(text: &str) -> Result<Self, LexError> {
        let mut source = Self::default();
        let tokens: Vec<_> = text.parse::<TokenStream>()?.into_iter().collect();
        source.look_for_unsafe(&tokens);
        source.walk(&tokens, &[]);
        Ok(source)
    }

    fn look_for_unsafe(&mut self, tokens: &[TokenTree]) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => {
                    self.look_for_unsafe(&group.stream().into_iter().collect::<Vec<_>>());
                }
                token if is_word(Some(token), "unsafe") => self.unsafe_at.push(line(token)),
                _ => {}
            }
        }
    }

    fn walk(&mut self, tokens: &[TokenTree], within: &[String]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if is_marked(tokens, at) {
                let (begins, ends) = extent(tokens, at);
                if let Some((child, _)) = module(tokens, begins) {
                    self.tests.insert(inside(within, &child));
                }
                at = ends;
                continue;
            }
            let precise_capture = is_punct(tokens.get(at + 1), '<');
            if is_word(Some(token), "use") && !precise_capture {
                let rest = &tokens[at + 1..];
                let length = rest.iter().position(|token| is_punct(Some(token), ';'));
                let length = length.unwrap_or(rest.len());
                self.tree(&rest[..length], within, &[]);
                at += 1 + length;
            } else if let Some((child, written_out)) = module(tokens, at) {
                let child = inside(within, &child);
                match written_out {
                    Some(tokens) => self.walk(&tokens, &child),
                    None => _ = self.children.insert(child),
                }
                at += 3;
            } else if is_word(Some(token), "pub")
                && group(tokens.get(at + 1), Delimiter::Parenthesis)
                    .is_some_and(|tokens| is_word(tokens.first(), "in"))
            {
                at += 2;
            } else if let TokenTree::Group(group) = token {
                self.walk(&group.stream().into_iter().collect::<Vec<_>>(), within);
                at += 1;
            } else {
                let (mut path, length) = path(tokens, at);
                let goes_on = at >= 2 && is_colons(tokens, at - 2);
                if path.len() > 1 && !goes_on {
                    // What is called or read is an item, be it named as a module is; not so what
                    // a macro goes on with: `crate::job::$name`.
                    let next = at + length;
                    if !is_colons(tokens, next) || is_punct(tokens.get(next + 2), '<') {
                        path.pop();
                    }
                    let (within, line) = (within.to_vec(), line(token));
                    self.names.push(Name { within, path, line, called: None });
                }
                at += length.max(1);
            }
        }
    }

    /// What stands between `use` and `;`, or in the braces of it.
    fn tree(&mut self, tokens: &[TokenTree], within: &[String], before: &[String]) {
        for tokens in tokens.split(|token| is_punct(Some(token), ',')) {
            // A leading `::` names another crate.
            let Some(first @ TokenTree::Ident(_)) = tokens.first() else {
                if let Some(tokens) = group(tokens.first(), Delimiter::Brace) {
                    self.tree(&tokens, within, before);
                } else if is_punct(tokens.first(), '*') {
                    self.used(within, before.to_vec(), line(&tokens[0]), Some("*".to_owned()));
                }
                continue;
            };
            let (more, length) = path(tokens, 0);
            let mut path = [before, &more].concat();
            if !before.is_empty() && more == ["self"] {
                path.pop();
            }
            let rest = &tokens[length..];
            if is_colons(rest, 0) {
                self.tree(&rest[2..], within, &path);
                continue;
            }
            let called = match rest {
                [_as, TokenTree::Ident(called)] => Some(called.to_string()),
                _ => path.last().cloned(),
            };
            self.used(within, path, line(first), called);
        }
    }

    fn used(&mut self, within: &[String], path: Path, line: usize, called: Option<String>) {
        self.names.push(Name { within: within.to_vec(), path, line, called });
    }
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

fn inside(within: &[String], child: &str) -> Path {
    [within, &[child.to_owned()]].concat()
}

/// `mod name`, and what is in its braces, if it isn't a file of its own.
fn module(tokens: &[TokenTree], at: usize) -> Option<(String, Option<Vec<TokenTree>>)> {
    let (true, Some(TokenTree::Ident(name))) = (is_word(tokens.get(at), "mod"), tokens.get(at + 1))
    else {
        return None;
    };
    let written_out = group(tokens.get(at + 2), Delimiter::Brace);
    Some((name.to_string(), written_out))
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

/// The words joined by `::` from `at` on, and how many tokens they are.
fn path(tokens: &[TokenTree], at: usize) -> (Path, usize) {
    let mut path = Vec::new();
    let mut next = at;
    while let Some(TokenTree::Ident(word)) = tokens.get(next) {
        path.push(word.to_string());
        next += 1;
        if !is_colons(tokens, next) || !matches!(tokens.get(next + 2), Some(TokenTree::Ident(_))) {
            break;
        }
        next += 2;
    }
    (path, next - at)
}
