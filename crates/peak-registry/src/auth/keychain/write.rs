//! Changes Docker's `config.json`: one entry of it, everything else as it was.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::error::KeychainError;
use super::file;
use super::server::Server;
use crate::auth::Credentials;

/// How often a link to a link is followed.
const MAX_LINKS: usize = 16;
/// How often a lock is looked at that another process has.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);
/// What Docker indents with.
const INDENT: &str = "\t";
const AUTHS: &str = "auths";
/// The fields of an entry that hold what is replaced.
const SECRET_FIELDS: [&str; 5] = [
    "auth",
    "username",
    "password",
    "identitytoken",
    "registrytoken",
];

/// Whose turn it is while a file is waited for: that of the one who changes it, or of the one who gives up. Only one of
/// them gets it, so that what was given up is not done later.
#[derive(Default)]
pub(super) struct Turn(AtomicU8);

impl Turn {
    const OPEN: u8 = 0;
    const TAKEN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    /// Begins the change; `false` where it was given up.
    fn take(&self) -> bool {
        self.end(Self::TAKEN)
    }

    /// Gives the change up; `false` where it has begun.
    pub(super) fn give_up(&self) -> bool {
        self.end(Self::GIVEN_UP)
    }

    fn is_given_up(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Self::GIVEN_UP
    }

    fn end(&self, state: u8) -> bool {
        let order = Ordering::SeqCst;
        self.0
            .compare_exchange(Self::OPEN, state, order, order)
            .is_ok()
    }
}

/// Puts credentials for a whole registry into the file, in the place of those that it has.
pub(super) fn put(
    path: &Path,
    server: &Server,
    credentials: &Credentials,
    turn: &Turn,
) -> Result<(), KeychainError> {
    let entry = entry_of(credentials)?;
    edit(path, turn, |auths| {
        let mut kept = Object::default();
        auths.0.retain(|(key, value)| {
            let of_server = matches!(server.fits(key), Some(("", _)));
            if of_server && let Value::Object(object) = value {
                kept.0.extend(object.0.iter().cloned());
            }
            !of_server
        });
        kept.0
            .retain(|(name, _)| !SECRET_FIELDS.contains(&name.as_str()));
        kept.0.extend(entry.0);
        auths.0.push((server.key().to_owned(), Value::Object(kept)));
        true
    })
    .map(|_| ())
}

/// Takes a registry's credentials out of the file; those for paths within it stay. `false` where there were none.
pub(super) fn remove(path: &Path, server: &Server, turn: &Turn) -> Result<bool, KeychainError> {
    if file::read(path)?.is_none() {
        return Ok(false);
    }
    edit(path, turn, |auths| {
        let before = auths.0.len();
        auths
            .0
            .retain(|(key, _)| !matches!(server.fits(key), Some(("", _))));
        auths.0.len() < before
    })
}

fn entry_of(credentials: &Credentials) -> Result<Object, KeychainError> {
    let mut entry = Object::default();
    if credentials.is_identity_token() {
        let user = Credentials::new(credentials.user(), String::new().into());
        let auth = user.encoded().ok_or(KeychainError::UserName)?;
        entry.push_text("auth", auth.expose_secret());
        entry.push_text("identitytoken", credentials.secret().expose_secret());
    } else {
        let auth = credentials.encoded().ok_or(KeychainError::UserName)?;
        entry.push_text("auth", auth.expose_secret());
    }
    Ok(entry)
}

/// Changes `auths`, where `change` says that it did, and puts the file in the place of the old one in one step.
fn edit(
    path: &Path,
    turn: &Turn,
    change: impl FnOnce(&mut Object) -> bool,
) -> Result<bool, KeychainError> {
    let path = &resolve(path)?;
    let failed = |source| KeychainError::File {
        action: "write",
        path: path.clone(),
        source,
    };
    let directory = path.parent().ok_or(KeychainError::NoPlace)?;
    create_private(directory).map_err(failed)?;
    let lock = open_lock(directory).map_err(failed)?;
    if !wait_for(&lock, turn).map_err(failed)? || !turn.take() {
        // Whoever wanted this has been told that it failed.
        return Err(KeychainError::Locked { path: path.clone() });
    }
    let text = file::read(path)?.unwrap_or_else(|| b"{}".to_vec());
    let mut document: Object =
        serde_json::from_slice(&text).map_err(|error| KeychainError::Invalid {
            place: path.display().to_string(),
            line: error.line(),
            column: error.column(),
        })?;
    // Of a key that stands twice the last one counts, for readers as for us.
    let position = document.0.iter().rposition(|(key, _)| key == AUTHS);
    let mut auths = match position.and_then(|position| document.0.get(position)) {
        Some((_, Value::Raw(raw))) if raw.get() == "null" => Object::default(),
        Some((_, Value::Raw(raw))) => Object::of(raw, path)?,
        Some((_, Value::Object(_))) | None => Object::default(),
    };
    for (_, value) in &mut auths.0 {
        if let Value::Raw(raw) = value
            && let Ok(object) = serde_json::from_str::<Object>(raw.get())
        {
            *value = Value::Object(object);
        }
    }
    if !change(&mut auths) {
        return Ok(false);
    }
    let auths = Value::Object(auths);
    match position.and_then(|position| document.0.get_mut(position)) {
        Some((_, place)) => *place = auths,
        None => document.0.insert(0, (AUTHS.to_owned(), auths)),
    }
    let indent = indent_of(&text);
    let mut written = tempfile::Builder::new()
        .prefix(".config.json.")
        .tempfile_in(directory)
        .map_err(failed)?;
    let bytes = document
        .print(indent)
        .map_err(|error| failed(error.into()))?;
    // Temporary files are made with mode 0600, and so remains the file.
    written.write_all(&bytes).map_err(failed)?;
    written.as_file().sync_all().map_err(failed)?;
    written.persist(path).map_err(|error| failed(error.error))?;
    // The name is as durable as the file system allows; the credentials are there either way.
    let _ = lock.sync_all();
    Ok(true)
}

/// The file that a link leads to, which may not exist yet.
fn resolve(path: &Path) -> Result<PathBuf, KeychainError> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else {
            return Ok(path);
        };
        path = match path.parent() {
            Some(parent) => parent.join(target),
            None => target,
        };
    }
    Err(KeychainError::File {
        action: "write",
        source: std::io::Error::other("it is a link that leads to itself"),
        path,
    })
}

/// Waits until nobody else has the lock; `false` where that is given up. Not in the kernel, where nobody could be told
/// that it is given up, and the program could not end.
fn wait_for(lock: &File, turn: &Turn) -> std::io::Result<bool> {
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if turn.is_given_up() => return Ok(false),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_INTERVAL),
            // Some network file systems have no locks. Then the rename has to be enough.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                return Ok(true);
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// What logins at the same time lock. The directory, since the file itself is replaced, and no file of ours should be
/// left behind.
#[cfg(unix)]
fn open_lock(directory: &Path) -> std::io::Result<File> {
    File::open(directory)
}

/// Directories cannot be locked here.
#[cfg(not(unix))]
fn open_lock(directory: &Path) -> std::io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join(".config.json.lock"))
}

#[cfg(unix)]
fn create_private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

#[cfg(not(unix))]
fn create_private(directory: &Path) -> std::io::Result<()> {
    fs::create_dir_all(directory)
}

/// What the file's first line that is indented is indented with.
fn indent_of(text: &[u8]) -> &str {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.split_once('\n')
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(indent, _)| indent)
        .filter(|indent| {
            (1..=8).contains(&indent.len()) && indent.chars().all(|one| one == ' ' || one == '\t')
        })
        .unwrap_or(INDENT)
}

/// A JSON object whose members keep their order, and whose values stay as they were written.
#[derive(Clone, Default)]
struct Object(Vec<(String, Value)>);

#[derive(Clone)]
enum Value {
    Raw(Box<RawValue>),
    Object(Object),
}

impl Object {
    fn of(raw: &RawValue, path: &Path) -> Result<Self, KeychainError> {
        serde_json::from_str(raw.get()).map_err(|_| KeychainError::Invalid {
            place: path.display().to_string(),
            line: 0,
            column: 0,
        })
    }

    fn push_text(&mut self, name: &str, text: &str) {
        // Text is always representable.
        if let Ok(raw) = serde_json::value::to_raw_value(text) {
            self.0.push((name.to_owned(), Value::Raw(raw)));
        }
    }

    fn print(&self, indent: &str) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        self.serialize(&mut serializer)?;
        text.push(b'\n');
        Ok(text)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                Value::Raw(raw) => map.serialize_entry(name, raw)?,
                Value::Object(object) => map.serialize_entry(name, object)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some((name, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((name, Value::Raw(raw)));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn robot() -> Credentials {
        Credentials::new("robot", "secret".into())
    }

    fn after(before: &str, change: impl Fn(&Path, &Server)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, before).unwrap();
        change(&path, &Server::new("reg.example"));
        fs::read_to_string(&path).unwrap()
    }

    fn put_robot(path: &Path, server: &Server) {
        put(path, server, &robot(), &Turn::default()).unwrap();
    }

    #[test]
    fn everything_else_in_the_file_is_kept_as_it_was() {
        let before = r#"{
	"HttpHeaders": { "b":1, "a" : 1.50 },
	"auths": {
		"z.example": {"auth": "eA==", "extra": [1,  2]},
		"https://reg.example/v2/": {
			"auth": "old",
			"email": "a@b"
		},
		"reg.example/team": {}
	},
	"big": 12345678901234567890123
}"#;
        let text = after(before, put_robot);
        assert_eq!(
            text,
            r#"{
	"HttpHeaders": { "b":1, "a" : 1.50 },
	"auths": {
		"z.example": {
			"auth": "eA==",
			"extra": [1,  2]
		},
		"reg.example/team": {},
		"reg.example": {
			"email": "a@b",
			"auth": "cm9ib3Q6c2VjcmV0"
		}
	},
	"big": 12345678901234567890123
}
"#
        );
    }

    #[test]
    fn what_was_put_is_removed_again_and_nothing_else() {
        let before = "{\n  \"auths\": {\n    \"x.example\": {}\n  },\n  \"a\": null\n}\n";
        let text = after(before, |path, server| {
            put_robot(path, server);
            assert!(remove(path, server, &Turn::default()).unwrap());
            assert!(!remove(path, server, &Turn::default()).unwrap());
        });
        assert_eq!(text, before);
        for odd in ["{}", r#"{"auths":null}"#, r#"{"auths":{}}"#] {
            let text = after(odd, put_robot);
            assert_eq!(
                text,
                "{\n\t\"auths\": {\n\t\t\"reg.example\": {\n\t\t\t\"auth\": \"cm9ib3Q6c2VjcmV0\"\n\t\t}\n\t}\n}\n"
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_left_alone() {
        for broken in ["", "[]", "{", r#"{"auths":7}"#] {
            let text = after(broken, |path, server| {
                let error = put(path, server, &robot(), &Turn::default()).unwrap_err();
                assert!(matches!(error, KeychainError::Invalid { .. }), "{error}");
            });
            assert_eq!(text, broken);
        }
    }

    #[test]
    fn identity_tokens_are_kept_as_such() {
        let text = after("{}", |path, server| {
            let token = Credentials::identity_token("secret".into());
            put(path, server, &token, &Turn::default()).unwrap();
        });
        let config = file::Config::parse(text.as_bytes(), "test").unwrap();
        let found = config.matches(&Server::new("reg.example")).remove(0);
        let found = found.credentials.unwrap();
        assert!(found.is_identity_token());
        assert_eq!(found.secret().expose_secret(), "secret");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_private_and_a_link_stays_one() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let server = Server::new("reg.example");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

        let path = folder.path().join("new/docker/config.json");
        put_robot(&path, &server);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);

        // To a file that others could read, and to one that is not there yet.
        let target = folder.path().join("dotfiles.json");
        fs::write(&target, "{}").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        for (link, target) in [("a.json", "dotfiles.json"), ("b.json", "absent.json")] {
            let link = folder.path().join(link);
            symlink(target, &link).unwrap();
            put_robot(&link, &server);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            let target = folder.path().join(target);
            assert_eq!(mode(&target), 0o600);
            assert!(fs::read_to_string(&target).unwrap().contains("reg.example"));
        }
        let around = folder.path().join("around.json");
        symlink("around.json", &around).unwrap();
        assert!(put(&around, &server, &robot(), &Turn::default()).is_err());
        // Nothing is left beside the files.
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 6);
    }

    #[test]
    fn concurrent_logins_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let server = Server::new(&format!("reg{number}.example"));
                    put_robot(path, &server);
                });
            }
        });
        let text = fs::read(&path).unwrap();
        let config = file::Config::parse(&text, "test").unwrap();
        for number in 0..8 {
            let server = Server::new(&format!("reg{number}.example"));
            assert_eq!(config.matches(&server).len(), 1, "{number}");
        }
    }

    #[test]
    fn who_was_told_that_it_failed_finds_nothing_written() {
        let text = after("{}", |path, server| {
            let turn = Turn::default();
            assert!(turn.give_up());
            let error = put(path, server, &robot(), &turn).unwrap_err();
            assert!(matches!(error, KeychainError::Locked { .. }));
        });
        assert_eq!(text, "{}");
        let turn = Turn::default();
        assert!(turn.take() && !turn.give_up());
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_that_is_never_free_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let held = File::open(folder.path()).unwrap();
        held.lock().unwrap();
        let path = folder.path().join("config.json");
        let turn = Turn::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| put(&path, &Server::new("a"), &robot(), &turn));
            assert!(turn.give_up());
            let error = waiting.join().unwrap().unwrap_err();
            assert!(matches!(error, KeychainError::Locked { .. }), "{error}");
        });
        assert!(!path.exists());
    }
}
