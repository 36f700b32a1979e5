use peak_layout::Directory;
use peak_oci::{ContentErrorKind, Descriptor, MediaType, Placement, Source, validate};
use peak_registry::Registry;
use peak_transfer::{CopyOptions, CopyReport, Target, TransferError, copy};

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

#[tokio::test]
async fn a_layout_keeps_referrers_and_gives_them_back() {
    let (from, to) = (Memory::default(), Memory::default());
    let image = from.image("linux/amd64", &[b"layer"]);
    from.tag("v1", &image);
    let signature = from.statement(Some(&image), "a signature");
    let counter = from.statement(Some(&signature), "a signature of the signature");
    let base = image.digest().to_string().replace(':', "-");
    from.tag(&format!("{base}.sig"), &from.statement(None, "cosign's"));

    let folder = tempfile::tempdir().unwrap();
    let layout = Directory::create(folder.path().join("layout")).unwrap();
    let options = CopyOptions::new().referrers(true);
    let selector = by_tag("v1");
    for _ in 0..2 {
        let report = copy(&from, Some(&selector), &layout, under("v1"), &options)
            .await
            .unwrap();
        assert_eq!(report.referrers, 3);
    }
    let reopened = Directory::open(folder.path().join("layout")).unwrap();
    // It is still the layout of one image.
    validate(&reopened, None).await.unwrap();
    assert_eq!(reopened.images().await.unwrap(), ["v1"]);
    let listed = reopened.referrers(image.digest()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].digest, *signature.digest());
    assert_eq!(
        listed[0].artifact_type.as_ref().unwrap().as_str(),
        "application/vnd.test.statement"
    );

    let report = copy(&reopened, None, &to, under("v1"), &options)
        .await
        .unwrap();
    assert_eq!(
        (report.digest, report.referrers),
        (image.digest().clone(), 3)
    );
    assert!(to.state().manifests.contains_key(counter.digest()));
    assert_eq!(to.tag_names().len(), 2);
}

#[tokio::test]
async fn an_archive_that_cannot_hold_referrers_says_so_before_anything_moves() {
    let from = Memory::default();
    let image = from.image("linux/amd64", &[b"layer"]);
    from.tag("v1", &image);
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::builder().build().unwrap();
    let options = CopyOptions::new().referrers(true);
    let selector = by_tag("v1");
    for (transport, has_referrer) in [
        ("oci-archive", false),
        ("oci-archive", true),
        ("docker-archive", true),
    ] {
        if has_referrer {
            from.statement(Some(&image), "a signature");
        }
        from.forget();
        let path = folder
            .path()
            .join(format!("{transport}-{has_referrer}.tar"));
        let target: Target = format!("{transport}:{}", path.display()).parse().unwrap();
        let (sink, _) = target.open_sink(&registry).unwrap();
        let placement = Placement::Root { tag: None };
        let copied = copy(&from, Some(&selector), sink.as_ref(), placement, &options).await;
        match copied {
            Ok(_) => assert!(!has_referrer),
            Err(error) => {
                assert!(has_referrer && error.is_destination(), "{error}");
                assert_eq!(error.kind(), Some(ContentErrorKind::Unsupported));
                assert_eq!(from.state().bytes_read, 0);
                assert!(!path.exists());
            }
        }
    }
}
