//! What holds for any plan of a mirror: the bodies of fuzz targets (docs/fuzzing.md). No part of the interface.

use std::collections::BTreeSet;

use peak_oci::Tag;

use crate::{MirrorPlan, TagFilter};

/// Plans of a mirror, as JSON.
pub fn mirror_plan(data: &[u8]) {
    let Ok(plan) = serde_json::from_slice::<MirrorPlan>(data) else {
        return;
    };
    let mut places = BTreeSet::new();
    assert!(plan.repositories().next().is_some());
    for repository in plan.repositories() {
        let from = repository.from();
        assert!(from.has_registry() && from.tag().is_none() && from.digest().is_none());
        assert!(!repository.destinations().is_empty());
        for destination in repository.destinations() {
            let to = destination.to();
            assert!(to.has_registry() && to.tag().is_none() && to.digest().is_none());
            assert_ne!(to, from, "nothing goes to itself");
            assert!(places.insert(to.canonical()), "{to} gets two sources");
        }
    }
}

/// Filters of tags: a line each for what there is and what is wanted, as `tag 1.2.3` or `glob 1.*`.
pub fn tag_filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let all = |kind: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))
            .map(str::to_owned)
            .collect()
    };
    let latest = all("latest").first().and_then(|text| text.parse().ok());
    let tags: Vec<Tag> = all("tag")
        .iter()
        .filter_map(|tag| tag.parse().ok())
        .collect();
    let (names, except) = (all("name"), all("except"));
    let Ok(filter) = TagFilter::new(&names, &all("glob"), &all("range"), &except, latest) else {
        return;
    };
    let selected = filter.select(tags.clone());
    let mut rest = tags.iter();
    for tag in &selected {
        assert!(filter.is_in_scope(tag));
        assert!(rest.any(|one| one == tag), "the order is kept");
    }
    for tag in tags.iter().filter(|tag| names.contains(&tag.to_string())) {
        assert!(selected.contains(tag), "{tag} is meant by its name");
    }
    assert_eq!(filter.select(selected.clone()), selected, "and once more");
    if latest.is_none() {
        let in_scope = tags.iter().filter(|tag| filter.is_in_scope(tag)).count();
        assert_eq!(in_scope, selected.len());
    }
}

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("mirror_plan", super::mirror_plan);
        hold("tag_filter", super::tag_filter);
    }
}
