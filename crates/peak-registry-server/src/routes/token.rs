//! The token endpoint: `GET` with Basic as Docker's token specification has it, `POST` of a form as
//! its OAuth2 part has it.
//!
//! The answers do not say when a token was issued, which is optional: clients that are told count
//! from then by their own clock, and clocks of small sites differ.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::auth::{Access, Permissions, Presented, Refused, SERVICE, basic_challenge};
use crate::routes::failure::{Code, Failure};
use crate::routes::parameters::Parameters;
use crate::routes::path::PathError;
use crate::routes::{KnownUser, Registry, about, header_value, permission, receive};

/// The longest form that is read, in bytes.
const MAX_FORM: u64 = 64 * 1024;

#[derive(Serialize)]
struct Token<'a> {
    token: &'a str,
    /// The same; each specification has a name of its own.
    access_token: &'a str,
    /// Seconds.
    expires_in: u64,
}

/// The errors of OAuth2 (RFC 6749, 5.2).
#[derive(Serialize)]
struct OauthError {
    error: &'static str,
    error_description: &'static str,
}

/// An answer without a token, in the form that the request's specification has for it.
enum Refusal {
    Registry(Failure),
    Oauth(OauthError),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Registry(failure)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Registry(failure) => failure.into_response(),
            Self::Oauth(error) => (StatusCode::BAD_REQUEST, Json(error)).into_response(),
        }
    }
}

pub(crate) async fn answer(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let result = match head.method {
        Method::GET => get(&registry, &head).await,
        Method::POST => Box::pin(post(&registry, &head, body)).await,
        _ => Err(Failure::method_not_allowed("GET, POST").into()),
    };
    let mut response = result.unwrap_or_else(IntoResponse::into_response);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn get(registry: &Registry, request: &Parts) -> Result<Response, Refusal> {
    let parameters = Parameters::of(&request.uri)?;
    if parameters
        .first("service")
        .is_some_and(|name| name != SERVICE)
    {
        let failure = Failure::bad_request(Code::Unsupported, WRONG_SERVICE);
        return Err(failure.into());
    }
    let asked = Access::parse(parameters.all("scope"));
    let presented = Presented::of(&request.headers);
    match registry.auth.sign_in(presented).await {
        Ok(permissions) => token(registry, &permissions, asked),
        Err(Refused::Later) => Err(permission::later().into()),
        Err(Refused::Credentials(_)) => {
            let message = "the user or password is wrong or missing";
            let failure = Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message);
            let challenge = header_value(&basic_challenge())?;
            Err(failure
                .with_header(header::WWW_AUTHENTICATE, challenge)
                .into())
        }
    }
}

async fn post(registry: &Registry, head: &Parts, body: Body) -> Result<Response, Refusal> {
    if !is_form(&head.headers) {
        return Err(oauth(
            "invalid_request",
            "the body must be a form, urlencoded",
        ));
    }
    let idle = registry.limits.idle;
    let body = receive::whole(body, &head.headers, MAX_FORM, idle)
        .await
        .map_err(|_| {
            oauth(
                "invalid_request",
                "the form breaks off, or is longer than 64 KiB",
            )
        })?;
    let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let field = |name: &str| {
        form.iter()
            .find_map(|(key, value)| (key == name).then_some(value.as_str()))
    };
    if field("service").is_some_and(|name| name != SERVICE) {
        return Err(oauth("invalid_request", WRONG_SERVICE));
    }
    match field("grant_type") {
        Some("password") => {}
        Some(_) => {
            let text = "this endpoint gives tokens for passwords alone, and no refresh tokens";
            return Err(oauth("unsupported_grant_type", text));
        }
        None => return Err(oauth("invalid_request", "`grant_type` is missing")),
    }
    let (Some(user), Some(password)) = (field("username"), field("password")) else {
        return Err(oauth(
            "invalid_request",
            "`username` or `password` is missing",
        ));
    };
    let presented = Presented::Basic {
        user: user.to_owned(),
        password: password.as_bytes().to_vec(),
    };
    match registry.auth.sign_in(presented).await {
        Ok(permissions) => token(registry, &permissions, Access::parse(field("scope"))),
        Err(Refused::Later) => Err(permission::later().into()),
        Err(Refused::Credentials(_)) => {
            Err(oauth("invalid_grant", "the user or password is wrong"))
        }
    }
}

const WRONG_SERVICE: &str = "this endpoint gives tokens for another service than that";

fn token(
    registry: &Registry,
    permissions: &Permissions,
    asked: Access,
) -> Result<Response, Refusal> {
    let Some((token, lifetime)) = registry.auth.issue(permissions, asked) else {
        return Err(Failure::path(&PathError::Endpoint, &Method::GET).into());
    };
    let token = token.map_err(|error| Failure::internal(&error))?;
    let response = Json(Token {
        token: &token,
        access_token: &token,
        expires_in: lifetime.as_secs(),
    })
    .into_response();
    Ok(about::by(KnownUser::of(permissions), response))
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .is_some_and(|kind| {
            kind.trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

fn oauth(error: &'static str, error_description: &'static str) -> Refusal {
    Refusal::Oauth(OauthError {
        error,
        error_description,
    })
}
