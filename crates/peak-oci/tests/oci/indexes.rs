//! Creating, changing and merging indexes.

use std::collections::HashSet;

use peak_oci::annotations::{DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE};
use peak_oci::{Descriptor, Digest, Index, IndexError, MediaType, Merge, Mixing, Platform};
use proptest::prelude::*;

fn image(content: &str, platform: &str) -> Descriptor {
    Descriptor::of(MediaType::OCI_MANIFEST, content.as_bytes())
        .with_platform(platform.parse().unwrap())
}

fn docker(content: &str, platform: &str) -> Descriptor {
    let mut descriptor = image(content, platform);
    descriptor.media_type = MediaType::DOCKER_MANIFEST;
    descriptor
}

/// What `BuildKit` lists beside an image.
fn attestation(content: &str, about: &Descriptor) -> Descriptor {
    image(content, "unknown/unknown")
        .with_annotation(DOCKER_REFERENCE_TYPE, "attestation-manifest")
        .with_annotation(DOCKER_REFERENCE_DIGEST, about.digest.as_str())
}

fn index(manifests: &[Descriptor]) -> Index {
    Index::new(manifests.to_vec())
}

fn platforms(names: &[&str]) -> Vec<Platform> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn the_type_of_a_new_index_is_that_of_its_manifests() {
    let (oci, docker) = (image("a", "linux/amd64"), docker("b", "linux/arm64"));
    let create = |manifests: &[Descriptor], mixing| Index::create(manifests.to_vec(), mixing);
    let of_oci = create(std::slice::from_ref(&oci), Mixing::Refuse).unwrap();
    assert_eq!(of_oci.media_type, MediaType::OCI_INDEX);
    let of_docker = create(std::slice::from_ref(&docker), Mixing::Refuse).unwrap();
    assert_eq!(of_docker.media_type, MediaType::DOCKER_MANIFEST_LIST);
    assert_eq!(
        *of_docker.to_raw().unwrap().media_type(),
        MediaType::DOCKER_MANIFEST_LIST
    );
    let both = [docker.clone(), oci.clone()];
    let error = create(&both, Mixing::Refuse).unwrap_err();
    assert_eq!(
        error,
        IndexError::Mixed {
            index: MediaType::DOCKER_MANIFEST,
            other: MediaType::OCI_MANIFEST
        }
    );
    let mixed = create(&both, Mixing::Allow).unwrap();
    assert_eq!(mixed.media_type, MediaType::OCI_INDEX);
    assert_eq!(mixed.manifests, both);
    // A Docker list does not become an OCI one by what is added.
    let mut list = of_docker;
    let before = list.clone();
    assert!(matches!(
        list.add(oci.clone(), Mixing::Refuse),
        Err(IndexError::Mixed { .. })
    ));
    assert_eq!(list, before);
    list.add(oci, Mixing::Allow).unwrap();
    assert_eq!(list.media_type, MediaType::DOCKER_MANIFEST_LIST);
    assert_eq!(list.manifests.len(), 2);
}

#[test]
fn a_new_index_has_each_platform_once() {
    let (one, two) = (image("a", "linux/arm64"), image("b", "linux/aarch64/v8"));
    let error = Index::create(vec![one.clone(), two.clone()], Mixing::Refuse).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(one.digest.as_str())
            && text.contains(two.digest.as_str())
            && text.contains("linux/arm64"),
        "{text}"
    );
    let same = Index::create(vec![one.clone(), one.clone()], Mixing::Refuse).unwrap();
    assert_eq!(same.manifests, std::slice::from_ref(&one));
    // Versions of Windows are platforms of their own, and so is everything that says no platform.
    let mut nameless = two;
    nameless.platform = None;
    let different = vec![
        image("c", "windows/amd64:10.0.1.1"),
        image("d", "windows/amd64:10.0.1.2"),
        nameless,
        one.clone(),
        attestation("e", &one),
        attestation("f", &one),
    ];
    assert_eq!(
        Index::create(different.clone(), Mixing::Refuse)
            .unwrap()
            .manifests,
        different
    );
}

#[test]
fn adding_takes_the_place_of_the_same_platform() {
    let (amd, arm) = (image("a", "linux/amd64"), image("b", "linux/arm64"));
    let about = attestation("about b", &arm);
    let mut list = index(&[arm.clone(), about.clone(), amd.clone()]);
    let new = image("c", "linux/arm64/v8");
    assert_eq!(list.add(new.clone(), Mixing::Refuse).unwrap(), [arm, about]);
    assert_eq!(list.manifests, [new.clone(), amd.clone()]);
    let other = image("d", "linux/riscv64");
    assert_eq!(list.add(other.clone(), Mixing::Refuse).unwrap(), []);
    assert_eq!(list.manifests, [new, amd, other]);
}

#[test]
fn removing_and_filtering_take_attestations_along() {
    let (amd, arm, old) = (
        image("a", "linux/amd64"),
        image("b", "linux/arm64"),
        image("c", "linux/arm/v6"),
    );
    let (of_amd, of_arm) = (attestation("1", &amd), attestation("2", &arm));
    let dangling = attestation("3", &image("gone", "linux/386"));
    let all = index(&[
        amd.clone(),
        arm.clone(),
        old.clone(),
        of_amd.clone(),
        of_arm.clone(),
        dangling.clone(),
    ]);

    let mut list = all.clone();
    assert_eq!(list.remove(&arm.digest), [arm.clone(), of_arm.clone()]);
    assert_eq!(
        list.manifests,
        [amd.clone(), old.clone(), of_amd.clone(), dangling.clone()]
    );
    assert_eq!(list.remove(&Digest::sha256_of(b"nothing")), []);

    let mut list = all.clone();
    assert_eq!(
        list.remove_platforms(&platforms(&["linux/x86_64", "linux/s390x"])),
        [amd.clone(), of_amd.clone()]
    );

    let mut list = all.clone();
    assert_eq!(
        list.retain_platforms(&platforms(&["linux/amd64", "linux/arm/v7"]))
            .len(),
        4
    );
    // A lower variant would run, but is not the same platform.
    assert_eq!(list.manifests, [amd, of_amd]);

    let windows = index(&[
        image("d", "windows/amd64:10.0.1.1"),
        image("e", "windows/amd64:10.0.1.2"),
        image("f", "windows/amd64:10.0.2.1"),
    ]);
    for (wanted, kept) in [
        ("windows/amd64", 3),
        ("windows/amd64:10.0.1", 2),
        ("windows/amd64:10.0.9", 0),
    ] {
        let mut list = windows.clone();
        list.retain_platforms(&platforms(&[wanted]));
        assert_eq!(list.manifests.len(), kept, "{wanted}");
    }
}

#[test]
fn merging_overrides_by_platform_and_keeps_the_rest() {
    let (amd, arm) = (image("a", "linux/amd64"), image("b", "linux/arm64"));
    let (of_amd, of_arm) = (attestation("1", &amd), attestation("2", &arm));
    let mut base = index(&[amd.clone(), arm.clone(), of_amd.clone(), of_arm]);
    base.annotations
        .insert("base".to_owned(), "kept".to_owned());
    base.unknown.set("x", "1.0").unwrap();
    let (new_arm, riscv) = (image("c", "linux/arm64/v8"), image("d", "linux/riscv64"));
    let (of_new_arm, of_riscv) = (attestation("3", &new_arm), attestation("4", &riscv));
    let mut over = index(&[
        riscv.clone(),
        new_arm.clone(),
        of_riscv.clone(),
        of_new_arm.clone(),
    ]);
    over.annotations
        .insert("over".to_owned(), "not taken".to_owned());

    let merged = base.merge(&over, &Merge::new()).unwrap();
    assert_eq!(
        merged.manifests,
        [
            amd.clone(),
            new_arm.clone(),
            of_amd.clone(),
            riscv,
            of_riscv,
            of_new_arm.clone()
        ]
    );
    assert_eq!(
        (&merged.annotations, &merged.unknown),
        (&base.annotations, &base.unknown)
    );

    let only = base
        .merge(&over, &Merge::new().architectures(["AARCH64"]))
        .unwrap();
    assert_eq!(only.manifests, [amd, new_arm, of_amd, of_new_arm]);
    let none = base
        .merge(&over, &Merge::new().architectures(["s390x"]))
        .unwrap();
    assert_eq!(none, base);
}

#[test]
fn types_are_mixed_only_when_asked() {
    let mut list = Index::new(vec![docker("a", "linux/amd64")]);
    list.media_type = MediaType::DOCKER_MANIFEST_LIST;
    let oci = Index::new(vec![image("b", "linux/amd64"), image("c", "linux/arm64")]);
    for (base, over) in [(&list, &oci), (&oci, &list)] {
        let error = base.merge(over, &Merge::new()).unwrap_err();
        assert_eq!(
            error,
            IndexError::Mixed {
                index: base.media_type.clone(),
                other: over.media_type.clone()
            }
        );
        let merged = base
            .merge(over, &Merge::new().mixing(Mixing::Allow))
            .unwrap();
        assert_eq!(merged.media_type, base.media_type);
        assert_eq!(merged.manifests.len(), 2);
        assert_eq!(merged.manifests.first(), over.manifests.first());
        assert_eq!(*merged.to_raw().unwrap().media_type(), base.media_type);
    }
}

/// Indexes of few platforms and few contents, so that they meet; with attestations about some of them, right or dangling.
fn any_index() -> impl Strategy<Value = Index> {
    let names = vec![
        "linux/amd64",
        "linux/x86_64",
        "linux/arm",
        "linux/arm/v7",
        "linux/arm64",
        "linux/arm64/v8",
        "windows/amd64:10.0.1.1",
        "windows/amd64:10.0.1.2",
        "unknown/unknown",
        "",
    ];
    let manifest = (
        prop::sample::select(names),
        0..6_u8,
        prop::option::weighted(0.3, 0..6_u8),
    )
        .prop_map(|(platform, content, about)| {
            let mut descriptor = Descriptor::of(MediaType::OCI_MANIFEST, &[content]);
            if let Some(about) = about {
                descriptor = attestation(
                    &format!("{content}"),
                    &Descriptor::of(MediaType::OCI_MANIFEST, &[about]),
                );
            } else if !platform.is_empty() {
                descriptor = descriptor.with_platform(platform.parse().unwrap());
            }
            descriptor
        });
    prop::collection::vec(manifest, 0..8).prop_map(Index::new)
}

fn key(manifest: &Descriptor) -> Option<(String, String, Option<String>, Option<String>)> {
    let platform = manifest.platform.clone()?.normalized();
    (platform.os != "unknown").then_some((
        platform.os,
        platform.architecture,
        platform.variant,
        platform.os_version,
    ))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_once_more_changes_nothing(base in any_index(), over in any_index(), only in any::<bool>()) {
        let merge = if only { Merge::new().architectures(["arm64", "arm"]) } else { Merge::new() };
        let merged = base.merge(&over, &merge).unwrap();
        prop_assert_eq!(&merged.merge(&over, &merge).unwrap(), &merged);
        prop_assert_eq!(&merged.merge(&merged, &Merge::new()).unwrap(), &merged);
    }

    #[test]
    fn a_merged_index_has_each_platform_once_and_the_one_of_the_other(base in any_index(), over in any_index()) {
        let merged = base.merge(&over, &Merge::new()).unwrap();
        let keys: Vec<_> = merged.manifests.iter().filter_map(key).collect();
        prop_assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        for manifest in &over.manifests {
            if let Some(wanted) = key(manifest) {
                let first = over.manifests.iter().find(|other| key(other).as_ref() == Some(&wanted));
                prop_assert!(merged.manifests.iter().any(|found| Some(found) == first));
            }
        }
        for manifest in &base.manifests {
            if let Some(wanted) = key(manifest) {
                prop_assert!(keys.contains(&wanted));
            }
        }
        for manifest in &merged.manifests {
            prop_assert!(base.manifests.contains(manifest) || over.manifests.contains(manifest));
        }
    }

    #[test]
    fn what_is_added_is_found_and_what_is_removed_is_not(base in any_index(), content in any::<u8>()) {
        let mut list = base.merge(&Index::new(Vec::new()), &Merge::new()).unwrap();
        let new = image(&format!("new {content}"), "linux/arm64");
        list.add(new.clone(), Mixing::Refuse).unwrap();
        prop_assert_eq!(list.select(&"linux/arm64".parse().unwrap()).unwrap(), &new);
        prop_assert!(list.remove(&new.digest).contains(&new));
        prop_assert!(list.best_match(&"linux/arm64".parse().unwrap()).is_none());
    }
}
