//! Answers that are not as the schemas have them, and must decode all the same.

use serde_json::json;

use crate::{
    BuildDetails, BuildLogs, BuildStatus, CreateVersionBody, CreateVersionResponse, Id, Image,
    ImageStatus, ImageType, ImageVersion, ListImagesResponse, Scope,
};

#[test]
fn an_unknown_value_of_an_enumeration_keeps_its_text() {
    let version: ImageVersion = serde_json::from_value(json!({
        "status": "Archived",
        "lastBuildStatus": "queued",
    }))
    .unwrap();
    assert_eq!(
        version.status,
        Some(ImageStatus::Unknown("Archived".to_owned()))
    );
    assert_eq!(
        version.last_build_status,
        Some(BuildStatus::Unknown("queued".to_owned()))
    );
    assert_eq!(
        serde_json::to_value(&version).unwrap(),
        json!({"status": "Archived", "lastBuildStatus": "queued"})
    );
}

#[test]
fn an_image_type_in_other_letter_case_is_known() {
    let version: ImageVersion = serde_json::from_value(json!({"imageType": "Workflow"})).unwrap();
    assert_eq!(version.image_type, Some(ImageType::Workflow));
}

#[test]
fn an_unknown_field_is_ignored_at_every_depth() {
    let image: Image = serde_json::from_value(json!({
        "name": "hello-web",
        "owner": {"team": ["a", 1, null]},
        "latestVersion": {"version": "0.0.1", "architecture": "arm64", "tags": [{"name": "x", "weight": 2}]},
    }))
    .unwrap();
    let version = image.latest_version.unwrap();
    assert_eq!(version.version.as_deref(), Some("0.0.1"));
    assert_eq!(version.tags.unwrap()[0].name.as_deref(), Some("x"));
}

#[test]
fn ids_come_in_every_form() {
    let response: CreateVersionResponse = serde_json::from_value(json!({
        "imageId": 17,
        "versionId": "101",
        "buildId": "build-image-mock:2198c71e",
    }))
    .unwrap();
    assert_eq!(response.image_id, Some(Id::from("17")));
    assert_eq!(response.version_id, Some(Id::from(101)));
    assert_eq!(
        response.build_id,
        Some(Id::from("build-image-mock:2198c71e"))
    );
    assert_eq!(response.autodeployment_id, None);
}

#[test]
fn counts_may_be_text() {
    let page: ListImagesResponse =
        serde_json::from_value(json!({"imageCount": "2", "pageCount": 1})).unwrap();
    assert_eq!((page.image_count, page.page_count), (Some(2), Some(1)));
}

#[test]
fn everything_may_be_absent() {
    assert_eq!(serde_json::from_str::<Image>("{}").unwrap(), Image::new());
    assert_eq!(
        serde_json::from_str::<ImageVersion>("{}").unwrap(),
        ImageVersion::new()
    );
    assert_eq!(
        serde_json::from_str::<BuildLogs>("{}").unwrap(),
        BuildLogs::new()
    );
}

#[test]
fn null_is_the_same_as_absent() {
    let page: ListImagesResponse =
        serde_json::from_value(json!({"images": null, "pageCount": null})).unwrap();
    assert_eq!(page, ListImagesResponse::new());

    let version: ImageVersion = serde_json::from_value(json!({
        "id": null, "tags": null, "size": null, "createdAt": null, "status": null, "isLatest": null,
        "buildDetails": {"token": null, "buildArguments": null, "useCache": null},
    }))
    .unwrap();
    assert_eq!(
        version,
        ImageVersion::new().build_details(BuildDetails::new())
    );
}

#[test]
fn a_timestamp_that_is_none_does_not_spoil_the_answer() {
    let logs: BuildLogs = serde_json::from_value(json!({
        "buildStatus": "building",
        "startTime": "just now",
        "logs": [{"message": "hello", "timestamp": 1_795_249_800_000_u64}],
    }))
    .unwrap();
    assert_eq!(logs.build_status, Some(BuildStatus::Building));
    assert_eq!(logs.start_time.unwrap().to_string(), "just now");
    assert_eq!(logs.logs[0].message.as_deref(), Some("hello"));
    assert!(!logs.logs[0].timestamp.as_ref().unwrap().is_readable());
}

#[test]
fn what_was_not_set_is_not_sent() {
    assert_eq!(
        serde_json::to_string(&CreateVersionBody::new()).unwrap(),
        "{}"
    );
    // An empty list that was set says something: nothing of what there was before.
    let body = CreateVersionBody::new().description("").build_details(
        BuildDetails::new()
            .secrets(Vec::<String>::new())
            .use_cache(false),
    );
    assert_eq!(
        serde_json::to_value(&body).unwrap(),
        json!({"description": "", "buildDetails": {"useCache": false, "secrets": []}})
    );
}

#[test]
fn a_page_always_shows_its_list() {
    assert_eq!(
        serde_json::to_value(ListImagesResponse::new()).unwrap(),
        json!({"images": []})
    );
}

#[test]
fn setters_take_plain_texts() {
    let image = Image::new().id("17").scope("Custom").r#type("webapp");
    assert_eq!(image.scope, Some(Scope::Custom));
    assert_eq!(image.r#type, Some(ImageType::Webapp));
}
