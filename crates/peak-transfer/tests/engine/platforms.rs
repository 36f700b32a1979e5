use peak_oci::annotations::{DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE};
use peak_oci::{Descriptor, Manifest, Platform, Raw, validate};
use peak_transfer::{CopyOptions, CopyReport, Platforms, TransferError, copy};

use super::{by_tag, under};
use crate::support::Memory;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn only(platforms: &[&str]) -> Platforms {
    Platforms::only(platforms.iter().map(|text| platform(text)))
}

fn entry(image: &Raw<Manifest>, text: &str) -> Descriptor {
    image.descriptor().with_platform(platform(text))
}

/// An index for three platforms, one of them in an index within it, with an attestation about each of two.
struct Site {
    from: Memory,
    amd64: Raw<Manifest>,
    arm64: Raw<Manifest>,
    attestation: Raw<Manifest>,
    root: Raw<Manifest>,
}

fn site() -> Site {
    let from = Memory::default();
    let amd64 = from.image("linux/amd64", &[b"shared", b"amd64"]);
    let arm64 = from.image("linux/arm64", &[b"shared", b"arm64"]);
    let arm = from.image("linux/arm/v6", &[b"shared", b"arm"]);
    let attested = |image: &Raw<Manifest>, text| {
        let attestation = from.statement(None, text);
        let entry = entry(&attestation, "unknown/unknown")
            .with_annotation(DOCKER_REFERENCE_TYPE, "attestation-manifest")
            .with_annotation(DOCKER_REFERENCE_DIGEST, image.digest().to_string());
        (attestation, entry)
    };
    let (attestation, about_amd64) = attested(&amd64, "built from this");
    let (_, about_arm64) = attested(&arm64, "built from that");
    let inner = from.index(vec![entry(&arm, "linux/arm/v6")]);
    let root = from.index(vec![
        entry(&amd64, "linux/amd64"),
        about_amd64,
        entry(&arm64, "linux/arm64"),
        about_arm64,
        inner.descriptor(),
    ]);
    from.tag("v1", &root);
    Site {
        from,
        amd64,
        arm64,
        attestation,
        root,
    }
}

async fn copied(
    from: &Memory,
    to: &Memory,
    platforms: Platforms,
) -> Result<CopyReport, TransferError> {
    let options = CopyOptions::new().platforms(platforms);
    copy(from, Some(&by_tag("v1")), to, under("v1"), &options).await
}

#[tokio::test]
async fn one_platform_is_the_manifest_that_runs_best_on_it_and_nothing_else() {
    let site = site();
    let to = Memory::default();
    let report = copied(&site.from, &to, only(&["linux/arm64/v8"]))
        .await
        .unwrap();
    assert_eq!(report.digest, *site.arm64.digest());
    assert!(!report.is_whole);
    assert_eq!(to.tagged("v1").as_ref(), Some(site.arm64.digest()));
    assert_eq!(to.state().manifests.len(), 1);
    validate(&to, None).await.unwrap();

    // Out of an index within the index, and a lower variant than the one wanted.
    let to = Memory::default();
    copied(&site.from, &to, only(&["linux/arm/v7"]))
        .await
        .unwrap();
    validate(&to, None).await.unwrap();
    assert!(
        to.state()
            .blobs
            .values()
            .any(|blob| blob == "arm".as_bytes())
    );
}

#[tokio::test]
async fn several_platforms_are_an_index_of_these_and_of_what_is_said_about_them() {
    let site = site();
    let to = Memory::default();
    let report = copied(&site.from, &to, only(&["linux/arm/v6", "linux/amd64"]))
        .await
        .unwrap();
    assert!(!report.is_whole);
    assert_ne!(report.digest, *site.root.digest());
    validate(&to, None).await.unwrap();
    let listed = to.state().manifests[&report.digest].clone();
    let index = listed.value().as_index().unwrap();
    let digests: Vec<_> = index.manifests.iter().map(|entry| &entry.digest).collect();
    assert_eq!(digests.len(), 3);
    assert_eq!(
        digests[..2],
        [site.amd64.digest(), site.attestation.digest()]
    );
    assert!(!to.state().manifests.contains_key(site.arm64.digest()));

    // The same question has the same answer, down to the digest.
    let other = Memory::default();
    let again = copied(&site.from, &other, only(&["linux/amd64", "linux/arm/v6"]));
    assert_eq!(again.await.unwrap().digest, report.digest);
}

#[tokio::test]
async fn an_index_of_which_nothing_is_left_out_keeps_its_digest() {
    let from = Memory::default();
    let amd64 = from.image("linux/amd64", &[b"amd64"]);
    let arm64 = from.image("linux/arm64", &[b"arm64"]);
    let root = from.index(vec![
        entry(&amd64, "linux/amd64"),
        entry(&arm64, "linux/arm64"),
    ]);
    from.tag("v1", &root);
    let report = copied(
        &from,
        &Memory::default(),
        only(&["linux/arm64", "linux/amd64"]),
    )
    .await
    .unwrap();
    assert_eq!(report.digest, *root.digest());
    assert!(report.is_whole);
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_an_error_that_lists_what_is() {
    let site = site();
    let to = Memory::default();
    let error = copied(&site.from, &to, only(&["linux/amd64", "linux/s390x"]))
        .await
        .unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        source,
        "there is no manifest for linux/s390x; there are linux/amd64, linux/arm/v6, linux/arm64"
    );
    assert!(to.state().blobs.is_empty() && to.log().is_empty());

    let available = only(&["linux/s390x", "linux/amd64"]).where_available();
    let report = copied(&site.from, &to, available).await.unwrap();
    let listed = to.state().manifests[&report.digest].clone();
    assert_eq!(listed.value().as_index().unwrap().manifests.len(), 2);
    let none = only(&["linux/s390x", "linux/ppc64le"]).where_available();
    assert!(copied(&site.from, &to, none).await.is_err());
}

#[tokio::test]
async fn an_image_for_one_platform_is_checked_by_its_config() {
    let from = Memory::default();
    let image = from.image("linux/amd64", &[b"layer"]);
    from.tag("v1", &image);
    let to = Memory::default();
    let report = copied(&from, &to, only(&["linux/arm64", "linux/amd64/v2"]))
        .await
        .unwrap();
    assert_eq!(report.digest, *image.digest());
    assert!(report.is_whole);
    let error = copied(&from, &to, only(&["linux/arm64"]))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "image {} is for linux/amd64, not for linux/arm64",
            image.digest()
        )
    );

    // What is no image for a platform has none to be asked for.
    from.tag("v1", &from.statement(None, "a chart"));
    copied(&from, &to, only(&["linux/arm64"])).await.unwrap();
}
