//! Creating or updating, whichever it takes.

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use peak_sdk::images::{CreateImage, Dockerfile, ListImages, UpsertOutcome, Upserted};
use peak_sdk::models::{BuildStatus, ImageType};

use crate::support::Bench;

fn image(name: &str) -> CreateImage {
    CreateImage::new(name, ImageType::Api, Dockerfile::new("FROM scratch\n"))
}

async fn upsert(bench: &Bench, image: &CreateImage) -> Upserted {
    let made = bench
        .images
        .create_or_update_image_version(image)
        .await
        .unwrap();
    bench
        .built(&made.image_id, made.build_id.as_ref(), BuildStatus::Success)
        .await;
    made
}

#[tokio::test]
async fn image_and_version_are_created_then_the_version_is_built_again() {
    let bench = Bench::start().await;
    let wanted = image("web").version("1.0.0").description("first");
    let first = upsert(&bench, &wanted).await;
    assert_eq!(first.outcome, UpsertOutcome::CreatedImage);
    let again = upsert(&bench, &wanted.clone().description("again")).await;
    assert_eq!(again.outcome, UpsertOutcome::UpdatedVersion);
    assert_eq!(
        (&again.image_id, &again.version_id),
        (&first.image_id, &first.version_id)
    );
    assert_ne!(again.build_id, first.build_id);
    let described = bench
        .images
        .describe_version(&first.image_id, &first.version_id)
        .await
        .unwrap();
    assert_eq!(described.description.as_deref(), Some("again"));
    let next = upsert(&bench, &image("web")).await;
    assert_eq!(next.outcome, UpsertOutcome::CreatedVersion);
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn a_version_among_those_that_contain_its_name_is_found_on_a_later_page() {
    let bench = Bench::start().await;
    let first = upsert(&bench, &image("web").version("1.0")).await;
    for version in ["1.0.1", "1.0.2", "11.0"] {
        let made = upsert(&bench, &image("web").version(version)).await;
        assert_eq!(made.outcome, UpsertOutcome::CreatedVersion, "{version}");
    }
    let again = upsert(&bench, &image("web").version("1.0")).await;
    assert_eq!(again.outcome, UpsertOutcome::UpdatedVersion);
    assert_eq!(again.version_id, first.version_id);
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn an_image_among_more_than_a_page_that_contain_its_name_is_found() {
    let bench = Bench::start().await;
    let first = upsert(&bench, &image("web")).await;
    // A hundred builds would be slow and are not what this is about.
    bench.faults.hold_builds();
    let names: Vec<_> = (0..105).map(|number| format!("web-{number}")).collect();
    let made = join_all(names.iter().map(async |name| {
        let made = bench.images.create_image(&image(name)).await.unwrap();
        made.image_id.unwrap()
    }))
    .await;
    let newer = ListImages::new().name("web").page_size(100);
    let page = bench.images.list_images_page(&newer, None).await.unwrap();
    assert_eq!((page.images.len(), page.page_count), (100, Some(2)));
    assert!(
        page.images
            .iter()
            .all(|image| image.id.as_ref() != Some(&first.image_id))
    );

    let upsert = async |name| {
        let wanted = image(name);
        let made = bench.images.create_or_update_image_version(&wanted);
        made.await.unwrap()
    };
    let again = upsert("web").await;
    assert_eq!(again.outcome, UpsertOutcome::CreatedVersion);
    assert_eq!(again.image_id, first.image_id);
    // A name that is only a part of others is new.
    let part = upsert("eb-1").await;
    assert_eq!(part.outcome, UpsertOutcome::CreatedImage);
    assert!(!made.contains(&part.image_id));
    let all: Vec<_> = bench
        .images
        .list_images(ListImages::new())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(all.len(), 107);
    bench.platform.shutdown().await;
}
