//! Against the embedded registry.

use futures_util::TryStreamExt;
use peak_oci::{
    Descriptor, ImageConfig, ImageManifest, MediaType, Platform, Reference, Selector, validate,
};
use peak_registry::Registry;
use peak_registry_server::{RegistryServer, Store};

use crate::script::tag;

#[tokio::test]
async fn an_image_is_read_from_the_embedded_registry() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let layer: Vec<u8> = (0..2_000_000_u32)
        .map(|index| index.to_le_bytes()[1])
        .collect();
    let layer_descriptor = Descriptor::of(MediaType::OCI_LAYER, &layer);
    let platform = Platform::new("linux", "amd64");
    let config = ImageConfig::new(&platform, vec![layer_descriptor.digest.clone()])
        .to_raw()
        .unwrap();
    let config_descriptor = Descriptor::of(MediaType::OCI_CONFIG, config.bytes());
    let manifest = ImageManifest::new(config_descriptor, vec![layer_descriptor.clone()])
        .to_raw()
        .unwrap();
    let held = store.repository(&"team/app".parse().unwrap());
    for content in [&layer[..], config.bytes()] {
        let mut upload = held.new_upload().unwrap();
        upload.write(content).unwrap();
        upload
            .finish(&peak_oci::Digest::sha256_of(content))
            .unwrap();
    }
    held.put_manifest(&tag("v1"), None, manifest.bytes().clone())
        .unwrap();
    let server = RegistryServer::builder()
        .storage(store)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = server.host();

    let registry = Registry::builder().build().unwrap();
    let reference: Reference = format!("{address}/team/app:v1").parse().unwrap();
    let repository = registry.repository(&reference);
    let found = repository.get_manifest(&tag("v1")).await.unwrap();
    assert_eq!(found.bytes(), manifest.bytes());
    let digest = repository.get_manifest_digest(&tag("v1")).await.unwrap();
    assert_eq!(digest, *manifest.digest());
    let by_digest = Selector::Digest(digest);
    assert_eq!(
        repository.get_manifest_digest(&by_digest).await.unwrap(),
        *manifest.digest()
    );
    validate(&repository, None).await.unwrap();

    let read = repository
        .open_blob(&layer_descriptor, 1_234_567)
        .await
        .unwrap();
    assert_eq!(read.offset, 1_234_567);
    let frames: Vec<bytes::Bytes> = read.stream.try_collect().await.unwrap();
    assert_eq!(frames.concat(), layer[1_234_567..]);

    let absent = Descriptor::of(MediaType::OCI_LAYER, b"absent");
    assert!(
        repository
            .open_blob(&absent, 0)
            .await
            .err()
            .unwrap()
            .is_not_found()
    );
    let error = repository.get_manifest(&tag("v2")).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.codes(), ["MANIFEST_UNKNOWN"]);
    server.shutdown().await;
}
