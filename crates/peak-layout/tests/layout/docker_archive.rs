//! Docker archives.

use std::fs;

use bytes::Bytes;
use peak_layout::{
    DockerArchive, DockerArchiveOptions, DockerArchiveWriter, LayoutError, OciArchiveWriter,
};
use peak_oci::{
    Algorithm, ContentErrorKind, Descriptor, Digest, ImageConfig, MediaType, Placement, Platform,
    Reference, Selector, Sink, Source,
};
use serde_json::{Value, json};

use crate::support::{Memory, Tar, Wrap, chain, read_blob, transfer, wrap};

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// A config of these layers, and its name in an archive.
fn config(layers: &[&[u8]]) -> (String, Vec<u8>) {
    let diff_ids = layers
        .iter()
        .map(|layer| Digest::sha256_of(layer))
        .collect();
    let config = ImageConfig::new(&Platform::new("linux", "amd64"), diff_ids)
        .to_raw()
        .unwrap();
    let name = format!("{}.json", config.digest().hex());
    (name, config.bytes().to_vec())
}

fn manifest(images: &Value) -> Vec<u8> {
    serde_json::to_vec(images).unwrap()
}

fn open(bytes: &[u8], name: Option<&str>) -> Result<DockerArchive, LayoutError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    DockerArchive::open(file.path(), name.map(reference).as_ref())
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_decompressed_and_the_config_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let mut memory = Memory::default();
    let twice = b"twice".repeat(100_000);
    let layers = [
        (twice.clone(), Wrap::Gzip),
        (b"plain".to_vec(), Wrap::Plain),
        (twice.clone(), Wrap::Zstd),
    ];
    memory.image(&layers, Algorithm::Sha256, false);
    let options = DockerArchiveOptions::new().name(reference("app:v1"));
    let writer = DockerArchiveWriter::create(&path, options).unwrap();
    let root = transfer(&memory, &writer, None).await.unwrap();
    let config = root.value().as_image().unwrap().config.digest.clone();

    let mut entries = Vec::new();
    let mut listed = Value::Null;
    let mut archive = tar::Archive::new(fs::File::open(&path).unwrap());
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), 0);
        let name = entry.path().unwrap().display().to_string();
        if name == "manifest.json" {
            listed = serde_json::from_reader(entry).unwrap();
        }
        entries.push(name);
    }
    let layer = |content: &[u8]| format!("{}.tar", Digest::sha256_of(content).hex());
    assert_eq!(
        listed,
        json!([{
            "Config": format!("{}.json", config.hex()),
            "RepoTags": ["docker.io/library/app:v1"],
            "Layers": [layer(&twice), layer(b"plain"), layer(&twice)],
        }])
    );
    // The layer that is there twice, and came in two forms, stands there once.
    assert_eq!(entries.len(), 4, "{entries:?}");

    let archive = DockerArchive::open(&path, Some(&reference("app:v1"))).unwrap();
    assert_eq!(archive.names(), ["docker.io/library/app:v1"]);
    let made = archive.manifest(None).await.unwrap();
    assert_eq!(*made.media_type(), MediaType::DOCKER_MANIFEST);
    let image = made.value().as_image().unwrap();
    assert_eq!(image.config.digest, config);
    assert_eq!(image.layers[0].media_type, MediaType::DOCKER_LAYER);
    assert_eq!(read_blob(&archive, &image.layers[2], 7).await, twice[7..]);
    peak_oci::validate(&archive, None).await.unwrap();

    let by_digest = Selector::Digest(made.digest().clone());
    archive.manifest(Some(&by_digest)).await.unwrap();
    let tag = Selector::Tag("v1".parse().unwrap());
    archive.manifest(Some(&tag)).await.unwrap();
    let other = Selector::Tag("v2".parse().unwrap());
    let error = archive.manifest(Some(&other)).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::NotFound);
}

#[tokio::test]
async fn what_it_cannot_hold_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let writer = DockerArchiveWriter::create(&path, DockerArchiveOptions::new()).unwrap();
    let mut memory = Memory::default();
    let image = memory.image(&[], Algorithm::Sha256, true);
    memory.index(vec![image], Algorithm::Sha256);
    let error = transfer(&memory, &writer, None).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Unsupported);
    assert!(chain(&error).contains("pick one"), "{}", chain(&error));
    memory.artifact(&[], None, Algorithm::Sha256);
    let error = transfer(&memory, &writer, None).await.unwrap_err();
    assert!(chain(&error).contains("artifact"), "{}", chain(&error));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let digest = Digest::sha256_of(b"x");
    let options = DockerArchiveOptions::new().name(reference("app").with_digest(digest));
    let error = DockerArchiveWriter::create(&path, options).unwrap_err();
    assert!(matches!(error, LayoutError::NamedByDigest { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_are_not_what_the_config_says_make_no_archive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let mut memory = Memory::default();
    memory.image(&[(b"right".to_vec(), Wrap::Gzip)], Algorithm::Sha256, true);
    let root = memory.manifest(None).await.unwrap();
    let mut image = root.value().as_image().unwrap().clone();
    // Another layer, whole and with the digest that the manifest says.
    let wrong = wrap(b"wrong", Wrap::Gzip);
    image.layers[0] = memory.add(MediaType::DOCKER_LAYER_GZIP, &wrong, Algorithm::Sha256);
    memory.put(image.to_raw().unwrap(), Algorithm::Sha256);
    let writer = DockerArchiveWriter::create(&path, DockerArchiveOptions::new()).unwrap();
    let error = transfer(&memory, &writer, None).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
    assert!(!path.exists());
    drop(writer);

    // A layer that is cut off within its compression, and one that is not compressed as it begins.
    for (content, complaint) in [
        (wrong[..wrong.len() - 4].to_vec(), "cannot be decompressed"),
        (b"\x1f\x8bnonsense".to_vec(), "cannot be decompressed"),
        (
            b"\x28\xb5\x2f\xfdnonsense".to_vec(),
            "cannot be decompressed",
        ),
        (
            wrap(&[0; 10_000], Wrap::Zstd)[..10].to_vec(),
            "cannot be decompressed",
        ),
    ] {
        let mut image = image.clone();
        image.layers[0] = memory.add(MediaType::DOCKER_LAYER_GZIP, &content, Algorithm::Sha256);
        memory.put(image.to_raw().unwrap(), Algorithm::Sha256);
        let writer = DockerArchiveWriter::create(&path, DockerArchiveOptions::new()).unwrap();
        let error = transfer(&memory, &writer, None).await.unwrap_err();
        assert!(chain(&error).contains(complaint), "{}", chain(&error));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_without_end_is_not_written_to_the_end() {
    use std::io::Write;

    // Twenty MiB of nothing, in two compressions.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut frames = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    let nothing = vec![0; 1024 * 1024];
    for _ in 0..20 {
        encoder.write_all(&nothing).unwrap();
        frames.write_all(&nothing).unwrap();
    }
    for bomb in [encoder.finish().unwrap(), frames.finish().unwrap()] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        let options = DockerArchiveOptions::new()
            .maximum_ratio(20)
            .always_allowed(10 * 1024 * 1024);
        let writer = DockerArchiveWriter::create(&path, options).unwrap();
        let layer = Descriptor::of(MediaType::OCI_LAYER_GZIP, &bomb);
        let mut blob = writer.blob_writer(&layer).await.unwrap();
        let mut outcome = Ok(());
        for piece in bomb.chunks(100_000) {
            outcome = blob.write(Bytes::copy_from_slice(piece)).await;
            if outcome.is_err() {
                break;
            }
        }
        let error = match outcome {
            Err(error) => error,
            Ok(()) => blob.commit().await.unwrap_err(),
        };
        assert!(chain(&error).contains("attack"), "{}", chain(&error));
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_given_up_leaves_its_place_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let mut memory = Memory::default();
    memory.image(&[(vec![7; 5], Wrap::Plain)], Algorithm::Sha256, true);
    let writer = DockerArchiveWriter::create(&path, DockerArchiveOptions::new()).unwrap();
    let large = Descriptor::of(MediaType::OCI_LAYER, &vec![1; 600_000]);
    let mut blob = writer.blob_writer(&large).await.unwrap();
    blob.write(Bytes::from(vec![1; 599_999])).await.unwrap();
    let waiting = writer.blob_writer(&large);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(20), waiting).await;
    assert!(waited.is_err(), "two layers are written at once");
    drop(blob);
    transfer(&memory, &writer, None).await.unwrap();
    let archive = DockerArchive::open(&path, None).unwrap();
    peak_oci::validate(&archive, None).await.unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 10_000);
    // Where the large one was there is nothing between the small one and the next header.
    let mut archive = tar::Archive::new(fs::File::open(&path).unwrap());
    let entries = archive.entries().unwrap();
    assert_eq!(entries.map(Result::unwrap).count(), 3);
}

#[tokio::test]
async fn one_of_several_images_is_chosen_by_its_name() {
    let (first, second) = (config(&[b"one"]), config(&[b"one", b"two"]));
    let bytes = Tar::new()
        .file(&first.0, &first.1)
        .file(&second.0, &second.1)
        .file("one.tar", b"one")
        .file("two/layer.tar", b"two")
        .file(
            "manifest.json",
            &manifest(&json!([
                {"Config": first.0, "RepoTags": ["app:v1", "app:latest"], "Layers": ["one.tar"]},
                {"Config": second.0, "RepoTags": ["docker.io/library/app:v2"],
                 "Layers": ["one.tar", "two/layer.tar"]},
            ])),
        )
        .end();
    for (name, layers) in [
        ("app", 1),
        ("app:v1", 1),
        ("docker.io/library/app:v2", 2),
        ("app:v2", 2),
    ] {
        let archive = open(&bytes, Some(name)).unwrap();
        let manifest = archive.manifest(None).await.unwrap();
        assert_eq!(manifest.value().as_image().unwrap().layers.len(), layers);
        peak_oci::validate(&archive, None).await.unwrap();
    }
    let error = open(&bytes, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are several images, say which one: app:v1, app:latest, docker.io/library/app:v2"
    );
    let error = open(&bytes, Some("other")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no image `other`; there are: app:v1, app:latest, docker.io/library/app:v2"
    );
}

#[tokio::test]
async fn links_between_layers_are_followed_within_the_archive_only() {
    let (name, content) = config(&[b"same", b"same"]);
    let images = manifest(&json!([
        {"Config": name, "RepoTags": null, "Layers": ["a/layer.tar", "b/layer.tar"]},
    ]));
    let with = |target: &str| {
        Tar::new()
            .file(&name, &content)
            .entry("a/", b'5', b"")
            .file("a/layer.tar", b"same")
            .link("b/layer.tar", target)
            .file("manifest.json", &images)
            .end()
    };
    let archive = open(&with("../a/layer.tar"), None).unwrap();
    peak_oci::validate(&archive, None).await.unwrap();
    for (target, complaint) in [
        ("layer.tar", "cannot be followed"),
        ("../../a/layer.tar", "cannot be followed"),
        ("/etc/passwd", "cannot be followed"),
        ("../none", "has no file"),
    ] {
        let archive = open(&with(target), None).unwrap();
        let error = archive.manifest(None).await.unwrap_err();
        assert!(chain(&error).contains(complaint), "{}", chain(&error));
    }
}

#[tokio::test]
async fn an_archive_that_contradicts_itself_is_refused() {
    let (name, content) = config(&[b"one"]);
    let build = |config: &str, content: &[u8], images: Value| {
        let tar = Tar::new()
            .file(config, content)
            .file("one.tar", b"one")
            .file("manifest.json", &manifest(&images));
        open(&tar.end(), None)
    };
    let listed = |config: &str, layers: Value| json!([{"Config": config, "Layers": layers}]);
    let complaint = async |archive: Result<DockerArchive, LayoutError>| match archive {
        Err(error) => chain(&error),
        Ok(archive) => match archive.manifest(None).await {
            Err(error) => chain(&error),
            Ok(_) => chain(&peak_oci::validate(&archive, None).await.unwrap_err()),
        },
    };
    let text = complaint(build(&name, &content, listed(&name, json!([])))).await;
    assert!(text.contains("1 layers, manifest.json says 0"), "{text}");
    let text = complaint(build(&name, &content, listed(&name, json!(["two.tar"])))).await;
    assert!(text.contains("has no file \"two.tar\""), "{text}");
    let text = complaint(build(&name, b"{}", listed(&name, json!(["one.tar"])))).await;
    assert!(text.contains("has the digest"), "{text}");
    let text = complaint(build("c", b"{}", listed("c", json!(["one.tar"])))).await;
    assert!(text.contains("is not valid"), "{text}");
    let text = complaint(build(&name, &content, json!([]))).await;
    assert!(text.contains("there are: none"), "{text}");
    let text = complaint(build(&name, &content, json!({"Config": 1}))).await;
    assert!(text.contains("is not valid"), "{text}");
    let text = complaint(build(&name, &content, listed(&name, json!([7])))).await;
    assert!(text.contains("is not valid"), "{text}");
    let text = complaint(build(&name, &content, listed("../c", json!(["one.tar"])))).await;
    assert!(text.contains("cannot be followed"), "{text}");
    // A layer that is not what the config says is found when it is read.
    let (name, content) = config(&[b"two"]);
    let text = complaint(build(&name, &content, listed(&name, json!(["one.tar"])))).await;
    assert!(text.contains("has the digest"), "{text}");
}

#[tokio::test]
async fn compressed_layers_of_other_tools_are_taken_as_they_are() {
    let (name, content) = config(&[b"one", b"two"]);
    for (second, media_type) in [
        (Wrap::Gzip, MediaType::DOCKER_MANIFEST),
        (Wrap::Zstd, MediaType::OCI_MANIFEST),
    ] {
        let bytes = Tar::new()
            .file(&name, &content)
            .file("1.tar.gz", &wrap(b"one", Wrap::Gzip))
            .file("2", &wrap(b"two", second))
            .file(
                "manifest.json",
                &manifest(&json!([{"Config": name, "Layers": ["1.tar.gz", "2"]}])),
            )
            .end();
        let archive = open(&bytes, None).unwrap();
        let manifest = archive.manifest(None).await.unwrap();
        assert_eq!(*manifest.media_type(), media_type);
        peak_oci::validate(&archive, None).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain.tar");
        let writer = DockerArchiveWriter::create(&path, DockerArchiveOptions::new()).unwrap();
        transfer(&archive, &writer, None).await.unwrap();
    }
}

/// Since Docker 25 its archives are layouts with a `manifest.json` on top.
#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_of_a_layout_in_the_archive_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layout.tar");
    let mut memory = Memory::default();
    let image = memory.image(&[(b"one".to_vec(), Wrap::Gzip)], Algorithm::Sha256, false);
    let mut absent = image.clone();
    absent.digest = Digest::sha256_of(b"a platform that was left out");
    memory.index(vec![image.clone()], Algorithm::Sha256);
    let writer = OciArchiveWriter::create(&path).unwrap();
    transfer(&memory, &writer, None).await.unwrap();
    let original = memory.manifests[&image.digest].clone();
    let image = original.value().as_image().unwrap();
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let images = manifest(&json!([{
        "Config": blob(&image.config.digest),
        "RepoTags": ["app:v1"],
        "Layers": [blob(&image.layers[0].digest)],
    }]));
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 1024);
    let bytes = Tar { bytes }.file("manifest.json", &images).end();
    let archive = open(&bytes, Some("app:v1")).unwrap();
    let manifest = archive.manifest(None).await.unwrap();
    assert_eq!(manifest.digest(), original.digest());
    peak_oci::validate(&archive, None).await.unwrap();
    let placement = Placement::Root { tag: None };
    let sink = OciArchiveWriter::create(folder.path().join("again.tar")).unwrap();
    let early = sink.put_manifest(&manifest, &placement).await;
    assert!(
        early.is_ok(),
        "a sink that was told of no blobs asks for none"
    );
}
