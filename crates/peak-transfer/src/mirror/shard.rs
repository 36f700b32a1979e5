//! A part of the repositories for each of several runs that know nothing of each other.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use peak_oci::Digest;

/// One of several parts, as `I/N` with `I` from 1 to `N`.
///
/// A repository belongs to exactly one of the `N` parts, whatever else the plan has, on every machine and in every
/// version of this program: to the one that the SHA-256 of its canonical name says. All tags of a repository are in
/// one part, as images of one repository share most of their layers.
///
/// ```
/// use peak_transfer::Shard;
///
/// let shards: Vec<Shard> = vec!["1/2".parse()?, "2/2".parse()?];
/// let owners = shards.iter().filter(|shard| shard.owns("registry.example/team/app")).count();
/// assert_eq!(owners, 1);
/// # Ok::<(), peak_transfer::ShardError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u32,
    total: NonZeroU32,
}

/// A text that is no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no part of a whole; write it as I/N with I from 1 to N, as in 1/4 to 4/4")]
pub struct ShardError {
    text: String,
}

impl Shard {
    /// Whether a repository belongs to this part.
    pub fn owns(&self, repository: &str) -> bool {
        let digest = Digest::sha256_of(repository.as_bytes());
        let number = digest
            .hex()
            .get(..16)
            .and_then(|hex| u64::from_str_radix(hex, 16).ok())
            .unwrap_or_default();
        number % u64::from(self.total.get()) == u64::from(self.index - 1)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let parse = || {
            let (index, total) = text.split_once('/')?;
            let (index, total) = (index.parse().ok()?, total.parse::<NonZeroU32>().ok()?);
            (1..=total.get())
                .contains(&index)
                .then_some(Self { index, total })
        };
        parse().ok_or_else(|| ShardError {
            text: text.chars().take(50).collect(),
        })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_repository_belongs_to_one_part_and_parts_are_about_equal() {
        let shards: Vec<Shard> = (1..=4)
            .map(|index| format!("{index}/4").parse().unwrap())
            .collect();
        let mut counts = [0; 4];
        for number in 0..4000 {
            let name = format!("registry.example/team/app{number}");
            let owners: Vec<_> = (0..4).filter(|index| shards[*index].owns(&name)).collect();
            assert_eq!(owners.len(), 1, "{name}");
            counts[owners[0]] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }

    /// Runs of different versions may work side by side, so this must never change.
    #[test]
    fn which_part_a_repository_belongs_to_is_for_ever() {
        let owner = |name: &str| {
            (1..=5).find(|index| format!("{index}/5").parse::<Shard>().unwrap().owns(name))
        };
        assert_eq!(owner("docker.io/library/nginx"), Some(4));
    }

    #[test]
    fn parts_are_counted_from_one() {
        for text in ["0/4", "5/4", "1/0", "1", "", "a/b", "-1/4", "1/4/4"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!("4/4".parse::<Shard>().unwrap().to_string(), "4/4");
    }
}
