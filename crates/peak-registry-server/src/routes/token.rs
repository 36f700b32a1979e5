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
use crate::routes::{Registry, header_value, permission, receive};

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

pub(crate) async fn answer(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let result = match head.method {
        Method::GET => get(&registry, &head).await,
        Method::POST => Box::pin(post(&registry, &head, body)).await,
        _ => Err(Failure::method_not_allowed("GET, POST").into_response()),
    };
    let mut response = result.unwrap_or_else(|refusal| refusal);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn get(registry: &Registry, request: &Parts) -> Result<Response, Response> {
    let parameters = Parameters::of(&request.uri).map_err(IntoResponse::into_response)?;
    if parameters
        .first("service")
        .is_some_and(|name| name != SERVICE)
    {
        let failure = Failure::bad_request(Code::Unsupported, WRONG_SERVICE);
        return Err(failure.into_response());
    }
    let asked = Access::parse(parameters.all("scope"));
    let presented = Presented::of(&request.headers);
    match registry.auth.sign_in(presented).await {
        Ok(permissions) => token(registry, &permissions, asked),
        Err(Refused::Later) => Err(permission::later().into_response()),
        Err(Refused::Credentials(_)) => {
            let message = "the user or password is wrong or missing";
            let failure = Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message);
            let challenge =
                header_value(&basic_challenge()).map_err(IntoResponse::into_response)?;
            Err(failure
                .with_header(header::WWW_AUTHENTICATE, challenge)
                .into_response())
        }
    }
}

async fn post(registry: &Registry, head: &Parts, body: Body) -> Result<Response, Response> {
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
        Err(Refused::Later) => Err(permission::later().into_response()),
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
) -> Result<Response, Response> {
    let Some((token, lifetime)) = registry.auth.issue(permissions, asked) else {
        return Err(Failure::path(&PathError::Endpoint, &Method::GET).into_response());
    };
    let token = token.map_err(|error| Failure::internal(&error).into_response())?;
    Ok(Json(Token {
        token: &token,
        access_token: &token,
        expires_in: lifetime.as_secs(),
    })
    .into_response())
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

fn oauth(error: &'static str, error_description: &'static str) -> Response {
    let body = OauthError {
        error,
        error_description,
    };
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}
