//! Who the Engine is towards a registry, as the headers of its API carry it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Docker Hub's name in the Engine's headers and in Docker's `config.json`.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A user and their password, or an identity token, which the Engine shows to a registry. `Debug` shows the user name
/// only. Any characters may stand in either.
#[derive(Clone)]
pub struct EngineCredentials {
    user: String,
    secret: SecretString,
    is_identity_token: bool,
}

impl EngineCredentials {
    /// A user name and a password or access token.
    pub fn new(user: impl Into<String>, password: SecretString) -> Self {
        Self {
            user: user.into(),
            secret: password,
            is_identity_token: false,
        }
    }

    /// An identity token (an OAuth2 refresh token), which the Engine exchanges for access tokens.
    pub fn identity_token(token: SecretString) -> Self {
        Self {
            user: String::new(),
            secret: token,
            is_identity_token: true,
        }
    }

    /// The user name; empty for an identity token.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Debug for EngineCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EngineCredentials")
            .field("user", &self.user)
            .field("is_identity_token", &self.is_identity_token)
            .finish_non_exhaustive()
    }
}

/// The object that Docker calls `AuthConfig`.
struct AuthConfig<'a> {
    credentials: &'a EngineCredentials,
    server: &'a str,
}

impl Serialize for AuthConfig<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let secret = self.credentials.secret.expose_secret();
        let mut map = serializer.serialize_map(None)?;
        if self.credentials.is_identity_token {
            map.serialize_entry("identitytoken", secret)?;
        } else {
            map.serialize_entry("username", &self.credentials.user)?;
            map.serialize_entry("password", secret)?;
        }
        map.serialize_entry("serveraddress", self.server)?;
        map.end()
    }
}

/// What the Engine calls a registry.
fn server_address(registry: &str) -> &str {
    if registry == "docker.io" {
        DOCKER_HUB
    } else {
        registry
    }
}

/// The value of `X-Registry-Auth`. Without credentials that of an empty object: older Engines answer 400 where the header
/// is missing.
pub(crate) fn registry_auth(
    registry: &str,
    credentials: Option<&EngineCredentials>,
) -> Option<HeaderValue> {
    match credentials {
        Some(credentials) => header(&AuthConfig {
            credentials,
            server: server_address(registry),
        }),
        None => header(&serde_json::Map::new()),
    }
}

/// The value of `X-Registry-Config`: the credentials by registry.
pub(crate) fn registry_config(credentials: &[(String, EngineCredentials)]) -> Option<HeaderValue> {
    struct ByRegistry<'a>(&'a [(String, EngineCredentials)]);

    impl Serialize for ByRegistry<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(registry, credentials)| {
                let server = server_address(registry);
                let config = AuthConfig {
                    credentials,
                    server,
                };
                (server, config)
            }))
        }
    }

    header(&ByRegistry(credentials))
}

/// JSON in base64 with the alphabet for URLs and with padding, as the Engine decodes it (Go's `base64.URLEncoding`).
fn header(value: &impl Serialize) -> Option<HeaderValue> {
    let text = SecretString::from(serde_json::to_string(value).ok()?);
    let encoded = SecretString::from(URL_SAFE.encode(text.expose_secret()));
    let mut header = HeaderValue::from_str(encoded.expose_secret()).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(header: &HeaderValue) -> serde_json::Value {
        assert!(header.is_sensitive());
        let text = header.to_str().unwrap();
        assert!(!text.contains(['+', '/']), "{text}");
        serde_json::from_slice(&URL_SAFE.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn the_header_is_what_the_engine_decodes() {
        let header = registry_auth("registry.example", None).unwrap();
        assert_eq!(header.to_str().unwrap(), "e30=");
        // Standard base64 of this would have `+` and `/`.
        let credentials = EngineCredentials::new("robot", "~~~???>>>".into());
        let header = registry_auth("registry.example:5000", Some(&credentials)).unwrap();
        let value = decoded(&header);
        assert_eq!(value["username"], "robot");
        assert_eq!(value["password"], "~~~???>>>");
        assert_eq!(value["serveraddress"], "registry.example:5000");
        let token = EngineCredentials::identity_token("t0ken".into());
        let value = decoded(&registry_auth("docker.io", Some(&token)).unwrap());
        assert_eq!(
            value,
            serde_json::json!({"identitytoken": "t0ken", "serveraddress": DOCKER_HUB})
        );
        let all = [
            ("docker.io".to_owned(), token),
            ("h:1".to_owned(), credentials),
        ];
        let value = decoded(&registry_config(&all).unwrap());
        assert_eq!(value[DOCKER_HUB]["identitytoken"], "t0ken");
        assert_eq!(value["h:1"]["username"], "robot");
    }

    #[test]
    fn nothing_that_holds_a_secret_shows_it() {
        let credentials = EngineCredentials::new("robot", "hunter2".into());
        let header = registry_auth("h", Some(&credentials)).unwrap();
        let encoded = header.to_str().unwrap().to_owned();
        for shown in [
            format!("{credentials:?}"),
            format!("{:?}", EngineCredentials::identity_token("hunter2".into())),
            format!("{header:?}"),
        ] {
            assert!(
                !shown.contains("hunter2") && !shown.contains(&encoded),
                "{shown}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_password_arrives_as_it_is(user in ".*", password in ".*") {
            let credentials = EngineCredentials::new(user.clone(), password.clone().into());
            let value = decoded(&registry_auth("h", Some(&credentials)).unwrap());
            prop_assert_eq!(&value["username"], &user);
            prop_assert_eq!(&value["password"], &password);
        }
    }
}
