//! The parameters of a request, from its query.

use axum::extract::Query;
use axum::http::Uri;

use crate::routes::failure::{Code, Failure};

/// The most parameters that are looked at.
const MAX_PARAMETERS: usize = 256;

/// The decoded parameters, in their order.
#[derive(Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn of(uri: &Uri) -> Result<Self, Failure> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| invalid("the query of the address cannot be read"))?;
        if pairs.len() > MAX_PARAMETERS {
            return Err(invalid("the query of the address has too many parameters"));
        }
        Ok(Self(pairs))
    }

    /// The value of the first parameter of this name.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all parameters of this name.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn invalid(message: &str) -> Failure {
    Failure::bad_request(Code::Unsupported, message)
}

/// Encodes a value for the query of a link.
pub(crate) fn encode(value: &str) -> String {
    use std::fmt::Write;

    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_may_come_several_times() {
        let uri: Uri = "/v2/?tag=a&n=5&tag=b%2Fc".parse().unwrap();
        let parameters = Parameters::of(&uri).unwrap();
        assert_eq!(parameters.all("tag").collect::<Vec<_>>(), ["a", "b/c"]);
        assert_eq!(parameters.first("n"), Some("5"));
        assert_eq!(parameters.first("last"), None);
    }

    #[test]
    fn a_query_of_very_many_parameters_is_refused() {
        let uri: Uri = format!("/v2/?{}", "a=b&".repeat(MAX_PARAMETERS + 1))
            .parse()
            .unwrap();
        assert!(Parameters::of(&uri).is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(value in "\\PC{0,20}") {
            let uri: Uri = format!("/v2/?last={}", encode(&value)).parse().unwrap();
            let parameters = Parameters::of(&uri).unwrap();
            prop_assert_eq!(parameters.first("last"), Some(value.as_str()));
        }
    }
}
