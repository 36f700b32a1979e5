//! Whole builds into a store on disk.

use std::io::{Cursor, Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use peak_oci::{Descriptor, ImageConfig, ImageManifest, Index, Manifest, MediaType, Platform, Raw};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const HOST: &str = "127.0.0.1:4321";

/// A store, and a place for the rest.
struct Bench {
    directory: tempfile::TempDir,
    store: Store,
}

/// A build to be run.
struct Attempt {
    files: Vec<(&'static str, Vec<u8>)>,
    dockerfile: DockerfileSource,
    context: Option<String>,
    arguments: Vec<(String, String)>,
    name: &'static str,
    limits: Limits,
}

impl Attempt {
    fn new(dockerfile: &str) -> Self {
        Self {
            files: vec![("Dockerfile", dockerfile.as_bytes().to_vec())],
            dockerfile: DockerfileSource::Path("Dockerfile".to_owned()),
            context: None,
            arguments: Vec::new(),
            name: "app",
            limits: Limits::default(),
        }
    }

    fn file(mut self, name: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        self.files.push((name, bytes.as_ref().to_vec()));
        self
    }

    fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    fn argument(mut self, name: &str, value: &str) -> Self {
        self.arguments.push((name.to_owned(), value.to_owned()));
        self
    }
}

struct Outcome {
    result: Result<BuiltImage, BuildError>,
    log: Vec<String>,
}

impl Outcome {
    fn error(&self) -> String {
        self.result.as_ref().unwrap_err().to_string()
    }

    fn built(&self) -> &BuiltImage {
        self.result
            .as_ref()
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.log))
    }
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("registry")).unwrap();
        Self { directory, store }
    }

    fn run(&self, attempt: &Attempt) -> Outcome {
        self.run_with(attempt, &AtomicBool::new(false), &mut |_| {})
    }

    fn run_with(
        &self,
        attempt: &Attempt,
        cancelled: &AtomicBool,
        watch: &mut dyn FnMut(&str),
    ) -> Outcome {
        let archive = self.directory.path().join("artifact.zip");
        fs::write(&archive, zip_of(&attempt.files)).unwrap();
        let scratch = self.directory.path().join("scratch");
        let request = BuildRequest {
            archive: Some(archive),
            dockerfile: attempt.dockerfile.clone(),
            context: attempt.context.clone(),
            build_arguments: attempt.arguments.clone(),
            repository: attempt.name.parse().unwrap(),
            tag: "1".parse().unwrap(),
            scratch: scratch.clone(),
            registry_hosts: vec![HOST.to_owned(), "localhost:4321".to_owned()],
            engine: None,
            limits: attempt.limits.clone(),
        };
        let mut log = Vec::new();
        let result = build(
            &request,
            &self.store,
            &mut |line| {
                watch(line);
                log.push(line.to_owned());
            },
            cancelled,
        );
        assert!(!scratch.exists(), "temporary files are left");
        Outcome { result, log }
    }

    fn manifest(&self, name: &str, built: &BuiltImage) -> ImageManifest {
        let raw = self
            .store
            .repository(&name.parse().unwrap())
            .manifest(&Selector::Tag("1".parse().unwrap()))
            .unwrap();
        assert_eq!(*raw.digest(), built.digest);
        match raw.into_value() {
            Manifest::Image(image) => image,
            other => panic!("{other:?}"),
        }
    }

    fn blob(&self, name: &str, descriptor: &Descriptor) -> Vec<u8> {
        let mut bytes = Vec::new();
        let blob = self
            .store
            .repository(&name.parse().unwrap())
            .blob(&descriptor.digest)
            .unwrap();
        blob.content.take(1 << 20).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, descriptor.size);
        bytes
    }

    fn config(&self, name: &str, built: &BuiltImage) -> ImageConfig {
        let manifest = self.manifest(name, built);
        ImageConfig::parse(self.blob(name, &manifest.config).into())
            .unwrap()
            .into_value()
    }

    /// The entries of each layer: path, then the content of files or the target of links.
    fn layers(&self, name: &str, built: &BuiltImage) -> Vec<Vec<(String, String)>> {
        let layers = self.manifest(name, built).layers;
        layers
            .iter()
            .map(|layer| entries(&self.blob(name, layer)))
            .collect()
    }

    fn layer_digests(&self, name: &str, built: &BuiltImage) -> Vec<Digest> {
        self.manifest(name, built)
            .layers
            .into_iter()
            .map(|layer| layer.digest)
            .collect()
    }

    /// Puts an index over manifests of a repository under its tag `1`.
    fn put_index(&self, name: &str, manifests: Vec<Descriptor>) {
        let raw = Index::new(manifests).to_raw().unwrap();
        let tag = Selector::Tag("1".parse().unwrap());
        self.store
            .repository(&name.parse().unwrap())
            .put_manifest(&tag, Some(raw.media_type().as_str()), raw.bytes().clone())
            .unwrap();
    }
}

fn zip_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().unix_permissions(0o644);
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn entries(layer: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(GzDecoder::new(layer));
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let mut text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some(target) = entry.link_name().unwrap() {
                target.to_str().unwrap().clone_into(&mut text);
            }
            (path, text)
        })
        .collect()
}

fn paths(layer: &[(String, String)]) -> Vec<&str> {
    layer.iter().map(|(path, _)| path.as_str()).collect()
}

fn site() -> Attempt {
    Attempt::new(
        "# A site\nFROM scratch\nARG ROOT=/srv\nLABEL a=\"b c\" d=e\nWORKDIR ${ROOT}\nCOPY site/assets/ assets/\nCOPY site/*.html ./\nENV SITE=${ROOT}\nEXPOSE 8080\nUSER 65532:65532\nCMD [\"serve\"]\n",
    )
    .file("site/assets/style.css", "body {}")
    .file("site/index.html", "<h1>hello</h1>")
}

#[test]
fn a_site_becomes_an_image() {
    let bench = Bench::new();
    let outcome = bench.run(&site());
    let built = outcome.built();
    let layers = bench.layers("app", built);
    assert_eq!(paths(&layers[0]), ["srv/"]);
    assert_eq!(
        paths(&layers[1]),
        ["srv/", "srv/assets/", "srv/assets/style.css"]
    );
    assert_eq!(
        layers[2][1],
        ("srv/index.html".to_owned(), "<h1>hello</h1>".to_owned())
    );

    let config = bench.config("app", built);
    assert_eq!(config.os, "linux");
    assert_eq!(config.created.as_deref(), Some("1970-01-01T00:00:00Z"));
    let container = config.config.unwrap();
    assert_eq!(container.working_dir.as_deref(), Some("/srv"));
    assert_eq!(container.user.as_deref(), Some("65532:65532"));
    assert_eq!(container.cmd.unwrap(), ["serve"]);
    assert!(
        container.env.contains(&"SITE=/srv".to_owned()),
        "{:?}",
        container.env
    );
    assert!(container.exposed_ports.contains("8080/tcp"));
    assert_eq!(container.labels["a"], "b c");
    let empty: Vec<bool> = config
        .history
        .iter()
        .map(|entry| entry.empty_layer)
        .collect();
    assert_eq!(
        empty,
        [true, true, false, false, false, true, true, true, true]
    );
    assert_eq!(
        config.history[3].created_by.as_deref(),
        Some("COPY site/assets/ assets/")
    );

    let manifest = bench.manifest("app", built);
    assert_eq!(manifest.media_type, MediaType::OCI_MANIFEST);
    assert_eq!(manifest.config.media_type, MediaType::OCI_CONFIG);
    for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        let mut plain = Vec::new();
        let bytes = bench.blob("app", layer);
        assert_eq!(
            bytes[3..10],
            [0, 0, 0, 0, 0, 0, 255],
            "flags, time, level, system"
        );
        GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(Digest::sha256_of(&plain), *diff_id);
    }
    let parts: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
    assert!(built.size > parts + manifest.config.size);

    let bytes: usize = site().files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(outcome.log[0], format!("unpacked 3 files, {bytes} B"));
    assert_eq!(outcome.log[1], "building with the embedded builder");
    assert_eq!(outcome.log[2], "[1/10] FROM scratch (line 2)");
    assert!(
        outcome
            .log
            .contains(&"[5/10] COPY site/assets/ assets/ (line 6)".to_owned())
    );
    assert!(
        outcome
            .log
            .iter()
            .any(|line| line.starts_with("layer sha256:"))
    );
    assert_eq!(
        *outcome.log.last().unwrap(),
        format!("pushed app:1 {}", built.digest)
    );
}

#[test]
fn a_single_file_is_not_files() {
    let outcome = Bench::new().run(&Attempt::new("FROM scratch\n"));
    assert_eq!(outcome.log[0], "unpacked 1 file, 13 B");
}

#[test]
fn the_same_input_gives_the_same_digests() {
    let (first, second) = (Bench::new(), Bench::new());
    let one = first.run(&site());
    assert_eq!(one.built(), second.run(&site()).built());
    assert_eq!(one.built(), first.run(&site()).built());
}

#[test]
fn a_layer_keeps_its_digest() {
    // Written down once, on linux/amd64, so that a change of the compressor or of the form shows, as does
    // a machine that compresses otherwise.
    let mut text = Vec::new();
    let mut state = 1_u32;
    for _ in 0..60_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let words: [&[u8]; 4] = [b"layer ", b"of ", b"an ", b"image\n"];
        text.extend_from_slice(words[(state >> 28) as usize % 4]);
        text.push(b'a' + u8::try_from(state >> 30).unwrap());
    }
    let bench = Bench::new();
    let outcome = bench.run(&Attempt::new("FROM scratch\nCOPY text /a/text\n").file("text", text));
    let digests = bench.layer_digests("app", outcome.built());
    assert_eq!(
        digests[0].as_str(),
        "sha256:169a422ef7e9e8c69e284d5b5da0a3a5c1fcab8b322501fb74982a51990a395a"
    );
}

#[test]
fn trees_that_grow_and_grow_are_refused() {
    let bench = Bench::new();
    let mut attempt =
        Attempt::new("FROM scratch\nCOPY a /1/\nCOPY a /2/\nCOPY a /3/\n").file("a", "x");
    assert!(bench.run(&attempt).result.is_ok());
    attempt.limits.tree_bytes = 600;
    let error = bench.run(&attempt).error();
    assert!(error.starts_with("Dockerfile line 4: COPY: "), "{error}");
    attempt = Attempt::new("FROM app:1\nCOPY a /4/\n")
        .file("a", "x")
        .named("other");
    attempt.limits.tree_bytes = 600;
    assert_eq!(bench.run(&attempt).error(), "could not read a layer");
}

#[test]
fn ranges_of_ports_that_go_on_and_on_are_refused() {
    let bench = Bench::new();
    let all = bench.run(&Attempt::new("FROM scratch\nEXPOSE 1-65535 1-65535\n"));
    let container = bench.config("app", all.built()).config.unwrap();
    assert_eq!(container.exposed_ports.len(), 65535);
    let again = "1-65535 ".repeat(300);
    let refused = bench.run(&Attempt::new(&format!("FROM scratch\nEXPOSE {again}\n")));
    assert!(refused.error().contains("more text than"));
}

#[test]
fn changing_one_file_changes_one_layer() {
    let bench = Bench::new();
    let before = bench.layer_digests("app", bench.run(&site()).built());
    let mut changed = site();
    changed.files[2].1 = b"<h1>other</h1>".to_vec();
    let after = bench.layer_digests("app", bench.run(&changed).built());
    assert_eq!(before[..2], after[..2]);
    assert_ne!(before[2], after[2]);
}

#[test]
fn a_failed_build_leaves_nothing_and_the_old_tag() {
    let bench = Bench::new();
    let run = Attempt::new("FROM scratch\nCOPY a /\n\nRUN make\n").file("a", "x");
    let error = bench.run(&run).error();
    assert!(error.starts_with("Dockerfile line 4: RUN: "), "{error}");
    assert!(error.contains("Docker Engine"), "{error}");
    let missing = Attempt::new("FROM scratch\nCOPY a /\nCOPY b /x/\n").file("a", "x");
    assert_eq!(
        bench.run(&missing).error(),
        "Dockerfile line 3: COPY: \"b\" is not in the artifact"
    );
    assert!(bench.store.repositories().unwrap().is_empty());

    let good = bench.run(&site());
    assert!(bench.run(&missing).result.is_err());
    bench.manifest("app", good.built());
}

#[test]
fn errors_say_what_and_where() {
    let bench = Bench::new();
    for (dockerfile, expected) in [
        (
            "FROM scratch\nFROB x\n",
            "Dockerfile line 2: unknown instruction 'FROB'",
        ),
        (
            "FROM scratch\nCOPY ../a /\n",
            "Dockerfile line 2: COPY: \"../a\" leaves the build's context; only files of the artifact can be copied",
        ),
        (
            "FROM scratch\nCOPY *.none /\n",
            "Dockerfile line 2: COPY: no file of the artifact matches *.none",
        ),
        (
            "FROM scratch\nADD https://example.com/x /\n",
            "Dockerfile line 2: ADD: \"https://example.com/x\" is an address; the embedded builder adds files of the artifact only, so download it into the artifact first",
        ),
        (
            "FROM scratch\nCOPY --chown=app a /\n",
            "Dockerfile line 2: COPY: \"app\" is not USER or USER:GROUP in numbers; names need a Docker Engine to look them up",
        ),
        (
            "FROM python:3.12\n",
            "Dockerfile line 1: FROM: the image python:3.12 is not in the embedded registry; build it there with `peak ship`, or start `peak local serve` and copy it to the address that it prints: `peak registry copy python:3.12 ADDRESS/python:3.12`",
        ),
        (
            "FROM quay.io/team/base:1\n",
            "Dockerfile line 1: FROM: the image quay.io/team/base:1 is in another registry; name it team/base:1 here, start `peak local serve` and copy it to the address that it prints: `peak registry copy quay.io/team/base:1 ADDRESS/team/base:1`",
        ),
        (
            "FROM UPPER\n",
            "Dockerfile line 1: FROM: \"UPPER\" is not the name of an image",
        ),
        (
            "FROM scratch\nCOPY --from=5 a /\n",
            "Dockerfile line 2: COPY: there is no earlier stage or image \"5\"",
        ),
        (
            "FROM scratch\nENV A=\"${B:?say B}\"\n",
            "Dockerfile line 2: ENV: the variable B is needed: say B",
        ),
    ] {
        let error = bench.run(&Attempt::new(dockerfile)).error();
        // What an Engine may be able to do says so; the system tests hold the words.
        let (said, _) = error
            .split_once("; this platform may use")
            .unwrap_or((&error, ""));
        assert_eq!(said, expected);
    }
    assert!(bench.store.repositories().unwrap().is_empty());
}

#[test]
fn dockerfiles_and_contexts_are_found() {
    let bench = Bench::new();
    let mut attempt = Attempt::new("FROM scratch\n")
        .file("deploy/Dockerfile.web", "FROM scratch\nCOPY page /\n")
        .file("src/page", "hi")
        .file("x.dockerfile", "");
    attempt.dockerfile = DockerfileSource::Path("./deploy/Dockerfile.web".to_owned());
    attempt.context = Some("./src/".to_owned());
    let outcome = bench.run(&attempt);
    assert_eq!(paths(&bench.layers("app", outcome.built())[0]), ["page"]);

    attempt.dockerfile = DockerfileSource::Path("web/Dockerfile".to_owned());
    assert_eq!(
        bench.run(&attempt).error(),
        "there is no Dockerfile at \"web/Dockerfile\" in the artifact; it has Dockerfile, deploy/Dockerfile.web, x.dockerfile"
    );
    attempt.dockerfile = DockerfileSource::Text("FROM scratch\nCOPY page /other\n".to_owned());
    let outcome = bench.run(&attempt);
    assert_eq!(paths(&bench.layers("app", outcome.built())[0]), ["other"]);
    for context in ["nowhere", "../x", "src/page"] {
        attempt.context = Some(context.to_owned());
        assert!(
            bench.run(&attempt).error().starts_with("the context "),
            "{context}"
        );
    }
}

#[test]
fn build_arguments_work_and_are_never_shown() {
    let bench = Bench::new();
    let attempt = Attempt::new(
        "ARG BASE=scratch\nFROM ${BASE}\nARG BASE\nARG TOKEN\nARG COLOR=red\nENV C=${COLOR} B=$BASE\nCOPY a /${TOKEN}/\nCOPY $TOKEN /x\n",
    )
    .file("a", "x")
    .argument("TOKEN", "first")
    .argument("TOKEN", "hush-hush")
    .argument("UNUSED", "hush-hush");
    let outcome = bench.run(&attempt);
    let error = outcome.error();
    assert_eq!(
        error,
        "Dockerfile line 8: COPY: \"$TOKEN\" is not in the artifact"
    );
    assert!(!outcome.log.concat().contains("hush"), "{:?}", outcome.log);

    let attempt = Attempt::new("FROM scratch\nARG TOKEN\nCOPY a /$TOKEN\nCOPY a /$TOKEN/x\n")
        .file("a", "x")
        .argument("TOKEN", "hush-hush");
    let error = bench.run(&attempt).error();
    assert!(
        error.contains("$TOKEN") && !error.contains("hush"),
        "{error}"
    );

    let attempt = Attempt::new(
        "ARG BASE=scratch\nFROM ${BASE}\nARG BASE\nARG COLOR=red\nENV C=${COLOR} B=$BASE\nARG C=arg\nLABEL c=$C\n",
    )
    .argument("COLOR", "blue")
    .argument("UNUSED", "hush-hush");
    let outcome = bench.run(&attempt);
    let config = bench.config("app", outcome.built());
    let container = config.config.unwrap();
    assert_eq!(container.env[1..], ["C=blue", "B=scratch"]);
    assert_eq!(container.labels["c"], "blue", "ENV wins over ARG");
    assert!(
        outcome
            .log
            .contains(&"warning: no ARG asks for the build arguments UNUSED".to_owned())
    );
    assert!(!format!("{:?}", config.history).contains("blue"));
}

#[test]
fn an_image_is_built_upon_another() {
    let bench = Bench::new();
    let base = Attempt::new(
        "FROM scratch\nWORKDIR /usr/lib\nADD links.tar.gz /\nENV A=1\nCMD [\"old\"]\nLABEL from=base\n",
    )
    .file("links.tar.gz", gzip(&tar_with_link("lib", "usr/lib")))
    .named("team/base");
    let base_built = bench.run(&base);
    let base_layers = bench.layer_digests("team/base", base_built.built());

    for name in ["team/base:1", "localhost:4321/team/base:1"] {
        let child = Attempt::new(&format!(
            "FROM {name}\nCOPY a /lib/\nENV A=${{A}}2\nENTRYPOINT [\"new\"]\n"
        ))
        .file("a", "x");
        let outcome = bench.run(&child);
        let digests = bench.layer_digests("app", outcome.built());
        assert_eq!(digests[..2], base_layers);
        let layers = bench.layers("app", outcome.built());
        assert_eq!(
            paths(&layers[2]),
            ["usr/", "usr/lib/", "usr/lib/a"],
            "through the link"
        );
        let container = bench.config("app", outcome.built()).config.unwrap();
        assert!(container.env.contains(&"A=12".to_owned()));
        assert_eq!((container.cmd, container.labels.len()), (None, 1));
    }

    let reset = bench.run(&Attempt::new(
        "FROM app:1\nENTRYPOINT []\nCMD [\"other\"]\n",
    ));
    let container = bench.config("app", reset.built()).config.unwrap();
    assert_eq!(
        (container.entrypoint, container.cmd),
        (Some(Vec::new()), Some(vec!["other".to_owned()]))
    );

    let digest = &base_built.built().digest;
    let by_digest = bench.run(&Attempt::new(&format!("FROM team/base@{digest}\nUSER 1\n")));
    assert_eq!(bench.layer_digests("app", by_digest.built()), base_layers);
}

#[test]
fn an_index_gives_the_image_of_the_platform() {
    let bench = Bench::new();
    let arm =
        bench.run(&Attempt::new("FROM --platform=linux/arm64 scratch\nENV P=arm\n").named("multi"));
    let power = bench
        .run(&Attempt::new("FROM --platform=linux/ppc64le scratch\nENV P=power\n").named("multi"));
    let child = |built: &BuiltImage, architecture: &str| {
        let digest = Selector::Digest(built.digest.clone());
        let raw = bench
            .store
            .repository(&"multi".parse().unwrap())
            .manifest(&digest)
            .unwrap();
        raw.descriptor()
            .with_platform(Platform::new("linux", architecture))
    };
    let children = vec![child(arm.built(), "arm64"), child(power.built(), "ppc64le")];
    bench.put_index("multi", children);
    let outcome = bench.run(&Attempt::new(
        "FROM --platform=linux/ppc64le multi:1\nENV Q=$P\n",
    ));
    let config = bench.config("app", outcome.built());
    assert_eq!(config.architecture, "ppc64le");
    assert!(config.config.unwrap().env.contains(&"Q=power".to_owned()));
    let error = bench
        .run(&Attempt::new("FROM --platform=linux/s390x multi:1\n"))
        .error();
    assert!(
        error.contains("it has linux/arm64, linux/ppc64le"),
        "{error}"
    );
}

#[test]
fn an_image_of_docker_can_be_the_base() {
    let bench = Bench::new();
    let base = bench.run(
        &Attempt::new("FROM scratch\nCOPY a /a\n")
            .file("a", "x")
            .named("old"),
    );
    let mut manifest = bench.manifest("old", base.built());
    manifest.media_type = MediaType::DOCKER_MANIFEST;
    manifest.config.media_type = MediaType::DOCKER_CONFIG;
    manifest.layers[0].media_type = MediaType::DOCKER_LAYER_GZIP;
    let raw: Raw<Manifest> = manifest.to_raw().unwrap();
    bench
        .store
        .repository(&"old".parse().unwrap())
        .put_manifest(
            &Selector::Tag("docker".parse().unwrap()),
            Some(raw.media_type().as_str()),
            raw.bytes().clone(),
        )
        .unwrap();
    let outcome = bench.run(&Attempt::new("FROM old:docker\nCOPY b /\n").file("b", "y"));
    let manifest = bench.manifest("app", outcome.built());
    assert!(
        manifest
            .layers
            .iter()
            .all(|layer| layer.media_type == MediaType::OCI_LAYER_GZIP)
    );
    assert_eq!(manifest.layers.len(), 2);
}

#[test]
fn stages_are_copied_from_and_those_not_needed_are_left_out() {
    let bench = Bench::new();
    bench.run(
        &Attempt::new("FROM scratch\nCOPY a /from/image/\n")
            .file("a", "image")
            .named("other"),
    );
    let attempt = Attempt::new(
        "FROM scratch AS unused\nRUN make\nFROM scratch AS Build\nWORKDIR /out\nCOPY --chown=5 a b ./\nFROM scratch AS base\nENV FROM_BASE=yes\nCOPY a /base\nFROM base\nCOPY --from=build /out /app\nCOPY --from=1 /out/b /\nCOPY --from=other:1 /from/image/* /img/\nLABEL l=$FROM_BASE\n",
    )
    .file("a", "1")
    .file("b", "2");
    let outcome = bench.run(&attempt);
    let layers = bench.layers("app", outcome.built());
    assert_eq!(layers.len(), 4);
    assert_eq!(paths(&layers[0]), ["base"]);
    assert_eq!(paths(&layers[1]), ["app/", "app/a", "app/b"]);
    assert_eq!(layers[2], [("b".to_owned(), "2".to_owned())]);
    assert_eq!(layers[3][1], ("img/a".to_owned(), "image".to_owned()));
    let container = bench.config("app", outcome.built()).config.unwrap();
    assert_eq!(container.labels["l"], "yes");
    assert!(!outcome.log.concat().contains("RUN"));

    let needed = Attempt::new("FROM scratch AS a\nRUN make\nFROM a\n");
    assert!(
        bench
            .run(&needed)
            .error()
            .starts_with("Dockerfile line 2: RUN: ")
    );
}

fn tar_with_link(name: &str, target: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_link(&mut header, name, target).unwrap();
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn add_extracts_archives_and_copies_the_rest() {
    let bench = Bench::new();
    let attempt =
        Attempt::new("FROM scratch\nADD a.tar b.tar.gz plain.gz a.txt /x/\nCOPY a.tar /kept\n")
            .file("a.tar", tar_with_link("one", "target"))
            .file("b.tar.gz", gzip(&tar_with_link("deep/two", "/absolute")))
            .file("plain.gz", gzip(b"text"))
            .file("a.txt", "text");
    let outcome = bench.run(&attempt);
    let layers = bench.layers("app", outcome.built());
    let expected = [
        "x/",
        "x/a.txt",
        "x/deep/",
        "x/deep/two",
        "x/one",
        "x/plain.gz",
    ];
    let mut archive_entries = layers[0].clone();
    archive_entries.truncate(5);
    assert_eq!(paths(&archive_entries), expected[..5]);
    assert_eq!(layers[0][3].1, "/absolute");
    assert_eq!(paths(&layers[1]), ["kept"]);

    let foreign: [(&str, &[u8]); 2] = [("xz", b"\xfd7zXZ\0..."), ("zstd", b"\x28\xb5\x2f\xfd...")];
    for (format, head) in foreign {
        let bad = Attempt::new("FROM scratch\nADD a.tar.any /\n").file("a.tar.any", head);
        let expected = format!("compressed with {format}");
        assert!(bench.run(&bad).error().contains(&expected), "{format}");
    }
    let mut broken = gzip(&tar_with_link("one", "target"));
    broken.truncate(broken.len() - 4);
    let bad = Attempt::new("FROM scratch\nADD a.tgz /\n").file("a.tgz", broken);
    assert!(bench.run(&bad).error().contains("cannot be extracted"));
}

#[test]
fn stopping_ends_the_build_with_nothing_visible() {
    let bench = Bench::new();
    let cancelled = AtomicBool::new(false);
    let outcome = bench.run_with(&site(), &cancelled, &mut |line| {
        if line.contains("COPY site/*.html") {
            cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    assert!(matches!(outcome.result, Err(BuildError::Cancelled)));
    assert!(bench.store.repositories().unwrap().is_empty());
    let unfinished = bench.store.directory().unwrap().join("temporary");
    assert_eq!(fs::read_dir(unfinished).unwrap().count(), 0);
}

#[test]
fn metadata_of_all_kinds() {
    let bench = Bench::new();
    let attempt = Attempt::new(
        "FROM scratch\nMAINTAINER somebody\nSHELL [\"/bin/bash\", \"-c\"]\nSTOPSIGNAL SIGINT\nVOLUME /data \"/more\"\nHEALTHCHECK --retries=2 CMD ping\nCMD echo hi\nCOPY --chmod=0755 a /bin/\n",
    )
    .file("a", "x");
    let outcome = bench.run(&attempt);
    let config = bench.config("app", outcome.built());
    assert_eq!(config.author.as_deref(), Some("somebody"));
    let container = config.config.unwrap();
    assert_eq!(container.cmd.unwrap(), ["/bin/bash", "-c", "echo hi"]);
    assert_eq!(container.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(
        container.volumes.iter().collect::<Vec<_>>(),
        ["/data", "/more"]
    );
    assert_eq!(
        container.unknown.get("Healthcheck").unwrap(),
        r#"{"Retries":2,"Test":["CMD-SHELL","ping"]}"#
    );
    let manifest = bench.manifest("app", outcome.built());
    let bytes = bench.blob("app", &manifest.layers[0]);
    let mut archive = tar::Archive::new(GzDecoder::new(bytes.as_slice()));
    let modes: Vec<u32> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().header().mode().unwrap())
        .collect();
    assert_eq!(modes, [0o755, 0o755]);
}

#[test]
fn sizes_for_people() {
    for (bytes, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1234, "1.2 kB"),
        (999_999, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (5_250_000_000, "5.2 GB"),
        (u64::MAX, "18446744.0 TB"),
    ] {
        assert_eq!(human_size(bytes), text);
    }
}
