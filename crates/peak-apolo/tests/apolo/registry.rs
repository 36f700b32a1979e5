//! What is asked of the registry itself.

use axum::response::Response;
use peak_apolo::{ApoloError, Images, RemoteImage};
use peak_oci::{Digest, Platform};

use crate::support::{Site, token};

fn linux() -> Platform {
    Platform::new("linux", "amd64")
}

fn image(images: &Images, text: &str) -> RemoteImage {
    images.clusters().parse_remote(text).unwrap()
}

fn strings(images: &[RemoteImage]) -> Vec<String> {
    images.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn images_are_listed_thirty_at_a_time_and_without_what_is_none_of_the_platforms() {
    let site = Site::start().await;
    for at in 10..45 {
        site.put_image(&format!("acme/proj/app{at}"), "v1", &linux(), &[]);
    }
    site.put_image("other/app", "v1", &linux(), &[]);
    site.put_image("acme/alone", "v1", &linux(), &[]);
    site.put_image("alone", "v1", &linux(), &[]);
    let listed = site.images().list(None).await.unwrap();
    let mut expected: Vec<_> = (10..45)
        .map(|at| format!("image://main/acme/proj/app{at}"))
        .collect();
    // Behind a cluster the first part is a project unless it is the default organisation.
    expected.push("image://main/acme/other/app".to_owned());
    assert_eq!(strings(&listed), expected);
    assert!(listed.iter().all(|image| image.tag.is_none()));

    let pages: Vec<_> = site
        .requests()
        .into_iter()
        .map(|(line, _)| line)
        .filter(|line| line.contains("_catalog"))
        .collect();
    assert!(pages.iter().all(|page| page.contains("n=30")), "{pages:?}");
    assert!(pages.last().unwrap().contains("last="), "{pages:?}");

    let error = site.images().list(Some("second")).await.unwrap_err();
    assert!(error.to_string().contains("known are: main"), "{error}");
}

#[tokio::test]
async fn tags_are_listed_of_an_image_without_one() {
    let site = Site::start().await;
    for at in 10..45 {
        site.put_image("acme/proj/app", &format!("v{at}"), &linux(), &[]);
    }
    let images = site.images();
    let untagged = images
        .clusters()
        .parse_remote_without_tag("image:app")
        .unwrap();
    let tags = images.tags(&untagged).await.unwrap();
    let expected: Vec<_> = (10..45)
        .map(|at| format!("image://main/acme/proj/app:v{at}"))
        .collect();
    assert_eq!(strings(&tags), expected);
    let asked = site.requests();
    let asked: Vec<_> = asked
        .iter()
        .filter(|(line, _)| line.contains("tags/list"))
        .collect();
    assert!(
        asked.iter().all(|(line, _)| line.contains("n=30")),
        "{asked:?}"
    );
    assert!(asked.last().unwrap().0.contains("last=v39"), "{asked:?}");

    let error = images
        .tags(&image(&images, "image:app:v10"))
        .await
        .unwrap_err();
    assert!(matches!(error, ApoloError::TagNotAllowed { .. }), "{error}");
    let absent = images
        .clusters()
        .parse_remote_without_tag("image:absent")
        .unwrap();
    assert!(images.tags(&absent).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_digest_comes_from_a_request_for_headers() {
    let site = Site::start().await;
    let manifest = site.put_image("acme/proj/app", "v1", &linux(), &[10]);
    let images = site.images();
    let digest = images
        .digest(&image(&images, "image:app:v1"))
        .await
        .unwrap();
    assert_eq!(&digest, manifest.digest());
    let (line, accept) = site.requests().pop().unwrap();
    assert_eq!(line, "HEAD /v2/acme/proj/app/manifests/v1");
    for kind in [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    ] {
        assert!(
            accept.split(',').any(|accepted| accepted.trim() == kind),
            "{accept}"
        );
    }
    let error = images
        .digest(&image(&images, "image:app:v2"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ApoloError::NotFoundInRegistry { .. }),
        "{error}"
    );
    let untagged = images
        .clusters()
        .parse_remote_without_tag("image:app")
        .unwrap();
    let error = images.digest(&untagged).await.unwrap_err();
    assert!(matches!(error, ApoloError::NoTag { .. }), "{error}");
}

#[tokio::test]
async fn where_the_header_is_missing_the_digest_is_computed() {
    fn without_digest(mut response: Response) -> Response {
        response.headers_mut().remove("docker-content-digest");
        response
    }
    let site = Site::changing(without_digest).await;
    let manifest = site.put_image("acme/proj/app", "v1", &linux(), &[10]);
    let images = site.images();
    let digest = images
        .digest(&image(&images, "image:app:v1"))
        .await
        .unwrap();
    assert_eq!(&digest, manifest.digest());
    let (line, _) = site.requests().pop().unwrap();
    assert_eq!(line, "GET /v2/acme/proj/app/manifests/v1");
}

#[tokio::test]
async fn the_size_of_an_image_is_that_of_its_layers() {
    let site = Site::start().await;
    // A tar archive is made of blocks of 512 bytes: header, content, two at the end, up to 10 KiB or not.
    let manifest = site.put_image("acme/proj/app", "v1", &linux(), &[512, 100_000]);
    let layers = &manifest.value().as_image().unwrap().layers;
    let sum: u64 = layers.iter().map(|layer| layer.size).sum();
    assert!(sum > 100_512, "{sum}");
    let images = site.images();
    let single = image(&images, "image:app:v1");
    assert_eq!(images.size(&single).await.unwrap(), sum);
    let tag = images.tag_info(&single).await.unwrap();
    assert_eq!((tag.name.as_str(), tag.size), ("v1", Some(sum)));

    let arm = Platform::new("linux", "arm64");
    site.put_index(
        "acme/proj/many",
        "v1",
        &[(linux(), 1000), (arm.clone(), 9000)],
    );
    let many = image(&images, "image:many:v1");
    let small = images.size_for(&many, &linux()).await.unwrap();
    let large = images
        .tag_info_for(&many, &arm)
        .await
        .unwrap()
        .size
        .unwrap();
    assert!(large > small + 7000, "{small} {large}");
    let here = images.size(&many).await.unwrap();
    let expected = images.size_for(&many, &Platform::host()).await.unwrap();
    assert_eq!(here, expected);

    let other = Platform::new("plan9", "amd64");
    let error = images.size_for(&many, &other).await.unwrap_err();
    assert!(matches!(error, ApoloError::NoPlatform { .. }), "{error}");
    assert!(error.is_not_found());
}

#[tokio::test]
async fn a_removed_image_is_gone() {
    let site = Site::start().await;
    let manifest = site.put_image("acme/proj/app", "v1", &linux(), &[10]);
    let images = site.images();
    let remote = image(&images, "image:app:v1");
    images.rm(&remote, manifest.digest()).await.unwrap();
    assert!(images.digest(&remote).await.unwrap_err().is_not_found());
    let error = images.rm(&remote, &Digest::sha256_of(b"absent")).await;
    assert!(error.unwrap_err().is_not_found());
}

#[tokio::test]
async fn wrong_and_missing_tokens_are_told_apart_from_what_is_not_there() {
    fn forbidden(mut response: Response) -> Response {
        if response.headers().contains_key("docker-content-digest") {
            *response.status_mut() = axum::http::StatusCode::FORBIDDEN;
        }
        response
    }
    let site = Site::start().await;
    site.put_image("acme/proj/app", "v1", &linux(), &[10]);
    let wrong = site.builder_with("wrong").build().unwrap();
    let error = wrong
        .digest(&image(&wrong, "image:app:v1"))
        .await
        .unwrap_err();
    assert!(matches!(error, ApoloError::Unauthorized { .. }), "{error}");
    assert!(error.is_authentication());
    assert!(error.to_string().contains("APOLO_TOKEN"), "{error}");
    assert!(matches!(
        wrong.list(None).await,
        Err(ApoloError::Unauthorized { .. })
    ));

    let site = Site::changing(forbidden).await;
    site.put_image("acme/proj/app", "v1", &linux(), &[10]);
    let images = site.images();
    let error = images
        .digest(&image(&images, "image:app:v1"))
        .await
        .unwrap_err();
    assert!(matches!(error, ApoloError::AccessDenied { .. }), "{error}");
}

#[tokio::test]
async fn images_of_other_registries_are_not_asked_for() {
    let site = Site::start().await;
    let images = site.images();
    let external = image(&images, "quay.io/team/app:v1");
    let error = images.digest(&external).await.unwrap_err();
    assert!(
        matches!(error, ApoloError::NotPlatformImage { .. }),
        "{error}"
    );
    // The right cluster's name, and somebody else's registry.
    let elsewhere = RemoteImage::new_platform_image(
        "app",
        "evil.example",
        "main",
        None,
        "proj",
        Some("v1".to_owned()),
    );
    let error = images.digest(&elsewhere).await.unwrap_err();
    assert!(
        matches!(error, ApoloError::UnknownCluster { .. }),
        "{error}"
    );
    let odd = RemoteImage::new_platform_image(
        "localhost:5000/app",
        site.server.host.clone(),
        "main",
        None,
        "proj",
        Some("v1".to_owned()),
    );
    let error = images.digest(&odd).await.unwrap_err();
    assert!(matches!(error, ApoloError::Unusable { .. }), "{error}");
    assert_eq!(site.requests(), []);
    assert!(!format!("{images:?}").contains(&token()));
}
