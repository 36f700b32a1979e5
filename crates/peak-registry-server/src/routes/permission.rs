//! What each request needs, and whether its sender may have it. Every request passes here, after
//! its path was read and before its handler runs.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use peak_oci::RepositoryName;

use crate::auth::{Actions, Auth, Permissions, Presented, Problem, Refused};
use crate::routes::failure::{Code, Failure};
use crate::routes::header_value;
use crate::routes::parameters::Parameters;
use crate::routes::path::{self, Route};

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need<'a> {
    /// To have said who one is.
    Identity,
    /// The list of repositories.
    Catalog,
    /// This, with this repository.
    Repository(&'a RepositoryName, Actions),
}

impl<'a> Need<'a> {
    fn of(route: &'a Route, method: &Method) -> Self {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match route {
            Route::Base => Self::Identity,
            Route::Catalog => Self::Catalog,
            Route::Tags { name } | Route::Referrers { name, .. } if is_read => {
                Self::Repository(name, Actions::PULL)
            }
            Route::Manifest { name, .. } | Route::Blob { name, .. } if is_read => {
                Self::Repository(name, Actions::PULL)
            }
            Route::Manifest { name, .. } if *method == Method::PUT => {
                Self::Repository(name, Actions::PUSH)
            }
            Route::Manifest { name, .. } | Route::Blob { name, .. }
                if *method == Method::DELETE =>
            {
                Self::Repository(name, Actions::DELETE)
            }
            // To see how far an upload is, and to give it up, is part of pushing.
            Route::Uploads { name } | Route::Upload { name, .. } => {
                Self::Repository(name, Actions::PUSH)
            }
            // These are not endpoints. Who may do everything is told so.
            Route::Tags { name }
            | Route::Referrers { name, .. }
            | Route::Manifest { name, .. }
            | Route::Blob { name, .. } => Self::Repository(name, Actions::ALL),
        }
    }

    fn is_met_by(self, permissions: &Permissions) -> bool {
        match self {
            Self::Identity => permissions.are_of_somebody(),
            Self::Catalog => permissions.allow_catalog(),
            Self::Repository(name, actions) => permissions.allow(name, actions),
        }
    }

    /// The scope of a token that is good for this request.
    fn scope(self, request: &Parts) -> Option<String> {
        match self {
            Self::Identity => None,
            Self::Catalog => Some("registry:catalog:*".to_owned()),
            Self::Repository(name, actions) => {
                // Who pushes looks first what is there, and one token should do for both.
                let wanted = if actions.contains(Actions::PUSH) {
                    actions | Actions::PULL
                } else {
                    actions
                };
                let mut scope = format!("repository:{name}:{wanted}");
                if let Some(from) = mounted_from(request) {
                    scope.push_str(" repository:");
                    scope.push_str(from.as_str());
                    scope.push_str(":pull");
                }
                Some(scope)
            }
        }
    }
}

/// The repository that a blob is to be mounted from.
fn mounted_from(request: &Parts) -> Option<RepositoryName> {
    let parameters = Parameters::of(&request.uri).ok()?;
    parameters.first("mount")?;
    path::name(parameters.first("from")?).ok()
}

/// What the sender of a request may do, whatever the request needs.
pub(crate) async fn identify(
    auth: &Auth,
    route: &Route,
    request: &Parts,
) -> Result<Permissions, Failure> {
    match auth.permissions(Presented::of(&request.headers)).await {
        Ok(permissions) => Ok(permissions),
        Err(Refused::Credentials(problem)) => {
            let need = Need::of(route, &request.method);
            Err(challenged(auth, request, need, problem))
        }
        Err(Refused::Later) => Err(later()),
    }
}

/// Lets requests through whose sender may have what they need.
pub(crate) fn check(
    auth: &Auth,
    route: &Route,
    request: &Parts,
    permissions: &Permissions,
) -> Result<(), Failure> {
    let need = Need::of(route, &request.method);
    if need.is_met_by(permissions) {
        return Ok(());
    }
    // Nothing here depends on whether the repository exists.
    Err(if permissions.by_token() {
        let problem = Problem::InsufficientScope;
        challenged(auth, request, need, problem)
    } else if permissions.are_of_somebody() {
        Failure::new(
            StatusCode::FORBIDDEN,
            Code::Denied,
            "the rules of this registry do not allow you this",
        )
    } else {
        challenged(auth, request, need, Problem::None)
    })
}

/// 401: say who you are, or get a token for this.
fn challenged(auth: &Auth, request: &Parts, need: Need<'_>, problem: Problem) -> Failure {
    let scope = need.scope(request);
    let message = match problem {
        Problem::None => "authentication is required, or the user or password is wrong",
        Problem::InvalidToken => "the token is not one of this registry, or has ended",
        Problem::InsufficientScope => "the token does not allow this",
    };
    let failure = Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message);
    let mut headers = HeaderMap::new();
    for challenge in auth.challenges(request, scope.as_deref(), problem) {
        match header_value(&challenge) {
            Ok(value) => headers.append(header::WWW_AUTHENTICATE, value),
            Err(failure) => return failure,
        };
    }
    failure.with_headers(headers)
}

/// 429: too many wrong passwords.
pub(crate) fn later() -> Failure {
    Failure::new(
        StatusCode::TOO_MANY_REQUESTS,
        Code::TooManyRequests,
        "too many wrong passwords, or too many passwords at once; try again in a second",
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_not_an_endpoint_needs_everything() {
        let route = Route::parse("/v2/a/manifests/v1").unwrap();
        for method in [
            Method::POST,
            Method::PATCH,
            Method::OPTIONS,
            Method::CONNECT,
        ] {
            let Need::Repository(_, actions) = Need::of(&route, &method) else {
                panic!("{method}");
            };
            assert_eq!(actions, Actions::ALL, "{method}");
        }
    }

    #[test]
    fn the_scope_of_a_challenge_is_good_for_the_request() {
        let scope = |method: Method, uri: &str| {
            let request = axum::http::Request::builder().uri(uri).body(());
            let request = request.unwrap().into_parts().0;
            let route = Route::parse(request.uri.path()).unwrap();
            Need::of(&route, &method).scope(&request)
        };
        for (method, uri, expected) in [
            (Method::GET, "/v2/", None),
            (Method::GET, "/v2/_catalog?n=1", Some("registry:catalog:*")),
            (
                Method::HEAD,
                "/v2/a/b/manifests/v1",
                Some("repository:a/b:pull"),
            ),
            (
                Method::PUT,
                "/v2/a/manifests/v1",
                Some("repository:a:pull,push"),
            ),
            (
                Method::DELETE,
                "/v2/a/manifests/v1",
                Some("repository:a:delete"),
            ),
            (
                Method::POST,
                "/v2/a/blobs/uploads/?mount=sha256:00&from=b/c",
                Some("repository:a:pull,push repository:b/c:pull"),
            ),
            (
                Method::POST,
                "/v2/a/blobs/uploads/?mount=sha256:00&from=%22",
                Some("repository:a:pull,push"),
            ),
        ] {
            assert_eq!(scope(method, uri).as_deref(), expected, "{uri}");
        }
    }
}
