use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::{FutureExt as _, TryStreamExt as _};
use peak_oci::{Digest, Manifest, Selector, validate};
use peak_transfer::{BlobAction, CopyOptions, ProgressState, Transfer, TransferError, copy};

use super::{by_tag, under};
use crate::support::Memory;

/// Twenty images that have a layer in common.
fn repository() -> Memory {
    let from = Memory::default();
    for number in 0..20 {
        let own = format!("layer {number}").repeat(300);
        let image = from.image("linux/amd64", &[&[7; 5000], own.as_bytes()]);
        from.tag(&format!("v{number}"), &image);
    }
    from
}

#[tokio::test]
async fn all_tags_are_moved_and_each_digest_once() {
    let (from, to) = (repository(), Memory::default());
    let state = Arc::new(Mutex::new(ProgressState::new(Instant::now())));
    let heard = Arc::clone(&state);
    let options = CopyOptions::new()
        .concurrency(3)
        .progress(move |event| heard.lock().unwrap().apply(&event, Instant::now()));
    let run = Transfer::new(&from, &to, options);
    let mut reports = Vec::new();
    let count = run
        .all_tags(|tag, report| reports.push((tag, report)))
        .await
        .unwrap();
    assert_eq!((count, reports.len()), (20, 20));
    assert_eq!(to.tag_names(), from.tag_names());
    assert!(from.state().opened.values().all(|times| *times == 1));
    assert!(from.state().most_open <= 3);
    let all: u64 = from
        .state()
        .blobs
        .values()
        .map(|blob| blob.len() as u64)
        .sum();
    assert_eq!(to.state().bytes_written, all);
    let copied: u64 = reports.iter().map(|(_, report)| report.bytes_copied).sum();
    assert_eq!(copied, all);
    for tag in from.tag_names() {
        validate(&to, Some(&by_tag(&tag))).await.unwrap();
    }
    let state = state.lock().unwrap();
    assert_eq!(state.done_bytes(), state.total_bytes());
    assert_eq!(state.moved_bytes(), all);
    assert_eq!((state.blobs_done(), state.blobs()), (60, 60));
    assert_eq!((state.images_done(), state.active().count()), (20, 0));
}

#[tokio::test]
async fn a_second_run_moves_nothing() {
    let (from, to) = (repository(), Memory::default());
    let options = CopyOptions::new();
    Transfer::new(&from, &to, options.clone())
        .all_tags(|_, _| ())
        .await
        .unwrap();
    from.forget();
    to.forget();
    Transfer::new(&from, &to, options)
        .all_tags(|_, report| assert_eq!(report.bytes_copied, 0))
        .await
        .unwrap();
    assert_eq!((from.state().bytes_read, to.state().bytes_written), (0, 0));
}

#[tokio::test]
async fn a_failure_ends_the_run_and_leaves_what_is_done() {
    let (from, to) = (repository(), Memory::default());
    let bad = Digest::sha256_of("layer 13".repeat(300).as_bytes());
    from.state().broken.insert(bad.to_string());
    let run = Transfer::new(&from, &to, CopyOptions::new().concurrency(2));
    let error = run.all_tags(|_, _| ()).await.unwrap_err();
    assert!(matches!(error, TransferError::Source { .. }), "{error}");
    assert_eq!(to.tagged("v13"), None);
    for tag in to.tag_names() {
        validate(&to, Some(&by_tag(&tag))).await.unwrap();
    }
    from.state().broken.clear();
    Transfer::new(&from, &to, CopyOptions::new())
        .all_tags(|_, _| ())
        .await
        .unwrap();
    let all: u64 = from
        .state()
        .blobs
        .values()
        .map(|blob| blob.len() as u64)
        .sum();
    // What the first run had finished did not move again; what it had begun is in there twice.
    assert!(to.state().bytes_written < 2 * all);
    assert_eq!(to.tag_names().len(), 20);
}

#[tokio::test]
async fn a_preview_says_what_would_move_and_moves_nothing() {
    let (from, to) = (repository(), Memory::default());
    let options = CopyOptions::new();
    copy(&from, Some(&by_tag("v3")), &to, under("v3"), &options)
        .await
        .unwrap();
    from.forget();
    to.forget();
    let run = Transfer::new(&from, &to, options);
    let there = run.preview(Some(&by_tag("v3"))).await.unwrap();
    assert_eq!(there.sum(BlobAction::Copy), (0, 0));
    assert_eq!(there.sum(BlobAction::Skip).0, 3);
    let next = run.preview(Some(&by_tag("v4"))).await.unwrap();
    // The config and its own layer; the other is there.
    let (count, bytes) = next.sum(BlobAction::Copy);
    assert_eq!(count, 2);
    let again = run.preview(Some(&by_tag("v4"))).await.unwrap();
    assert_eq!(again.sum(BlobAction::Copy), (0, 0));
    assert_eq!((from.state().bytes_read, to.log().len()), (0, 0));
    // What was only looked at is still moved.
    let report = run.image(Some(&by_tag("v4")), under("v4")).await.unwrap();
    assert_eq!((report.blobs_copied, report.bytes_copied), (2, bytes));
    assert!(bytes > 2100);
}

#[tokio::test]
async fn a_dropped_run_leaves_no_tag_without_its_image() {
    for polls in [1, 3, 10, 30, 100, 200] {
        let (from, to) = (repository(), Memory::default());
        {
            let run = Transfer::new(&from, &to, CopyOptions::new());
            let mut work = Box::pin(run.all_tags(|_, _| ()));
            for _ in 0..polls {
                if (&mut work).now_or_never().is_some() {
                    break;
                }
            }
        }
        for tag in to.tag_names() {
            validate(&to, Some(&by_tag(&tag))).await.unwrap();
        }
        let run = Transfer::new(&from, &to, CopyOptions::new());
        assert_eq!(run.all_tags(|_, _| ()).await.unwrap(), 20);
    }
}

#[tokio::test]
async fn schema_1_goes_where_it_can_be_kept() {
    let (from, to) = (Memory::default(), Memory::default());
    for layer in ["top", "base"] {
        from.blob(peak_oci::MediaType::DOCKER_LAYER_GZIP, layer.as_bytes());
    }
    let layers = ["top", "base", "top"].map(|layer| {
        format!(
            "{{\"blobSum\":\"{}\"}}",
            Digest::sha256_of(layer.as_bytes())
        )
    });
    let history = ["{\"v1Compatibility\":\"{}\"}"; 3].join(",");
    let text = format!(
        "{{\"schemaVersion\":1,\"fsLayers\":[{}],\"history\":[{history}]}}",
        layers.join(",")
    );
    let old = from.keep(Manifest::parse(text.into(), None).unwrap());
    from.tag("v1", &old);
    let options = CopyOptions::new();
    let error = copy(&from, None, &to, under("v1"), &options)
        .await
        .unwrap_err();
    assert!(error.is_destination(), "{error}");
    assert!(to.state().blobs.is_empty());

    to.state().takes_schema1 = true;
    let report = copy(&from, None, &to, under("v1"), &options).await.unwrap();
    assert_eq!((report.blobs_copied, report.bytes_copied), (2, 7));
    assert_eq!(to.tagged("v1").as_ref(), Some(old.digest()));
    let digest = Selector::Digest(old.digest().clone());
    validate(&to, Some(&digest)).await.unwrap();
}

#[tokio::test]
async fn all_tags_are_looked_at_several_at_a_time_and_counted_in_their_order() {
    let (from, to) = (repository(), Memory::default());
    let counted = async |at_once| {
        let run = Transfer::new(&from, &to, CopyOptions::new().concurrency(at_once));
        run.all_previews().try_collect::<Vec<_>>().await.unwrap()
    };
    let several = counted(8).await;
    assert!(from.state().most_asked > 1);
    assert_eq!(counted(1).await, several);
    let tags: Vec<_> = several.iter().map(|(tag, _)| tag.to_string()).collect();
    assert_eq!(tags, from.tag_names());
    // The layer that they have in common counts with the first.
    let copied: Vec<_> = several
        .iter()
        .map(|(_, preview)| preview.sum(BlobAction::Copy).0)
        .collect();
    assert_eq!(copied[0], 3);
    assert!(copied[1..].iter().all(|count| *count == 2), "{copied:?}");
    assert_eq!(to.state().bytes_written, 0);
}
