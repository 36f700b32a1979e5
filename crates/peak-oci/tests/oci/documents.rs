//! Round trips and hostile documents, with generated cases.

use bytes::Bytes;
use peak_oci::{
    Algorithm, Descriptor, Digest, Hasher, ImageConfig, ImageManifest, Index, MAX_MANIFEST_SIZE,
    Manifest, ManifestError, MediaType, Platform, Reference, Verifier, VerifyError,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn digest() -> impl Strategy<Value = Digest> {
    (any::<Vec<u8>>(), any::<bool>()).prop_map(|(bytes, long)| {
        Digest::of(
            if long {
                Algorithm::Sha512
            } else {
                Algorithm::Sha256
            },
            &bytes,
        )
    })
}

fn repository() -> impl Strategy<Value = String> {
    proptest::collection::vec("[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}", 1..4)
        .prop_map(|parts| parts.join("/"))
}

fn registry() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("localhost".to_owned()),
        Just("docker.io".to_owned()),
        Just("index.docker.io".to_owned()),
        "[a-zA-Z0-9]{1,5}(-[a-z0-9]{1,3})?\\.[a-z]{2,4}",
        (any::<std::net::Ipv6Addr>(), any::<u16>())
            .prop_map(|(address, port)| format!("[{address}]:{port}")),
        (any::<std::net::Ipv4Addr>(), any::<u16>())
            .prop_map(|(address, port)| format!("{address}:{port}")),
    ]
}

/// JSON as other members of a document may hold it: any depth that is allowed, numbers of every size.
fn foreign_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn digests_print_as_they_parse(digest in digest()) {
        let text = digest.to_string();
        prop_assert_eq!(text.parse::<Digest>().unwrap(), digest.clone());
        prop_assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
    }

    #[test]
    fn any_text_that_is_a_digest_prints_the_same(text in "(sha256|sha512|md5)?:?[0-9a-fA-F]{0,130}") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text);
        }
    }

    #[test]
    fn references_print_as_they_parse(
        registry in proptest::option::of(registry()),
        repository in repository(),
        tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
        digest in proptest::option::of(digest()),
    ) {
        let mut text = registry.map(|registry| format!("{registry}/")).unwrap_or_default();
        text.push_str(&repository);
        text.extend(tag.iter().map(|tag| format!(":{tag}")));
        text.extend(digest.iter().map(|digest| format!("@{digest}")));
        let reference = Reference::parse(&text).unwrap();
        prop_assert_eq!(reference.to_string(), text);
        for form in [reference.canonical(), reference.familiar(), reference.written().to_owned()] {
            let again = Reference::parse(&form).unwrap();
            prop_assert_eq!(&again, &reference);
            prop_assert_eq!(again.canonical(), reference.canonical());
        }
        if reference.has_registry() {
            let rebuilt = Reference::new(
                reference.registry(), reference.repository().clone(), reference.tag().cloned(), reference.digest().cloned(),
            ).unwrap();
            prop_assert_eq!(rebuilt, reference);
        }
    }

    #[test]
    fn any_text_is_refused_or_stays_within_its_parts(text in "[a-zA-Z0-9./:@_\\[\\] %?#\\\\-]{0,60}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(reference.to_string(), text);
            let is_safe = reference.repository().components().all(|part| {
                !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\\', '%', '?', '#', ' '])
            });
            prop_assert!(is_safe);
            prop_assert_eq!(Reference::parse(&reference.canonical()).unwrap(), reference);
        }
    }

    #[test]
    fn platforms_print_as_they_parse(
        os in "[a-z]{1,8}", architecture in "[a-z0-9][a-z0-9_]{0,7}",
        variant in proptest::option::of("v[0-9]{1,2}"), version in proptest::option::of("[0-9]{1,3}(\\.[0-9]{1,5}){0,3}"),
    ) {
        let mut platform = Platform::new(os, architecture);
        platform.variant = variant;
        platform.os_version = version;
        let platform = platform.normalized();
        prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform.clone());
        prop_assert_eq!(platform.clone().normalized(), platform.clone());
        prop_assert_eq!(platform.mismatch(&platform), Some(0));
    }

    #[test]
    fn verifying_in_pieces_is_verifying_the_whole(bytes in any::<Vec<u8>>(), cut in any::<usize>(), digest_of in any::<bool>()) {
        let algorithm = if digest_of { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let (left, right) = bytes.split_at(cut % (bytes.len() + 1));
        let mut hasher = Hasher::new(algorithm);
        hasher.update(left);
        hasher.update(right);
        prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &bytes));
        let mut verifier = Verifier::new(&Digest::of(algorithm, &bytes), Some(bytes.len() as u64));
        verifier.update(left).unwrap();
        verifier.update(right).unwrap();
        prop_assert_eq!(verifier.received(), bytes.len() as u64);
        prop_assert!(verifier.clone().update(b"!").is_err());
        prop_assert_eq!(verifier.finish(), Ok(()));
    }

    #[test]
    fn a_manifest_keeps_its_bytes_and_its_foreign_members(extra in foreign_json(), inner in foreign_json(), pretty in any::<bool>()) {
        let mut document = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor_json(MediaType::OCI_CONFIG.as_str()),
            "layers": [descriptor_json(MediaType::OCI_LAYER_GZIP.as_str())],
            "x-extra": extra,
        });
        document["layers"][0]["x-inner"] = inner;
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        let raw = Manifest::parse(Bytes::from(text.clone()), Some(MANIFEST)).unwrap();
        prop_assert_eq!(raw.bytes().as_ref(), text.as_bytes());
        prop_assert_eq!(raw.digest(), &Digest::sha256_of(text.as_bytes()));

        let rewritten = raw.value().as_image().unwrap().to_raw().unwrap();
        prop_assert_eq!(rewritten.value(), raw.value());
        // Both are read back, because `serde_json` does not read every float as the one it wrote.
        prop_assert_eq!(
            serde_json::from_slice::<Value>(rewritten.bytes()).unwrap(),
            serde_json::from_str::<Value>(&text).unwrap()
        );
        let third = rewritten.value().as_image().unwrap().to_raw().unwrap();
        prop_assert_eq!(third.bytes(), rewritten.bytes());
    }

    #[test]
    fn documents_are_read_exactly_when_they_are_json(text in "[\\[\\]{}:,\"\\\\ntrue0-9.eE+ -]{0,24}|\\PC{0,12}") {
        // The embedded text becomes one member; what is JSON elsewhere is JSON here, but for keys that are there twice.
        let document = format!(
            "{{\"schemaVersion\":2,\"manifests\":[],\"x\":{text}}}"
        );
        let ours = Manifest::parse(Bytes::from(document.clone()), Some(INDEX));
        match serde_json::from_str::<serde::de::IgnoredAny>(&document) {
            Ok(_) => {
                if let Err(error) = ours {
                    prop_assert!(error.to_string().contains("twice") || error.to_string().contains("surrogate"), "{}: {}", document, error);
                }
            }
            Err(_) => prop_assert!(ours.is_err(), "accepted {}", document),
        }
    }

    #[test]
    fn any_bytes_are_an_answer_and_never_a_panic(bytes in any::<Vec<u8>>(), content_type in proptest::option::of(any::<String>())) {
        if let Ok(raw) = Manifest::parse(Bytes::from(bytes.clone()), content_type.as_deref()) {
            prop_assert_eq!(raw.bytes().as_ref(), bytes.as_slice());
        }
    }
}

fn descriptor_json(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256_of(b"x").as_str(), "size": 1})
}

fn image_json() -> Value {
    json!({
        "schemaVersion": 2,
        "config": descriptor_json(MediaType::OCI_CONFIG.as_str()),
        "layers": [descriptor_json(MediaType::OCI_LAYER.as_str())],
    })
}

fn parse(
    document: &Value,
    content_type: Option<&str>,
) -> Result<peak_oci::Raw<Manifest>, ManifestError> {
    Manifest::parse(Bytes::from(document.to_string()), content_type)
}

fn complaint(text: impl Into<String>) -> String {
    Manifest::parse(Bytes::from(text.into()), Some(MANIFEST))
        .map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn the_type_is_found_out_where_nothing_says_it() {
    let raw = parse(&image_json(), None).unwrap();
    assert_eq!(*raw.media_type(), MediaType::OCI_MANIFEST);
    for generic in [
        "application/json",
        "text/plain; charset=utf-8",
        "application/octet-stream",
        "",
    ] {
        assert_eq!(
            *parse(&image_json(), Some(generic)).unwrap().media_type(),
            MediaType::OCI_MANIFEST
        );
    }
    let mut docker = image_json();
    docker["config"]["mediaType"] = MediaType::DOCKER_CONFIG.as_str().into();
    assert_eq!(
        *parse(&docker, None).unwrap().media_type(),
        MediaType::DOCKER_MANIFEST
    );
    let index = json!({"schemaVersion": 2, "manifests": [descriptor_json(MANIFEST)]});
    let raw = parse(&index, None).unwrap();
    assert_eq!(*raw.media_type(), MediaType::OCI_INDEX);
    assert_eq!(raw.value().children().len(), 1);
    let list = parse(&index, Some(MediaType::DOCKER_MANIFEST_LIST.as_str())).unwrap();
    assert_eq!(*list.media_type(), MediaType::DOCKER_MANIFEST_LIST);
    let upper = parse(
        &image_json(),
        Some("Application/Vnd.OCI.image.manifest.v1+json;x=y"),
    )
    .unwrap();
    assert_eq!(*upper.media_type(), MediaType::OCI_MANIFEST);

    assert_eq!(
        parse(&json!({"schemaVersion": 2}), None).unwrap_err(),
        ManifestError::Unrecognized
    );
    assert!(matches!(
        parse(&json!({}), Some("image/png")),
        Err(ManifestError::Unsupported { .. })
    ));
    assert!(matches!(
        parse(&image_json(), Some("nonsense")),
        Err(ManifestError::ContentType(_))
    ));
}

#[test]
fn contradictions_are_refused() {
    let mut document = image_json();
    document["mediaType"] = MANIFEST.into();
    let error = parse(&document, Some(INDEX)).unwrap_err();
    assert!(matches!(&error, ManifestError::Contradiction { .. }));
    assert!(
        error.to_string().contains(INDEX) && error.to_string().contains(MANIFEST),
        "{error}"
    );

    let mut both = image_json();
    both["manifests"] = json!([]);
    assert_eq!(
        parse(&both, None).unwrap_err(),
        ManifestError::Ambiguous {
            media_type: MediaType::OCI_INDEX,
            member: "config"
        }
    );
    assert_eq!(
        parse(&both, Some(MANIFEST)).unwrap_err(),
        ManifestError::Ambiguous {
            media_type: MediaType::OCI_MANIFEST,
            member: "manifests"
        }
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let with = |pointer: &str, value: Value| {
        let mut document = image_json();
        *document.pointer_mut(pointer).unwrap() = value;
        complaint(document.to_string())
    };
    let text = with("/layers/0/size", json!(-1));
    assert!(
        text.contains("$.layers[0].size: ") && text.contains("found -1"),
        "{text}"
    );
    assert!(with("/layers/0/size", json!(1.5)).contains("found 1.5"));
    assert!(with("/layers/0/size", json!("1")).contains("expected a number, found a string"));
    assert!(with("/layers/0/size", json!(u64::MAX)).contains("$.layers[0].size"));
    assert!(
        with("/layers/0/digest", json!("md5:0123"))
            .contains("$.layers[0].digest: the digest algorithm `md5`")
    );
    assert!(with("/config/mediaType", json!("json")).contains("$.config.mediaType"));
    assert!(with("/layers", json!({})).contains("$.layers: expected an array, found an object"));
    assert!(with("/config", json!(null)).contains("$.config: this member is missing"));
    assert!(
        with("/schemaVersion", json!(1))
            .contains("$.schemaVersion: expected the version 2, found 1")
    );
    assert!(complaint("[]").contains("$: expected an object, found an array"));

    assert!(
        complaint("{\n  \"a\": 1,\n  \"a\": 2}")
            .contains("line 3, column 3: the key `a` is there twice")
    );
    assert!(complaint("{\"x\":{\"b\":0,\"\\u0062\":1}}").contains("the key `b` is there twice"));
    assert!(
        complaint("{\"a\":1} x").contains("line 1, column 9: expected nothing after the document")
    );
    assert!(complaint("").contains("expected a value, found the end"));
    assert!(complaint("{\"a\":01}").contains("line 1, column 7"));
    assert!(complaint("{\"a\":\"\u{1}\"}").contains("control character"));
    assert!(complaint("{\"a\":\"\\ud800\"}").contains("surrogate"));
    let error = Manifest::parse(Bytes::from_static(b"{\n\"\xff\"}"), None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 2, column 2: the text is not UTF-8"),
        "{error}"
    );
}

#[test]
fn hostile_sizes_are_bounded() {
    let too_large = Bytes::from(vec![b' '; usize::try_from(MAX_MANIFEST_SIZE).unwrap() + 1]);
    assert!(matches!(
        Manifest::parse(too_large, None),
        Err(ManifestError::TooLarge { .. })
    ));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(complaint(format!("{{\"x\":{deep}}}")).contains("nested deeper than 32 levels"));
    let wide = format!("{{\"x\":[{}0]}}", "0,".repeat(1_000_000));
    assert!(complaint(wide).contains("more than 500000 values"));
    // Long keys and values do not make long messages.
    let long = "k".repeat(1_000_000);
    assert!(complaint(format!("{{\"{long}\":1,\"{long}\":2}}")).len() < 300);
    let mut document = image_json();
    document["config"]["digest"] = long.into();
    assert!(complaint(document.to_string()).len() < 300);
}

#[test]
fn numbers_are_kept_as_they_were_written() {
    let kept = "{\"a\":1.0,\"b\":1e3,\"c\":123456789012345678901234567890,\"d\":-0,\"e\":0.10}";
    let document =
        format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[],\"x\":{kept}}}");
    let raw = Manifest::parse(Bytes::from(document.clone()), None).unwrap();
    let mut index = raw.value().as_index().unwrap().clone();
    assert_eq!(
        index.to_raw().unwrap().bytes().as_ref(),
        document.as_bytes()
    );
    assert_eq!(index.unknown.get("x").as_deref(), Some(kept));
    index.unknown.set("y", " [ 1 , 2.50 ] ").unwrap();
    assert!(index.unknown.remove("x"));
    let edited = index.to_raw().unwrap();
    assert!(
        std::str::from_utf8(edited.bytes())
            .unwrap()
            .ends_with("\"manifests\":[],\"y\":[1,2.50]}")
    );
    assert_ne!(edited.digest(), raw.digest());
}

#[test]
fn writing_refuses_what_could_not_be_read() {
    let mut manifest = ImageManifest::new(Descriptor::of(MediaType::OCI_CONFIG, b"{}"), vec![]);
    let raw = manifest.to_raw().unwrap();
    assert_eq!(
        raw.descriptor(),
        Descriptor::of(MediaType::OCI_MANIFEST, raw.bytes())
    );
    assert!(!raw.bytes().contains(&b' '));
    manifest.media_type = MediaType::OCI_INDEX;
    assert!(matches!(
        manifest.to_raw(),
        Err(ManifestError::Ambiguous { .. })
    ));
    manifest.media_type = MediaType::OCI_LAYER;
    assert!(matches!(
        manifest.to_raw(),
        Err(ManifestError::Unsupported { .. })
    ));
    let docker = ImageManifest::new(Descriptor::of(MediaType::DOCKER_CONFIG, b"{}"), vec![]);
    assert_eq!(docker.media_type, MediaType::DOCKER_MANIFEST);
}

#[test]
fn raw_documents_are_verified_by_either_algorithm() {
    let raw = parse(&image_json(), None).unwrap();
    let long = Digest::of(Algorithm::Sha512, raw.bytes());
    assert_eq!(*raw.clone().verify(&long).unwrap().digest(), long);
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
fn every_member_of_a_descriptor_survives() {
    let text = format!(
        "{{\"mediaType\":\"{MANIFEST}\",\"digest\":\"{}\",\"size\":3,\"urls\":[\"https://a.example/b\"],\
         \"annotations\":{{\"a\":\"b\"}},\"data\":\"YWJj\",\"platform\":{{\"architecture\":\"amd64\",\"os\":\"windows\",\
         \"os.version\":\"10.0\",\"os.features\":[\"win32k\"],\"variant\":\"v2\",\"features\":[\"sse4\"]}},\
         \"artifactType\":\"application/x\",\"more\":null}}",
        Digest::sha256_of(b"abc")
    );
    let descriptor: Descriptor = serde_json::from_str(&text).unwrap();
    assert_eq!(
        descriptor.platform.as_ref().unwrap().os_version.as_deref(),
        Some("10.0")
    );
    assert_eq!(descriptor.embedded().unwrap().unwrap().as_ref(), b"abc");
    assert_eq!(serde_json::to_string(&descriptor).unwrap(), text);
    let mut wrong = descriptor;
    wrong.data = Some(Bytes::from_static(b"abd"));
    assert!(matches!(wrong.embedded(), Err(VerifyError::Digest { .. })));
    wrong.data = Some(Bytes::from_static(b"ab"));
    assert!(matches!(
        wrong.embedded(),
        Err(VerifyError::TooShort { .. })
    ));
}

#[test]
fn configs_of_docker_are_read_and_written() {
    let text = format!(
        "{{\"created\":\"2026-11-21T00:00:00Z\",\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v7\",\
         \"config\":{{\"User\":\"\",\"ExposedPorts\":{{\"80/tcp\":{{}}}},\"Env\":[\"PATH=/bin\"],\"Entrypoint\":[\"/app\"],\
         \"Cmd\":[],\"WorkingDir\":\"/\",\"Labels\":{{\"a\":\"b\"}},\"Healthcheck\":{{\"Interval\":1}}}},\
         \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{}\"]}},\"history\":[{{\"created_by\":\"COPY\"}},\
         {{\"created_by\":\"CMD\",\"empty_layer\":true}}],\"docker_version\":\"20.10\"}}",
        Digest::sha256_of(b"layer")
    );
    let raw = ImageConfig::parse(Bytes::from(text.clone())).unwrap();
    let config = raw.value();
    assert_eq!(config.platform().to_string(), "linux/arm/v7");
    let container = config.config.as_ref().unwrap();
    assert!(container.exposed_ports.contains("80/tcp"));
    assert_eq!(container.cmd, Some(vec![]));
    assert_eq!(config.to_raw().unwrap().bytes().as_ref(), text.as_bytes());

    let nulls = "{\"architecture\":\"a\",\"os\":\"b\",\"config\":{\"Entrypoint\":null,\"Volumes\":null},\
                 \"rootfs\":{\"type\":\"layers\",\"diff_ids\":null},\"history\":null}";
    assert!(ImageConfig::parse(Bytes::from_static(nulls.as_bytes())).is_ok());
    let error = ImageConfig::parse(Bytes::from_static(
        b"{\"architecture\":\"a\",\"os\":\"b\",\"rootfs\":{\"type\":\"x\"}}",
    ));
    assert!(error.unwrap_err().to_string().contains("$.rootfs.type"));
}

#[test]
fn the_best_platform_is_picked() {
    let offer = |platforms: &[&str]| {
        Index::new(
            platforms
                .iter()
                .map(|platform| {
                    Descriptor::of(MediaType::OCI_MANIFEST, platform.as_bytes())
                        .with_platform(platform.parse().unwrap())
                })
                .collect(),
        )
    };
    let pick = |wanted: &str, offered: &[&str]| {
        let index = offer(offered);
        index
            .best_match(&wanted.parse().unwrap())
            .map(|best| best.platform.as_ref().unwrap().to_string())
    };
    let picked = |text: &str| Some(text.to_owned());
    assert_eq!(
        pick("linux/amd64", &["linux/arm64", "linux/amd64"]),
        picked("linux/amd64")
    );
    assert_eq!(
        pick("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"]),
        picked("linux/arm/v6")
    );
    assert_eq!(pick("linux/arm/v6", &["linux/arm/v7"]), None);
    assert_eq!(
        pick(
            "linux/amd64/v3",
            &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"]
        ),
        picked("linux/amd64/v2")
    );
    assert_eq!(
        pick("linux/arm64/v8", &["linux/arm64"]),
        picked("linux/arm64")
    );
    assert_eq!(
        pick(
            "windows/amd64:10.0.2",
            &["windows/amd64:10.0.1", "windows/amd64:10.0.2"]
        ),
        picked("windows/amd64:10.0.2")
    );
    assert_eq!(
        pick("windows/amd64", &["windows/amd64:10.0.1"]),
        picked("windows/amd64:10.0.1")
    );
    assert_eq!(pick("linux/s390x", &["linux/amd64"]), None);
    for text in [
        "linux",
        "",
        "linux/",
        "/amd64",
        "a/b/c/d",
        "linux/amd64:",
        "linux/am d64",
        "linux/../x",
    ] {
        assert!(text.parse::<Platform>().is_err(), "accepted {text:?}");
    }
    let host = Platform::host();
    assert_eq!(host.clone().normalized(), host);
}

#[test]
fn an_empty_artifact_type_is_none() {
    let digest = Digest::sha256_of(b"");
    let entry = format!(
        r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":0,"artifactType":""}}"#
    );
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}],"artifactType":""}}"#);
    let index = Manifest::parse(
        index.into_bytes().into(),
        Some(MediaType::OCI_INDEX.as_str()),
    );
    let index = index.unwrap();
    let index = index.value().as_index().unwrap();
    assert_eq!(index.artifact_type, None);
    assert_eq!(index.manifests[0].artifact_type, None);
    // Anything else that is no media type is still an error.
    let wrong = entry.replace(r#""artifactType":"""#, r#""artifactType":"x""#);
    let wrong = format!(r#"{{"schemaVersion":2,"manifests":[{wrong}]}}"#);
    assert!(Manifest::parse(wrong.into_bytes().into(), None).is_err());
}
