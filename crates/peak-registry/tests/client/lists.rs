//! Tags and catalogs from registries that page as they like, and what registries say beside their answers.

use futures_util::TryStreamExt;
use peak_oci::Tag;
use peak_registry::{Registry, RegistryError};

use crate::script::{Script, answer};

async fn tags(server: &Script) -> Result<Vec<String>, RegistryError> {
    let tags: Vec<Tag> = server
        .repository()
        .get_repository_tags()
        .try_collect()
        .await?;
    Ok(tags.iter().map(ToString::to_string).collect())
}

fn page(tags: &str, link: Option<&str>) -> Vec<u8> {
    let headers: Vec<_> = link.map(|link| ("link", link)).into_iter().collect();
    let body = format!("{{\"name\":\"team/app\",\"tags\":{tags}}}");
    answer("200 OK", &headers, body.as_bytes())
}

#[tokio::test]
async fn pages_are_followed_to_the_last_and_odd_entries_skipped() {
    let server = Script::start(|number, _| match number {
        0 => page(
            r#"["a","sha256:not-a-tag","b"]"#,
            Some("</v2/team/app/tags/list?last=b&n=1000>; rel=\"next\""),
        ),
        // Nothing that can be used, but not the end.
        1 => page(r#"["not a tag"]"#, Some("<?last=c>; rel=next")),
        _ => page(r#"["d"]"#, None),
    })
    .await;
    assert_eq!(tags(&server).await.unwrap(), ["a", "b", "d"]);
    let lines: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.line().to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            "GET /v2/team/app/tags/list?n=1000",
            "GET /v2/team/app/tags/list?last=b&n=1000",
            "GET /v2/team/app/tags/list?last=c"
        ]
    );
}

#[tokio::test]
async fn null_is_an_empty_list_and_an_empty_page_the_end() {
    let server = Script::start(|_, _| page("null", None)).await;
    assert!(tags(&server).await.unwrap().is_empty());
    let link = "</v2/team/app/tags/list?n=1000&last=x>; rel=\"next\"";
    let server = Script::start(move |_, _| page("[]", Some(link))).await;
    assert!(tags(&server).await.unwrap().is_empty());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_list_that_leads_in_a_circle_ends_in_an_error() {
    let server = Script::start(|number, _| {
        let link = format!("</v2/team/app/tags/list?page={}>; rel=next", number % 3);
        page(r#"["a"]"#, Some(&link))
    })
    .await;
    let error = tags(&server).await.unwrap_err();
    assert!(error.to_string().contains("there before"), "{error}");
    assert!(server.requests().len() < 20);
}

#[tokio::test]
async fn a_list_that_leads_elsewhere_is_not_followed() {
    let other = Script::start(|_, _| page(r#"["stolen"]"#, None)).await;
    let link = format!("<http://{}/v2/team/app/tags/list>; rel=next", other.address);
    let server = Script::start(move |_, _| page(r#"["a"]"#, Some(&link))).await;
    let error = tags(&server).await.unwrap_err();
    assert!(error.to_string().contains("another server"), "{error}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_missing_repository_and_nonsense_are_told_apart() {
    let body = br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;
    let server = Script::start(|_, _| answer("404 Not Found", &[], body)).await;
    let error = tags(&server).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::RepositoryNotFound { .. }),
        "{error}"
    );
    assert!(error.is_not_found());
    for body in ["<html></html>", "[]", r#"{"tags":{}}"#, r#"{"tags":[1]}"#] {
        let server = Script::start(move |_, _| answer("200 OK", &[], body.as_bytes())).await;
        let error = tags(&server).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::InvalidResponse { .. }),
            "{body}: {error}"
        );
    }
    let huge = vec![b' '; 9 * 1024 * 1024];
    let server = Script::start(move |_, _| answer("200 OK", &[], &huge)).await;
    assert!(matches!(
        tags(&server).await,
        Err(RegistryError::Transport { .. })
    ));
}

#[tokio::test]
async fn the_catalog_is_walked_like_tags() {
    let server = Script::start(|number, _| match number {
        0 => answer(
            "200 OK",
            &[("link", "</v2/_catalog?last=a>; rel=\"next\"")],
            br#"{"repositories":["a","Not/Valid"]}"#,
        ),
        _ => answer("200 OK", &[], br#"{"repositories":["team/app"]}"#),
    })
    .await;
    let registry = Registry::builder().build().unwrap();
    let names: Vec<_> = registry
        .catalog(&server.address.to_string())
        .try_collect()
        .await
        .unwrap();
    let names: Vec<_> = names.iter().map(peak_oci::RepositoryName::as_str).collect();
    assert_eq!(names, ["a", "team/app"]);
    assert_eq!(server.requests()[0].line(), "GET /v2/_catalog?n=1000");
}

#[tokio::test]
async fn so_many_entries_as_wanted_are_asked_for_at_once() {
    let server = Script::start(|_, request| {
        let kind = if request.line().contains("tags") {
            "tags"
        } else {
            "repositories"
        };
        let body = format!("{{\"{kind}\":[\"a\"]}}");
        answer("200 OK", &[], body.as_bytes())
    })
    .await;
    let registry = Registry::builder()
        .page_size(std::num::NonZeroU32::new(30).unwrap())
        .build()
        .unwrap();
    let host = server.address.to_string();
    let names: Vec<_> = registry.catalog(&host).try_collect().await.unwrap();
    assert_eq!(names.len(), 1);
    let reference = format!("{host}/team/app").parse().unwrap();
    let tags = registry.repository(&reference).get_repository_tags();
    assert_eq!(tags.try_collect::<Vec<_>>().await.unwrap().len(), 1);
    let asked: Vec<_> = server
        .requests()
        .iter()
        .map(|asked| asked.line().to_owned())
        .collect();
    assert_eq!(
        asked,
        ["GET /v2/_catalog?n=30", "GET /v2/team/app/tags/list?n=30"]
    );
}

#[tokio::test]
async fn ping_tells_a_registry_from_something_else() {
    let registry = Registry::builder().build().unwrap();
    for (status, expected) in [
        ("200 OK", None),
        ("404 Not Found", Some("no registry")),
        ("401 Unauthorized", Some("credentials")),
        ("403 Forbidden", Some("denied")),
    ] {
        let server = Script::start(move |_, _| answer(status, &[], b"")).await;
        let found = registry.ping(&server.address.to_string()).await;
        match expected {
            None => found.unwrap(),
            Some(part) => {
                let error = found.unwrap_err().to_string();
                assert!(error.contains(part), "{status}: {error}");
            }
        }
        assert_eq!(server.requests()[0].line(), "GET /v2/");
    }
}

#[tokio::test]
async fn warnings_and_limits_are_kept_for_whoever_asks() {
    let server = Script::start(|_, _| {
        let headers = [
            ("warning", "299 - \"going away\""),
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "99;w=21600"),
        ];
        answer("200 OK", &headers, br#"{"tags":["a"]}"#)
    })
    .await;
    let name = server.address.to_string();
    let registry = Registry::builder().build().unwrap();
    assert!(registry.rate_limit(&name).is_none());
    let reference = format!("{name}/team/app").parse().unwrap();
    let repository = registry.repository(&reference);
    for _ in 0..2 {
        let tags: Vec<_> = repository
            .get_repository_tags()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(tags.len(), 1);
    }
    assert_eq!(registry.warnings(&name), ["going away"]);
    let limit = registry.rate_limit(&name).unwrap();
    assert_eq!(
        (limit.limit, limit.remaining, limit.window),
        (Some(100), Some(99), Some(21600))
    );
}

#[tokio::test]
async fn the_next_page_is_on_the_same_server_with_or_without_its_port() {
    // Two links, one of them without a relation, on a server that writes the port that everybody knows.
    let server = Script::start_secure(|number, _| match number {
        0 => page(
            r#"["a"]"#,
            Some("</v2/other>, <https://origin.test:443/v2/team/app/tags/list?last=a>; rel=next"),
        ),
        _ => page(r#"["b"]"#, None),
    })
    .await;
    let found: Vec<Tag> = server
        .secure_repository_as("robot", "secret")
        .get_repository_tags()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(
        server.requests()[1].line(),
        "GET /v2/team/app/tags/list?last=a"
    );
}

#[tokio::test]
async fn a_repository_that_is_not_there_yet_is_told_from_one_that_must_not_be_seen() {
    let server = Script::start(|_, _| answer("403 Forbidden", &[], b"")).await;
    let error = tags(&server).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    let server = Script::start(|_, _| answer("404 Not Found", &[], b"<html>")).await;
    assert!(tags(&server).await.unwrap_err().is_not_found());
}

/// Says to the test of this name, run as a process of its own, where the tags are.
const SERVER_OF_CHILD: &str = "PEAK_TEST_TAGS_FROM";

const TAGS_OF_A_PAGE: usize = 1000;

/// The most memory that this process has had, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// How much more memory a process needs for listing this many pages of tags of 128 characters than before it began.
async fn memory_for(pages: usize) -> u64 {
    let server = Script::start(move |number, _| {
        let tags: Vec<_> = (0..TAGS_OF_A_PAGE)
            .map(|index| format!("\"{:0>128}\"", number * TAGS_OF_A_PAGE + index))
            .collect();
        let link = format!("</v2/team/app/tags/list?page={}>; rel=next", number + 1);
        let link = (number + 1 < pages).then_some(link);
        page(&format!("[{}]", tags.join(",")), link.as_deref())
    })
    .await;
    let child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "lists::fifty_thousand_tags_need_no_more_memory_than_a_few",
            "--nocapture",
        ])
        .env(SERVER_OF_CHILD, format!("{} {pages}", server.address))
        .output()
        .await
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert_eq!(server.requests().len(), pages);
    let said = String::from_utf8(child.stdout).unwrap();
    let grown = said.lines().find_map(|line| line.split_once("grown by "));
    grown.unwrap().1.trim().parse().unwrap()
}

#[tokio::test]
async fn fifty_thousand_tags_need_no_more_memory_than_a_few() {
    if let Ok(given) = std::env::var(SERVER_OF_CHILD) {
        let (address, pages) = given.split_once(' ').unwrap();
        let registry = Registry::builder().build().unwrap();
        let repository = registry.repository(&format!("{address}/team/app").parse().unwrap());
        let before = peak_memory();
        let mut tags = std::pin::pin!(repository.get_repository_tags());
        let mut count = 0;
        while tags.try_next().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, pages.parse::<usize>().unwrap() * TAGS_OF_A_PAGE);
        println!("\ngrown by {}", peak_memory() - before);
        return;
    }
    let few = memory_for(3).await;
    let many = memory_for(50).await;
    // Held together, the many would be 6 MiB of text and more in their lists.
    assert!(
        many < few + 2 * 1024,
        "{few} KiB for 3,000 tags, {many} KiB for 50,000"
    );
    eprintln!("{few} KiB for 3,000 tags, {many} KiB for 50,000");
}
