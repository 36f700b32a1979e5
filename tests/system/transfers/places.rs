//! What is read in a registry is read at places on disk, too.

use super::image::{Image, Kind};
use crate::support::{Sandbox, digest};

#[test]
fn manifests_configs_and_tags_are_read_at_places_on_disk() {
    let sandbox = Sandbox::new();
    let image = Image::of(Kind::Oci);
    image.write_layout(&sandbox.path("layout"), "v1");
    let places = [
        "oci:layout:v1",
        "oci-archive:image.tar:v1",
        "docker-archive:docker.tar:app.example/app:v1",
    ];
    for place in &places[1..] {
        sandbox
            .peak(["registry", "copy", places[0], place])
            .assert_code(0);
    }
    let read = |arguments: &[&str]| {
        let done = sandbox.peak(["registry"].iter().chain(arguments));
        done.assert_code(0);
        done.stdout
    };
    let config = read(&["config", places[0]]);
    assert!(config.contains("\"architecture\": \"amd64\""), "{config}");
    for place in places {
        assert_eq!(read(&["config", place]), config, "{place}");
        let raw = read(&["manifest", "get", place, "--raw"]);
        assert_eq!(read(&["digest", place]).trim(), digest(raw.as_bytes()));
    }
    let raw = read(&["manifest", "get", places[1], "--raw"]);
    assert_eq!(digest(raw.as_bytes()), image.digest());
    assert_eq!(
        read(&["tags", "oci:layout", "-o", "json"]),
        "[\n  \"v1\"\n]\n"
    );
    assert_eq!(read(&["tags", "oci-archive:image.tar"]), "v1\n");
    assert_eq!(
        read(&["tags", "docker-archive:docker.tar"]),
        "app.example/app:v1\n"
    );

    let index = Image::of(Kind::Index);
    index.write_layout(&sandbox.path("index"), "v1");
    let arm = read(&["config", "oci:index:v1", "--platform", "linux/arm64"]);
    assert!(arm.contains("\"architecture\": \"arm64\""), "{arm}");
    let other = sandbox.peak([
        "registry",
        "config",
        "oci:index:v1",
        "--platform",
        "linux/s390x",
    ]);
    other.assert_code(4);
    let typed = [
        "registry",
        "manifest",
        "get",
        "oci:layout:v1",
        "--media-type",
        "a/b",
    ];
    sandbox.peak(typed).assert_code(2);
    sandbox
        .peak(["registry", "tags", "oci:nowhere"])
        .assert_code(4);
}
