//! Lists and descriptions.

use futures_util::{StreamExt, TryStreamExt};
use peak_images::models::{BuildStatus, Id, ImageType};
use peak_images::{Error, ListImageBuilds, ListImageVersions, ListImages};
use serde_json::json;

use crate::mock::platform;

#[tokio::test]
async fn a_list_is_walked_page_by_page_as_it_is_read() {
    let (images, log) = platform(|asked| {
        let number: u64 = asked.parameter("pageNumber").unwrap().parse().unwrap();
        let items = [
            json!({ "id": number * 10 }),
            json!({ "id": number * 10 + 1 }),
        ];
        // The third page appears while the first is read.
        let count = if number == 1 { 2 } else { 3 };
        (
            200,
            json!({ "images": items, "versions": items, "pageCount": count }),
        )
    });
    let first: Vec<_> = images
        .list_images(ListImages::new())
        .take(2)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(first.len(), 2);
    assert_eq!(
        log.lines(),
        ["GET /image-management/api/v2/images/?pageNumber=1"]
    );

    let all: Vec<_> = images
        .list_images(ListImages::new())
        .try_collect()
        .await
        .unwrap();
    let ids: Vec<_> = all
        .into_iter()
        .map(|image| image.id.unwrap().to_string())
        .collect();
    assert_eq!(ids, ["10", "11", "20", "21", "30", "31"]);
    assert_eq!(log.take().len(), 3);

    let versions = images.list_image_versions(&Id::from(17), ListImageVersions::new());
    let all: Vec<_> = versions.try_collect().await.unwrap();
    assert_eq!(all.len(), 6);
    assert_eq!(
        log.lines()[2],
        "GET /image-management/api/v2/images/17/versions?pageNumber=3"
    );
}

#[tokio::test]
async fn a_single_page_is_as_the_platform_gives_it() {
    let (images, log) = platform(|_| {
        (
            200,
            json!({ "imageCount": 1, "versionCount": 2, "images": [], "pageCount": 7 }),
        )
    });
    let page = images
        .list_images_page(&ListImages::new(), None)
        .await
        .unwrap();
    assert_eq!((page.image_count, page.page_count), (Some(1), Some(7)));
    let list = ListImageVersions::new();
    let page = images
        .list_image_versions_page(&Id::from(17), &list, Some(4))
        .await
        .unwrap();
    assert_eq!(page.version_count, Some(2));
    assert_eq!(
        log.lines(),
        [
            "GET /image-management/api/v2/images/?",
            "GET /image-management/api/v2/images/17/versions?pageNumber=4"
        ]
    );
}

#[tokio::test]
async fn builds_are_listed_like_all_else() {
    let (images, log) = platform(|asked| {
        let number = asked.parameter("pageNumber").unwrap_or("1").to_owned();
        let builds = json!([
            { "buildId": format!("mock:{number}"), "versionId": 101, "status": "success" },
            { "buildId": 5, "status": "queued", "surprise": 1 },
        ]);
        (
            200,
            json!({ "buildCount": 4, "builds": builds, "pageCount": 2 }),
        )
    });
    let image = Id::from(17);
    let list = ListImageBuilds::new().build_status(BuildStatus::Success);
    let all: Vec<_> = images
        .list_image_builds(&image, list.clone())
        .try_collect()
        .await
        .unwrap();
    let ids: Vec<_> = all
        .iter()
        .map(|build| build.build_id.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(ids, ["mock:1", "5", "mock:2", "5"]);
    let statuses: Vec<_> = all
        .iter()
        .filter_map(|build| build.status.clone())
        .collect();
    assert_eq!(statuses[0], BuildStatus::Success);
    assert_eq!(statuses[1], BuildStatus::Unknown("queued".to_owned()));
    let page = images
        .list_image_builds_page(&image, &list, None)
        .await
        .unwrap();
    assert_eq!((page.build_count, page.builds.len()), (Some(4), 2));
    assert_eq!(
        log.lines(),
        [
            "GET /image-management/api/v2/images/17/builds?pageNumber=1&count=-1&buildStatus=success",
            "GET /image-management/api/v2/images/17/builds?pageNumber=2&count=-1&buildStatus=success",
            "GET /image-management/api/v2/images/17/builds?count=-1&buildStatus=success",
        ]
    );
}

#[tokio::test]
async fn descriptions_take_what_the_platform_says() {
    let (images, _) = platform(|asked| {
        if asked.path.ends_with("/versions/101") {
            (
                200,
                json!({ "id": "101", "imageType": "Workflow", "surprise": {}, "size": null }),
            )
        } else {
            (
                200,
                json!({ "id": 17, "latestVersion": { "version": "0.0.2" } }),
            )
        }
    });
    let image = images.describe_image(&Id::from(17)).await.unwrap();
    assert_eq!(
        image.latest_version.unwrap().version.as_deref(),
        Some("0.0.2")
    );
    let version = images
        .describe_version(&Id::from(17), &Id::from(101))
        .await
        .unwrap();
    assert_eq!(version.image_type, Some(ImageType::Workflow));
}

#[tokio::test]
async fn a_refusal_has_its_name_and_says_what_it_is_about() {
    let (images, _) = platform(|_| (404, json!({ "detail": "Image not found" })));
    let error = images.describe_image(&Id::from(17)).await.unwrap_err();
    assert!(error.platform().unwrap().is_not_found());
    assert_eq!(
        error.to_string(),
        "not found: Image not found (404 from GET http://platform.test/image-management/api/v2/images/17)"
    );
    let items: Vec<_> = images.list_images(ListImages::new()).collect().await;
    assert!(matches!(items.as_slice(), [Err(Error::Platform(_))]));
}

#[tokio::test]
async fn operations_can_run_on_any_thread() {
    let (images, _) = platform(|_| (404, json!({})));
    let image = peak_images::CreateImage::new(
        "web",
        ImageType::Webapp,
        peak_images::Dockerfile::new("FROM scratch"),
    );
    let task = tokio::spawn(async move {
        let made = images.create_or_update_image_version(&image).await;
        let id = Id::from(1);
        let options = peak_images::FollowOptions::new();
        let ended = images.wait_for_build(&id, &id, options).await;
        (made.is_err(), ended.is_err())
    });
    assert_eq!(task.await.unwrap(), (true, true));
}
