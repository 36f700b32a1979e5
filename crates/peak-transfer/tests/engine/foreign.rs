use std::sync::{Arc, Mutex};

use peak_oci::{
    ContentErrorKind, Descriptor, ImageConfig, ImageManifest, Manifest, MediaType, Platform, Raw,
    validate,
};
use peak_transfer::{BlobAction, CopyOptions, Event, Transfer};

use super::{by_tag, under};
use crate::support::Memory;

const WINDOWS: &[u8] = b"what only one company may hand out";

/// A layer that says where else it is.
fn foreign_layer(urls: &[&str]) -> Descriptor {
    let media_type: MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        .parse()
        .unwrap();
    let mut layer = Descriptor::of(media_type, WINDOWS);
    layer.urls = urls.iter().map(|url| (*url).to_owned()).collect();
    layer
}

/// An image under the tag `v1` of a foreign layer and one of its own; the foreign one is not there.
fn put(at: &Memory, foreign: Descriptor) -> Raw<Manifest> {
    let own = at.blob(MediaType::DOCKER_LAYER_GZIP, b"ours");
    let platform: Platform = "windows/amd64".parse().unwrap();
    let diff_ids = vec![foreign.digest.clone(), own.digest.clone()];
    let config = ImageConfig::new(&platform, diff_ids).to_raw().unwrap();
    let config = at.blob(MediaType::DOCKER_CONFIG, config.bytes());
    let mut image = ImageManifest::new(config, vec![foreign, own]);
    image.media_type = MediaType::DOCKER_MANIFEST;
    let image = at.keep(image.to_raw().unwrap());
    at.tag("v1", &image);
    image
}

/// A run, and what it told.
async fn run(
    from: &Memory,
    to: &Memory,
) -> (
    Result<peak_transfer::CopyReport, peak_transfer::TransferError>,
    Vec<Event>,
) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&heard);
    let options = CopyOptions::new().progress(move |event| events.lock().unwrap().push(event));
    let outcome = Transfer::new(from, to, options)
        .image(Some(&by_tag("v1")), under("v1"))
        .await;
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    (outcome, heard)
}

#[tokio::test]
async fn a_foreign_layer_that_the_source_lacks_stays_out_and_the_manifest_goes_as_it_is() {
    let (from, to) = (Memory::default(), Memory::default());
    let layer = foreign_layer(&["https://windows.example/layer"]);
    let image = put(&from, layer.clone());

    let preview = Transfer::new(&from, &to, CopyOptions::new())
        .preview(Some(&by_tag("v1")))
        .await
        .unwrap();
    assert_eq!(preview.sum(BlobAction::Omit), (1, WINDOWS.len() as u64));
    assert_eq!(preview.sum(BlobAction::Copy).0, 2);

    let (report, heard) = run(&from, &to).await;
    let report = report.unwrap();
    assert_eq!(
        report.missing_foreign_layers,
        std::slice::from_ref(&layer.digest)
    );
    assert_eq!(
        (report.blobs_copied, report.digest),
        (2, image.digest().clone())
    );
    let omitted = Event::Omitted {
        digest: layer.digest.clone(),
        size: layer.size,
    };
    assert_eq!(heard.iter().filter(|event| **event == omitted).count(), 1);
    assert!(
        heard
            .iter()
            .any(|event| matches!(event, Event::Planned { blobs: 2, .. }))
    );
    let seen = validate(&to, Some(&by_tag("v1"))).await.unwrap();
    assert_eq!(seen.missing_foreign_layers, [layer.digest]);
}

#[tokio::test]
async fn a_foreign_layer_that_an_end_has_is_a_layer_like_others() {
    let layer = foreign_layer(&["https://windows.example/layer"]);
    let (from, to) = (Memory::default(), Memory::default());
    put(&from, layer.clone());
    from.blob(layer.media_type.clone(), WINDOWS);
    let report = run(&from, &to).await.0.unwrap();
    assert_eq!(
        (report.blobs_copied, report.missing_foreign_layers),
        (3, vec![])
    );
    assert!(to.state().blobs.contains_key(&layer.digest));

    let from = Memory::default();
    put(&from, layer.clone());
    let report = run(&from, &to).await.0.unwrap();
    assert_eq!(
        (report.blobs_skipped, report.missing_foreign_layers),
        (3, vec![])
    );
}

#[tokio::test]
async fn a_layer_that_does_not_say_where_else_it_is_has_to_be_there() {
    let (from, to) = (Memory::default(), Memory::default());
    put(&from, foreign_layer(&[]));
    let error = run(&from, &to).await.0.unwrap_err();
    assert_eq!(error.kind(), Some(ContentErrorKind::NotFound));
    // Nor is a layer of the usual kind anywhere else, whatever its `urls` say.
    let mut layer = foreign_layer(&["https://windows.example/layer"]);
    layer.media_type = MediaType::DOCKER_LAYER_GZIP;
    put(&from, layer);
    let error = run(&from, &to).await.0.unwrap_err();
    assert_eq!(error.kind(), Some(ContentErrorKind::NotFound));
    assert!(to.tag_names().is_empty());
}

#[tokio::test]
async fn a_layer_that_another_image_names_as_its_own_has_to_be_there() {
    let (from, to) = (Memory::default(), Memory::default());
    let foreign = foreign_layer(&["https://windows.example/layer"]);
    let first = put(&from, foreign.clone());
    let second = from.image("linux/amd64", &[WINDOWS]);
    from.state().blobs.remove(&foreign.digest);
    let index = from.index(vec![first.descriptor(), second.descriptor()]);
    from.tag("v1", &index);
    let error = run(&from, &to).await.0.unwrap_err();
    assert_eq!(error.kind(), Some(ContentErrorKind::NotFound));
}

#[tokio::test]
async fn an_end_that_holds_complete_images_only_says_so_before_anything_moves() {
    let (from, to) = (Memory::default(), Memory::default());
    put(&from, foreign_layer(&["https://windows.example/layer"]));
    to.state().wants_foreign_layers = true;
    let (outcome, heard) = run(&from, &to).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), Some(ContentErrorKind::Unsupported));
    assert!(error.is_destination() && error.to_string().contains("foreign layer"));
    assert!(heard.is_empty() && to.state().bytes_written == 0);
}
