//! Reads what Docker (`config.json`) and podman (`auth.json`) write.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::error::KeychainError;
use super::server::Server;
use crate::auth::Credentials;

/// Largest file that is read, in bytes.
pub(super) const MAX_FILE: u64 = 1024 * 1024;

/// With padding or without: both are found in files.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The parts of a file that are about credentials.
#[derive(Default, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(rename = "credHelpers", default)]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore", default)]
    store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<SecretString>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<SecretString>,
    #[serde(default)]
    identitytoken: Option<SecretString>,
}

/// What a file says about one registry, for one path within it.
#[derive(Debug)]
pub(super) struct Match {
    /// Empty for the whole registry.
    pub(super) path: String,
    /// `None` for an entry that holds nothing, as tools leave it behind.
    pub(super) credentials: Option<Credentials>,
}

impl Config {
    /// Reads a file away from the runtime's threads: home directories may be slow.
    pub(super) async fn read(path: &Path) -> Result<Option<Self>, KeychainError> {
        let owned = path.to_owned();
        let text = blocking(path, move || read(&owned)).await?;
        let Some(text) = text.map(|text| String::from_utf8_lossy(&text).into_owned()) else {
            return Ok(None);
        };
        let text = SecretString::from(text);
        Self::parse_text(&text, &path.display().to_string()).map(Some)
    }

    /// Reads `text`, which came from `place`.
    pub(super) fn parse(text: &[u8], place: &str) -> Result<Self, KeychainError> {
        // The parser's message may quote a secret; where it stopped does not.
        serde_json::from_slice(text).map_err(|error| KeychainError::Invalid {
            place: place.to_owned(),
            line: error.line(),
            column: error.column(),
        })
    }

    /// The same of what came as a secret.
    pub(super) fn parse_text(text: &SecretString, place: &str) -> Result<Self, KeychainError> {
        Self::parse(text.expose_secret().as_bytes(), place)
    }

    /// How many entries have credentials.
    pub(super) fn entries(&self) -> usize {
        let entries = self.auths.iter().flatten();
        entries
            .filter(|(_, entry)| entry.as_ref().and_then(Entry::credentials).is_some())
            .count()
    }

    /// All helpers by name, each with the registries that it is named for; that of all registries has none.
    pub(super) fn helpers(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut helpers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (registry, name) in self.helpers.iter().flatten() {
            if !name.is_empty() {
                helpers.entry(name).or_default().push(registry);
            }
        }
        if let Some(store) = self.store() {
            helpers.insert(store, Vec::new());
        }
        helpers
    }

    /// The helper that is configured for a registry alone.
    pub(super) fn helper_of(&self, server: &Server) -> Option<&str> {
        let helpers = self.helpers.iter().flatten();
        helpers
            .filter_map(|(key, name)| match server.fits(key)? {
                ("", rank) => Some((rank, name.as_str())),
                _ => None,
            })
            .min()
            .map(|(_, name)| name)
            .filter(|name| !name.is_empty())
    }

    /// The helper for all registries that have none of their own.
    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref().filter(|name| !name.is_empty())
    }

    /// The entries for a registry, that for the longest path first.
    pub(super) fn matches(&self, server: &Server) -> Vec<Match> {
        let mut found: Vec<(&str, u8, Option<Credentials>)> = self
            .auths
            .iter()
            .flatten()
            .filter_map(|(key, entry)| {
                let (path, rank) = server.fits(key)?;
                let credentials = entry.as_ref().and_then(Entry::credentials);
                Some((path, rank, credentials))
            })
            .collect();
        // Within a path one that holds something before one that does not.
        found.sort_by(|one, other| {
            (other.0.len(), one.0, one.2.is_none(), one.1).cmp(&(
                one.0.len(),
                other.0,
                other.2.is_none(),
                other.1,
            ))
        });
        found
            .into_iter()
            .map(|(path, _, credentials)| Match {
                path: path.to_owned(),
                credentials,
            })
            .collect()
    }
}

impl Entry {
    fn credentials(&self) -> Option<Credentials> {
        let (user, password) = match self.auth.as_ref().and_then(decode) {
            Some(pair) => pair,
            None => (
                self.username.clone().unwrap_or_default(),
                self.password.clone().unwrap_or_default(),
            ),
        };
        let token = self
            .identitytoken
            .as_ref()
            .filter(|token| !token.expose_secret().is_empty());
        let credentials = match token {
            Some(token) => Credentials::identity_token_of(&user, token.clone()),
            None => Credentials::new(user, password),
        };
        Some(credentials).filter(|credentials| !credentials.is_empty())
    }
}

/// `user:password` in base64. `None` for what is not that, or empty.
fn decode(encoded: &SecretString) -> Option<(String, SecretString)> {
    let text = encoded.expose_secret().trim();
    let decoded = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
    let decoded = SecretString::from(decoded);
    let (user, password) = decoded.expose_secret().split_once(':')?;
    // Some tools fill the password up with zeros.
    Some((user.to_owned(), password.trim_matches('\0').into()))
}

/// The whole file. `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, KeychainError> {
    let failed = |source| KeychainError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        // Whatever else it is, it may never end or never begin.
        Ok(_) => {
            return Err(failed(std::io::Error::other("it is not a regular file")));
        }
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text))
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(KeychainError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(Some(text))
}

/// Does what waits for a disk away from the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, KeychainError> + Send + 'static,
) -> Result<T, KeychainError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(KeychainError::File {
            action: "read",
            path: path.to_owned(),
            source: std::io::Error::other(error),
        }),
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// User, secret, whether it is an identity token.
    type Shown = Option<(String, String, bool)>;

    fn matches(json: &str, registry: &str) -> Vec<(String, Shown)> {
        let config = Config::parse(json.as_bytes(), "test").unwrap();
        let found = config.matches(&Server::new(registry)).into_iter();
        found
            .map(|one| {
                let shown = one.credentials.map(|credentials| {
                    (
                        credentials.user().to_owned(),
                        credentials.secret().expose_secret().to_owned(),
                        credentials.is_identity_token(),
                    )
                });
                (one.path, shown)
            })
            .collect()
    }

    fn one(entry: &str) -> Shown {
        let json = format!(r#"{{"auths":{{"reg.example":{entry}}}}}"#);
        matches(&json, "reg.example").remove(0).1
    }

    #[test]
    fn all_forms_of_an_entry() {
        let password = Some(("robot".to_owned(), "secret".to_owned(), false));
        assert_eq!(one(r#"{"auth":"cm9ib3Q6c2VjcmV0"}"#), password);
        assert_eq!(one(r#"{"auth":" cm9ib3Q6c2VjcmV0\n"}"#), password);
        // "robot:secret\0\0", and with its padding left away "robot:secrets".
        assert_eq!(one(r#"{"auth":"cm9ib3Q6c2VjcmV0AAA="}"#), password);
        assert_eq!(
            one(r#"{"auth":"cm9ib3Q6c2VjcmV0cw"}"#).unwrap().1,
            "secrets"
        );
        assert_eq!(
            one(r#"{"username":"robot","password":"secret","email":"x"}"#),
            password
        );
        assert_eq!(
            one(r#"{"auth":"cm9ib3Q6","identitytoken":"secret"}"#),
            Some(("robot".to_owned(), "secret".to_owned(), true))
        );
        assert_eq!(
            one(r#"{"identitytoken":"secret"}"#),
            Some(("<token>".to_owned(), "secret".to_owned(), true))
        );
    }

    #[test]
    fn entries_without_content_hold_no_credentials() {
        for entry in [
            "{}",
            "null",
            r#"{"auth":""}"#,
            r#"{"auth":"Og=="}"#,
            r#"{"auth":"cm9ib3Q6"}"#,
            r#"{"auth":"not base64!"}"#,
            r#"{"auth":"bm9jb2xvbg=="}"#,
            r#"{"username":"robot","password":""}"#,
            r#"{"username":"","password":"secret"}"#,
            r#"{"auth":null,"identitytoken":""}"#,
        ] {
            assert_eq!(one(entry), None, "{entry}");
        }
    }

    #[test]
    fn the_longest_path_comes_first_and_empty_entries_behind_others() {
        let json = r#"{"auths":{
            "reg.example": {"username":"host","password":"p"},
            "reg.example/team/app": {"username":"app","password":"p"},
            "https://reg.example/v2/": {},
            "reg.example/team": {"username":"team","password":"p"},
            "other.example": {"username":"other","password":"p"}
        }}"#;
        let users: Vec<(String, Option<String>)> = matches(json, "reg.example")
            .into_iter()
            .map(|(path, found)| (path, found.map(|found| found.0)))
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            users,
            [
                ("team/app".to_owned(), some("app")),
                ("team".to_owned(), some("team")),
                (String::new(), some("host")),
                (String::new(), None),
            ]
        );
    }

    #[test]
    fn the_helper_of_a_registry_is_found_under_any_of_its_names() {
        let json = r#"{"credHelpers":{"https://index.docker.io/v1/":"hub","reg.example":"reg","x.example":""},"credsStore":"store"}"#;
        let config = Config::parse(json.as_bytes(), "test").unwrap();
        assert_eq!(config.helper_of(&Server::new("docker.io")), Some("hub"));
        assert_eq!(
            config.helper_of(&Server::new("reg.example:443")),
            Some("reg")
        );
        assert_eq!(config.helper_of(&Server::new("x.example")), None);
        assert_eq!(config.helper_of(&Server::new("y.example")), None);
        assert_eq!(config.store(), Some("store"));
    }

    #[test]
    fn errors_say_where_and_never_what() {
        for text in [
            "hunter2",
            r#"{"auths":{"reg.example":{"auth":7,"password":"hunter2"}}}"#,
            r#"{"auths":{"reg.example":"hunter2"}}"#,
            r#"{"auths":"hunter2"}"#,
            r#"{"auths":{"reg.example":{"password":["hunter2"]}}}"#,
        ] {
            let Err(error) = Config::parse(text.as_bytes(), "the file") else {
                panic!("{text} was read");
            };
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("the file"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn files_are_bounded_and_regular() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert!(read(&path).unwrap().is_none());
        assert!(read(&path.join("below")).unwrap().is_none());
        std::fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
        assert!(matches!(read(&path), Err(KeychainError::TooLarge { .. })));
        assert!(matches!(
            read(folder.path()),
            Err(KeychainError::File { .. })
        ));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(user in "[^:\\x00]{1,12}", password in "[^\\x00]{1,12}") {
            prop_assume!(user != "<token>");
            let credentials = Credentials::new(user.clone(), password.clone().into());
            let encoded = credentials.encoded().unwrap();
            let json = serde_json::json!({"auths": {"reg.example": {"auth": encoded.expose_secret()}}});
            let found = matches(&json.to_string(), "reg.example").remove(0).1;
            prop_assert_eq!(found, Some((user, password, false)));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = Config::parse(text.as_bytes(), "test");
            let _ = decode(&text.into());
        }
    }
}
