//! `kill -9` of the embedded platform in the middle of a push: the store is valid and the push can be repeated.

use crate::http::{Connection, path_of, with_digest};
use crate::support::{Sandbox, digest, eventually, files_under};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(layer), "size": layer.len()}],
    }))
    .unwrap()
}

/// A push that stops in the middle of the PUT that ends an upload.
fn begin_last_put(host: &str, layer: &[u8]) -> Connection {
    let mut connection = Connection::open(host);
    let begun = connection.send("POST", "/v2/app/blobs/uploads/", "text/plain", b"");
    let location = with_digest(begun.header("location").unwrap(), &digest(layer));
    let sent = &layer[..layer.len() / 4 * 3];
    connection.begin(
        "PUT",
        &location,
        "application/octet-stream",
        layer.len(),
        sent,
    );
    connection
}

/// A push that stops in the middle of a PATCH.
fn begin_patch(host: &str, layer: &[u8]) -> Connection {
    let mut connection = Connection::open(host);
    let begun = connection.send("POST", "/v2/app/blobs/uploads/", "text/plain", b"");
    let location = path_of(begun.header("location").unwrap());
    let sent = &layer[..layer.len() / 4];
    connection.begin(
        "PATCH",
        location,
        "application/octet-stream",
        layer.len(),
        sent,
    );
    connection
}

#[test]
fn kill_9_in_the_middle_of_a_push_loses_nothing_and_shows_nothing_half_made() {
    let sandbox = Sandbox::new();
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#
            .to_vec();
    let finished_layer = vec![1; 100_000];
    let broken_layer = vec![2; 4_000_000];
    let finished_manifest = manifest(&config, &finished_layer);
    let broken_manifest = manifest(&config, &broken_layer);

    let server = sandbox.serve();
    let mut connection = Connection::open(server.host());
    connection.push_blob("app", &config);
    connection.push_blob("app", &finished_layer);
    let put = connection.send(
        "PUT",
        "/v2/app/manifests/finished",
        MANIFEST,
        &finished_manifest,
    );
    assert_eq!(put.status, 201);

    // Both connections stay open: it is the server that goes.
    let _in_put = begin_last_put(server.host(), &broken_layer);
    let _in_patch = begin_patch(server.host(), &broken_layer);
    // In the middle means that the server has read some of it.
    let uploads = sandbox.path("state/peak/registry/uploads");
    eventually("both uploads are under way", || {
        let sizes = files_under(&uploads).into_iter();
        let sizes = sizes.filter_map(|name| std::fs::metadata(uploads.join(name)).ok());
        (sizes.filter(|file| file.len() > 0).count() == 2).then_some(())
    });
    server.kill();

    let server = sandbox.serve();
    let temporary = sandbox.path("state/peak/registry/temporary");
    assert_eq!(files_under(&temporary), Vec::<String>::new());
    assert_eq!(files_under(&uploads).len(), 2, "their clients may go on");
    let mut connection = Connection::open(server.host());
    let kept = connection.send("GET", "/v2/app/manifests/finished", "", b"");
    assert_eq!((kept.status, kept.body), (200, finished_manifest));
    let kept = connection.send(
        "GET",
        &format!("/v2/app/blobs/{}", digest(&finished_layer)),
        "",
        b"",
    );
    assert_eq!((kept.status, kept.body), (200, finished_layer));
    let absent = connection.send(
        "HEAD",
        &format!("/v2/app/blobs/{}", digest(&broken_layer)),
        "",
        b"",
    );
    assert_eq!(absent.status, 404);
    let refused = connection.send(
        "PUT",
        "/v2/app/manifests/broken",
        MANIFEST,
        &broken_manifest,
    );
    assert_eq!(
        refused.status, 400,
        "a manifest whose layer never arrived was taken"
    );
    let tags = connection.send("GET", "/v2/app/tags/list", "", b"");
    let tags: serde_json::Value = serde_json::from_slice(&tags.body).unwrap();
    assert_eq!(tags["tags"], serde_json::json!(["finished"]));

    connection.push_blob("app", &broken_layer);
    let put = connection.send(
        "PUT",
        "/v2/app/manifests/broken",
        MANIFEST,
        &broken_manifest,
    );
    assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    sandbox
        .peak([
            "registry",
            "pull",
            &format!("{}/app:broken", server.host()),
            "oci:pulled",
        ])
        .assert_code(0);
}
