//! What of a page of Markdown is checked: its anchors, its links, and its code.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A page, as far as it is checked.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// What may stand behind `#` in a link to this page.
    pub(super) anchors: BTreeSet<String>,
    pub(super) links: Vec<Link>,
    pub(super) code: Vec<Code>,
}

/// A link or an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// From 1.
    pub(super) line: usize,
    /// As it is written.
    pub(super) to: String,
}

/// A block of code, or a piece of it within a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// Where the text begins, from 1.
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) kind: CodeKind,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum CodeKind {
    /// Within a line: a command stands there to be named rather than run.
    Inline,
    Block,
}

impl Page {
    /// Reads a page.
    pub(super) fn read(text: &str) -> Self {
        let options =
            Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_HEADING_ATTRIBUTES;
        let lines = Lines::of(text);
        let mut page = Self::default();
        let mut repeated = BTreeMap::new();
        let mut heading: Option<(Option<String>, String)> = None;
        let mut block: Option<Code> = None;
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            let line = lines.at(range.start);
            match event {
                Event::Start(Tag::Heading { id, .. }) => {
                    heading = Some((id.map(|id| id.to_string()), String::new()));
                }
                Event::End(TagEnd::Heading(_)) => {
                    if let Some((id, text)) = heading.take() {
                        let id = id.unwrap_or_else(|| unique(anchor(&text), &mut repeated));
                        page.anchors.insert(id);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(Link {
                        line,
                        to: dest_url.to_string(),
                    });
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let fence = usize::from(matches!(kind, CodeBlockKind::Fenced(_)));
                    block = Some(Code {
                        line: line + fence,
                        text: String::new(),
                        kind: CodeKind::Block,
                    });
                }
                Event::End(TagEnd::CodeBlock) => page.code.extend(block.take()),
                Event::Text(text) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    } else if let Some((_, heading)) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Code(text) => {
                    if let Some((_, heading)) = &mut heading {
                        heading.push_str(&text);
                    }
                    page.code.push(Code {
                        line,
                        text: text.to_string(),
                        kind: CodeKind::Inline,
                    });
                }
                _ => {}
            }
        }
        page
    }
}

/// The anchor that mdBook and GitHub give a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .chars()
        .filter_map(|character| match character {
            '_' | '-' => Some(character),
            _ if character.is_alphanumeric() => Some(character.to_ascii_lowercase()),
            _ if character.is_whitespace() => Some('-'),
            _ => None,
        })
        .collect()
}

/// A second heading of the same words gets a number.
fn unique(anchor: String, repeated: &mut BTreeMap<String, usize>) -> String {
    let count = repeated.entry(anchor.clone()).or_default();
    *count += 1;
    match *count {
        1 => anchor,
        more => format!("{anchor}-{}", more - 1),
    }
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    /// The line that a byte stands on, from 1.
    fn at(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|begin| *begin <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, CodeKind, Link, Page};

    #[test]
    fn anchors_are_those_of_mdbook_and_github() {
        let page = Page::read(
            "# What `peak` is, and *is not*\n\n## Twice\n\n## Twice\n\n## Named {#other}\n",
        );
        assert_eq!(
            page.anchors.into_iter().collect::<Vec<_>>(),
            ["other", "twice", "twice-1", "what-peak-is-and-is-not"]
        );
    }

    #[test]
    fn links_and_code_know_their_lines() {
        let page = Page::read(
            "one\n[two](b.md#c)\n\n```sh\npeak ship .\n```\n\n| `x` |\n|---|\n| `peak tags` |\n",
        );
        assert_eq!(
            page.links,
            [Link {
                line: 2,
                to: "b.md#c".to_owned()
            }]
        );
        let code = |line, text: &str, kind| Code {
            line,
            text: text.to_owned(),
            kind,
        };
        assert_eq!(
            page.code,
            [
                code(5, "peak ship .\n", CodeKind::Block),
                code(8, "x", CodeKind::Inline),
                code(10, "peak tags", CodeKind::Inline),
            ]
        );
    }
}
