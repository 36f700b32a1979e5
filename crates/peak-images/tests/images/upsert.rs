//! Creating or updating, whichever it takes.

use peak_images::models::{Id, ImageType};
use peak_images::{CreateImage, Dockerfile, Error, UpsertOutcome, Upserted};
use serde_json::{Value, json};

use crate::mock::{Asked, platform};

/// A platform with images and versions of these names, one on a page.
async fn upsert(
    names: &'static [&'static str],
    versions: &'static [&'static str],
    version: Option<&str>,
) -> (Result<Upserted, Error>, Vec<Asked>) {
    let (images, log) = platform(move |asked| {
        let page = |key: &str, names: &[&str], id: usize| {
            let number: usize = asked.parameter("pageNumber").unwrap().parse().unwrap();
            let item = names
                .get(number - 1)
                .map(|name| json!({ "id": id + number, "name": name, "version": name }));
            let items: Vec<Value> = item.into_iter().collect();
            (200, json!({ key: items, "pageCount": names.len() }))
        };
        match (
            asked.method.as_str(),
            asked.path.rsplit('/').next().unwrap(),
        ) {
            ("GET", "") => page("images", names, 10),
            ("GET", "versions") => page("versions", versions, 100),
            ("POST", "") => (200, json!({ "imageId": 1, "versionId": 2, "buildId": 3 })),
            ("POST", "versions") => (
                200,
                json!({ "versionId": 4, "buildId": "b:5", "autodeploymentId": "d" }),
            ),
            ("PATCH", _) => (200, json!({ "buildId": 6 })),
            _ => (501, Value::Null),
        }
    });
    let mut image = CreateImage::new("web", ImageType::Webapp, Dockerfile::new("FROM scratch"))
        .description("text");
    if let Some(version) = version {
        image = image.version(version);
    }
    let result = images.create_or_update_image_version(&image).await;
    (result, log.take())
}

fn lines(asked: &[Asked]) -> Vec<String> {
    asked
        .iter()
        .map(|asked| asked.line().replace("/image-management/api/v2/images", ""))
        .collect()
}

#[tokio::test]
async fn a_name_that_only_contains_the_one_meant_is_not_it() {
    let (made, asked) = upsert(&["web-2", "my-web", "Web"], &[], Some("1")).await;
    let made = made.unwrap();
    assert_eq!(made.outcome, UpsertOutcome::CreatedImage);
    assert_eq!((made.image_id, made.version_id), (Id::from(1), Id::from(2)));
    assert_eq!(made.build_id, Some(Id::from(3)));
    assert_eq!(
        lines(&asked),
        [
            "GET /?pageSize=100&pageNumber=1&searchTerm=web",
            "GET /?pageSize=100&pageNumber=2&searchTerm=web",
            "GET /?pageSize=100&pageNumber=3&searchTerm=web",
            "POST /?",
        ]
    );
}

#[tokio::test]
async fn an_equal_name_on_a_later_page_is_found() {
    let (made, asked) = upsert(&["web-2", "web", "web-3"], &["1.0", "11"], Some("1")).await;
    let made = made.unwrap();
    assert_eq!(made.outcome, UpsertOutcome::CreatedVersion);
    assert_eq!(
        (made.image_id, made.version_id),
        (Id::from(12), Id::from(4))
    );
    assert_eq!(made.autodeployment_id, Some(Id::from("d")));
    assert_eq!(
        lines(&asked),
        [
            "GET /?pageSize=100&pageNumber=1&searchTerm=web",
            "GET /?pageSize=100&pageNumber=2&searchTerm=web",
            "GET /12/versions?pageSize=1&pageNumber=1&searchTerm=1",
            "GET /12/versions?pageSize=1&pageNumber=2&searchTerm=1",
            "POST /12/versions?",
        ]
    );
    let parts = asked.last().unwrap().parts();
    assert!(
        parts.contains(&("name=\"version\"".to_owned(), "1".to_owned())),
        "{parts:?}"
    );
    assert!(parts.contains(&("name=\"description\"".to_owned(), "text".to_owned())));
}

#[tokio::test]
async fn an_equal_version_is_updated() {
    let (made, asked) = upsert(&["web"], &["1.0", "1"], Some("1")).await;
    let made = made.unwrap();
    assert_eq!(made.outcome, UpsertOutcome::UpdatedVersion);
    assert_eq!(
        (made.image_id, made.version_id),
        (Id::from(11), Id::from(102))
    );
    assert_eq!(made.build_id, Some(Id::from(6)));
    assert_eq!(lines(&asked)[3], "PATCH /11/versions/102?");
    let heads: Vec<_> = asked[3].parts().into_iter().map(|(head, _)| head).collect();
    assert_eq!(heads, ["name=\"buildDetails\"", "name=\"description\""]);
}

#[tokio::test]
async fn without_a_version_the_platform_names_the_next() {
    let (made, asked) = upsert(&["web"], &["1"], None).await;
    assert_eq!(made.unwrap().outcome, UpsertOutcome::CreatedVersion);
    assert_eq!(lines(&asked)[1], "POST /11/versions?");
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_was_made_is_an_error() {
    let (images, _) = platform(|asked| match asked.method.as_str() {
        "GET" => (200, json!({ "images": [], "pageCount": 0 })),
        _ => (200, json!({ "imageId": 1 })),
    });
    let image = CreateImage::new("web", ImageType::Webapp, Dockerfile::new("FROM scratch"));
    let error = images
        .create_or_update_image_version(&image)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer to create_image has no `versionId`"
    );
}
