//! What those who log and count requests have to know about them.

use axum::response::Response;

#[cfg(feature = "server")]
use super::path::{PathError, Route};
use crate::auth::Permissions;

/// Who asked: an extension of the answer, put there where credentials were checked.
#[derive(Debug, Clone)]
pub(crate) struct KnownUser(
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "read by the access log of the server")
    )]
    pub(crate) String,
);

impl KnownUser {
    /// Whose permissions these are, if they are those of a user.
    pub(crate) fn of(permissions: &Permissions) -> Option<Self> {
        permissions
            .caller()
            .name()
            .map(|name| Self(name.to_owned()))
    }
}

/// The answer, which says to whom it is.
pub(crate) fn by(user: Option<KnownUser>, mut response: Response) -> Response {
    if let Some(user) = user {
        response.extensions_mut().insert(user);
    }
    response
}

/// What kind of thing a path is about. No part of it comes from the client.
#[cfg(feature = "server")]
pub(crate) fn kind_of(path: &str) -> &'static str {
    match Route::parse(path) {
        Ok(Route::Base) => "base",
        Ok(Route::Catalog) => "catalog",
        Ok(Route::Tags { .. }) => "tags",
        Ok(Route::Manifest { .. }) => "manifest",
        Ok(Route::Blob { .. }) => "blob",
        Ok(Route::Uploads { .. }) => "uploads",
        Ok(Route::Upload { .. }) => "upload",
        Ok(Route::Referrers { .. }) => "referrers",
        Err(PathError::Endpoint) if path == "/token" => "token",
        Err(PathError::Endpoint) => "other",
        Err(_) => "invalid",
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_no_part_of_a_name() {
        for (path, kind) in [
            ("/v2/", "base"),
            ("/v2/secret/project/tags/list", "tags"),
            ("/v2/secret/project/manifests/1.0", "manifest"),
            ("/v2/secret/project/blobs/uploads/", "uploads"),
            ("/v2/UPPER/manifests/1.0", "invalid"),
            ("/token", "token"),
            ("/secret", "other"),
        ] {
            assert_eq!(kind_of(path), kind, "{path}");
        }
    }
}
