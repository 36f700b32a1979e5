//! Which tags of a repository are meant: by name, by pattern, by version.

use std::collections::{BTreeSet, HashSet};

use globset::{Glob, GlobSet, GlobSetBuilder};
use peak_oci::Tag;
use semver::{Version, VersionReq};

/// Longest pattern, in bytes. Tags have at most 128.
const MAX_PATTERN: usize = 256;

/// Which tags of a repository are meant.
///
/// A tag is in scope when it is one of the names, matches one of the globs, or is a version within one of the ranges,
/// and matches none of the exceptions. A version is a tag of the form `1.2.3`, `v1.2.3` or `1.2.3-rc.1`; as everywhere
/// with semantic versions, a range contains pre-releases (`1.2.3-alpine` is one, too) only where it names one.
#[derive(Clone, Debug)]
pub struct TagFilter {
    names: BTreeSet<Tag>,
    globs: GlobSet,
    ranges: Vec<VersionReq>,
    except: GlobSet,
    latest: Option<usize>,
}

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TagFilterError {
    /// The name is no tag.
    #[error("`{name}` is not a tag")]
    Name {
        /// The name.
        name: String,
    },
    /// The pattern is no glob.
    #[error("`{pattern}` is not a pattern of tags: {reason}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// The range is none.
    #[error("`{range}` is not a range of versions, as `>=1.2, <2` is: {reason}")]
    Range {
        /// The range.
        range: String,
        /// Why not.
        reason: String,
    },
    /// Nothing would be left.
    #[error("`latest` has to be at least 1")]
    NoneLatest,
}

impl TagFilter {
    /// A filter of names, globs (`v1.*`), version ranges (`>=1.2, <2`), globs of exceptions, and how many of the newest
    /// versions are meant.
    ///
    /// Without names, globs and ranges: the versions if `latest` is given, else all tags.
    ///
    /// # Errors
    /// [`TagFilterError`] for what cannot be understood.
    pub fn new(
        names: &[String],
        globs: &[String],
        ranges: &[String],
        except: &[String],
        latest: Option<usize>,
    ) -> Result<Self, TagFilterError> {
        if latest == Some(0) {
            return Err(TagFilterError::NoneLatest);
        }
        let names = names
            .iter()
            .map(|name| {
                name.parse()
                    .map_err(|_| TagFilterError::Name { name: cut(name) })
            })
            .collect::<Result<BTreeSet<Tag>, _>>()?;
        let mut ranges = ranges
            .iter()
            .map(|range| parse_range(range))
            .collect::<Result<Vec<_>, _>>()?;
        let mut globs = globs.to_vec();
        if names.is_empty() && globs.is_empty() && ranges.is_empty() {
            if latest.is_some() {
                ranges.push(VersionReq::STAR);
            } else {
                globs.push("*".to_owned());
            }
        }
        Ok(Self {
            names,
            globs: glob_set(&globs)?,
            ranges,
            except: glob_set(except)?,
            latest,
        })
    }

    /// Whether the list of a repository's tags is needed to know which are meant.
    pub(crate) fn needs_list(&self) -> bool {
        !self.globs.is_empty() || !self.ranges.is_empty()
    }

    /// The tags that are meant by their name.
    pub fn names(&self) -> impl Iterator<Item = &Tag> {
        self.names.iter()
    }

    /// Whether the tag is one that the filter is about; not whether it is among the newest.
    pub(crate) fn is_in_scope(&self, tag: &Tag) -> bool {
        if self.names.contains(tag) {
            return true;
        }
        let text = tag.as_str();
        if self.except.is_match(text) {
            return false;
        }
        let in_range = || {
            !self.ranges.is_empty()
                && version(tag)
                    .is_some_and(|version| self.ranges.iter().any(|range| range.matches(&version)))
        };
        self.globs.is_match(text) || in_range()
    }

    /// The tags that are meant among these, in order: those in scope, and of the versions among them the newest. Other
    /// tags, and those meant by their name, are not counted.
    pub fn select(&self, mut tags: Vec<Tag>) -> Vec<Tag> {
        tags.retain(|tag| self.is_in_scope(tag));
        let Some(latest) = self.latest else {
            return tags;
        };
        let counted = |tag: &Tag| (!self.names.contains(tag)).then(|| version(tag)).flatten();
        let mut versions: Vec<Version> = tags.iter().filter_map(counted).collect();
        versions.sort_unstable_by(|left, right| right.cmp(left));
        versions.dedup();
        versions.truncate(latest);
        let kept: HashSet<Version> = versions.into_iter().collect();
        tags.retain(|tag| counted(tag).is_none_or(|version| kept.contains(&version)));
        tags
    }
}

/// The version that a tag is.
fn version(tag: &Tag) -> Option<Version> {
    let text = tag.as_str();
    Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

fn parse_range(range: &str) -> Result<VersionReq, TagFilterError> {
    let failed = |reason: String| TagFilterError::Range {
        range: cut(range),
        reason,
    };
    if range.len() > MAX_PATTERN {
        return Err(failed(format!("it is longer than {MAX_PATTERN} bytes")));
    }
    VersionReq::parse(range).map_err(|error| failed(error.to_string()))
}

fn glob_set(patterns: &[String]) -> Result<GlobSet, TagFilterError> {
    let failed = |pattern: &str, reason: String| TagFilterError::Glob {
        pattern: cut(pattern),
        reason,
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        if pattern.len() > MAX_PATTERN {
            let reason = format!("it is longer than {MAX_PATTERN} bytes");
            return Err(failed(pattern, reason));
        }
        let glob = Glob::new(pattern).map_err(|error| failed(pattern, error.kind().to_string()))?;
        set.add(glob);
    }
    set.build()
        .map_err(|error| failed("the patterns together", error.kind().to_string()))
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    fn selected(filter: &TagFilter, tags: &[&str]) -> Vec<String> {
        let tags = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let selected = filter.select(tags);
        selected.iter().map(ToString::to_string).collect()
    }

    const TAGS: [&str; 9] = [
        "1.2.0",
        "1.10.0",
        "1.9.3",
        "2.0.0",
        "2.1.0-rc.1",
        "v1.9.3",
        "1.9",
        "latest",
        "nightly",
    ];

    #[test]
    fn tags_are_meant_by_name_by_glob_and_by_version() {
        let filter = |names: &[&str], globs: &[&str], ranges: &[&str], except: &[&str]| {
            TagFilter::new(
                &strings(names),
                &strings(globs),
                &strings(ranges),
                &strings(except),
                None,
            )
            .unwrap()
        };
        assert_eq!(selected(&filter(&[], &[], &[], &[]), &TAGS), TAGS);
        assert_eq!(
            selected(&filter(&["latest"], &[], &[], &[]), &TAGS),
            ["latest"]
        );
        assert_eq!(
            selected(&filter(&[], &["1.*"], &[], &["*.10.*"]), &TAGS),
            ["1.2.0", "1.9.3", "1.9"]
        );
        assert_eq!(
            selected(&filter(&[], &[], &[">=1.9, <2"], &[]), &TAGS),
            ["1.10.0", "1.9.3", "v1.9.3"]
        );
        // What is named is meant, whatever the exceptions say.
        assert_eq!(
            selected(&filter(&["nightly"], &["l*"], &["~2.0"], &["*"]), &TAGS),
            ["nightly"]
        );
        assert!(!filter(&["latest"], &[], &[], &[]).needs_list());
        assert!(filter(&["latest"], &["v*"], &[], &[]).needs_list());
    }

    #[test]
    fn the_newest_are_counted_by_version_and_not_by_letters() {
        let newest = |names: &[&str], globs: &[&str], count| {
            TagFilter::new(&strings(names), &strings(globs), &[], &[], Some(count)).unwrap()
        };
        assert_eq!(selected(&newest(&[], &[], 2), &TAGS), ["1.10.0", "2.0.0"]);
        // Both spellings of a version, and what is no version at all.
        assert_eq!(
            selected(&newest(&["1.2.0"], &["*"], 4), &TAGS),
            [
                "1.2.0",
                "1.10.0",
                "1.9.3",
                "2.0.0",
                "2.1.0-rc.1",
                "v1.9.3",
                "1.9",
                "latest",
                "nightly"
            ]
        );
        assert_eq!(
            selected(&newest(&["1.2.0"], &["[0-9]*"], 1), &TAGS),
            ["1.2.0", "2.1.0-rc.1", "1.9"]
        );
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_name() {
        let error = |names: &[&str], globs: &[&str], ranges: &[&str], latest| {
            TagFilter::new(
                &strings(names),
                &strings(globs),
                &strings(ranges),
                &[],
                latest,
            )
            .unwrap_err()
            .to_string()
        };
        assert!(error(&["a b"], &[], &[], None).contains("`a b` is not a tag"));
        assert!(error(&[], &["[a"], &[], None).contains("`[a` is not a pattern"));
        assert!(error(&[], &[&"a".repeat(300)], &[], None).contains("longer than 256"));
        assert!(error(&[], &[], &[">= latest"], None).contains("`>= latest` is not a range"));
        assert!(error(&[], &[], &[], Some(0)).contains("at least 1"));
    }
}
