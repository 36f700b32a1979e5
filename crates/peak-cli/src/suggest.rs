//! "Did you mean": which of the names there are look like the one that was written.

use std::collections::BTreeSet;

use crate::output::printable;

/// Most candidates that are compared; a list of names from a server may go on for ever.
pub(crate) const CANDIDATE_LIMIT: usize = 1000;

/// Most names that are suggested.
const SUGGESTION_LIMIT: usize = 3;

/// Longest name that is compared or shown, in bytes. The effort grows with the square of it.
const NAME_LIMIT: usize = 255;

/// How alike two names have to be, where 1 is the same: three slips of the finger in a name of ten letters.
const ALIKE: f64 = 0.7;

/// The candidates that look most like this name, the best first: at most three, and none where nothing is near. The name
/// itself is never among them.
pub(crate) fn nearest<S: AsRef<str>>(
    wanted: &str,
    candidates: impl IntoIterator<Item = S>,
) -> Vec<String> {
    if wanted.is_empty() || wanted.len() > NAME_LIMIT {
        return Vec::new();
    }
    let wanted = wanted.to_lowercase();
    let mut seen = BTreeSet::new();
    let mut found: Vec<(f64, String)> = candidates
        .into_iter()
        .take(CANDIDATE_LIMIT)
        .filter(|candidate| (1..=NAME_LIMIT).contains(&candidate.as_ref().len()))
        .map(|candidate| (alike(&wanted, candidate.as_ref()), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .map(|(alike, candidate)| (alike, printable(candidate.as_ref())))
        .filter(|(_, candidate)| *candidate != wanted && seen.insert(candidate.clone()))
        .collect();
    // Of those that are equally near, the last by name: it is the newest where names are versions.
    found.sort_by(|(left, one), (right, other)| right.total_cmp(left).then(other.cmp(one)));
    let names = found.into_iter().take(SUGGESTION_LIMIT);
    names.map(|(_, name)| name).collect()
}

/// ``did you mean `a`, `b` or `c`?``, where something is near.
pub(crate) fn did_you_mean<S: AsRef<str>>(
    wanted: &str,
    candidates: impl IntoIterator<Item = S>,
) -> Option<String> {
    let names = nearest(wanted, candidates);
    (!names.is_empty()).then(|| format!("did you mean {}?", either(&names)))
}

/// `` `a`, `b` or `c` ``
pub(crate) fn either(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// How alike two names are: letters that differ or stand in each other's place count. A name that only goes on where the
/// other ends, as `1.2` and `1.2.0` or `v1.2` do, counts as near.
fn alike(wanted: &str, candidate: &str) -> f64 {
    let candidate = candidate.to_lowercase();
    let longer = wanted.chars().count().max(candidate.chars().count());
    let slips = strsim::damerau_levenshtein(wanted, &candidate);
    // Of a short name one slip is a third.
    if slips == 1 && longer >= 3 {
        return 1.0 - 1.0 / 9.0;
    }
    let alike = strsim::normalized_damerau_levenshtein(wanted, &candidate);
    let (short, long) = if wanted.len() < candidate.len() {
        (wanted, candidate.as_str())
    } else {
        (candidate.as_str(), wanted)
    };
    // Where a part ends: `1.2` does not go on as `1.20`.
    let is_joint = |c: Option<char>| c.is_some_and(|c| "./-_+v".contains(c));
    let behind = long
        .strip_prefix(short)
        .and_then(|rest| rest.chars().next());
    let before = long
        .strip_suffix(short)
        .and_then(|rest| rest.chars().last());
    let goes_on = is_joint(behind) || (is_joint(before) && before != Some('.'));
    if short.len() >= 3 && goes_on {
        alike.max(ALIKE)
    } else {
        alike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_found_and_other_names_are_not() {
        let names = ["hello-web", "hello-api", "postgres", "team/hello-web"];
        assert_eq!(nearest("hello-wbe", names), ["hello-web"]);
        assert!(nearest("nginx", names).is_empty());
        assert!(nearest("", names).is_empty());
        let platforms = ["linux/amd64", "linux/s390x", "windows/amd64"];
        assert_eq!(nearest("linux/amd46", platforms), ["linux/amd64"]);
    }

    #[test]
    fn a_version_that_goes_on_is_near_and_the_newest_stands_first() {
        let tags = ["1.2.0", "1.2.1", "latest", "2.0"];
        assert_eq!(nearest("1.2", tags), ["1.2.1", "1.2.0"]);
        assert_eq!(nearest("v1.2.0", tags), ["1.2.0"]);
    }

    #[test]
    fn no_list_is_too_long_and_no_name_harms_a_terminal() {
        let endless = (0..).map(|number: u64| format!("tag-{number}"));
        assert_eq!(nearest("tag-", endless).len(), SUGGESTION_LIMIT);
        assert_eq!(nearest("abcdef", ["abcde\u{1b}"]), ["abcde\u{fffd}"]);
        assert!(nearest("a", ["a".repeat(100_000)]).is_empty());
    }

    #[test]
    fn suggestions_read_as_a_question() {
        assert_eq!(
            did_you_mean("tag", ["tag1", "tag2", "tag3"]).as_deref(),
            Some("did you mean `tag3`, `tag2` or `tag1`?")
        );
        assert_eq!(did_you_mean("tag", ["other"]), None);
    }
}
