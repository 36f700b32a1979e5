//! The life of artifacts: listed, given new versions, changed, deleted.

use futures_util::{StreamExt, TryStreamExt};
use peak_artifacts::models::Id;
use peak_artifacts::{Artifact, CreateArtifactVersion, Error, ListArtifacts, UpdateArtifact};
use serde_json::json;

use crate::mock::platform;

#[tokio::test]
async fn the_list_is_walked_page_by_page_as_it_is_read() {
    let (artifacts, log) = platform(|line| {
        let number = line.rsplit_once('=').map_or("0", |(_, number)| number);
        let items = json!([{ "id": format!("{number}a") }, { "id": format!("{number}b") }]);
        (
            200,
            json!({ "artifactCount": 4, "artifacts": items, "pageCount": 2 }),
        )
    });
    let list = ListArtifacts::new().page_size(2);
    let mut walk = std::pin::pin!(artifacts.list_artifacts(list.clone()));
    walk.next().await.unwrap().unwrap();
    assert_eq!(log.take(), ["GET /?pageSize=2&pageNumber=1"]);
    let rest: Vec<_> = walk.try_collect().await.unwrap();
    let ids: Vec<_> = rest
        .iter()
        .map(|artifact| artifact.id.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(ids, ["1b", "2a", "2b"]);
    assert_eq!(log.take(), ["GET /?pageSize=2&pageNumber=2"]);

    let page = artifacts
        .list_artifacts_page(&ListArtifacts::new(), None)
        .await
        .unwrap();
    assert_eq!((page.artifact_count, page.artifacts.len()), (Some(4), 2));
    assert_eq!(log.take(), ["GET /"]);
}

#[tokio::test]
async fn an_artifact_is_changed_and_deleted() {
    let (artifacts, log) = platform(|_| (200, json!({})));
    let id = Id::from("c7575459");
    let update = UpdateArtifact::new().name("other");
    artifacts.update_artifact(&id, &update).await.unwrap();
    artifacts.delete_artifact_version(&id, 2).await.unwrap();
    artifacts.delete_artifact(&id).await.unwrap();
    assert_eq!(
        log.take(),
        ["PATCH /c7575459", "DELETE /c7575459/2", "DELETE /c7575459"]
    );
}

#[tokio::test]
async fn a_version_is_not_created_again_where_it_may_have_been() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let version = CreateArtifactVersion::new(Artifact::file(file.path()).unwrap());
    let id = Id::from("c7575459");

    let (artifacts, log) = platform(|_| (200, json!({ "version": "2" })));
    let made = artifacts.create_artifact_version(&id, &version).await;
    assert_eq!(made.unwrap().version, Some(2));
    assert_eq!(log.take(), ["PUT /c7575459"]);

    let (artifacts, log) = platform(|_| (500, json!({ "detail": "after the fact" })));
    let made = artifacts.create_artifact_version(&id, &version).await;
    assert!(matches!(made, Err(Error::InternalServerError(_))));
    assert_eq!(log.take().len(), 1);
}

#[tokio::test]
async fn refusals_have_their_names() {
    let (artifacts, _) = platform(|_| (404, json!({ "detail": "no such artifact" })));
    let id = Id::from("c7575459");
    assert!(
        artifacts
            .delete_artifact(&id)
            .await
            .unwrap_err()
            .is_not_found()
    );
    let items: Vec<_> = artifacts
        .list_artifacts(ListArtifacts::new())
        .collect()
        .await;
    assert!(matches!(items.as_slice(), [Err(Error::NotFound(_))]));
}
