use peak_oci::{Descriptor, MediaType, validate};
use peak_transfer::{CopyOptions, CopyReport, TransferError, copy};

use super::{by_tag, under};
use crate::support::Memory;

async fn copied(from: &Memory, to: &Memory) -> Result<CopyReport, TransferError> {
    let options = CopyOptions::new().referrers(true);
    copy(from, Some(&by_tag("v1")), to, under("v1"), &options).await
}

#[tokio::test]
async fn referrers_of_an_image_of_its_platforms_and_of_its_referrers_are_taken_along() {
    let (from, to) = (Memory::default(), Memory::default());
    let image = from.image("linux/amd64", &[b"layer"]);
    let entry = image
        .descriptor()
        .with_platform("linux/amd64".parse().unwrap());
    let root = from.index(vec![entry]);
    from.tag("v1", &root);
    let of_root = from.statement(Some(&root), "signature of the index");
    let of_image = from.statement(Some(&image), "bill of materials");
    let of_referrer = from.statement(Some(&of_image), "signature of the bill of materials");
    from.statement(None, "about nothing");

    let plain = CopyOptions::new();
    let report = copy(&from, None, &to, under("v1"), &plain).await.unwrap();
    assert_eq!((report.referrers, to.state().manifests.len()), (0, 2));

    let report = copied(&from, &to).await.unwrap();
    assert_eq!(report.referrers, 3);
    assert!(report.missing_referrers.is_empty());
    for manifest in [&of_root, &of_image, &of_referrer] {
        assert!(to.state().manifests.contains_key(manifest.digest()));
    }
    assert_eq!(to.state().manifests.len(), 5);
    // Whoever finds the tag finds the signatures.
    assert_eq!(to.log().last().unwrap(), "tag v1");
    validate(&to, None).await.unwrap();
}

#[tokio::test]
async fn what_cosign_keeps_under_tags_gets_the_same_tags() {
    let (from, to) = (Memory::default(), Memory::default());
    let image = from.image("linux/amd64", &[b"layer"]);
    from.tag("v1", &image);
    let base = image.digest().to_string().replace(':', "-");
    let signature = from.statement(None, "a signature");
    from.tag(&format!("{base}.sig"), &signature);
    from.tag(
        &format!("{base}.sbom"),
        &from.statement(None, "a bill of materials"),
    );
    from.tag(
        &format!("{base}.else"),
        &from.statement(None, "something else"),
    );
    let report = copied(&from, &to).await.unwrap();
    assert_eq!(report.referrers, 2);
    let mut expected = vec![
        format!("{base}.sbom"),
        format!("{base}.sig"),
        "v1".to_owned(),
    ];
    expected.sort();
    assert_eq!(to.tag_names(), expected);
    assert_eq!(
        to.tagged(&format!("{base}.sig")).as_ref(),
        Some(signature.digest())
    );
    assert_eq!(to.log().last().unwrap(), "tag v1");
}

#[tokio::test]
async fn a_referrer_that_is_listed_but_gone_is_reported_and_no_failure() {
    let (from, to) = (Memory::default(), Memory::default());
    let image = from.image("linux/amd64", &[b"layer"]);
    from.tag("v1", &image);
    from.statement(Some(&image), "a signature");
    let gone = Descriptor::of(MediaType::OCI_MANIFEST, b"gone");
    from.state().dangling = Some(gone.clone());
    let report = copied(&from, &to).await.unwrap();
    assert_eq!(report.referrers, 1);
    assert_eq!(report.missing_referrers, [gone.digest]);
}

#[tokio::test]
async fn referrers_are_bounded_in_depth_and_number() {
    let from = Memory::default();
    let image = from.image("linux/amd64", &[b"layer"]);
    from.tag("v1", &image);
    let mut last = image.clone();
    for depth in 0..5 {
        last = from.statement(Some(&last), &format!("statement {depth}"));
    }
    let to = Memory::default();
    let error = copied(&from, &to).await.unwrap_err();
    assert!(
        matches!(error, TransferError::ReferrersTooDeep { .. }),
        "{error}"
    );
    assert!(to.state().blobs.is_empty());

    let from = Memory::default();
    let image = from.image("linux/amd64", &[b"layer"]);
    from.tag("v1", &image);
    for number in 0..1001 {
        from.statement(Some(&image), &format!("statement {number}"));
    }
    let error = copied(&from, &to).await.unwrap_err();
    assert!(
        matches!(error, TransferError::TooManyReferrers { .. }),
        "{error}"
    );
    assert!(to.state().blobs.is_empty());
}
