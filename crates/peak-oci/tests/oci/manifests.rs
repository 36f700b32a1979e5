//! Every kind of manifest. The files in `fixtures` were made by skopeo 1.9.3 and Debian's docker-registry 2.8.2, and the
//! digests are those that the registry said.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use peak_oci::{
    Algorithm, ArtifactManifest, Descriptor, Digest, ImageConfig, ImageManifest, Index, Manifest,
    ManifestError, MediaType, Mixing, Platform, Raw, VerifyError,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const SIGNED: &[u8] = include_bytes!("fixtures/schema1-signed.json");
const SIGNED_INDENTED: &[u8] = include_bytes!("fixtures/schema1-signed-indented.json");
const SCHEMA2: &[u8] = include_bytes!("fixtures/schema2.json");
const LIST: &[u8] = include_bytes!("fixtures/manifest-list.json");
const OCI: &[u8] = include_bytes!("fixtures/oci-manifest.json");
const CONFIG: &[u8] = include_bytes!("fixtures/config.json");

const SIGNED_DIGEST: &str =
    "sha256:6ae028f26fc2ed45fbad7716982af95475fe89e0cd3c3483a3cb6537e4b3fdce";

fn read(bytes: &[u8], content_type: Option<&str>) -> Result<Raw<Manifest>, ManifestError> {
    Manifest::parse(Bytes::copy_from_slice(bytes), content_type)
}

/// The signed part of [`SIGNED`].
fn unsigned() -> Vec<u8> {
    read(SIGNED, None).unwrap().payload().to_vec()
}

/// A schema 1 manifest with these protected headers as signatures, put behind `head` as signers do.
fn signed_with(head: &str, headers: &[&str]) -> String {
    let signatures: Vec<_> = headers
        .iter()
        .map(|header| {
            json!({
                "header": {"alg": "ES256", "jwk": {"kid": "KEY"}},
                "signature": "c2ln",
                "protected": URL_SAFE_NO_PAD.encode(header),
            })
        })
        .collect();
    format!("{head},\"signatures\":{}}}", Value::from(signatures))
}

fn complaint(text: &str) -> String {
    read(text.as_bytes(), None).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn real_manifests_have_the_digest_and_the_type_that_a_registry_says() {
    for (bytes, media_type, digest) in [
        (SIGNED, MediaType::DOCKER_MANIFEST_V1_SIGNED, SIGNED_DIGEST),
        (
            SIGNED_INDENTED,
            MediaType::DOCKER_MANIFEST_V1_SIGNED,
            "sha256:105b8d0e1da3603ca4e8b6a9b21528f9b1238aa6193f959b6bc55c12e0319e5b",
        ),
        (
            SCHEMA2,
            MediaType::DOCKER_MANIFEST,
            "sha256:538af7a5f18326f00cc22072eeb6d337c1768bcf02932d9a8e801b4d2ba7daae",
        ),
        (
            LIST,
            MediaType::DOCKER_MANIFEST_LIST,
            "sha256:191189a3fad15a1ce80783023b94db4798c197e2e8e6bec8fe3622983db72a51",
        ),
        (
            OCI,
            MediaType::OCI_MANIFEST,
            "sha256:9c222f1d46e2da65efc03775f2118692771a2d6a2f732656f2092337eabc4421",
        ),
    ] {
        let said = format!("{media_type}; charset=utf-8");
        for content_type in [None, Some(said.as_str()), Some("text/plain"), Some("")] {
            let raw = read(bytes, content_type).unwrap();
            assert_eq!(*raw.media_type(), media_type);
            assert_eq!(raw.digest().as_str(), digest);
            assert_eq!(raw.bytes().as_ref(), bytes);
            assert_eq!(raw.size(), bytes.len() as u64);
            assert_eq!(raw.descriptor().digest.as_str(), digest);
            let digest: Digest = digest.parse().unwrap();
            assert_eq!(*raw.verify(&digest).unwrap().digest(), digest);
        }
    }
}

#[test]
fn a_schema_1_manifest_is_read() {
    for bytes in [SIGNED, SIGNED_INDENTED] {
        let raw = read(bytes, None).unwrap();
        let manifest = raw.value().as_schema1().unwrap();
        assert_eq!(manifest.name.as_deref(), Some("app"));
        assert_eq!(manifest.architecture.as_deref(), Some("amd64"));
        assert_eq!(manifest.layers.len(), 4);
        let signature = &manifest.signatures[0];
        assert_eq!(signature.algorithm.as_deref(), Some("ES256"));
        assert!(signature.key_id.as_deref().unwrap().starts_with("WCRU:"));

        let top = manifest.v1_compatibility(0).unwrap().unwrap();
        assert_eq!(top.os.as_deref(), Some("linux"));
        assert_eq!(top.config.unwrap().env, ["PATH=/bin"]);
        assert!(top.throwaway);
        assert_eq!(manifest.v1_compatibility(4).unwrap(), None);
        let history = manifest.history().unwrap();
        let steps: Vec<_> = history
            .iter()
            .map(|step| (step.created_by.as_deref(), step.empty_layer))
            .collect();
        assert_eq!(
            steps,
            [
                (Some("ADD a"), false),
                (Some("ENV PATH=/bin"), true),
                (Some("ADD b"), false),
                (None, true)
            ]
        );
        // The layers that hold something are those of the same image in schema 2, which has the base first.
        let schema2 = read(SCHEMA2, None).unwrap();
        let expected: Vec<_> = schema2
            .value()
            .as_image()
            .unwrap()
            .layers
            .iter()
            .map(|layer| &layer.digest)
            .collect();
        let found: Vec<_> = manifest
            .layers
            .iter()
            .rev()
            .zip(&history)
            .filter(|(_, step)| !step.empty_layer)
            .map(|(layer, _)| &layer.digest)
            .collect();
        assert_eq!(found, expected);
        assert!(raw.value().children().is_empty());
        assert_eq!(raw.value().subject(), None);
        assert!(raw.value().annotations().is_empty());
    }
}

#[test]
fn an_unsigned_one_is_its_bytes() {
    let bytes = unsigned();
    assert_eq!(Digest::sha256_of(&bytes).as_str(), SIGNED_DIGEST);
    for content_type in [
        None,
        Some("text/plain"),
        Some(MediaType::DOCKER_MANIFEST_V1.as_str()),
        // What signs it is seen in it, whatever a registry says.
        Some(MediaType::DOCKER_MANIFEST_V1_SIGNED.as_str()),
    ] {
        let raw = read(&bytes, content_type).unwrap();
        assert_eq!(*raw.media_type(), MediaType::DOCKER_MANIFEST_V1);
        assert_eq!(raw.digest().as_str(), SIGNED_DIGEST);
        assert_eq!(raw.payload(), raw.bytes());
    }
    let raw = read(SIGNED, Some(MediaType::DOCKER_MANIFEST_V1.as_str())).unwrap();
    assert_eq!(*raw.media_type(), MediaType::DOCKER_MANIFEST_V1_SIGNED);
    // The type that is signed may be that of the unsigned form.
    let typed = String::from_utf8(bytes).unwrap().replacen(
        '{',
        &format!("{{\"mediaType\":\"{}\",", MediaType::DOCKER_MANIFEST_V1),
        1,
    );
    assert!(
        read(
            typed.as_bytes(),
            Some(MediaType::DOCKER_MANIFEST_V1_SIGNED.as_str())
        )
        .is_ok()
    );
    assert!(matches!(
        read(typed.as_bytes(), Some(MediaType::DOCKER_MANIFEST.as_str())),
        Err(ManifestError::Contradiction { .. })
    ));
}

#[test]
fn a_signed_one_is_verified_by_what_was_signed_or_by_all_of_it() {
    let raw = read(SIGNED, None).unwrap();
    for digest in [
        Digest::of(Algorithm::Sha512, &unsigned()),
        Digest::sha256_of(SIGNED),
        Digest::of(Algorithm::Sha512, SIGNED),
    ] {
        assert_eq!(*raw.clone().verify(&digest).unwrap().digest(), digest);
    }
    let other = Digest::sha256_of(b"other");
    assert_eq!(
        raw.clone().verify(&other),
        Err(VerifyError::Digest {
            expected: other,
            actual: raw.digest().clone()
        })
    );
}

#[test]
fn all_signatures_are_for_the_same_text_and_that_says_it_all() {
    let text = String::from_utf8(unsigned()).unwrap();
    let head = text.strip_suffix('}').unwrap();
    let header = format!(
        "{{\"formatLength\":{},\"formatTail\":\"fQ\",\"time\":\"2026\"}}",
        head.len()
    );
    let both = signed_with(head, &[&header, &header.replace("2026", "2027")]);
    let raw = read(both.as_bytes(), None).unwrap();
    assert_eq!(raw.digest().as_str(), SIGNED_DIGEST);
    assert_eq!(raw.value().as_schema1().unwrap().signatures.len(), 2);

    // With the padding that the standard leaves out, as some signers do it.
    let padded = signed_with(head, &[&header.replace("fQ", "fQ==")]);
    assert!(read(padded.as_bytes(), None).is_ok());

    for (headers, expected) in [
        (
            vec![header.clone(), header.replace("fQ", "Cn0")],
            "$.signatures[1].protected: the protected header cannot be used: it is for another text",
        ),
        (vec!["{".to_owned()], "$.signatures[0].protected: "),
        (
            vec!["{\"formatTail\":\"fQ\"}".to_owned()],
            ".formatLength: this member is missing",
        ),
        (
            vec![header.replace("fQ", "%")],
            ".formatTail: not base64url",
        ),
        (
            vec!["{\"formatLength\":100000,\"formatTail\":\"fQ\"}".to_owned()],
            "$.signatures: the signed part is 100000 bytes long",
        ),
        (
            vec![format!(
                "{{\"formatLength\":{},\"formatTail\":\"fQ\"}}",
                u64::MAX
            )],
            "$.signatures: the signed part is",
        ),
        (
            vec!["{\"formatLength\":10,\"formatTail\":\"fQ\"}".to_owned()],
            "$.signatures: the signed part is no manifest",
        ),
        (
            vec!["{\"formatLength\":-1,\"formatTail\":\"fQ\"}".to_owned()],
            ".formatLength: expected a whole number",
        ),
    ] {
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let text = complaint(&signed_with(head, &headers));
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // What is added behind the signed part would be believed under the digest of what was signed.
    let added = both.replacen(",\"signatures\"", ",\"os\":\"evil\",\"signatures\"", 1);
    assert!(complaint(&added).contains("says something else than the whole document"));
    // What is changed in it changes the digest.
    let changed = both.replacen("\"tag\":\"v2s1\"", "\"tag\":\"v2s9\"", 1);
    assert_ne!(
        read(changed.as_bytes(), None).unwrap().digest().as_str(),
        SIGNED_DIGEST
    );
}

#[test]
fn what_is_wrong_in_schema_1_is_said_with_its_place() {
    let document: Value = serde_json::from_slice(&unsigned()).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut document = document.clone();
        *document.pointer_mut(pointer).unwrap() = value;
        document.to_string()
    };
    let parsed = |text: &str| read(text.as_bytes(), Some("text/plain"));
    assert!(
        complaint(&with("/fsLayers/1/blobSum", json!("md5:00")))
            .contains("$.fsLayers[1].blobSum: the digest algorithm `md5`")
    );
    assert!(complaint(&with("/history", json!([]))).contains(
        "$.history: expected one entry for each of the 4 entries of `fsLayers`, found 0"
    ));
    assert!(
        complaint(&with("/schemaVersion", json!(2)))
            .contains("$.schemaVersion: expected the version 1, found 2")
    );
    assert!(complaint(&with("/fsLayers", json!(null))).contains("$.history: "));
    assert!(complaint("{\"schemaVersion\":1}").contains("$.fsLayers: this member is missing"));
    assert!(matches!(
        read(
            b"{\"schemaVersion\":1,\"fsLayers\":[],\"history\":[],\"layers\":[]}",
            Some(MediaType::DOCKER_MANIFEST_V1.as_str())
        ),
        Err(ManifestError::Ambiguous {
            member: "layers",
            ..
        })
    ));
    // The text in the history is only looked at when it is asked for, and bounded then as everything is.
    for (text, expected) in [
        (
            "{".to_owned(),
            "$.history[2].v1Compatibility: line 1, column 2",
        ),
        (
            "{\"throwaway\":1}".to_owned(),
            "$.history[2].v1Compatibility: $.throwaway: expected a boolean",
        ),
        ("[".repeat(1000), "nested deeper than 32 levels"),
    ] {
        let raw = parsed(&with("/history/2/v1Compatibility", json!(text))).unwrap();
        let manifest = raw.value().as_schema1().unwrap();
        assert!(manifest.v1_compatibility(0).is_ok());
        let error = manifest.v1_compatibility(2).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(manifest.history().is_err());
    }
}

#[test]
fn an_artifact_manifest_is_read_and_written() {
    let artifact_type: MediaType = "application/vnd.example.sbom".parse().unwrap();
    let mut artifact = ArtifactManifest::new(
        artifact_type.clone(),
        vec![Descriptor::of("text/plain".parse().unwrap(), b"sbom")],
    );
    artifact.subject = Some(Descriptor::of(MediaType::OCI_MANIFEST, OCI));
    artifact.annotations.insert("a".to_owned(), "b".to_owned());
    artifact.unknown.set("x", "{\"y\":1.0}").unwrap();
    let raw = artifact.to_raw().unwrap();
    assert_eq!(raw.value().as_artifact(), Some(&artifact));
    assert_eq!(raw.value().artifact_type(), Some(&artifact_type));
    assert_eq!(raw.value().children(), [&artifact.blobs[0]]);
    assert_eq!(raw.value().subject(), artifact.subject.as_ref());
    assert_eq!(raw.value().annotations(), &artifact.annotations);
    let text = std::str::from_utf8(raw.bytes()).unwrap();
    assert!(
        text.starts_with(
            "{\"mediaType\":\"application/vnd.oci.artifact.manifest.v1+json\",\"artifactType\":"
        ) && text.ends_with("\"x\":{\"y\":1.0}}"),
        "{text}"
    );
    let form = serde_json::to_string(&artifact).unwrap();
    assert_eq!(
        serde_json::from_str::<ArtifactManifest>(&form)
            .unwrap()
            .blobs,
        artifact.blobs
    );

    // Without a type anywhere, the blobs tell.
    let nameless = json!({"blobs": [], "artifactType": artifact_type.as_str()}).to_string();
    assert_eq!(
        *read(nameless.as_bytes(), None).unwrap().media_type(),
        MediaType::OCI_ARTIFACT_MANIFEST
    );
    let both = json!({"blobs": [], "manifests": []}).to_string();
    assert!(matches!(
        read(
            both.as_bytes(),
            Some(MediaType::OCI_ARTIFACT_MANIFEST.as_str())
        ),
        Err(ManifestError::Ambiguous {
            member: "manifests",
            ..
        })
    ));
    let error = serde_json::from_str::<Index>(&form)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("expected an index, found an artifact manifest"),
        "{error}"
    );
}

#[test]
fn the_preferred_type_comes_first() {
    let types: Vec<_> = MediaType::MANIFESTS
        .iter()
        .map(|media_type| {
            assert!(media_type.is_manifest());
            media_type
                .as_str()
                .split('.')
                .skip(1)
                .collect::<Vec<_>>()
                .join(".")
        })
        .collect();
    assert_eq!(
        types,
        [
            "docker.distribution.manifest.list.v2+json",
            "docker.distribution.manifest.v2+json",
            "oci.image.index.v1+json",
            "oci.image.manifest.v1+json",
            "oci.artifact.manifest.v1+json",
            "docker.distribution.manifest.v1+prettyjws",
            "docker.distribution.manifest.v1+json",
        ]
    );
    assert!(!MediaType::OCI_CONFIG.is_manifest());
}

#[test]
fn editing_keeps_what_it_does_not_know_at_every_level() {
    // The list has `features` in its platform, which is none of the members that are known.
    let raw = read(LIST, None).unwrap();
    let mut index = raw.value().as_index().unwrap().clone();
    index
        .annotations
        .insert("edited".to_owned(), "yes".to_owned());
    let edited = index.to_raw().unwrap();
    let mut expected: Value = serde_json::from_slice(LIST).unwrap();
    expected["annotations"] = json!({"edited": "yes"});
    assert_eq!(
        serde_json::from_slice::<Value>(edited.bytes()).unwrap(),
        expected
    );
    assert_eq!(*edited.media_type(), MediaType::DOCKER_MANIFEST_LIST);
    assert_eq!(*edited.digest(), Digest::sha256_of(edited.bytes()));
    assert_ne!(edited.digest(), raw.digest());

    let mut document: Value = serde_json::from_slice(SCHEMA2).unwrap();
    document["x"] = json!([1]);
    document["config"]["y"] = json!({"z": null});
    document["layers"][1]["z"] = json!("kept");
    let raw = read(document.to_string().as_bytes(), None).unwrap();
    let mut image = raw.value().as_image().unwrap().clone();
    let subject = Descriptor::of(MediaType::OCI_MANIFEST, OCI);
    image.subject = Some(subject.clone());
    let edited = image.to_raw().unwrap();
    document["subject"] = serde_json::to_value(&subject).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(edited.bytes()).unwrap(),
        document
    );
}

#[test]
fn every_kind_but_schema_1_can_be_annotated() {
    let artifact = ArtifactManifest::new("application/x.y".parse().unwrap(), vec![])
        .to_raw()
        .unwrap();
    for bytes in [SCHEMA2, LIST, OCI, artifact.bytes().as_ref()] {
        let raw = read(bytes, None).unwrap();
        let mut manifest = raw.value().clone();
        let annotations = manifest.annotations_mut().unwrap();
        annotations.insert("a".to_owned(), "b".to_owned());
        let subject = Descriptor::of(MediaType::OCI_MANIFEST, OCI);
        *manifest.subject_mut().unwrap() = Some(subject.clone());
        let edited = manifest.to_raw().unwrap();
        assert_eq!(edited.value(), &manifest);
        assert_eq!(edited.value().annotations()["a"], "b");
        assert_eq!(edited.value().subject(), Some(&subject));
        assert_eq!(edited.media_type(), raw.media_type());
        assert_ne!(edited.digest(), raw.digest());
    }
    let mut old = read(SIGNED, None).unwrap().into_value();
    assert_eq!(old.annotations_mut(), None);
    assert_eq!(old.subject_mut(), None);
    assert!(matches!(
        old.to_raw(),
        Err(ManifestError::Unsupported { .. })
    ));
}

#[test]
fn members_that_only_others_would_see_are_refused() {
    let document: Value = serde_json::from_slice(OCI).unwrap();
    let with = |pointer: &str, name: &str| {
        let mut document = document.clone();
        document.pointer_mut(pointer).unwrap()[name] = json!(null);
        complaint(&document.to_string())
    };
    for (pointer, name, place) in [
        (
            "",
            "Layers",
            "$.Layers: some readers would take this member for `layers`",
        ),
        ("", "SUBJECT", "$.SUBJECT: "),
        ("", "MediaType", "$.MediaType: "),
        ("", "Manifests", "may not have the member `manifests`"),
        ("/layers/1", "Digest", "$.layers[1].Digest: "),
    ] {
        let text = with(pointer, name);
        assert!(text.contains(place), "{place}: {text}");
    }
    assert_eq!(with("", "Other"), "accepted");
}

#[test]
fn every_layer_has_its_step() {
    let config = ImageConfig::parse(Bytes::from_static(CONFIG))
        .unwrap()
        .into_value();
    let steps = config.steps().unwrap();
    let shown: Vec<_> = steps
        .iter()
        .map(|step| (step.history.created_by.as_deref().unwrap(), step.layer))
        .collect();
    assert_eq!(
        shown,
        [
            ("ADD a", Some(0)),
            ("ENV PATH=/bin", None),
            ("ADD b", Some(1)),
            ("CMD /a", None)
        ]
    );
    assert_eq!(steps[2].diff_id, config.rootfs.diff_ids.get(1));
    for change in [
        |config: &mut ImageConfig| {
            config.history.remove(0);
        },
        |config: &mut ImageConfig| {
            config.rootfs.diff_ids.pop();
        },
    ] {
        let mut config = config.clone();
        change(&mut config);
        assert_eq!(config.steps(), None);
    }
}

#[test]
fn lists_are_bounded() {
    let layer = serde_json::to_value(Descriptor::of(MediaType::OCI_LAYER, b"x")).unwrap();
    let mut document: Value = serde_json::from_slice(OCI).unwrap();
    document["layers"] = vec![layer; 10_001].into();
    let text = complaint(&document.to_string());
    assert!(
        text.contains("$.layers: expected at most 10000 entries, found 10001"),
        "{text}"
    );
}

#[test]
fn an_index_can_be_made_of_an_image_and_its_config() {
    let config = ImageConfig::parse(Bytes::from_static(CONFIG)).unwrap();
    let image = read(SCHEMA2, None).unwrap();
    let index = Index::create(
        vec![image.descriptor_for_index(Some(config.value()))],
        Mixing::Refuse,
    )
    .unwrap();
    assert_eq!(index.media_type, MediaType::DOCKER_MANIFEST_LIST);
    let raw = index.to_raw().unwrap();
    assert_eq!(
        raw.value()
            .as_index()
            .unwrap()
            .platforms()
            .next()
            .unwrap()
            .to_string(),
        "linux/amd64"
    );
}

fn descriptors() -> impl Strategy<Value = Vec<Descriptor>> {
    let annotations = prop::collection::btree_map(any::<String>(), any::<String>(), 0..3);
    let descriptor = (
        prop::sample::select(MediaType::MANIFESTS.to_vec()),
        any::<Vec<u8>>(),
        annotations,
        prop::option::of("[a-z]{1,8}"),
        prop::option::of("[a-z.]{1,8}"),
        any::<bool>(),
    )
        .prop_map(
            |(media_type, content, annotations, architecture, url, is_embedded)| {
                let mut descriptor = Descriptor::of(media_type, &content);
                descriptor.annotations = annotations;
                descriptor.platform = architecture.map(|name| Platform::new("linux", name));
                descriptor.urls.extend(url);
                descriptor.data = is_embedded.then(|| content.into());
                descriptor.unknown.set("x", "[1.0]").unwrap();
                descriptor
            },
        );
    prop::collection::vec(descriptor, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What is written is read as what was written, and written again it is the same bytes.
    #[test]
    fn manifests_print_as_they_parse(
        descriptors in descriptors(), subject in any::<bool>(), is_docker in any::<bool>(), kind in 0..3_u8,
        annotations in prop::collection::btree_map(any::<String>(), any::<String>(), 0..3),
    ) {
        let mut manifest = match kind {
            0 => {
                let config = if is_docker { MediaType::DOCKER_CONFIG } else { MediaType::OCI_CONFIG };
                Manifest::Image(ImageManifest::new(Descriptor::of(config, b"{}"), descriptors))
            }
            1 => {
                let mut index = Index::new(descriptors);
                if is_docker { index.media_type = MediaType::DOCKER_MANIFEST_LIST; }
                Manifest::Index(index)
            }
            _ => Manifest::Artifact(ArtifactManifest::new("application/x.y".parse().unwrap(), descriptors)),
        };
        *manifest.annotations_mut().unwrap() = annotations;
        *manifest.subject_mut().unwrap() = subject.then(|| Descriptor::of(MediaType::OCI_MANIFEST, b"subject"));
        let raw = manifest.to_raw().unwrap();
        prop_assert_eq!(raw.value(), &manifest);
        prop_assert_eq!(raw.digest(), &Digest::sha256_of(raw.bytes()));
        let content_type = format!("{}; charset=utf-8", manifest.media_type());
        let again = Manifest::parse(raw.bytes().clone(), Some(&content_type)).unwrap();
        prop_assert_eq!(&again, &raw);
        let rewritten = again.value().to_raw().unwrap();
        prop_assert_eq!(rewritten.bytes(), raw.bytes());
    }

    #[test]
    fn media_types_print_as_they_parse(text in "[a-z]{1,8}/[a-zA-Z0-9!#$&^_.+-]{1,40}") {
        prop_assert_eq!(text.parse::<MediaType>().unwrap().to_string(), text);
    }

    /// A bit turned in a real manifest is an error or another reading, never a panic; the bytes stay as they are.
    #[test]
    fn damaged_manifests_are_an_answer(which in 0..5_usize, place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = [SIGNED, SIGNED_INDENTED, SCHEMA2, LIST, OCI][which].to_vec();
        let place = place.index(bytes.len());
        if cut { bytes.truncate(place); } else { bytes[place] = byte; }
        if let Ok(raw) = read(&bytes, None) {
            prop_assert_eq!(raw.bytes().as_ref(), bytes.as_slice());
            prop_assert_eq!(raw.digest(), &Digest::sha256_of(raw.payload()));
            if let Some(manifest) = raw.value().as_schema1() {
                let _ = manifest.history();
            }
        }
    }

    /// Whatever a protected header says, it is bounded by the document.
    #[test]
    fn any_signed_part_is_an_answer(length in prop_oneof![0..3000_u64, any::<u64>()], tail in any::<Vec<u8>>()) {
        let text = String::from_utf8(unsigned()).unwrap();
        let header = json!({"formatLength": length, "formatTail": URL_SAFE_NO_PAD.encode(&tail)}).to_string();
        let document = signed_with(text.strip_suffix('}').unwrap(), &[&header]);
        if let Ok(raw) = read(document.as_bytes(), None) {
            prop_assert_eq!(length, text.len() as u64 - 1);
            prop_assert!(raw.payload().ends_with(&tail));
        }
    }
}
