//! The version that follows another one.

use peak_oci::Tag;

use super::StateError;

/// What a new image starts at.
pub(crate) fn first() -> Result<Tag, StateError> {
    "0.0.1"
        .parse()
        .map_err(|_| StateError::missing("the first version".to_owned()))
}

/// The next patch version after `version`, which must be three numbers, with a suffix perhaps.
/// `None` where it is not, or where there is no larger number.
pub(crate) fn next_patch(version: &Tag) -> Option<Tag> {
    next_patch_of(version.as_str())?.parse().ok()
}

fn next_patch_of(version: &str) -> Option<String> {
    let shared = version.split(['-', '_']).next().unwrap_or_default();
    let mut numbers = shared.split('.').map(parse_number);
    let (major, minor, patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() {
        return None;
    }
    Some(format!("{major}.{minor}.{}", patch.checked_add(1)?))
}

/// A number of digits alone: `u64::from_str` would take a sign too.
fn parse_number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::next_patch_of;

    #[test]
    fn counts_the_last_number() {
        assert_eq!(next_patch_of("0.0.1").as_deref(), Some("0.0.2"));
        assert_eq!(next_patch_of("1.2.9").as_deref(), Some("1.2.10"));
        assert_eq!(next_patch_of("1.2.3-rc.1").as_deref(), Some("1.2.4"));
    }

    #[test]
    fn says_so_where_there_is_none() {
        for version in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "1.2.x",
            "1.+2.3",
            "latest",
            "0.0.18446744073709551615",
        ] {
            assert_eq!(next_patch_of(version), None, "{version}");
        }
    }

    proptest! {
        #[test]
        fn three_numbers_always_have_a_next_one(major: u32, minor: u32, patch: u32) {
            let next = next_patch_of(&format!("{major}.{minor}.{patch}")).unwrap();
            prop_assert_eq!(next, format!("{major}.{minor}.{}", u64::from(patch) + 1));
        }

        #[test]
        fn no_text_is_a_panic(text: String) {
            let _ = next_patch_of(&text);
        }
    }
}
