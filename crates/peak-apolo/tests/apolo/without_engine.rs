//! Push and pull with no Engine.

use std::sync::Arc;
use std::time::Duration;

use peak_apolo::{ApoloError, ImageProgress};
use peak_oci::{Platform, validate};
use peak_transfer::{CopyOptions, Platforms, Target};

use crate::support::{Listener, Site, token};

#[tokio::test]
async fn an_image_goes_to_disk_and_back_in_every_form_and_stays_the_same() {
    let site = Site::start().await;
    let host = Platform::host();
    let manifest = site.put_image("acme/proj/app", "v1", &host, &[5000, 3_000_000]);
    let images = site.images();
    let remote = images.clusters().parse_remote("image:app:v1").unwrap();
    for (form, at) in [
        ("oci", "layout:v1"),
        ("oci-archive", "image.tar:v1"),
        ("docker-archive", "docker.tar:app:v1"),
    ] {
        let place: Target = format!("{form}:{}", site.path(at)).parse().unwrap();
        let listener = Arc::new(Listener::default());
        let progress: Arc<dyn ImageProgress> = Arc::clone(&listener) as _;
        let pulled = images
            .pull_into(&remote, &place, CopyOptions::new(), Some(progress))
            .await
            .unwrap();
        let told = listener.told();
        assert_eq!(
            told[0],
            format!("pull image://main/acme/proj/app:v1 to {place}")
        );
        let done = told.iter().filter(|line| line.ends_with(": Pull complete"));
        assert_eq!(done.count(), 3, "{told:?}");

        // A registry that has nothing of it yet.
        let other = Site::start().await;
        let images = other.images();
        let again = images
            .clusters()
            .parse_remote(&format!("image:{form}:v2"))
            .unwrap();
        let listener = Arc::new(Listener::default());
        let progress: Arc<dyn ImageProgress> = Arc::clone(&listener) as _;
        let pushed = images
            .push_from(&place, &again, CopyOptions::new(), Some(progress))
            .await
            .unwrap();
        let told = listener.told();
        assert_eq!(
            told[0],
            format!("push {place} to image://main/acme/proj/{form}:v2")
        );
        let done = told.iter().filter(|line| line.ends_with(": Pushed"));
        assert_eq!(done.count(), 3, "{told:?}");
        let moved = told.iter().filter(|line| line.contains(": Pushing "));
        assert!(moved.count() > 3, "{told:?}");

        assert_eq!(images.digest(&again).await.unwrap(), pushed.digest);
        if place.keeps_digests() {
            assert_eq!(&pulled.digest, manifest.digest());
            assert_eq!(&pushed.digest, manifest.digest());
        }
        // The identifier of an image is the digest of its configuration.
        let reference = again.as_docker_url(false).parse().unwrap();
        let repository = images.registry().repository(&reference);
        validate(&repository, None).await.unwrap();
        let there = repository
            .get_manifest(&reference.selector_or_latest())
            .await
            .unwrap();
        let config = |raw: &peak_oci::Raw<peak_oci::Manifest>| {
            raw.value().as_image().unwrap().config.digest.clone()
        };
        assert_eq!(config(&there), config(&manifest), "{form}");

        // What is there already is said to be there.
        let listener = Arc::new(Listener::default());
        let progress: Arc<dyn ImageProgress> = Arc::clone(&listener) as _;
        images
            .push_from(&place, &again, CopyOptions::new(), Some(progress))
            .await
            .unwrap();
        let there = listener.told();
        let there = there
            .iter()
            .filter(|line| line.ends_with(": Layer already exists"));
        assert_eq!(there.count(), 3);
    }
}

#[tokio::test]
async fn an_image_for_several_platforms_is_cut_down_for_a_docker_archive() {
    let site = Site::start().await;
    let (amd, arm) = (
        Platform::new("linux", "amd64"),
        Platform::new("linux", "arm64"),
    );
    site.put_index("acme/proj/many", "v1", &[(amd, 1000), (arm.clone(), 9000)]);
    let images = site.images();
    let remote = images.clusters().parse_remote("image:many:v1").unwrap();
    let place: Target = format!("docker-archive:{}", site.path("many.tar"))
        .parse()
        .unwrap();
    let error = images
        .pull_into(&remote, &place, CopyOptions::new(), None)
        .await
        .unwrap_err();
    assert!(matches!(error, ApoloError::Transfer(_)), "{error}");
    let one = CopyOptions::new().platforms(Platforms::only([arm]));
    images.pull_into(&remote, &place, one, None).await.unwrap();
    assert!(std::fs::exists(site.path("many.tar")).unwrap());
}

#[tokio::test]
async fn what_goes_wrong_has_the_names_that_it_has_with_an_engine() {
    let site = Site::start().await;
    site.put_image("acme/proj/app", "v1", &Platform::host(), &[5000]);
    let images = site.images();
    let remote = |text: &str| images.clusters().parse_remote(text).unwrap();
    let place: Target = format!("oci:{}", site.path("layout")).parse().unwrap();

    let absent = images
        .pull_into(&remote("image:app:v2"), &place, CopyOptions::new(), None)
        .await
        .unwrap_err();
    assert!(
        matches!(absent, ApoloError::NotFoundInRegistry { .. }),
        "{absent}"
    );
    let wrong = site.builder_with("wrong").build().unwrap();
    let refused = wrong
        .pull_into(&remote("image:app:v1"), &place, CopyOptions::new(), None)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ApoloError::Unauthorized { .. }),
        "{refused}"
    );
    let external = images
        .pull_into(&remote("quay.io/app:v1"), &place, CopyOptions::new(), None)
        .await
        .unwrap_err();
    assert!(
        matches!(external, ApoloError::NotPlatformImage { .. }),
        "{external}"
    );

    images
        .pull_into(&remote("image:app:v1"), &place, CopyOptions::new(), None)
        .await
        .unwrap();
    let hasty = site
        .builder_with(&token())
        .push_limit(Duration::ZERO)
        .build()
        .unwrap();
    let late = hasty
        .push_from(&place, &remote("image:late:v1"), CopyOptions::new(), None)
        .await
        .unwrap_err();
    assert!(late.is_timeout(), "{late}");
    assert!(
        images
            .digest(&remote("image:late:v1"))
            .await
            .unwrap_err()
            .is_not_found()
    );
}
