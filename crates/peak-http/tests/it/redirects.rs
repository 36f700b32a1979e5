//! Redirects: where they lead, and what goes along.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, StatusCode};
use peak_http::test_util::{Answer, MockService};
use peak_http::{Body, BoxError, Client, Error, ErrorKind, RequestBuilderExt as _, Response};

use crate::server::{Server, Step, quick};

fn to(status: u16, location: &str) -> Step {
    Step::status(status, &[&format!("Location: {location}")], "")
}

async fn get(client: &Client, url: String) -> Result<Response, Error> {
    client.send(Request::get(url).without_body().unwrap()).await
}

#[tokio::test]
async fn credentials_stay_at_their_origin_for_good() {
    let (first, second) = (Server::bind().await, Server::bind().await);
    let (back, there) = (first.url("/back"), second.url("/there"));
    let first = first.play([to(307, "/same"), to(302, &there), Step::ok("home")]);
    let second = second.play([to(307, &back)]);

    let mut secret = HeaderValue::from_static("key");
    secret.set_sensitive(true);
    let request = Request::get(first.url("/start"))
        .header("authorization", "Bearer secret")
        .header("cookie", "session=secret")
        .header("proxy-authorization", "Basic secret")
        .header("x-api-key", secret)
        .header("accept", "text/plain")
        .without_body()
        .unwrap();
    let response = quick().build().unwrap().send(request).await.unwrap();
    assert_eq!(response.url().as_str(), back);

    let (at_first, at_second) = (first.recorded(), second.recorded());
    let secrets = [
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-api-key",
    ];
    // Before the origin changed they go along; afterwards never, also not back home.
    for (request, expected) in [
        (&at_first[0], true),
        (&at_first[1], true),
        (&at_second[0], false),
        (&at_first[2], false),
    ] {
        for name in secrets {
            assert_eq!(
                request.header(name).is_some(),
                expected,
                "{name} {}",
                request.head
            );
        }
        assert_eq!(request.header("accept"), Some("text/plain"));
    }
    assert_eq!(at_second[0].header("host"), there.split('/').nth(2));
}

/// Scheme, host and port are what an origin is made of; each of them alone makes another.
#[tokio::test]
async fn credentials_are_dropped_where_scheme_host_or_port_change() {
    for (from, to, keeps) in [
        ("http://a.test/x", "http://a.test/y", true),
        ("http://a.test/x", "http://A.test:80/y", true),
        ("https://a.test/x", "https://a.test:443/y", true),
        ("http://a.test/x", "https://a.test/y", false),
        ("http://a.test/x", "http://a.test:81/y", false),
        ("http://a.test/x", "http://b.test/y", false),
        ("http://a.test/x", "http://a.test.b.test/y", false),
        ("https://a.test/x", "https://a.test:444/y", false),
        ("https://a.test/x", "https://sub.a.test/y", false),
    ] {
        let redirect = Answer::status(StatusCode::FOUND).header("location", to);
        let mock = MockService::playing([redirect, Answer::ok()]);
        let request = Request::get(from)
            .header("authorization", "Bearer secret")
            .without_body()
            .unwrap();
        mock.client().send(request).await.unwrap();
        let requests = mock.requests();
        assert!(requests[0].headers.contains_key("authorization"));
        let kept = requests[1].headers.contains_key("authorization");
        assert_eq!(kept, keeps, "{from} {to}");
        mock.finish().unwrap();
    }
    for (from, to) in [
        ("https://a.test/x", "http://a.test/y"),
        ("https://a.test/x", "http://a.test:443/y"),
    ] {
        let redirect = Answer::status(StatusCode::FOUND).header("location", to);
        let mock = MockService::playing([redirect]);
        let error = get(&mock.client(), from.to_owned()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect, "{from} {to}");
        mock.finish().unwrap();
    }
}

#[tokio::test]
async fn the_body_goes_along_where_the_method_stays() {
    let server = Server::play([to(308, "/b"), to(307, "/c"), Step::ok("")]).await;
    let client = quick().build().unwrap();
    let request = Request::put(server.url("/a")).with_body("content").unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    let recorded = server.recorded();
    assert_eq!(recorded.len(), 3);
    for (request, path) in recorded.iter().zip(["/a", "/b", "/c"]) {
        assert_eq!(request.line(), format!("PUT {path} HTTP/1.1"));
        assert_eq!(request.body, b"content");
    }

    let server = Server::play([to(307, "/b"), Step::ok("")]).await;
    let once = stream::iter([Ok::<_, BoxError>(Bytes::from("x"))]);
    let request = Request::put(server.url("/"))
        .with_body(Body::stream(once))
        .unwrap();
    let error = client.send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redirect);
    assert_eq!(server.recorded().len(), 1);
}

#[tokio::test]
async fn a_post_never_silently_becomes_a_get() {
    let client = quick().build().unwrap();
    for status in [301, 302] {
        let server = Server::play([to(status, "/b"), Step::ok("")]).await;
        let request = Request::post(server.url("/a")).with_body("x").unwrap();
        let error = client.send(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect);
        assert!(error.to_string().contains("POST"), "{error}");
        assert_eq!(server.recorded().len(), 1);
    }
    let server = Server::play([to(303, "/b"), Step::ok("")]).await;
    let request = Request::post(server.url("/a")).json(&"x").unwrap();
    client.send(request).await.unwrap();
    let after = &server.recorded()[1];
    assert_eq!(after.line(), "GET /b HTTP/1.1");
    assert_eq!(after.header("content-type"), None);
    assert_eq!(after.header("content-length"), None);
}

/// The server has done what was asked before it sent us elsewhere, whatever awaits us there.
#[tokio::test]
async fn a_post_is_not_sent_again_because_of_what_comes_after_it() {
    let client = quick().build().unwrap();
    let gone = Server::bind().await.url("/gone");
    let server = Server::play([to(303, &gone), to(303, &gone)]).await;
    let request = Request::post(server.url("/a")).with_body("x").unwrap();
    let error = client.send(request).await.unwrap_err();
    assert!(
        error.is_connect() && error.may_have_been_sent(),
        "{error:?}"
    );
    assert_eq!(server.recorded().len(), 1);

    let server = Server::play([to(303, "/b"), Step::status(503, &[], ""), Step::ok("")]).await;
    let request = Request::post(server.url("/a")).with_body("x").unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 503);
    assert_eq!(server.recorded().len(), 2);
}

#[tokio::test]
async fn the_number_of_redirects_is_bounded() {
    let client = quick().redirects(3).build().unwrap();
    let server = Server::play((0..3).map(|_| to(302, "/")).chain([Step::ok("")])).await;
    assert_eq!(get(&client, server.url("/")).await.unwrap().status(), 200);

    let server = Server::play((0..10).map(|_| to(302, "/"))).await;
    let error = get(&client, server.url("/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redirect);
    assert_eq!(server.recorded().len(), 4);

    let client = quick().redirects(0).build().unwrap();
    let server = Server::play([to(302, "/x")]).await;
    let response = get(&client, server.url("/")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &"/x".parse().unwrap())
    );
}

#[tokio::test]
async fn where_a_redirect_must_not_lead() {
    let client = quick().build().unwrap();
    for location in [
        "file:///etc/passwd",
        "ftp://h/",
        "http://user:word@h/",
        "http://",
    ] {
        let server = Server::play([to(302, location)]).await;
        let error = get(&client, server.url("/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect, "{location}");
        assert!(!format!("{error:?}").contains("word"), "{error:?}");
    }
    // What is not a redirect, or leads nowhere, is a response.
    for step in [Step::status(302, &[], ""), to(201, "/x"), to(300, "/x")] {
        let server = Server::play([step]).await;
        assert!(get(&client, server.url("/")).await.is_ok());
        assert_eq!(server.recorded().len(), 1);
    }
}

/// Nobody outside may use us to ask machines that only we can reach.
#[tokio::test]
async fn a_redirect_leads_into_no_private_network() {
    let inside = Server::play([Step::ok("metadata")]).await;
    let (elsewhere, location) = (inside.url("/"), inside.url("/"));
    let service = tower::service_fn(move |_: Request<Body>| {
        let location = location.clone();
        async move {
            let answer = http::Response::builder().status(307);
            let answer = answer.header("location", location);
            Ok::<_, Error>(answer.body(Body::empty()).unwrap())
        }
    });
    let client = quick().redirects(1).build_with_service(service).unwrap();
    let error = get(&client, "http://registry.example/".to_owned())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redirect);
    assert!(!error.to_string().contains("more than"), "{error}");
    // From one machine inside to another it may.
    let server = Server::play([to(307, &elsewhere)]).await;
    let response = get(&quick().build().unwrap(), server.url("/"))
        .await
        .unwrap();
    assert_eq!(response.text(100).await.unwrap(), "metadata");
}

#[tokio::test]
async fn an_error_behind_a_redirect_names_where_it_happened() {
    let gone = Server::bind().await.url("/gone?sig=secret");
    let server = Server::play((0..4).map(|_| to(302, &gone))).await;
    let error = get(&quick().build().unwrap(), server.url("/"))
        .await
        .unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert_eq!(error.url(), Some(&*gone.replace("secret", "REDACTED")));
}
