//! The `Link` header that leads to the next page of a list (RFC 8288).

use http::HeaderMap;
use http::header::LINK;
use peak_http::Origin;
use url::Url;

/// Why a list cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// It leads to another server.
    Elsewhere,
    /// It cannot be read as a URL.
    Unreadable,
}

/// The next page: the link whose relation is `next`, or a sole one that says no relation, as some registries write
/// it. Relative to the page's own URL, and on the same origin, since the request carries credentials.
pub(crate) fn next(page: &Url, headers: &HeaderMap) -> Result<Option<Url>, LinkError> {
    let mut links: Vec<Link> = Vec::new();
    for value in headers.get_all(LINK) {
        links.extend(parse(value.to_str().map_err(|_| LinkError::Unreadable)?));
    }
    let found = match links.iter().find(|link| link.is_next()) {
        Some(link) => link,
        None => match links.as_slice() {
            [sole] if sole.relations.is_none() => sole,
            _ => return Ok(None),
        },
    };
    let url = page
        .join(&found.target)
        .map_err(|_| LinkError::Unreadable)?;
    // Origins are compared with default ports filled in, since some write `:443` and some do not.
    if Origin::of(&url) != Origin::of(page)
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err(LinkError::Elsewhere);
    }
    Ok(Some(url))
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) target: String,
    pub(crate) relations: Option<String>,
}

impl Link {
    fn is_next(&self) -> bool {
        self.relations.as_ref().is_some_and(|relations| {
            relations
                .split_ascii_whitespace()
                .any(|relation| relation.eq_ignore_ascii_case("next"))
        })
    }
}

/// The links of one header. What cannot be read ends it.
pub(crate) fn parse(mut text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    while let Some(start) = text.trim_start_matches([' ', '\t', ',']).strip_prefix('<') {
        let Some((target, rest)) = start.split_once('>') else {
            break;
        };
        let mut link = Link {
            target: target.trim().to_owned(),
            relations: None,
        };
        text = rest.trim_start();
        while let Some(parameter) = text.strip_prefix(';') {
            let (name, value, rest) = parameter_of(parameter);
            // The first one counts (RFC 8288, section 3.3).
            if name.eq_ignore_ascii_case("rel") && link.relations.is_none() {
                link.relations = Some(value);
            }
            text = rest.trim_start();
        }
        links.push(link);
    }
    links
}

/// A parameter's name and value, and what follows it.
fn parameter_of(text: &str) -> (&str, String, &str) {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let Some(value) = rest.strip_prefix('=') else {
        return (name.trim(), String::new(), rest);
    };
    let value = value.trim_start();
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([';', ',']).unwrap_or(value.len());
        let (value, rest) = value.split_at(end);
        return (name.trim(), value.trim().to_owned(), rest);
    };
    let mut unquoted = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '"' if !escaped => {
                let rest = quoted.get(at + 1..).unwrap_or_default();
                return (name.trim(), unquoted, rest);
            }
            c => unquoted.push(c),
        }
        escaped = false;
    }
    (name.trim(), unquoted, "")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn follow(values: &[&str]) -> Result<Option<String>, LinkError> {
        let page = Url::parse("https://r.example/v2/a/tags/list?n=2").unwrap();
        let headers = values
            .iter()
            .map(|value| (LINK, HeaderValue::from_str(value).unwrap()))
            .collect();
        Ok(next(&page, &headers)?.map(|url| url.to_string()))
    }

    #[test]
    fn the_next_page_is_found_however_it_is_written() {
        let expected = Some("https://r.example/v2/a/tags/list?last=b&n=2".to_owned());
        for value in [
            "</v2/a/tags/list?last=b&n=2>; rel=\"next\"",
            "</v2/a/tags/list?last=b&n=2>; rel=next",
            "</v2/a/tags/list?last=b&n=2>;title=\"a, \\\"b; rel=prev\";rel=\"last NEXT\"",
            "<https://r.example:443/v2/a/tags/list?last=b&n=2>; rel=next",
            "<list?last=b&n=2>; rel=\"next\"",
            "<?last=b&n=2>;rel=next",
            "</other>; rel=\"prev\", </v2/a/tags/list?last=b&n=2>; rel=\"next\"",
            "</v2/a/tags/list?last=b&n=2>",
        ] {
            assert_eq!(follow(&[value]).unwrap(), expected, "{value}");
        }
        let several = [
            "</first>; rel=first",
            "</v2/a/tags/list?last=b&n=2>; rel=next",
        ];
        assert_eq!(follow(&several).unwrap(), expected);
    }

    #[test]
    fn other_links_are_no_next_page() {
        for value in [
            "",
            "nonsense",
            "<",
            "</x>; rel=prev",
            "</x>, </y>",
            "</x>; rel=nexter",
        ] {
            assert_eq!(follow(&[value]).unwrap(), None, "{value}");
        }
        assert_eq!(follow(&[]).unwrap(), None);
    }

    #[test]
    fn no_page_is_on_another_server() {
        for value in [
            "<https://evil.example/v2/a/tags/list>; rel=next",
            "<http://r.example/v2/a/tags/list>; rel=next",
            "<https://r.example:444/v2/a/tags/list>; rel=next",
            "<//evil.example/x>; rel=next",
            "<https://user:pw@r.example/x>; rel=next",
        ] {
            assert_eq!(follow(&[value]), Err(LinkError::Elsewhere), "{value}");
        }
        assert_eq!(
            follow(&["<https://[/>; rel=next"]),
            Err(LinkError::Unreadable)
        );
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(text in "[<>;,=\"\\\\ a-z/?&]{0,60}") {
            if let Ok(Some(url)) = follow(&[&text]) {
                prop_assert!(url.starts_with("https://r.example/"));
            }
        }
    }
}
