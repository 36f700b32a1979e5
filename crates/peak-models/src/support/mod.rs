//! What the generated types are made of.

pub(crate) mod id;
pub(crate) mod integer;
pub(crate) mod open_enum;
pub(crate) mod secret;
pub(crate) mod timestamp;

use serde::{Deserialize, Deserializer};

/// Decodes a list whose absence means empty: `null` says the same.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
