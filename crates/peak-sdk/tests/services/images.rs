//! The life of images and their versions.

use futures_util::TryStreamExt;
use peak_local::faults::Fault;
use peak_sdk::images::{
    Build, CreateImage, CreateVersion, Dockerfile, Error, Github, ListImageVersions, ListImages,
    UpdateVersion, Upload,
};
use peak_sdk::models::{
    AutodeployResource, BuildSourceKind, BuildStatus, EntityType, Id, ImageStatus, ImageType, Scope,
};
use peak_sdk::platform::Error as PlatformError;

use crate::support::{Bench, eventually};

fn scratch() -> Dockerfile {
    Dockerfile::new("FROM scratch\n")
}

/// A new image whose build has ended; its id and that of its version.
async fn create(bench: &Bench, name: &str) -> (Id, Id) {
    let image = CreateImage::new(name, ImageType::Workflow, scratch());
    let made = bench.images.create_image(&image).await.unwrap();
    let (image, version) = (made.image_id.unwrap(), made.version_id.unwrap());
    bench
        .built(&image, made.build_id.as_ref(), BuildStatus::Success)
        .await;
    (image, version)
}

/// Waits until a version is gone, which says `deleting` until then.
async fn version_gone(bench: &Bench, image: &Id, version: &Id) {
    eventually(
        async || match bench.images.describe_version(image, version).await {
            Ok(described) => {
                assert_eq!(described.status, Some(ImageStatus::Deleting));
                None
            }
            Err(error) => {
                assert!(error.platform().unwrap().is_not_found(), "{error:?}");
                Some(())
            }
        },
    )
    .await;
}

/// What was refused, which has to be so.
fn platform_error<T: std::fmt::Debug>(result: Result<T, Error>) -> PlatformError {
    match result {
        Err(Error::Platform(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_image_is_created_from_an_upload_described_changed_and_deleted() {
    let bench = Bench::start().await;
    let images = &bench.images;
    let zip = bench.zip(
        "web.zip",
        &[
            (
                "web/Dockerfile.web",
                b"FROM scratch\nARG WHO\nCOPY page.html /\n",
            ),
            ("web/page.html", b"hello"),
        ],
    );
    let upload = Upload::new(zip)
        .dockerfile_path("web/Dockerfile.web")
        .context("web");
    let build = Build::new(upload.clone())
        .use_cache(false)
        .argument("WHO", "world")
        .secret("database");
    let image = CreateImage::new("team/hello-web", ImageType::Webapp, build)
        .version("1.2.0")
        .description("The greeting page")
        .autodeploy(AutodeployResource::new(29, EntityType::Webapp));
    let made = images.create_image(&image).await.unwrap();
    let (image, version) = (made.image_id.unwrap(), made.version_id.unwrap());
    bench
        .built(&image, made.build_id.as_ref(), BuildStatus::Success)
        .await;

    let described = images.describe_image(&image).await.unwrap();
    assert_eq!(described.name.as_deref(), Some("team/hello-web"));
    assert_eq!(described.scope, Some(Scope::Custom));
    let latest = described.latest_version.unwrap();
    let of_version = images.describe_version(&image, &version).await.unwrap();
    assert_eq!(latest, of_version);
    assert_eq!(of_version.version.as_deref(), Some("1.2.0"));
    assert_eq!(of_version.status, Some(ImageStatus::Ready));
    assert_eq!(of_version.last_build_status, Some(BuildStatus::Success));
    assert_eq!(of_version.image_type, Some(ImageType::Webapp));
    assert_eq!(of_version.is_latest, Some(true));
    assert!(of_version.size > Some(0));
    let url = of_version.pull_url.unwrap();
    assert_eq!(
        url,
        format!("{}/team/hello-web:1.2.0", bench.platform.address())
    );
    let details = of_version.build_details.unwrap();
    assert_eq!(details.source, Some(BuildSourceKind::Upload));
    assert_eq!(details.use_cache, Some(false));
    assert_eq!(details.build_arguments.unwrap()[0].value, "world");

    // Only the description, then a build.
    let text = UpdateVersion::new().description("Hello");
    let changed = images
        .update_version(&image, &version, &text)
        .await
        .unwrap();
    assert_eq!(
        (changed.version_id.as_ref(), changed.build_id),
        (Some(&version), None)
    );
    let rebuild = UpdateVersion::new().build(upload);
    let changed = images
        .update_version(&image, &version, &rebuild)
        .await
        .unwrap();
    bench
        .built(&image, changed.build_id.as_ref(), BuildStatus::Success)
        .await;
    let described = images.describe_version(&image, &version).await.unwrap();
    assert_eq!(described.description.as_deref(), Some("Hello"));

    let next = images
        .create_version(&image, &CreateVersion::new(scratch()).description("next"))
        .await
        .unwrap();
    assert_eq!(next.image_id.as_ref(), Some(&image));
    bench
        .built(&image, next.build_id.as_ref(), BuildStatus::Success)
        .await;
    let next = next.version_id.unwrap();
    let described = images.describe_version(&image, &next).await.unwrap();
    assert_eq!(described.version.as_deref(), Some("1.2.1"));
    assert_eq!(bench.kept(), 1);

    images.delete_version(&image, &next).await.unwrap();
    version_gone(&bench, &image, &next).await;
    images.delete_image(&image).await.unwrap();
    version_gone(&bench, &image, &version).await;
    assert!(platform_error(images.describe_image(&image).await).is_not_found());
    eventually(async || (bench.kept() == 0).then_some(())).await;
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn the_source_github_is_understood_and_its_token_not_shown() {
    let bench = Bench::start().await;
    let github = Github::new("https://github.com/example/hello", "main")
        .token("gh-s3cret")
        .dockerfile_path("Dockerfile")
        .context("web");
    let image = CreateImage::new("web", ImageType::Api, github);
    let error = platform_error(bench.images.create_image(&image).await);
    assert!(matches!(error, PlatformError::UnprocessableEntity(_)));
    assert!(error.to_string().contains("GitHub"));
    assert!(!format!("{error:?} {image:?}").contains("gh-s3cret"));
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn names_and_versions_are_taken_once() {
    let bench = Bench::start().await;
    let (image, _) = create(&bench, "web").await;
    let again = CreateImage::new("web", ImageType::Workflow, scratch());
    let error = platform_error(bench.images.create_image(&again).await);
    assert!(matches!(error, PlatformError::Conflict(_)) && error.to_string().contains("web"));
    let again = CreateVersion::new(scratch()).version("0.0.1");
    let error = platform_error(bench.images.create_version(&image, &again).await);
    assert!(matches!(error, PlatformError::Conflict(_)) && error.to_string().contains("0.0.1"));
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn images_are_listed_by_what_they_are() {
    let bench = Bench::start().await;
    for name in ["web", "web-2", "other", "web-3"] {
        create(&bench, name).await;
    }
    let broken = CreateImage::new("web-broken", ImageType::Api, Dockerfile::new("FETCH\n"));
    let made = bench.images.create_image(&broken).await.unwrap();
    bench
        .built(
            &made.image_id.unwrap(),
            made.build_id.as_ref(),
            BuildStatus::Failed,
        )
        .await;
    let names = async |list: ListImages| -> Vec<String> {
        bench
            .images
            .list_images(list)
            .map_ok(|image| image.name.unwrap())
            .try_collect()
            .await
            .unwrap()
    };
    let all = ["web-broken", "web-3", "other", "web-2", "web"];
    // The stream goes over all pages.
    assert_eq!(names(ListImages::new().page_size(2)).await, all);
    assert_eq!(
        names(ListImages::new().name("eb-")).await,
        ["web-broken", "web-3", "web-2"]
    );
    let status = ListImages::new()
        .status(ImageStatus::NotReady)
        .status(ImageStatus::InUse);
    assert_eq!(names(status).await, ["web-broken"]);
    let built = ListImages::new()
        .name("web")
        .last_build_status(BuildStatus::Success);
    assert_eq!(names(built).await, ["web-3", "web-2", "web"]);
    assert_eq!(names(ListImages::new().scope(Scope::Custom)).await, all);
    assert!(
        names(ListImages::new().scope(Scope::Global))
            .await
            .is_empty()
    );
    assert!(names(ListImages::new().tag("stable")).await.is_empty());
    let list = ListImages::new().page_size(2);
    for (number, items) in [(None, 2), (Some(3), 1), (Some(4), 0)] {
        let page = bench.images.list_images_page(&list, number).await.unwrap();
        assert_eq!(page.images.len(), items);
        assert_eq!((page.image_count, page.page_count), (Some(5), Some(3)));
        assert_eq!(page.page_size, Some(2));
    }
    let odd = ListImages::new().status(ImageStatus::from("purple"));
    let error = platform_error(bench.images.list_images_page(&odd, None).await);
    assert!(matches!(error, PlatformError::BadRequest(_)) && error.to_string().contains("in-use"));
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn versions_are_listed_by_what_they_are() {
    let bench = Bench::start().await;
    let (image, _) = create(&bench, "web").await;
    for (version, text, status) in [
        ("0.1.0", "FROM scratch\n", BuildStatus::Success),
        ("0.1.1", "FETCH\n", BuildStatus::Failed),
        ("1.0.0", "FROM scratch\n", BuildStatus::Success),
    ] {
        let version = CreateVersion::new(Dockerfile::new(text)).version(version);
        let made = bench.images.create_version(&image, &version).await.unwrap();
        bench.built(&image, made.build_id.as_ref(), status).await;
    }
    let versions = async |list: ListImageVersions| -> Vec<String> {
        bench
            .images
            .list_image_versions(&image, list)
            .map_ok(|version| version.version.unwrap())
            .try_collect()
            .await
            .unwrap()
    };
    let all = ListImageVersions::new().page_size(1);
    assert_eq!(
        versions(all.clone()).await,
        ["1.0.0", "0.1.1", "0.1.0", "0.0.1"]
    );
    assert_eq!(
        versions(all.clone().version("0.1.")).await,
        ["0.1.1", "0.1.0"]
    );
    assert_eq!(
        versions(all.clone().status(ImageStatus::NotReady)).await,
        ["0.1.1"]
    );
    let failed = all.clone().last_build_status(BuildStatus::Failed);
    assert_eq!(versions(failed).await, ["0.1.1"]);
    assert!(versions(all.clone().tag("stable")).await.is_empty());
    let page = bench
        .images
        .list_image_versions_page(&image, &all, Some(4))
        .await
        .unwrap();
    assert_eq!((page.version_count, page.page_count), (Some(4), Some(4)));
    assert_eq!(page.versions[0].version.as_deref(), Some("0.0.1"));
    assert_eq!(page.versions[0].is_latest, Some(false));
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn what_goes_is_seen_as_deleting_and_is_refused_until_it_is_gone() {
    let bench = Bench::start().await;
    let images = &bench.images;
    let (image, first) = create(&bench, "web").await;
    let mut ids = vec![first];
    for _ in 0..3 {
        let made = images
            .create_version(&image, &CreateVersion::new(scratch()))
            .await
            .unwrap();
        bench
            .built(&image, made.build_id.as_ref(), BuildStatus::Success)
            .await;
        ids.push(made.version_id.unwrap());
    }
    bench.faults.hold_deletions();
    images.delete_versions(&image, &ids[..2]).await.unwrap();
    // Asked for again it is the same deletion.
    images.delete_version(&image, &ids[0]).await.unwrap();
    let deleting = ListImageVersions::new().status(ImageStatus::Deleting);
    let page = images
        .list_image_versions_page(&image, &deleting, None)
        .await
        .unwrap();
    assert_eq!(page.version_count, Some(2));
    let update = UpdateVersion::new().description("new");
    let error = platform_error(images.update_version(&image, &ids[0], &update).await);
    assert!(
        matches!(error, PlatformError::UnprocessableEntity(_)),
        "{error:?}"
    );
    assert!(error.to_string().contains("being deleted"));
    bench.faults.release_deletions();
    for id in &ids[..2] {
        version_gone(&bench, &image, id).await;
    }

    bench.faults.hold_deletions();
    images.delete_image(&image).await.unwrap();
    let list = ListImages::new().status(ImageStatus::Deleting);
    let page = images.list_images_page(&list, None).await.unwrap();
    assert_eq!(page.images[0].id.as_ref(), Some(&image));
    let error = platform_error(
        images
            .create_version(&image, &CreateVersion::new(scratch()))
            .await,
    );
    assert!(matches!(error, PlatformError::UnprocessableEntity(_)));
    let same_name = CreateImage::new("web", ImageType::Api, scratch());
    let error = platform_error(images.create_image(&same_name).await);
    assert!(matches!(error, PlatformError::Conflict(_)));
    bench.faults.release_deletions();
    eventually(async || {
        let described = images.describe_image(&image).await;
        described.is_err().then_some(())
    })
    .await;
    images.create_image(&same_name).await.unwrap();
    bench.platform.shutdown().await;
}

#[tokio::test]
async fn what_is_being_built_is_neither_deleted_nor_built_twice() {
    let bench = Bench::start().await;
    let images = &bench.images;
    bench.faults.hold_builds();
    let made = images
        .create_image(&CreateImage::new("web", ImageType::Api, scratch()))
        .await
        .unwrap();
    let (image, version) = (made.image_id.unwrap(), made.version_id.unwrap());
    let described = images.describe_version(&image, &version).await.unwrap();
    assert_eq!(described.status, Some(ImageStatus::NotReady));
    assert_eq!(described.last_build_status, Some(BuildStatus::Building));
    for refused in [
        images.delete_image(&image).await,
        images.delete_version(&image, &version).await,
        images
            .delete_versions(&image, std::slice::from_ref(&version))
            .await,
        images
            .update_version(&image, &version, &UpdateVersion::new().build(scratch()))
            .await
            .map(drop),
    ] {
        let error = platform_error(refused);
        assert!(
            matches!(error, PlatformError::UnprocessableEntity(_)),
            "{error:?}"
        );
        assert!(error.to_string().contains("being built"));
    }
    bench.faults.release_builds();
    bench
        .built(&image, made.build_id.as_ref(), BuildStatus::Success)
        .await;
    images.delete_image(&image).await.unwrap();
    version_gone(&bench, &image, &version).await;
    bench.platform.shutdown().await;
}

/// A build that was asked for and whose answer was lost must not be asked for again.
#[tokio::test]
async fn an_update_that_builds_is_not_sent_again_where_it_may_have_been_acted_upon() {
    let bench = Bench::start().await;
    let (image, version) = create(&bench, "web").await;
    let lost = || Fault::disconnect_after().on("PATCH", "/versions/");

    bench.faults.add(lost());
    let rebuild = UpdateVersion::new().build(scratch());
    let error = platform_error(
        bench
            .images
            .update_version(&image, &version, &rebuild)
            .await,
    );
    assert!(
        matches!(&error, PlatformError::Http { source, .. } if source.may_have_been_sent()),
        "{error:?}"
    );
    let builds = peak_sdk::images::ListImageBuilds::new();
    let page = bench
        .images
        .list_image_builds_page(&image, &builds, None)
        .await
        .unwrap();
    assert_eq!(page.build_count, Some(2), "the first one and this one");

    // One that only says something else is the same however often it is sent.
    bench.faults.add(lost());
    let text = UpdateVersion::new().description("new");
    bench
        .images
        .update_version(&image, &version, &text)
        .await
        .unwrap();
    assert!(bench.faults.is_empty());
    bench.platform.shutdown().await;
}
