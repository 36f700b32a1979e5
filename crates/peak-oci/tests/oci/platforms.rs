//! Picking a manifest by platform.

use peak_oci::{Descriptor, Index, MediaType, Platform};
use proptest::prelude::*;

fn offer(platforms: &[&str]) -> Index {
    let manifests = platforms
        .iter()
        .map(|platform| {
            Descriptor::of(MediaType::OCI_MANIFEST, platform.as_bytes())
                .with_platform(platform.parse().unwrap())
        })
        .collect();
    Index::new(manifests)
}

fn picked(wanted: &str, offered: &[&str]) -> Result<String, String> {
    offer(offered)
        .select(&wanted.parse().unwrap())
        .map(|best| best.platform.as_ref().unwrap().to_string())
        .map_err(|error| error.to_string())
}

#[test]
fn the_newest_revision_of_a_windows_build_is_picked() {
    let offered = [
        "windows/amd64:10.0.17763.9999",
        "windows/amd64:10.0.20348.169",
        "windows/amd64:10.0.20348.1129",
        "windows/amd64",
    ];
    let pick = |wanted| picked(wanted, &offered).unwrap();
    assert_eq!(pick("windows/amd64:10.0.20348.2000"), offered[2]);
    assert_eq!(pick("windows/amd64:10.0.20348.169"), offered[1]);
    assert_eq!(pick("windows/amd64:10.0.26100.1"), offered[3]);
    assert_eq!(pick("windows/amd64"), offered[0]);
}

#[test]
fn the_error_says_what_there_is() {
    let text = picked(
        "linux/s390x",
        &[
            "linux/x86_64",
            "linux/arm",
            "linux/amd64",
            "unknown/unknown",
        ],
    )
    .unwrap_err();
    assert_eq!(
        text,
        "there is no manifest for linux/s390x; there are linux/amd64, linux/arm/v7"
    );
    assert_eq!(
        picked("linux/s390x", &[]).unwrap_err(),
        "there is no manifest for linux/s390x; the index is empty"
    );
    let nameless = Index::new(vec![Descriptor::of(MediaType::OCI_MANIFEST, b"x")]);
    let error = nameless
        .select(&Platform::new("linux", "amd64"))
        .unwrap_err();
    assert_eq!(error.without_platform, 1);
    assert!(
        error
            .to_string()
            .contains("none of its 1 manifests says a platform")
    );
    let many: Vec<_> = (0..100)
        .map(|number| format!("linux/a{number:03}"))
        .collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let text = picked("linux/s390x", &many).unwrap_err();
    assert!(text.ends_with("linux/a029 and 70 more"), "{text}");
}

fn platform() -> impl Strategy<Value = String> {
    let version = prop::option::of((17763..17765_u32, 0..3_u32));
    (
        prop::sample::select(vec!["linux", "windows"]),
        prop::sample::select(vec![
            "amd64", "x86_64", "arm", "armv6l", "arm64", "aarch64", "386",
        ]),
        prop::option::of(prop::sample::select(vec![
            "v1", "v2", "v3", "v6", "v7", "v8", "v9", "8.1",
        ])),
        version,
    )
        .prop_map(|(os, architecture, variant, version)| {
            let mut text = format!("{os}/{architecture}");
            text.extend(variant.map(|variant| format!("/{variant}")));
            text.extend(version.map(|(build, revision)| format!(":10.0.{build}.{revision}")));
            text
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What is picked is as good whatever the order; only among equally good ones the first is picked.
    #[test]
    fn the_order_decides_only_among_equals(
        wanted in platform(),
        (offered, shuffled) in prop::collection::vec(platform(), 0..12).prop_flat_map(|offered| (Just(offered.clone()), Just(offered).prop_shuffle())),
    ) {
        let wanted: Platform = wanted.parse().unwrap();
        let as_text = |list: &[String]| offer(&list.iter().map(String::as_str).collect::<Vec<_>>());
        let (first, second) = (as_text(&offered), as_text(&shuffled));
        let pick = |index: &Index| index.best_match(&wanted).map(|best| best.platform.clone().unwrap());
        match (pick(&first), pick(&second)) {
            (Some(one), Some(other)) => {
                prop_assert_eq!(wanted.mismatch(&one), wanted.mismatch(&other));
                prop_assert_eq!(pick(&first).unwrap(), one.clone());
                let best = first.platforms().filter_map(|offered| wanted.mismatch(offered)).min();
                prop_assert_eq!(wanted.mismatch(&one), best);
                if wanted.os_version.is_some() {
                    prop_assert_eq!(one, other);
                }
            }
            (None, None) => prop_assert!(first.platforms().all(|offered| wanted.mismatch(offered).is_none())),
            (one, other) => prop_assert!(false, "{one:?} and {other:?}"),
        }
    }

    #[test]
    fn running_is_one_way(one in platform(), other in platform()) {
        let (one, other): (Platform, Platform) = (one.parse().unwrap(), other.parse().unwrap());
        if one.os_version.is_some() && other.os_version.is_some() && one.variant != other.variant {
            prop_assert!(one.mismatch(&other).is_none() || other.mismatch(&one).is_none());
        }
        prop_assert_eq!(one.mismatch(&one), Some(0));
        prop_assert_eq!(one.clone().normalized(), one);
    }

    #[test]
    fn any_text_is_a_platform_or_not(text in any::<String>()) {
        if let Ok(platform) = text.parse::<Platform>() {
            prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
        }
    }
}
