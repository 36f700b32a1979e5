//! Images out of a real Docker Engine and into it: `docker-daemon:` with every other place.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use peak_sdk::docker::{Endpoint, Engine as Client, EngineConfig};
use peak_sdk::oci::validate;
use peak_sdk::registry::Registry;
use peak_sdk::transfer::{Clients, Target};
use serde_json::{Value, json};

use super::engine::Engine;
use super::{peer, run};
use crate::kill::number;
use crate::support::{Finished, Sandbox, digest, eventually, finish, signal};
use crate::transfers::memory::{BOUND, watched};

const MIB: u64 = 1 << 20;

/// How a layer is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrap {
    Plain,
    Gzip,
    Zstd,
}

/// A file system of one file.
fn file_system(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content).unwrap();
    archive.into_inner().unwrap()
}

fn wrapped(content: &[u8], how: Wrap) -> (&'static str, Vec<u8>) {
    match how {
        Wrap::Plain => ("tar", content.to_vec()),
        Wrap::Gzip => {
            let fast = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
            encoder.write_all(content).unwrap();
            ("tar+gzip", encoder.finish().unwrap())
        }
        Wrap::Zstd => ("tar+zstd", zstd::encode_all(content, 1).unwrap()),
    }
}

/// A layout being made by hand.
struct Layout {
    folder: PathBuf,
}

impl Layout {
    fn new(folder: PathBuf) -> Self {
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        let marker = r#"{"imageLayoutVersion":"1.0.0"}"#;
        std::fs::write(folder.join("oci-layout"), marker).unwrap();
        Self { folder }
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(&digest[7..])
    }

    fn put(&self, media_type: &str, content: &[u8]) -> Value {
        let digest = digest(content);
        std::fs::write(self.blob(&digest), content).unwrap();
        let media_type = format!("application/vnd.oci.image.{media_type}");
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    /// An image of these layers, and its id.
    fn image(&self, architecture: &str, layers: &[Value], diff_ids: &[String]) -> (Value, String) {
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": {"made": "by hand"}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.put("config.v1+json", config.to_string().as_bytes());
        let id = config["digest"].as_str().unwrap().to_owned();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        });
        let text = manifest.to_string();
        let mut manifest = self.put("manifest.v1+json", text.as_bytes());
        manifest["platform"] = json!({"architecture": architecture, "os": "linux"});
        (manifest, id)
    }

    fn small(&self, architecture: &str, layers: &[(Vec<u8>, Wrap)]) -> (Value, String) {
        let diff_ids: Vec<_> = layers.iter().map(|(content, _)| digest(content)).collect();
        let layers: Vec<_> = layers
            .iter()
            .map(|(content, how)| {
                let (name, bytes) = wrapped(content, *how);
                self.put(&format!("layer.v1.{name}"), &bytes)
            })
            .collect();
        self.image(architecture, &layers, &diff_ids)
    }

    /// An image of one layer that is as large as this and takes no room on the disk.
    fn large(&self, mebibytes: u64) -> (Value, String) {
        let mut header = tar::Header::new_gnu();
        header.set_path("zeros").unwrap();
        header.set_mode(0o644);
        header.set_size(mebibytes * MIB);
        header.set_cksum();
        let size = 512 + mebibytes * MIB + 1024;
        let path = self.folder.join("layer");
        let mut file = File::create_new(&path).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.set_len(size).unwrap();
        let sum = run(Command::new("sha256sum").arg(&path));
        let digest = format!("sha256:{}", sum.split_whitespace().next().unwrap());
        std::fs::rename(&path, self.blob(&digest)).unwrap();
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        let layer = json!({"mediaType": media_type, "digest": digest, "size": size});
        self.image("amd64", &[layer], &[digest])
    }

    fn show(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        std::fs::write(self.folder.join("index.json"), index.to_string()).unwrap();
    }
}

/// `peak`, which finds an Engine at this socket.
fn command(sandbox: &Sandbox, socket: &Path, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    command
}

fn copy(sandbox: &Sandbox, socket: &Path, from: &str, to: &str) -> Finished {
    let arguments = ["registry", "copy", from, to, "-o", "json"];
    finish(command(sandbox, socket, &arguments).spawn().unwrap())
}

#[track_caller]
fn copied(sandbox: &Sandbox, engine: &Engine, from: &str, to: &str) -> Value {
    let done = copy(sandbox, &engine.socket, from, to);
    assert_eq!(done.code, Some(0), "{from} {to}: {}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

/// Reads all of an image, which has to be as its digests say; gives the digest of its config.
#[track_caller]
fn validated(sandbox: &Sandbox, engine: &Engine, place: &str) -> String {
    let place = match place.split_once(':') {
        Some((transport @ ("oci" | "oci-archive" | "docker-archive"), path)) => {
            format!("{transport}:{}/{path}", sandbox.path("").display())
        }
        _ => place.to_owned(),
    };
    let endpoint = Endpoint::socket(&engine.socket);
    let work = async {
        let registry = Registry::builder().build().unwrap();
        let clients = Clients::new(registry).engine(Client::new(EngineConfig::at(endpoint)));
        let target: Target = place.parse().unwrap();
        let (source, selector) = target.open_source(&clients).unwrap();
        let seen = validate(source.as_ref(), selector.as_ref()).await;
        seen.unwrap_or_else(|error| panic!("{place}: {error}"));
        let manifest = source.manifest(selector.as_ref()).await.unwrap();
        let image = manifest.value().as_image().unwrap();
        image.config.digest.to_string()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(work)
}

#[track_caller]
fn has_nothing(engine: &Engine) {
    assert_eq!(engine.docker(&["images", "--all", "--quiet"]), "");
}

#[test]
fn an_image_keeps_its_id_on_its_way_through_every_transport_and_an_engine() {
    let sandbox = Sandbox::new();
    let Some(engine) = Engine::start(&sandbox) else {
        return;
    };
    let server = sandbox.serve();
    let plain = file_system("plain", &b"plain\n".repeat(20_000));
    let empty = vec![0; 1024];
    let kinds = [
        (Wrap::Gzip, Wrap::Plain),
        (Wrap::Zstd, Wrap::Gzip),
        (Wrap::Plain, Wrap::Zstd),
    ];
    for (number, (first, second)) in kinds.into_iter().enumerate() {
        let layout = Layout::new(sandbox.path(&format!("made-{number}")));
        let layers = [
            (file_system("first", &b"one\n".repeat(100_000)), first),
            (plain.clone(), second),
            (empty.clone(), Wrap::Gzip),
            (plain.clone(), second),
            (file_system("last", b"last\n"), first),
        ];
        let (manifest, id) = layout.small("amd64", &layers);
        layout.show(&[manifest]);
        let made = format!("oci:made-{number}");
        let places = [
            format!("{}/daemon/app:{number}", server.host()),
            format!("oci:layout-{number}:v1"),
            format!("oci-archive:oci-{number}.tar:v1"),
            format!("docker-archive:docker-{number}.tar:app:v1"),
            format!("docker-daemon:place/app:{number}"),
        ];
        let loaded = format!("loaded:{number}");
        for place in &places {
            let way = format!("{first:?} and {second:?} by {place}");
            copied(&sandbox, &engine, &made, place);
            if let Some(name) = place.strip_prefix("docker-daemon:") {
                assert_eq!(engine.id(name), id, "{way}");
            } else {
                has_nothing(&engine);
            }
            assert_eq!(validated(&sandbox, &engine, place), id, "{way}");
            let target = format!("docker-daemon:{loaded}");
            copied(&sandbox, &engine, place, &target);
            assert_eq!(engine.id(&loaded), id, "{way}");
            assert_eq!(validated(&sandbox, &engine, &target), id, "{way}");
            engine.docker(&["rmi", "--force", &id]);
        }
        // And out of it again, into each.
        copied(&sandbox, &engine, &made, &format!("docker-daemon:{loaded}"));
        for (to, place) in places.iter().enumerate() {
            let place = place.replacen("oci:", &format!("oci:from-engine-{to}-"), 1);
            let source = format!("docker-daemon:{loaded}");
            let report = copied(&sandbox, &engine, &source, &place);
            assert_eq!(validated(&sandbox, &engine, &place), id, "{place}");
            let to_engine = place.starts_with("docker-daemon:");
            // It has the image already, so that it only gets one more name.
            assert!(
                !to_engine || report["bytesCopied"] == 0,
                "{place}: {report}"
            );
        }
        // By its identifier, too.
        let source = format!("docker-daemon:{id}");
        copied(&sandbox, &engine, &source, &format!("oci:by-id-{number}"));
        engine.docker(&["rmi", "--force", &id]);
    }
    sandbox.assert_no_leftovers();
}

#[test]
fn an_engine_takes_one_platform_of_an_index_and_refuses_the_whole() {
    let sandbox = Sandbox::new();
    let Some(engine) = Engine::start(&sandbox) else {
        return;
    };
    let layout = Layout::new(sandbox.path("made"));
    let of = |architecture: &str| {
        let layer = file_system("name", architecture.as_bytes());
        layout.small(architecture, &[(layer, Wrap::Gzip)])
    };
    let ((one, _), (other, id)) = (of("amd64"), of("arm64"));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [one, other],
    });
    let index = layout.put("index.v1+json", index.to_string().as_bytes());
    layout.show(&[index]);
    let refused = copy(&sandbox, &engine.socket, "oci:made", "docker-daemon:app:v1");
    refused.assert_code(2).assert_stderr("pick one of them");
    has_nothing(&engine);
    let platform = ["--platform", "linux/arm64"];
    let arguments = ["registry", "pull", "oci:made", "docker-daemon:app:v1"];
    let arguments: Vec<_> = arguments.into_iter().chain(platform).collect();
    let done = finish(
        command(&sandbox, &engine.socket, &arguments)
            .spawn()
            .unwrap(),
    );
    done.assert_code(0);
    assert_eq!(engine.id("app:v1"), id);
    let refused = copy(
        &sandbox,
        &engine.socket,
        "oci:made",
        &format!("docker-daemon:{id}"),
    );
    refused
        .assert_code(2)
        .assert_stderr("docker-daemon:NAME:TAG");
    let missing = copy(&sandbox, &engine.socket, "docker-daemon:no:v1", "oci:x");
    missing
        .assert_code(4)
        .assert_stderr("the Docker Engine does not have image");
    assert!(!sandbox.path("x/index.json").exists());
    let nowhere = sandbox.path("nowhere.socket");
    let unreachable = copy(&sandbox, &nowhere, "docker-daemon:app:v1", "oci:x");
    unreachable.assert_stderr("nowhere.socket (DOCKER_HOST)");
    assert_ne!(unreachable.code, Some(0));
}

#[test]
fn ship_builds_into_an_engine_what_docker_and_skopeo_read() {
    if !peer("skopeo") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(engine) = Engine::start(&sandbox) else {
        return;
    };
    sandbox.project();
    let to = "docker-daemon:hello/web:v1,oci:layout:v1";
    let arguments = ["ship", "project", "--local", "--to", to];
    let done = finish(
        command(&sandbox, &engine.socket, &arguments)
            .spawn()
            .unwrap(),
    );
    done.assert_code(0);
    let id = engine.id("hello/web:v1");
    assert_eq!(validated(&sandbox, &engine, "oci:layout:v1"), id);
    // Where there is no Engine that is known before anything is built.
    let nowhere = sandbox.path("nowhere.socket");
    let failed = finish(command(&sandbox, &nowhere, &arguments).spawn().unwrap());
    assert_ne!(failed.code, Some(0));
    failed.assert_stderr("nowhere.socket (DOCKER_HOST)");
    assert!(!failed.stderr.contains("COPY"), "{}", failed.stderr);
    // What Docker saves of it, and loads.
    let saved = sandbox.path("saved.tar").display().to_string();
    engine.docker(&["save", "--output", &saved, "hello/web:v1"]);
    engine.docker(&["rmi", "hello/web:v1"]);
    has_nothing(&engine);
    engine.docker(&["load", "--input", &saved]);
    assert_eq!(engine.id("hello/web:v1"), id);
    // What skopeo takes out of the Engine and puts there.
    let socket = format!("unix://{}", engine.socket.display());
    let theirs = format!("oci:{}:v1", sandbox.path("theirs").display());
    run(Command::new("skopeo").args([
        "--insecure-policy",
        "copy",
        "--src-daemon-host",
        &socket,
        "docker-daemon:hello/web:v1",
        &theirs,
    ]));
    let ours = format!("docker-archive:{}", sandbox.path("ours.tar").display());
    copied(&sandbox, &engine, "docker-daemon:hello/web:v1", &ours);
    engine.docker(&["rmi", "hello/web:v1"]);
    run(Command::new("skopeo").args([
        "--insecure-policy",
        "copy",
        "--dest-daemon-host",
        &socket,
        &ours,
        "docker-daemon:by/skopeo:v1",
    ]));
    assert_eq!(engine.id("by/skopeo:v1"), id);
    let place = "docker-daemon:by/skopeo:v1";
    assert_eq!(validated(&sandbox, &engine, place), id);
}

/// What goes between `peak` and an Engine, as far as a test lets it.
struct Gate {
    socket: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    /// How many bytes may still pass on the way that is watched, and whether somebody waits for more.
    state: Mutex<(u64, bool)>,
    changed: Condvar,
    /// Whether what comes from the Engine is watched, or what goes there.
    from_engine: bool,
}

impl Gate {
    fn before(engine: &Engine, socket: PathBuf, bytes: u64, from_engine: bool) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new((bytes, false)),
            changed: Condvar::new(),
            from_engine,
        });
        let (target, gate) = (engine.socket.clone(), Arc::clone(&shared));
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let Ok(engine) = UnixStream::connect(&target) else {
                    continue;
                };
                for is_from_engine in [true, false] {
                    let (client, engine) = (client.try_clone(), engine.try_clone());
                    let (client, engine) = (client.unwrap(), engine.unwrap());
                    let gate = Arc::clone(&gate);
                    std::thread::spawn(move || {
                        let (from, to) = if is_from_engine {
                            (engine, client)
                        } else {
                            (client, engine)
                        };
                        gate.pass(from, to, is_from_engine);
                    });
                }
            }
        });
        Self { socket, shared }
    }

    /// Waits until all has passed that may pass.
    fn wait(&self) {
        let mut state = self.shared.state.lock().unwrap();
        while !state.1 {
            state = self.shared.changed.wait(state).unwrap();
        }
    }

    /// Lets everything pass that there still is.
    fn open(&self) {
        self.shared.state.lock().unwrap().0 = u64::MAX;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn pass(&self, mut from: UnixStream, mut to: UnixStream, is_from_engine: bool) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if is_from_engine == self.from_engine {
                let mut state = self.state.lock().unwrap();
                while state.0 < count as u64 {
                    state.1 = true;
                    self.changed.notify_all();
                    state = self.changed.wait(state).unwrap();
                }
                state.0 -= count as u64;
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }
}

#[test]
fn an_engine_that_is_killed_while_it_saves_or_loads_leaves_nothing_half_made() {
    const SIZE: u64 = 24;
    let sandbox = Sandbox::new();
    let Some(mut engine) = Engine::start(&sandbox) else {
        return;
    };
    let layout = Layout::new(sandbox.path("made"));
    let (manifest, id) = layout.large(SIZE);
    layout.show(&[manifest]);
    // In the middle of the first pass, and of the second.
    for (number, share) in [1, 3].into_iter().enumerate() {
        copied(&sandbox, &engine, "oci:made", "docker-daemon:app:v1");
        let socket = sandbox.path(&format!("save-{number}.socket"));
        let gate = Gate::before(&engine, socket, share * SIZE * MIB / 2, true);
        let to = format!("oci:saved-{number}");
        let arguments = ["registry", "copy", "docker-daemon:app:v1", &to];
        let child = command(&sandbox, &gate.socket, &arguments).spawn().unwrap();
        gate.wait();
        engine.kill();
        gate.open();
        let failed = finish(child);
        assert_ne!(failed.code, Some(0));
        failed.assert_stderr("is the Engine still running?");
        let saved = sandbox.path(&format!("saved-{number}"));
        assert!(!saved.join("index.json").exists());
        engine = Engine::start(&sandbox).unwrap();
        // The next run brings it.
        copied(&sandbox, &engine, "docker-daemon:app:v1", &to);
        assert_eq!(validated(&sandbox, &engine, &to), id);
    }
    engine.docker(&["rmi", "--force", &id]);
    let socket = sandbox.path("load.socket");
    let gate = Gate::before(&engine, socket, SIZE * MIB / 2, false);
    let arguments = ["registry", "copy", "oci:made", "docker-daemon:app:v2"];
    let child = command(&sandbox, &gate.socket, &arguments).spawn().unwrap();
    gate.wait();
    engine.kill();
    gate.open();
    let failed = finish(child);
    assert_ne!(failed.code, Some(0));
    failed.assert_stderr("is the Engine still running?");
    let engine = Engine::start(&sandbox).unwrap();
    has_nothing(&engine);
}

#[test]
fn a_load_that_is_interrupted_or_wrong_leaves_no_image_in_the_engine() {
    const SIZE: u64 = 8;
    let sandbox = Sandbox::new();
    let Some(engine) = Engine::start(&sandbox) else {
        return;
    };
    let layout = Layout::new(sandbox.path("made"));
    let (manifest, id) = layout.large(SIZE);
    layout.show(&[manifest]);
    let socket = sandbox.path("load.socket");
    let gate = Gate::before(&engine, socket, SIZE * MIB / 2, false);
    let arguments = ["registry", "copy", "oci:made", "docker-daemon:app:v1"];
    let child = command(&sandbox, &gate.socket, &arguments).spawn().unwrap();
    gate.wait();
    signal(&child, "INT");
    let interrupted = finish(child);
    gate.open();
    assert_eq!(interrupted.code, Some(130), "{}", interrupted.stderr);
    has_nothing(&engine);
    // The last byte of the layer is another one.
    let layer = std::fs::read_dir(sandbox.path("made/blobs/sha256")).unwrap();
    let layer = layer.map(|entry| entry.unwrap().path());
    let layer = layer.max_by_key(|path| path.metadata().unwrap().len());
    let layer = layer.unwrap();
    let mut file = File::options().write(true).open(&layer).unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(b"x").unwrap();
    let wrong = copy(&sandbox, &engine.socket, "oci:made", "docker-daemon:app:v1");
    wrong.assert_stderr("digest");
    assert_ne!(wrong.code, Some(0));
    has_nothing(&engine);
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(b"\0").unwrap();
    copied(&sandbox, &engine, "oci:made", "docker-daemon:app:v1");
    assert_eq!(engine.id("app:v1"), id);
    eventually("the Engine takes away what it had unpacked", || {
        let left = std::fs::read_dir(sandbox.path("engine/data/tmp")).unwrap();
        (left.count() == 0).then_some(())
    });
}

#[test]
fn an_image_goes_through_an_engine_in_little_memory() {
    let large = number("PEAK_TRANSFER_MIB").unwrap_or(192);
    let sandbox = Sandbox::new();
    let Some(engine) = Engine::start(&sandbox) else {
        return;
    };
    let server = sandbox.serve();
    let layout = Layout::new(sandbox.path("made"));
    let (manifest, id) = layout.large(large);
    layout.show(&[manifest]);
    let registry = |name: &str| format!("{}/large/{name}:v1", server.host());
    let engines = "docker-daemon:large/app:v1".to_owned();
    for (from, to) in [
        ("oci:made".to_owned(), registry("in")),
        (registry("in"), engines.clone()),
        (engines, registry("out")),
    ] {
        let arguments = ["registry", "copy", &from, &to];
        let (finished, most) = watched(command(&sandbox, &engine.socket, &arguments));
        finished.assert_code(0);
        println!("{large} MiB: {from} {to}: {most} MiB of memory");
        assert!(most > 0 && most < BOUND, "{from} {to}: {most} MiB");
    }
    assert_eq!(engine.id("large/app:v1"), id);
    assert_eq!(validated(&sandbox, &engine, &registry("out")), id);
}
