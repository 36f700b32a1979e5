//! Every source with every destination and every kind of image: what arrives is whole, and has the digest it had.

use std::process::Command;

use serde_json::Value;

use super::image::{Image, Kind};
use super::validated;
use crate::peers::{peer, run};
use crate::support::{Sandbox, Server, digest};

/// Where images come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Registry,
    Layout,
    OciArchive,
    DockerArchive,
}

const ENDS: [End; 4] = [
    End::Registry,
    End::Layout,
    End::OciArchive,
    End::DockerArchive,
];

/// Whether an end can hold all of an image.
fn holds(end: End, kind: Kind) -> bool {
    match end {
        End::Registry | End::Layout => true,
        End::OciArchive => kind != Kind::WithReferrers,
        End::DockerArchive => kind.is_one_image(),
    }
}

struct Site {
    sandbox: Sandbox,
    server: Server,
}

impl Site {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let server = sandbox.serve();
        Self { sandbox, server }
    }

    /// The name of an image at an end.
    fn name(&self, end: End, name: &str) -> String {
        let name = name.to_lowercase();
        match end {
            End::Registry => format!("{}/matrix/{name}:v1", self.server.host()),
            End::Layout => format!("oci:{name}:v1"),
            End::OciArchive => format!("oci-archive:{name}.tar:v1"),
            End::DockerArchive => {
                format!("docker-archive:{name}.docker.tar:matrix.example/{name}:v1")
            }
        }
    }

    fn copy(&self, from: &str, to: &str) -> crate::support::Finished {
        let more = ["--referrers", "-o", "json"];
        self.sandbox
            .peak(["registry", "copy", from, to].iter().chain(&more))
    }

    #[track_caller]
    fn copied(&self, from: &str, to: &str) -> Value {
        let done = self.copy(from, to);
        done.assert_code(0);
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// Places an image at an end: where it can be done by hand, by hand.
    fn place(&self, image: &Image, kind: Kind, end: End) -> String {
        let name = format!("from-{kind:?}-{end:?}").to_lowercase();
        let place = self.name(end, &name);
        match end {
            End::Registry => image.push(self.server.host(), &format!("matrix/{name}"), "v1"),
            End::Layout => image.write_layout(&self.sandbox.path(&name), "v1"),
            End::OciArchive => {
                let folder = self.sandbox.path(&format!("{name}.folder"));
                image.write_layout(&folder, "v1");
                let file = std::fs::File::create(self.sandbox.path(&format!("{name}.tar")));
                let mut archive = tar::Builder::new(file.unwrap());
                archive.append_dir_all(".", &folder).unwrap();
                archive.finish().unwrap();
            }
            End::DockerArchive => {
                let by_hand = self.place(image, kind, End::Layout);
                self.copied(&by_hand, &place);
            }
        }
        place
    }

    /// What is there is all of the image.
    #[track_caller]
    fn check(&self, place: &str, image: &Image) {
        let seen = validated(place, &self.sandbox.path(""));
        assert_eq!(seen.root.digest.to_string(), image.digest(), "{place}");
        for referrer in image.referrers() {
            let (name, _) = place.rsplit_once(':').unwrap();
            validated(&format!("{name}@{referrer}"), &self.sandbox.path(""));
        }
    }

    /// The id of the image in a Docker archive.
    #[track_caller]
    fn docker_id(&self, place: &str) -> String {
        let seen = validated(place, &self.sandbox.path(""));
        let path = place.split(':').nth(1).unwrap();
        let file = std::fs::File::open(self.sandbox.path(path)).unwrap();
        let mut archive = tar::Archive::new(file);
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let manifest = entries.find(|entry| entry.path_bytes().as_ref() == b"manifest.json");
        let images: Value = serde_json::from_reader(manifest.unwrap()).unwrap();
        let config = images[0]["Config"].as_str().unwrap().to_owned();
        assert_eq!(seen.manifests, 1);
        let file = std::fs::File::open(self.sandbox.path(path)).unwrap();
        let mut archive = tar::Archive::new(file);
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let config = entries.find(|entry| entry.path_bytes().as_ref() == config.as_bytes());
        let mut content = Vec::new();
        std::io::copy(&mut config.unwrap(), &mut content).unwrap();
        digest(&content)
    }
}

fn matrix(kind: Kind) {
    let site = Site::new();
    let image = Image::of(kind);
    let mut from_docker: Option<Value> = None;
    for from in ENDS {
        // An archive that others made may hold what refers to its image.
        if from == End::DockerArchive && !holds(from, kind) {
            continue;
        }
        let source = site.place(&image, kind, from);
        for to in ENDS {
            let place = site.name(to, &format!("{from:?}-{to:?}"));
            let cell = format!("{kind:?}: {source} to {place}");
            if !holds(to, kind) {
                let refused = site.copy(&source, &place);
                assert_eq!(refused.code, Some(2), "{cell}: {}", refused.stderr);
                let path = place.split(':').nth(1).unwrap();
                assert!(!site.sandbox.path(path).exists(), "{cell}");
                continue;
            }
            let report = site.copied(&source, &place);
            if to == End::DockerArchive {
                assert_eq!(site.docker_id(&place), image.id(), "{cell}");
                continue;
            }
            if from == End::DockerArchive {
                // It holds no manifest; the one that is made of it is always the same.
                let seen = validated(&place, &site.sandbox.path(""));
                assert_eq!(report["digest"], seen.root.digest.to_string(), "{cell}");
                let before = from_docker.get_or_insert_with(|| report["digest"].clone());
                assert_eq!(report["digest"], *before, "{cell}");
                continue;
            }
            assert_eq!(report["digest"], image.digest(), "{cell}");
            assert_eq!(report["whole"], true, "{cell}");
            assert_eq!(report["referrers"], image.referrers().count(), "{cell}");
            site.check(&place, &image);
        }
    }
    site.sandbox.assert_no_leftovers();
}

#[test]
fn an_image_goes_from_everywhere_to_everywhere() {
    matrix(Kind::Oci);
}

#[test]
fn an_index_goes_from_everywhere_to_everywhere_but_docker_archives() {
    matrix(Kind::Index);
}

#[test]
fn a_schema_2_image_goes_from_everywhere_to_everywhere() {
    matrix(Kind::DockerSchema2);
}

#[test]
fn a_docker_manifest_list_goes_from_everywhere_to_everywhere_but_docker_archives() {
    matrix(Kind::DockerList);
}

#[test]
fn an_image_with_a_layer_under_sha512_goes_from_everywhere_to_everywhere() {
    matrix(Kind::Sha512);
}

#[test]
fn what_refers_to_an_image_goes_with_it_from_everywhere_to_registries_and_layouts() {
    matrix(Kind::WithReferrers);
}

#[test]
fn an_artifact_goes_from_everywhere_to_everywhere_but_docker_archives() {
    matrix(Kind::Artifact);
}

impl End {
    /// The name as skopeo takes it.
    fn for_skopeo(self, place: &str, sandbox: &Sandbox) -> String {
        match (self, place.split_once(':').unwrap()) {
            (Self::Registry, _) => format!("docker://{place}"),
            (_, (transport, path)) => format!("{transport}:{}", sandbox.path(path).display()),
        }
    }

    /// Whether skopeo reads an image there, and writes it without changing it. In layouts it knows OCI's types only.
    fn is_for_skopeo(self, kind: Kind) -> bool {
        match self {
            Self::Registry => true,
            Self::Layout | Self::OciArchive => {
                !matches!(kind, Kind::DockerSchema2 | Kind::DockerList)
            }
            Self::DockerArchive => kind.is_one_image(),
        }
    }
}

fn skopeo(arguments: &[&str]) -> String {
    run(Command::new("skopeo")
        .args(["--insecure-policy", "--override-os", "linux"])
        .args(["--override-arch", "amd64"])
        .args(arguments))
}

/// Lets skopeo read the image that is at a place, all of it.
#[track_caller]
fn read_by_skopeo(site: &Site, end: End, place: &str, image: &Image, name: &str) {
    let place = end.for_skopeo(place, &site.sandbox);
    let insecure = match end {
        End::Registry => "--tls-verify=false",
        _ => "--tls-verify=true",
    };
    if end == End::DockerArchive {
        let config = skopeo(&["inspect", "--config", "--raw", &place]);
        assert_eq!(digest(config.as_bytes()), image.id(), "{place}");
    } else {
        let raw = skopeo(&["inspect", "--raw", insecure, &place]);
        assert_eq!(digest(raw.as_bytes()), image.digest(), "{place}");
    }
    let folder = format!("dir:{}", site.sandbox.path(name).display());
    skopeo(&[
        "copy",
        "--all",
        insecure.replace("--", "--src-").as_str(),
        &place,
        &folder,
    ]);
}

#[test]
fn skopeo_reads_at_every_end_what_we_wrote_and_we_read_what_it_writes() {
    if !peer("skopeo") {
        return;
    }
    for kind in [
        Kind::Oci,
        Kind::Index,
        Kind::DockerSchema2,
        Kind::DockerList,
        Kind::Artifact,
    ] {
        let site = Site::new();
        let image = Image::of(kind);
        let by_hand = site.place(&image, kind, End::Layout);
        let mut ours = Vec::new();
        for end in ENDS.into_iter().filter(|end| holds(*end, kind)) {
            let place = site.name(end, &format!("ours-{end:?}"));
            site.copied(&by_hand, &place);
            if !end.is_for_skopeo(kind) {
                continue;
            }
            read_by_skopeo(&site, end, &place, &image, &format!("dir-{end:?}"));
            ours.push((end, place));
        }
        // Into each end from another one.
        for (number, to) in ENDS.into_iter().enumerate() {
            if !to.is_for_skopeo(kind) {
                continue;
            }
            let others: Vec<_> = ours
                .iter()
                .filter(|(end, _)| *end != End::DockerArchive)
                .collect();
            let (from, ours) = others[number % others.len()];
            let theirs = site.name(to, &format!("theirs-{to:?}"));
            let (source, destination) = (
                from.for_skopeo(ours, &site.sandbox),
                to.for_skopeo(&theirs, &site.sandbox),
            );
            let mut arguments = vec!["copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
            if to != End::DockerArchive {
                arguments.extend(["--all", "--preserve-digests"]);
            }
            arguments.extend([source.as_str(), &destination]);
            skopeo(&arguments);
            if to == End::DockerArchive {
                assert_eq!(site.docker_id(&theirs), image.id(), "{kind:?}: {theirs}");
            } else {
                site.check(&theirs, &image);
            }
        }
    }
}
