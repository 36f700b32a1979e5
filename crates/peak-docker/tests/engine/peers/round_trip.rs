//! Every operation against an Engine and a registry that behave.

use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use peak_docker::{
    BuildRequest, Engine, EngineError, EngineEvent, LoadedImage, RemoveOptions, Removed,
};

use peak_oci::Digest;
use peak_test_peers::DockerRegistry;

use super::archive::{Archive, tar_of};
use super::{Dockerd, image_at, peers};

async fn load(engine: &Engine, archive: &Archive) {
    let mut layers = 0;
    let loaded = engine
        .load(archive.stream(), |event| {
            layers += usize::from(event.status.as_deref() == Some("Loading layer"));
        })
        .await
        .unwrap();
    assert_eq!(loaded, [LoadedImage::Name("app:v1".into())]);
    assert!(layers > 0);
}

/// Every step of the push of one layer is told, in order, with amounts and the result.
#[track_caller]
fn assert_push_events(events: &[EngineEvent], digest: &Digest) {
    let first = events[0].status.as_deref().unwrap();
    assert!(
        first.starts_with("The push refers to repository"),
        "{first}"
    );
    let of_layer: Vec<&str> = events
        .iter()
        .filter(|event| event.id.is_some())
        .filter_map(|event| event.status.as_deref())
        .collect();
    assert_eq!(of_layer.first(), Some(&"Preparing"));
    assert_eq!(of_layer.last(), Some(&"Pushed"));
    let totals = events.iter().filter_map(|event| event.detail?.total);
    let totals: Vec<u64> = totals.collect();
    assert!(!totals.is_empty());
    assert!(totals.iter().all(|total| *total >= 1_000_000), "{totals:?}");
    let last = events.last().unwrap().result.clone().unwrap();
    assert_eq!(
        (last.tag.as_deref(), last.digest),
        (Some("v2"), Some(digest.clone()))
    );
}

#[tokio::test]
async fn an_image_is_the_same_after_every_way_it_can_go() {
    if !peers() {
        return;
    }
    let dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    let registry = DockerRegistry::start();
    let ping = engine.ping().await.unwrap();
    assert_eq!(ping.os.as_deref(), Some("linux"));
    let version = engine.version().await.unwrap();
    assert_eq!(version.components[0].name, "Engine");
    assert_eq!(version.components[0].version, version.version);

    // Into the Engine.
    let archive = Archive::new("app:v1", 1_000_000);
    load(&engine, &archive).await;
    let image = engine.inspect("app:v1").await.unwrap();
    assert_eq!(image.id, archive.id);
    assert_eq!(image.root_fs.layers, std::slice::from_ref(&archive.layer));
    assert_eq!(image.config.cmd, ["/serve"]);
    assert_eq!((&*image.os, &*image.architecture), ("linux", "amd64"));

    // To a registry and back.
    let remote = image_at(&registry, "team/app:v2");
    engine.tag("app:v1", &remote).await.unwrap();
    let mut events = Vec::new();
    let pushed = engine
        .push(&remote, None, |event| events.push(event))
        .await
        .unwrap();
    let digest = pushed.digest.unwrap();
    assert!(pushed.size.unwrap() > 100);
    assert_push_events(&events, &digest);

    let names = engine.images().await.unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].id, archive.id);
    assert_eq!(names[0].repo_tags.len(), 2);
    let conflict = engine.remove(&archive.id, RemoveOptions::new()).await;
    let conflict = conflict.unwrap_err();
    assert!(
        matches!(conflict, EngineError::Conflict { .. }),
        "{conflict:?}"
    );
    let forced = RemoveOptions::new().force(true);
    let removed = engine.remove(&archive.id, forced).await.unwrap();
    assert!(
        removed.contains(&Removed::Untagged("app:v1".into())),
        "{removed:?}"
    );
    assert!(
        removed.contains(&Removed::Deleted(archive.id.clone())),
        "{removed:?}"
    );
    assert!(engine.images().await.unwrap().is_empty());

    let pulled = engine.pull(&remote, None, drop).await.unwrap();
    assert_eq!(pulled.digest, Some(digest.clone()));
    assert!(!pulled.was_up_to_date);
    assert_eq!(
        engine.inspect(&remote.to_string()).await.unwrap().id,
        archive.id
    );
    let by_digest = remote.with_digest(digest.clone());
    let again = engine.pull(&by_digest, None, drop).await.unwrap();
    assert_eq!(again.digest, Some(digest));

    // Out of the Engine and into it again.
    engine
        .tag(&remote.to_string(), &"app:v1".parse().unwrap())
        .await
        .unwrap();
    let saved: Vec<Bytes> = engine
        .save(&["app:v1"])
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    engine.remove(&archive.id, forced).await.unwrap();
    let loaded = engine
        .load(
            stream::iter(saved.into_iter().map(Ok::<_, EngineError>)),
            drop,
        )
        .await
        .unwrap();
    assert_eq!(loaded, [LoadedImage::Name("app:v1".into())]);
    assert_eq!(engine.inspect("app:v1").await.unwrap().id, archive.id);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_wrong_says_why() {
    if !peers() {
        return;
    }
    let dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    let registry = DockerRegistry::start();
    let absent = image_at(&registry, "team/absent:v1");
    let name = absent.to_string();
    for error in [
        engine.inspect(&name).await.err(),
        engine.remove(&name, RemoveOptions::new()).await.err(),
        engine.tag(&name, &absent).await.err(),
        engine.save(&[&name]).await.err(),
        engine.push(&absent, None, drop).await.err(),
        engine.pull(&absent, None, drop).await.err(),
    ] {
        let error = error.unwrap();
        assert!(error.is_not_found(), "{error:?}");
        assert!(error.to_string().contains(&name), "{error}");
    }
    let nobody = "127.0.0.1:1/team/app:v1".parse().unwrap();
    let error = engine.pull(&nobody, None, drop).await.unwrap_err();
    assert!(matches!(error, EngineError::Failed { .. }), "{error:?}");
    assert!(error.to_string().contains("connection refused"), "{error}");
    let garbage = stream::iter([Ok::<_, EngineError>(Bytes::from("no tar"))]);
    let error = engine.load(garbage, drop).await.unwrap_err();
    assert!(matches!(error, EngineError::Failed { .. }), "{error:?}");
    // One that ends in its middle.
    let archive = Archive::new("app:v1", 300_000);
    let half = archive.bytes.slice(..archive.bytes.len() / 2);
    let half = stream::iter([Ok::<_, EngineError>(half)]);
    let error = engine.load(half, drop).await.unwrap_err();
    assert!(matches!(error, EngineError::Failed { .. }), "{error:?}");
    assert!(engine.images().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_image_is_built_from_a_context() {
    if !peers() {
        return;
    }
    let dockerd = Dockerd::start().await;
    let engine = dockerd.engine();
    let dockerfile = "FROM scratch AS one\nARG PLACE\nCOPY page.html $PLACE\nLABEL a=b\nFROM one AS two\nCMD [\"/two\"]\n";
    let context = |dockerfile: &str| {
        let tar = tar_of(&[
            ("build/Dockerfile", dockerfile.as_bytes()),
            ("page.html", b"<p>one</p>\n"),
        ]);
        stream::iter([Ok::<_, EngineError>(Bytes::from(tar))])
    };
    let name = "127.0.0.1:5000/built:v1";
    let request = BuildRequest::new()
        .dockerfile("build/Dockerfile")
        .build_arg("PLACE", "/srv/page.html")
        .label("c", "d e")
        .tag(name.parse().unwrap());
    let mut log = String::new();
    let id = engine
        .build(&request, context(dockerfile), |event| {
            log.push_str(event.stream.as_deref().unwrap_or_default());
        })
        .await
        .unwrap();
    assert!(log.contains("COPY page.html $PLACE"), "{log}");
    let image = engine.inspect(name).await.unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.config.cmd, ["/two"]);
    assert_eq!(image.config.labels["a"], "b");
    assert_eq!(image.config.labels["c"], "d e");
    let target = BuildRequest::new()
        .dockerfile("build/Dockerfile")
        .target("one");
    let target = target.build_arg("PLACE", "/srv/page.html");
    let one = engine
        .build(&target, context(dockerfile), drop)
        .await
        .unwrap();
    assert!(engine.inspect(&one).await.unwrap().config.cmd.is_empty());
    for (dockerfile, says) in [
        ("FROM scratch\nCOPY absent /\n", "absent"),
        ("NONSENSE\n", "NONSENSE"),
    ] {
        let request = BuildRequest::new().dockerfile("build/Dockerfile");
        let error = engine.build(&request, context(dockerfile), drop).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}
