//! What can be done with a repository.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of actions on a repository, under the names that the token specification gives them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Actions(u8);

impl Actions {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Reading blobs, manifests, tags and referrers.
    pub const PULL: Self = Self(1);
    /// Adding blobs and manifests, and moving tags.
    pub const PUSH: Self = Self(2);
    /// Deleting blobs, manifests and tags.
    pub const DELETE: Self = Self(4);
    /// Everything.
    pub const ALL: Self = Self(7);

    const NAMES: [(&'static str, Self); 3] = [
        ("pull", Self::PULL),
        ("push", Self::PUSH),
        ("delete", Self::DELETE),
    ];

    /// Whether all of `others` are among these.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The one action of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .into_iter()
            .find_map(|(known, action)| (known == name).then_some(action))
    }
}

impl BitOr for Actions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Actions {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Actions {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// `pull,push`: as scopes have it.
impl fmt::Display for Actions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES
            .into_iter()
            .filter_map(|(name, action)| self.contains(action).then_some(name));
        for (position, name) in names.enumerate() {
            if position > 0 {
                formatter.write_str(",")?;
            }
            formatter.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Actions({self})")
    }
}

/// Why a text is no set of actions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the actions are `pull`, `push` and `delete`, with commas between them")]
#[non_exhaustive]
pub struct ActionsError;

impl FromStr for Actions {
    type Err = ActionsError;

    fn from_str(text: &str) -> Result<Self, ActionsError> {
        text.split(',')
            .try_fold(Self::NONE, |all, name| Some(all | Self::named(name)?))
            .ok_or(ActionsError)
    }
}

impl Serialize for Actions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_sets_that_are_written_in_one_order() {
        let both = Actions::PUSH | Actions::PULL;
        assert_eq!(both.to_string(), "pull,push");
        assert_eq!("push,pull".parse(), Ok(both));
        assert_eq!("pull,push,delete".parse(), Ok(Actions::ALL));
        assert!(both.contains(Actions::PULL) && !both.contains(Actions::DELETE));
        assert!(both.contains(Actions::NONE) && !Actions::NONE.contains(Actions::PULL));
        assert_eq!(both & Actions::PUSH, Actions::PUSH);
        for text in ["", "pull,", "PULL", "*", "pull push"] {
            assert!(text.parse::<Actions>().is_err(), "{text:?}");
        }
    }
}
