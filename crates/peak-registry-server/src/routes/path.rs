//! From the path of a request to what it is about.
//!
//! Repository names contain slashes, so a path is read from its end: the last components say which
//! kind of thing it is, and all before them is the name. Every part is checked against its grammar
//! here, so that no handler ever sees a text that is not a name, a tag, a digest or an upload's
//! number.

use std::borrow::Cow;

use peak_oci::{Digest, RepositoryName, Selector};

use crate::store::UploadId;

/// The longest path that is looked at, in bytes: a name, a kind and a SHA-512 digest fit well.
const MAX_PATH: usize = 1024;

/// What a path below `/v2/` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`: is this a registry?
    Base,
    /// `/v2/_catalog`: the repositories.
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags { name: RepositoryName },
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest {
        name: RepositoryName,
        selector: Selector,
    },
    /// `/v2/<name>/blobs/<digest>`
    Blob {
        name: RepositoryName,
        digest: Digest,
    },
    /// `/v2/<name>/blobs/uploads/`: where uploads begin.
    Uploads { name: RepositoryName },
    /// `/v2/<name>/blobs/uploads/<id>`: one upload.
    Upload { name: RepositoryName, id: UploadId },
    /// `/v2/<name>/referrers/<digest>`
    Referrers {
        name: RepositoryName,
        digest: Digest,
    },
}

/// Why a path is about nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("there is no such endpoint")]
    Endpoint,
    #[error("the repository name does not follow the grammar of names")]
    Name,
    #[error("the tag does not follow the grammar of tags")]
    Tag,
    #[error("{reason}")]
    Digest { reason: String },
    #[error("there is no such upload")]
    Upload,
}

impl Route {
    /// Reads the path of a request, percent-encoded as it came.
    pub(crate) fn parse(path: &str) -> Result<Self, PathError> {
        if path.len() > MAX_PATH {
            return Err(PathError::Endpoint);
        }
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Base),
            Some("/_catalog") => return Ok(Self::Catalog),
            Some(rest) => rest.strip_prefix('/').ok_or(PathError::Endpoint)?,
            None => return Err(PathError::Endpoint),
        };
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            [name @ .., "tags", "list"] => Ok(Self::Tags {
                name: repository(name)?,
            }),
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Self::Uploads {
                    name: repository(name)?,
                })
            }
            [name @ .., "blobs", "uploads", id] => Ok(Self::Upload {
                name: repository(name)?,
                id: upload(id)?,
            }),
            [name @ .., "blobs", digest] => Ok(Self::Blob {
                name: repository(name)?,
                digest: content(digest)?,
            }),
            [name @ .., "manifests", reference] => Ok(Self::Manifest {
                name: repository(name)?,
                selector: selector(reference)?,
            }),
            [name @ .., "referrers", digest] => Ok(Self::Referrers {
                name: repository(name)?,
                digest: content(digest)?,
            }),
            _ => Err(PathError::Endpoint),
        }
    }
}

/// Reads a repository name out of text that a client sent.
pub(crate) fn name(text: &str) -> Result<RepositoryName, PathError> {
    text.parse().map_err(|_| PathError::Name)
}

/// Reads a digest out of text that a client sent.
pub(crate) fn digest(text: &str) -> Result<Digest, PathError> {
    text.parse()
        .map_err(|error: peak_oci::DigestError| PathError::Digest {
            reason: error.to_string(),
        })
}

/// No character of a name needs percent-encoding, so an encoded one is not decoded but refused:
/// the grammar has no `%`.
fn repository(parts: &[&str]) -> Result<RepositoryName, PathError> {
    name(&parts.join("/"))
}

fn selector(text: &str) -> Result<Selector, PathError> {
    let text = decode_colon(text);
    if text.contains(':') {
        digest(&text).map(Selector::Digest)
    } else {
        text.parse().map(Selector::Tag).map_err(|_| PathError::Tag)
    }
}

fn content(text: &str) -> Result<Digest, PathError> {
    digest(&decode_colon(text))
}

/// The colon of a digest is the one character that some clients encode, needlessly but rightly.
fn decode_colon(text: &str) -> Cow<'_, str> {
    match text.find("%3A").or_else(|| text.find("%3a")) {
        Some(at) => {
            let (before, after) = text.split_at(at);
            Cow::Owned(format!("{before}:{}", after.get(3..).unwrap_or_default()))
        }
        None => Cow::Borrowed(text),
    }
}

fn upload(text: &str) -> Result<UploadId, PathError> {
    text.parse().map_err(|_| PathError::Upload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ID: &str = "0188d0e0-5c3a-4a5e-9a7b-0123456789ab";

    fn parse(path: &str) -> Result<Route, PathError> {
        Route::parse(path)
    }

    fn repo(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn each_endpoint_is_recognised() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        assert_eq!(parse("/v2"), Ok(Route::Base));
        assert_eq!(parse("/v2/"), Ok(Route::Base));
        assert_eq!(parse("/v2/_catalog"), Ok(Route::Catalog));
        assert_eq!(
            parse("/v2/a/tags/list"),
            Ok(Route::Tags { name: repo("a") })
        );
        assert_eq!(
            parse("/v2/a/b/c/manifests/v1"),
            Ok(Route::Manifest {
                name: repo("a/b/c"),
                selector: Selector::Tag("v1".parse().unwrap())
            })
        );
        assert_eq!(
            parse(&format!("/v2/a/b/manifests/sha256:{HEX}")),
            Ok(Route::Manifest {
                name: repo("a/b"),
                selector: Selector::Digest(digest.clone())
            })
        );
        for colon in [":", "%3A", "%3a"] {
            assert_eq!(
                parse(&format!("/v2/a/b/blobs/sha256{colon}{HEX}")),
                Ok(Route::Blob {
                    name: repo("a/b"),
                    digest: digest.clone()
                })
            );
        }
        assert_eq!(
            parse("/v2/a/blobs/uploads/"),
            Ok(Route::Uploads { name: repo("a") })
        );
        assert_eq!(
            parse("/v2/a/blobs/uploads"),
            Ok(Route::Uploads { name: repo("a") })
        );
        assert_eq!(
            parse(&format!("/v2/a/blobs/uploads/{ID}")),
            Ok(Route::Upload {
                name: repo("a"),
                id: ID.parse().unwrap()
            })
        );
        assert_eq!(
            parse(&format!("/v2/a/referrers/sha256:{HEX}")),
            Ok(Route::Referrers {
                name: repo("a"),
                digest
            })
        );
    }

    #[test]
    fn names_may_look_like_endpoints() {
        assert_eq!(
            parse("/v2/a/tags/list/tags/list"),
            Ok(Route::Tags {
                name: repo("a/tags/list")
            })
        );
        assert_eq!(
            parse("/v2/a/blobs/uploads/manifests/latest"),
            Ok(Route::Manifest {
                name: repo("a/blobs/uploads"),
                selector: Selector::Tag("latest".parse().unwrap())
            })
        );
        assert_eq!(
            parse("/v2/manifests/manifests/tags/list"),
            Ok(Route::Tags {
                name: repo("manifests/manifests")
            })
        );
    }

    #[test]
    fn hostile_paths_are_refused() {
        let long = "a/".repeat(200);
        for (path, expected) in [
            ("/v2/../manifests/latest", PathError::Name),
            ("/v2/a/../../etc/manifests/latest", PathError::Name),
            ("/v2/a%2fb/manifests/latest", PathError::Name),
            ("/v2/a%2Fb/tags/list", PathError::Name),
            ("/v2/%2e%2e/tags/list", PathError::Name),
            ("/v2//a/tags/list", PathError::Name),
            ("/v2/a//b/tags/list", PathError::Name),
            ("/v2/a/./tags/list", PathError::Name),
            ("/v2/A/tags/list", PathError::Name),
            ("/v2/tags/list", PathError::Name),
            ("/v2/manifests/latest", PathError::Name),
            ("/v2/a\\b/tags/list", PathError::Name),
            ("/v2/a/manifests/..", PathError::Tag),
            ("/v2/a/manifests/..%2f..%2fetc", PathError::Tag),
            ("/v2/a/manifests/", PathError::Tag),
            ("/v2/a/manifests/.INVALID", PathError::Tag),
            ("/v2/a/manifests/x/y", PathError::Endpoint),
            ("/v2/a/blobs/uploads/..", PathError::Upload),
            ("/v2/a/blobs/uploads/%2e%2e", PathError::Upload),
            ("/v2/a/tags", PathError::Endpoint),
            ("/v2x/a/tags/list", PathError::Endpoint),
            ("/", PathError::Endpoint),
            ("", PathError::Endpoint),
            (&format!("/v2/{long}a/tags/list"), PathError::Name),
            (
                &format!("/v2/a/blobs/uploads/{}", ID.to_uppercase()),
                PathError::Upload,
            ),
            (&format!("/v2/a/blobs/uploads/{{{ID}}}"), PathError::Upload),
        ] {
            assert_eq!(parse(path), Err(expected), "{path}");
        }
        for path in [
            "/v2/a/blobs/..",
            "/v2/a/blobs/sha256:..",
            "/v2/a/blobs/sha256:../../../../etc/passwd",
            "/v2/a/manifests/md5:00",
            &format!("/v2/a/blobs/sha256:{}", HEX.to_uppercase()),
            &format!("/v2/a/blobs/sha256%3A%3A{HEX}"),
        ] {
            assert!(
                matches!(
                    parse(path),
                    Err(PathError::Digest { .. } | PathError::Endpoint | PathError::Name)
                ),
                "{path}"
            );
        }
    }

    #[test]
    fn a_very_long_path_is_not_looked_at() {
        assert_eq!(
            parse(&format!("/v2/{}", "a".repeat(5000))),
            Err(PathError::Endpoint)
        );
    }

    /// The path that a route has, to read it back.
    fn path_of(route: &Route) -> String {
        match route {
            Route::Base => "/v2/".to_owned(),
            Route::Catalog => "/v2/_catalog".to_owned(),
            Route::Tags { name } => format!("/v2/{name}/tags/list"),
            Route::Manifest { name, selector } => format!("/v2/{name}/manifests/{selector}"),
            Route::Blob { name, digest } => format!("/v2/{name}/blobs/{digest}"),
            Route::Uploads { name } => format!("/v2/{name}/blobs/uploads/"),
            Route::Upload { name, id } => format!("/v2/{name}/blobs/uploads/{id}"),
            Route::Referrers { name, digest } => format!("/v2/{name}/referrers/{digest}"),
        }
    }

    fn any_part() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9]{1,6}",
            Just("tags".to_owned()),
            Just("list".to_owned()),
            Just("blobs".to_owned()),
            Just("uploads".to_owned()),
            Just("manifests".to_owned()),
            Just("referrers".to_owned()),
            Just("_catalog".to_owned()),
            Just("..".to_owned()),
            Just(".".to_owned()),
            Just(String::new()),
            Just("%2f".to_owned()),
            Just("%2e%2e".to_owned()),
            Just("..%2f..".to_owned()),
            Just(format!("sha256:{HEX}")),
            Just(ID.to_owned()),
            "\\PC{0,5}",
        ]
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_harmless(parts in proptest::collection::vec(any_part(), 0..8)) {
            let path = format!("/v2/{}", parts.join("/"));
            if let Ok(route) = Route::parse(&path) {
                let again = path_of(&route);
                prop_assert!(!again.contains("..") && !again.contains('%') && !again.contains("//"));
                prop_assert_eq!(Route::parse(&again), Ok(route));
            }
        }

        #[test]
        fn any_text_is_read_without_panic(path in "\\PC*") {
            let _ = Route::parse(&path).is_ok();
        }

        #[test]
        fn every_name_and_tag_is_found_again(
            name in "[a-z0-9]{1,5}(([._]|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,5}){0,3}",
            tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}",
        ) {
            let route = Route::parse(&format!("/v2/{name}/manifests/{tag}")).unwrap();
            prop_assert_eq!(
                route,
                Route::Manifest { name: repo(&name), selector: Selector::Tag(tag.parse().unwrap()) }
            );
        }
    }
}
