//! Picking the manifest for a platform.

use std::collections::BTreeSet;
use std::fmt;

use super::Index;
use crate::descriptor::Descriptor;
use crate::platform::Platform;

/// How many platforms an error names at most.
const MAX_NAMED: usize = 30;

/// An index has nothing that runs on the platform that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoMatchingPlatform {
    /// What was asked for.
    pub wanted: Box<Platform>,
    /// What there is, sorted, each once, as text.
    pub available: Vec<String>,
    /// How many manifests of the index say no platform.
    pub without_platform: usize,
}

impl fmt::Display for NoMatchingPlatform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "there is no manifest for {}", self.wanted)?;
        match (self.available.is_empty(), self.without_platform) {
            (true, 0) => formatter.write_str("; the index is empty"),
            (true, count) => write!(
                formatter,
                "; none of its {count} manifests says a platform, so pick one by its digest"
            ),
            (false, _) => {
                let named = self.available.len().min(MAX_NAMED);
                let list: Vec<_> = self
                    .available
                    .iter()
                    .take(named)
                    .map(String::as_str)
                    .collect();
                write!(formatter, "; there are {}", list.join(", "))?;
                match self.available.len() - named {
                    0 => Ok(()),
                    more => write!(formatter, " and {more} more"),
                }
            }
        }
    }
}

impl std::error::Error for NoMatchingPlatform {}

impl Index {
    /// The manifest that runs best on `wanted`.
    ///
    /// The best is the one with the least [`Platform::mismatch`]; among equal ones on Windows that with the highest
    /// revision of the same build; among those still equal the first. Manifests that say no platform never match.
    ///
    /// # Errors
    /// [`NoMatchingPlatform`] says what there is.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, NoMatchingPlatform> {
        self.best_match(wanted).ok_or_else(|| {
            let available: BTreeSet<String> = self
                .platforms()
                .filter(|platform| platform.is_known())
                .map(|platform| platform.clone().normalized().to_string())
                .collect();
            NoMatchingPlatform {
                wanted: Box::new(wanted.clone()),
                available: available.into_iter().collect(),
                without_platform: self.manifests.len() - self.platforms().count(),
            }
        })
    }

    /// [`Index::select`] for those who have an error of their own.
    pub fn best_match(&self, wanted: &Platform) -> Option<&Descriptor> {
        self.manifests
            .iter()
            .filter_map(|manifest| Some((wanted.fit(manifest.platform.as_ref()?)?, manifest)))
            // The first of equal ones.
            .min_by_key(|(fit, _)| *fit)
            .map(|(_, manifest)| manifest)
    }

    /// The platforms that its manifests are for, in order.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.manifests
            .iter()
            .filter_map(|manifest| manifest.platform.as_ref())
    }
}
