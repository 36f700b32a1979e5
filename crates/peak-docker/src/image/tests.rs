//! The ends against an Engine in memory.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use peak_http::{Body, Client};
use peak_layout::Directory;
use peak_oci::{
    BlobEvent, ContentError, ContentErrorKind, Descriptor, Digest, ImageConfig, ImageManifest,
    Index, Manifest, MediaType, Placement, Platform, Raw, Sink, Source, validate,
};
use serde_json::{Value, json};

use super::{EngineSink, EngineSource};
use crate::config::EngineConfig;
use crate::endpoint::Endpoint;
use crate::engine::Engine;

/// An image that the Engine has: its config and its layers.
#[derive(Clone, Debug)]
struct Image {
    config: Bytes,
    layers: Vec<Bytes>,
}

/// An Engine in memory.
#[derive(Debug, Default)]
struct State {
    images: HashMap<String, Image>,
    /// The identifier by each name.
    names: HashMap<String, String>,
    /// What it was asked for, pings left out.
    asked: Vec<String>,
    /// What it calls the next image that it loads, in the place of its identifier.
    miscalled: Option<String>,
    /// Images are in containerd's store.
    keeps_manifests: bool,
    /// How many bytes of the next archives it saves before it is gone.
    breaks_off: Option<usize>,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<State>>);

impl Memory {
    fn engine(&self) -> Engine {
        let memory = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let memory = memory.clone();
            async move {
                let (head, body) = request.into_parts();
                let mut bytes = BytesMut::new();
                let mut body = std::pin::pin!(body);
                let mut is_whole = true;
                while let Some(frame) = body.frame().await {
                    match frame {
                        Ok(frame) => bytes.extend_from_slice(frame.data_ref().unwrap()),
                        Err(_) => is_whole = false,
                    }
                }
                let (status, answer) = memory.answer(&head.method, &head.uri, &bytes, is_whole);
                if status == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                }
                let answer = Response::builder()
                    .status(status)
                    .header("api-version", "1.41")
                    .body(Full::new(answer));
                Ok(answer.unwrap())
            }
        });
        let config = EngineConfig::at(Endpoint::socket("/nowhere"));
        Engine::over(config, Client::from_service(service))
    }

    fn answer(
        &self,
        method: &Method,
        uri: &http::Uri,
        body: &[u8],
        is_whole: bool,
    ) -> (u16, Bytes) {
        let mut state = self.0.lock().unwrap();
        let path = uri.path().trim_start_matches("/v1.41").to_owned();
        if path == "/_ping" {
            return (200, "OK".into());
        }
        let query = uri.query().unwrap_or_default();
        state.asked.push(format!("{method} {path}"));
        let named = |text: &str| text.replace("%3A", ":").replace("%2F", "/");
        if path == "/images/load" {
            if !is_whole {
                return (0, Bytes::new());
            }
            return state.load(body);
        }
        if path == "/info" {
            let kind = if state.keeps_manifests {
                "io.containerd.snapshotter.v1"
            } else {
                "x"
            };
            let info = json!({"DriverStatus": [["driver-type", kind]]});
            return (200, info.to_string().into());
        }
        if path == "/images/get" {
            let name = named(query.strip_prefix("names=").unwrap());
            let Some((_, image)) = state.find(&name) else {
                return (404, "{\"message\":\"No such image\"}".into());
            };
            let archive = image.save();
            let size = state.breaks_off.unwrap_or(archive.len());
            return (200, archive.slice(..size.min(archive.len())));
        }
        let name = path.strip_prefix("/images/").unwrap();
        if let Some(name) = name.strip_suffix("/json") {
            let Some((id, image)) = state.find(name) else {
                return (404, "{\"message\":\"No such image\"}".into());
            };
            let layers: Vec<_> = image
                .layers
                .iter()
                .map(|layer| Digest::sha256_of(layer))
                .collect();
            let layers: Vec<_> = layers.iter().map(Digest::as_str).collect();
            let found = json!({"Id": id, "RootFS": {"Type": "layers", "Layers": layers}});
            return (200, found.to_string().into());
        }
        let name = name.strip_suffix("/tag").unwrap();
        let (id, _) = state.find(name).unwrap();
        let pairs = query.split_once("&tag=").unwrap();
        let repository = named(pairs.0.strip_prefix("repo=").unwrap());
        state.names.insert(format!("{repository}:{}", pairs.1), id);
        (201, Bytes::new())
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

impl State {
    fn find(&self, name: &str) -> Option<(String, Image)> {
        let id = self.names.get(name).map_or(name, String::as_str);
        let image = self.images.get(id)?;
        Some((id.to_owned(), image.clone()))
    }

    fn load(&mut self, archive: &[u8]) -> (u16, Bytes) {
        let mut files: HashMap<String, Bytes> = HashMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content.into());
        }
        let listed: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let config = files[&text(&listed[0]["Config"])].clone();
        let layers = listed[0]["Layers"].as_array().unwrap();
        let layers: Vec<_> = layers
            .iter()
            .map(|name| files[&text(name)].clone())
            .collect();
        let parsed: Value = serde_json::from_slice(&config).unwrap();
        for (number, layer) in layers.iter().enumerate() {
            let diff_id = Digest::sha256_of(layer);
            if parsed["rootfs"]["diff_ids"][number] != diff_id.as_str() {
                let error = json!({"errorDetail": {"message": "invalid diffID"}, "error": "invalid diffID"});
                return (200, error.to_string().into());
            }
        }
        let id = Digest::sha256_of(&config).to_string();
        let id = self.miscalled.take().unwrap_or(id);
        let name = text(&listed[0]["RepoTags"][0]);
        self.names.insert(name.clone(), id.clone());
        self.images.insert(id, Image { config, layers });
        (
            200,
            json!({"stream": format!("Loaded image: {name}\n")})
                .to_string()
                .into(),
        )
    }
}

impl Image {
    /// The way Docker 20.10 saves it by its identifier.
    fn save(&self) -> Bytes {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, content).unwrap();
        };
        let names: Vec<_> = (0..self.layers.len())
            .map(|number| format!("{number}/layer.tar"))
            .collect();
        for (name, layer) in names.iter().zip(&self.layers) {
            add(name, layer);
        }
        let config = format!("{}.json", Digest::sha256_of(&self.config).hex());
        add(&config, &self.config);
        let listed = json!([{"Config": config, "RepoTags": null, "Layers": names}]);
        add("manifest.json", listed.to_string().as_bytes());
        archive.into_inner().unwrap().into()
    }
}

/// An image in a layout: the manifest, and the layout.
struct Made {
    layout: Directory,
    manifest: Raw<Manifest>,
    _folder: tempfile::TempDir,
}

impl Made {
    /// Of these layers; the config says those.
    async fn with(layers: &[&'static [u8]], said: &[&'static [u8]]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Directory::create(folder.path().join("layout")).unwrap();
        let diff_ids = said.iter().map(|layer| Digest::sha256_of(layer)).collect();
        let config = ImageConfig::new(&Platform::new("linux", "amd64"), diff_ids).to_raw();
        let config = config.unwrap().bytes().clone();
        let mut blobs = vec![(Descriptor::of(MediaType::OCI_CONFIG, &config), config)];
        for layer in layers {
            blobs.push((
                Descriptor::of(MediaType::OCI_LAYER, layer),
                Bytes::from_static(layer),
            ));
        }
        for (descriptor, content) in &blobs {
            if !layout.has_blob(descriptor).await.unwrap() {
                let mut writer = layout.blob_writer(descriptor).await.unwrap();
                writer.write(content.clone()).await.unwrap();
                writer.commit().await.unwrap();
            }
        }
        let mut described = blobs.into_iter().map(|(descriptor, _)| descriptor);
        let config = described.next().unwrap();
        let manifest = ImageManifest::new(config, described.collect())
            .to_raw()
            .unwrap();
        let placement = Placement::Root { tag: None };
        layout.put_manifest(&manifest, &placement).await.unwrap();
        Self {
            layout,
            manifest,
            _folder: folder,
        }
    }

    async fn of(layers: &[&'static [u8]]) -> Self {
        Self::with(layers, layers).await
    }

    fn id(&self) -> Digest {
        self.manifest
            .value()
            .as_image()
            .unwrap()
            .config
            .digest
            .clone()
    }

    async fn copy_into(&self, engine: Engine) -> Result<u64, ContentError> {
        let sink = EngineSink::new(engine, "docker-daemon:app:v1".parse().unwrap()).unwrap();
        copy(&self.layout, &sink).await
    }
}

/// Copies the image as the transfer engine does; says how many bytes moved.
async fn copy(source: &dyn Source, sink: &dyn Sink) -> Result<u64, ContentError> {
    let manifest = source.manifest(None).await?;
    let blobs: Vec<_> = manifest.value().children().into_iter().cloned().collect();
    sink.holds(&manifest)?;
    sink.prepare(&manifest, &blobs).await?;
    let moved = Mutex::new(0);
    let listener = |event| {
        if let BlobEvent::Bytes { count } = event {
            *moved.lock().unwrap() += count;
        }
    };
    for blob in &blobs {
        let taken = sink.take_blob(blob, source, &listener).await;
        taken.map_err(|error| match error {
            peak_oci::TakeError::Source(error) | peak_oci::TakeError::Sink(error) => error,
        })?;
    }
    let placement = Placement::Root { tag: None };
    sink.put_manifest(&manifest, &placement).await?;
    Ok(moved.into_inner().unwrap())
}

#[tokio::test]
async fn an_image_goes_in_and_out_with_its_id_and_moves_once() {
    let memory = Memory::default();
    let made = Made::of(&[b"one", b"two", b"one", b""]).await;
    assert!(made.copy_into(memory.engine()).await.unwrap() > 6);
    let id = made.id();
    let state = || memory.0.lock().unwrap();
    assert_eq!(state().names["docker.io/library/app:v1"], id.as_str());
    assert_eq!(state().images[id.as_str()].layers.len(), 4);
    memory.asked();

    // It is there: one more name is all that it gets.
    let other = "docker-daemon:registry.example/other:v2".parse().unwrap();
    let sink = EngineSink::new(memory.engine(), other).unwrap();
    assert_eq!(copy(&made.layout, &sink).await.unwrap(), 0);
    assert_eq!(
        memory.asked(),
        [
            format!("GET /images/{id}/json"),
            format!("POST /images/{id}/tag")
        ]
    );
    assert_eq!(state().names["registry.example/other:v2"], id.as_str());

    // Out of it, by its name and by its identifier, with the same config and layers.
    for name in ["app:v1", id.as_str()] {
        let image = format!("docker-daemon:{name}").parse().unwrap();
        let source = EngineSource::new(memory.engine(), image);
        let folder = tempfile::tempdir().unwrap();
        let layout = Directory::create(folder.path().join("layout")).unwrap();
        copy(&source, &layout).await.unwrap();
        validate(&layout, None).await.unwrap();
        let manifest = layout.manifest(None).await.unwrap();
        assert_eq!(manifest.value().as_image().unwrap().config.digest, id);
        let saved = "GET /images/get";
        let passes = memory
            .asked()
            .iter()
            .filter(|asked| *asked == saved)
            .count();
        assert_eq!(passes, 2);
    }
}

#[tokio::test]
async fn the_image_is_the_one_that_had_the_name_when_it_was_asked_for() {
    let memory = Memory::default();
    let (one, two) = (Made::of(&[b"one"]).await, Made::of(&[b"two"]).await);
    one.copy_into(memory.engine()).await.unwrap();
    let source = EngineSource::new(memory.engine(), "docker-daemon:app:v1".parse().unwrap());
    source.manifest(None).await.unwrap();
    two.copy_into(memory.engine()).await.unwrap();
    let seen = validate(&source, None).await.unwrap();
    let manifest = source.manifest(None).await.unwrap();
    assert_eq!(seen.root.digest, *manifest.digest());
    assert_eq!(manifest.value().as_image().unwrap().config.digest, one.id());
}

#[tokio::test]
async fn what_an_engine_cannot_be_given_is_said_before_it_is_asked_for_anything() {
    let memory = Memory::default();
    let sink = EngineSink::new(memory.engine(), "docker-daemon:app:v1".parse().unwrap()).unwrap();
    let made = Made::of(&[b"one"]).await;
    let index = Index::new(vec![made.manifest.descriptor()])
        .to_raw()
        .unwrap();
    for error in [
        sink.holds(&index).unwrap_err(),
        sink.prepare(&index, &[]).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ContentErrorKind::Unsupported);
        assert_eq!(error.to_string(), "the image cannot be kept there");
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("pick one of them"), "{why}");
    }
    assert!(!sink.holds_referrers());
    assert!(!sink.holds_images_without_foreign_layers());
    assert!(memory.asked().is_empty());
}

#[tokio::test]
async fn an_engine_that_has_another_image_afterwards_is_an_integrity_error() {
    let memory = Memory::default();
    let made = Made::of(&[b"one"]).await;
    let other = Digest::sha256_of(b"another").to_string();
    memory.0.lock().unwrap().miscalled = Some(other.clone());
    let error = made.copy_into(memory.engine()).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
    assert!(error.to_string().contains(&other), "{error}");

    // An Engine that keeps manifests calls the image by the digest of one.
    let memory = Memory::default();
    let manifest = made.manifest.digest().to_string();
    memory.0.lock().unwrap().miscalled = Some(manifest);
    made.copy_into(memory.engine()).await.unwrap();
    let source = EngineSource::new(memory.engine(), "docker-daemon:app:v1".parse().unwrap());
    source.manifest(None).await.unwrap();
    // By that of one that it has made itself, where it says that it does so.
    let memory = Memory::default();
    memory.0.lock().unwrap().miscalled = Some(other);
    memory.0.lock().unwrap().keeps_manifests = true;
    made.copy_into(memory.engine()).await.unwrap();
    let source = EngineSource::new(memory.engine(), "docker-daemon:app:v1".parse().unwrap());
    source.manifest(None).await.unwrap();
}

#[tokio::test]
async fn layers_that_are_not_those_of_the_config_make_no_image() {
    let memory = Memory::default();
    let made = Made::with(&[b"one"], &[b"two"]).await;
    let error = made.copy_into(memory.engine()).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Integrity);
    assert!(memory.0.lock().unwrap().images.is_empty());
}

#[tokio::test]
async fn a_load_that_is_given_up_makes_no_image() {
    let memory = Memory::default();
    let made = Made::of(&[b"one", b"two"]).await;
    let sink = EngineSink::new(memory.engine(), "docker-daemon:app:v1".parse().unwrap()).unwrap();
    sink.prepare(&made.manifest, &[]).await.unwrap();
    let layer = &made.manifest.value().as_image().unwrap().layers[0];
    let taken = sink.take_blob(layer, &made.layout, &|_| ()).await;
    taken.unwrap();
    drop(sink);
    tokio::task::yield_now().await;
    assert!(memory.0.lock().unwrap().images.is_empty());
}

#[tokio::test]
async fn an_engine_without_the_image_or_that_breaks_off_is_an_error() {
    let memory = Memory::default();
    let source = EngineSource::new(memory.engine(), "docker-daemon:app:v1".parse().unwrap());
    let error = source.manifest(None).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::NotFound);
    let made = Made::of(&[b"one", b"two"]).await;
    made.copy_into(memory.engine()).await.unwrap();
    // The Engine that was asked before is asked again: there was nothing to be remembered.
    source.manifest(None).await.unwrap();
    memory.0.lock().unwrap().breaks_off = Some(1300);
    let source = EngineSource::new(memory.engine(), "docker-daemon:app:v1".parse().unwrap());
    let error = source.manifest(None).await.unwrap_err();
    assert_eq!(error.kind(), ContentErrorKind::Invalid);
}
