//! Deletions.

use peak_images::models::Id;
use serde_json::json;

use crate::mock::platform;

#[tokio::test]
async fn deletions_say_no_more_than_that_they_are_done() {
    // What the platform sends, what it might come to send, and nothing at all (in JSON).
    for answer in [json!({}), json!({ "deleted": [1] }), json!(null)] {
        let (images, log) = platform(move |_| (200, answer.clone()));
        let (image, version) = (Id::from(17), Id::from(101));
        images.delete_image(&image).await.unwrap();
        images.delete_version(&image, &version).await.unwrap();
        let versions = [version, Id::from(102)];
        images.delete_versions(&image, &versions).await.unwrap();
        assert_eq!(
            log.lines(),
            [
                "DELETE /image-management/api/v2/images/17?",
                "DELETE /image-management/api/v2/images/17/versions/101?",
                "DELETE /image-management/api/v2/images/17/versions?versionIds=101&versionIds=102",
            ]
        );
    }
}

#[tokio::test]
async fn a_refused_deletion_is_an_error() {
    let (images, log) = platform(|_| (409, json!({ "detail": "in use" })));
    let error = images.delete_image(&Id::from(17)).await.unwrap_err();
    assert!(matches!(
        error.platform(),
        Some(peak_platform::Error::Conflict(_))
    ));
    assert_eq!(log.take().len(), 1);
    // Nothing is asked for where nothing is named.
    let error = images
        .delete_versions(&Id::from(17), &[])
        .await
        .unwrap_err();
    assert!(matches!(
        error.platform(),
        Some(peak_platform::Error::InvalidRequest { .. })
    ));
    assert!(log.take().is_empty());
}
