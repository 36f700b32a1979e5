//! Requests on a condition (RFC 9110, section 13): whether the client has the content already, or
//! wants it only as long as it is the one it knows.

use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use peak_oci::Digest;

use crate::routes::failure::{Code, Failure};
use crate::routes::{DOCKER_CONTENT_DIGEST, header_value};

/// The entity tag of content that is called by its digest: nothing is ever changed in place.
pub(crate) fn entity_tag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// The answer to a request for this content if it is not to be sent; `None` if it is.
///
/// # Errors
///
/// 412 if the client wants other content than this.
pub(crate) fn answer(request: &HeaderMap, digest: &Digest) -> Result<Option<Response>, Failure> {
    let tag = entity_tag(digest);
    if request.contains_key(IF_MATCH) && !names(request, &IF_MATCH, &tag, Comparison::Strong) {
        return Err(Failure::new(
            StatusCode::PRECONDITION_FAILED,
            Code::Unsupported,
            format!("the request is for other content; this is {digest}"),
        ));
    }
    if !names(request, &IF_NONE_MATCH, &tag, Comparison::Weak) {
        return Ok(None);
    }
    let headers = [
        (ETAG, header_value(&tag)?),
        (DOCKER_CONTENT_DIGEST, header_value(digest.as_str())?),
    ];
    Ok(Some((StatusCode::NOT_MODIFIED, headers).into_response()))
}

/// Whether tags that are marked as weak can be equal to one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether the header's list of tags has this one, or is `*`, which is any.
fn names(request: &HeaderMap, header: &HeaderName, tag: &str, comparison: Comparison) -> bool {
    request
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.trim() == "*" || has(list, tag, comparison))
}

/// Whether the list has the tag. What is no list any more from some place on ends there.
fn has(list: &str, tag: &str, comparison: Comparison) -> bool {
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (weak, quoted) = rest
            .strip_prefix("W/")
            .map_or((false, rest), |quoted| (true, quoted));
        let Some(end) = quoted
            .strip_prefix('"')
            .and_then(|inside| inside.find('"'))
            .map(|length| length + 2)
        else {
            return false;
        };
        let (found, after) = quoted.split_at(end);
        if found == tag && !(weak && comparison == Comparison::Strong) {
            return true;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    #[test]
    fn lists_of_tags_are_read() {
        for (list, strong, weak) in [
            ("\"a\"", true, true),
            ("W/\"a\"", false, true),
            ("\"b\", \"a\"", true, true),
            ("\"b\",\"c\" ,\t\"a\"", true, true),
            (",, \"b\",, \"a\",", true, true),
            ("\"b, \\\", \"a\"", true, true),
            ("\"b\", W/\"a\", \"c\"", false, true),
            ("\"b\"", false, false),
            ("a", false, false),
            ("\"a", false, false),
            ("\"aa\"", false, false),
            ("w/\"a\"", false, false),
            ("x, \"a\"", false, false),
            ("", false, false),
        ] {
            assert_eq!(has(list, "\"a\"", Comparison::Strong), strong, "{list}");
            assert_eq!(has(list, "\"a\"", Comparison::Weak), weak, "{list}");
        }
    }

    fn outcome(headers: &[(HeaderName, &str)]) -> u16 {
        let mut request = HeaderMap::new();
        for (name, value) in headers {
            let value = value.replace('D', Digest::sha256_of(b"x").as_str());
            request.append(name, HeaderValue::from_str(&value).unwrap());
        }
        match answer(&request, &Digest::sha256_of(b"x")) {
            Ok(None) => 200,
            Ok(Some(response)) => response.status().as_u16(),
            Err(failure) => failure.into_response().status().as_u16(),
        }
    }

    #[test]
    fn the_first_condition_that_does_not_hold_decides() {
        assert_eq!(outcome(&[]), 200);
        assert_eq!(outcome(&[(IF_NONE_MATCH, "\"D\"")]), 304);
        assert_eq!(outcome(&[(IF_NONE_MATCH, "W/\"D\"")]), 304);
        assert_eq!(outcome(&[(IF_NONE_MATCH, "*")]), 304);
        assert_eq!(outcome(&[(IF_NONE_MATCH, "\"o\"")]), 200);
        assert_eq!(
            outcome(&[(IF_NONE_MATCH, "\"o\""), (IF_NONE_MATCH, "\"D\"")]),
            304
        );
        assert_eq!(outcome(&[(IF_MATCH, "\"D\"")]), 200);
        assert_eq!(outcome(&[(IF_MATCH, "*")]), 200);
        assert_eq!(outcome(&[(IF_MATCH, "\"o\"")]), 412);
        assert_eq!(outcome(&[(IF_MATCH, "W/\"D\"")]), 412);
        assert_eq!(outcome(&[(IF_MATCH, "\"D\""), (IF_NONE_MATCH, "*")]), 304);
        assert_eq!(
            outcome(&[(IF_MATCH, "\"o\""), (IF_NONE_MATCH, "\"D\"")]),
            412
        );
    }

    proptest! {
        #[test]
        fn a_tag_in_a_list_of_any_tags_is_found(
            before in "(W?/?\"[a-z:,W/ ]{0,5}\" ?, ?){0,4}",
            after in "\\PC{0,10}",
        ) {
            let list = format!("{before}\"t:1\",{after}");
            // What looks like a tag but is none ends the list before ours.
            let whole = !before.contains("\"/\"") && !before.split('"').step_by(2).any(|between| {
                let between = between.trim_matches([' ', ',']);
                !between.is_empty() && between != "W/"
            });
            if whole {
                prop_assert!(has(&list, "\"t:1\"", Comparison::Strong));
            }
        }
    }
}
