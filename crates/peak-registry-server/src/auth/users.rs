//! Who there is: the lines of an htpasswd file.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::auth::file::{AuthFileError, AuthSyntaxError, MAX_FILE, Watched};
use crate::auth::hash::PasswordHash;
use crate::auth::key::Key;
use crate::auth::verifier::{KnownGood, Verdict, Verifier};

/// The most users in one file.
const MAX_USERS: usize = 10_000;
/// The longest name of a user, in bytes.
const MAX_NAME: usize = 255;
/// The longest password that is looked at, in bytes.
const MAX_PASSWORD: usize = 1024;

/// The users of a registry and the hashes of their passwords, in the format of Apache's htpasswd:
/// a line `name:hash` for each, where the hash is of bcrypt (`htpasswd -B`) or of argon2id or
/// argon2i (`argon2 SALT -id -e`). Lines that begin with `#` and blank lines are passed over.
///
/// At most 1 MiB and 10,000 users; bcrypt up to cost 16, argon2 up to 256 MiB. Two passwords are
/// hashed at a time, so argon2's memory may be taken twice. Hashes by MD5, SHA-1 or crypt and plain
/// text are refused.
///
/// Clones are the same users.
#[derive(Clone)]
pub struct Users {
    table: Arc<Watched<UserTable>>,
    verifier: Arc<Verifier>,
}

/// One version of the users.
pub(crate) struct UserTable {
    entries: Vec<(Arc<str>, PasswordHash)>,
    by_name: HashMap<Arc<str>, usize>,
    /// Passwords that were right lately; they go with this version.
    pub(crate) known_good: KnownGood,
    /// Picks the hash that an unknown name is held against.
    decoys: Key,
}

impl Users {
    /// The users of a file, which is looked at once a second and read again when it has changed.
    /// Where it cannot be used any more, the users from before stay and the log says so.
    ///
    /// Blocks while it reads.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, AuthFileError> {
        Watched::follow(path.as_ref(), UserTable::parse).map(Self::of)
    }

    /// Users that do not change, from the text of a file.
    ///
    /// ```
    /// use peak_registry_server::auth::Users;
    /// let users = "# made by htpasswd -B\nalice:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
    /// assert!(Users::parse(users).is_ok());
    /// let error = Users::parse("alice:secret").unwrap_err();
    /// assert!(error.to_string().starts_with("line 1: ") && !error.to_string().contains("secret"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, AuthSyntaxError> {
        UserTable::parse(text).map(|table| Self::of(Watched::fixed(table)))
    }

    /// Nobody.
    pub(crate) fn none() -> Self {
        Self::of(Watched::fixed(UserTable::of(Vec::new())))
    }

    fn of(table: Watched<UserTable>) -> Self {
        Self {
            table: Arc::new(table),
            verifier: Arc::default(),
        }
    }

    /// Whether this is the password of this user.
    pub(crate) async fn verify(&self, name: &str, password: &[u8]) -> Verdict {
        if name.len() > MAX_NAME || password.len() > MAX_PASSWORD {
            return Verdict::Wrong;
        }
        let table = self.table.current().await;
        self.verifier.verify(table, name, password).await
    }

    /// The user of this name, if there still is one.
    pub(crate) async fn find(&self, name: &str) -> Option<Arc<str>> {
        self.table.current().await.find(name)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Users").field(&self.table).finish()
    }
}

impl UserTable {
    fn of(entries: Vec<(Arc<str>, PasswordHash)>) -> Self {
        let by_name = entries
            .iter()
            .enumerate()
            .map(|(position, (name, _))| (Arc::clone(name), position))
            .collect();
        Self {
            entries,
            by_name,
            known_good: KnownGood::default(),
            decoys: Key::random(),
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, AuthSyntaxError> {
        if text.len() as u64 > MAX_FILE {
            return Err(AuthSyntaxError::new("the users are more than 1 MiB"));
        }
        let mut entries = Vec::new();
        let mut lines_of: HashMap<Arc<str>, usize> = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |reason: String| AuthSyntaxError::at(number, reason);
            let (name, hash) = line.split_once(':').ok_or_else(|| {
                fail("the form is `name:hash`, as `htpasswd -B` writes it".into())
            })?;
            check_name(name).map_err(|reason| fail(reason.into()))?;
            let hash = PasswordHash::parse(hash).map_err(|error| fail(error.to_string()))?;
            let name: Arc<str> = name.into();
            if let Some(first) = lines_of.insert(Arc::clone(&name), number) {
                return Err(fail(format!(
                    "this user stands in line {first} already; remove one of the two"
                )));
            }
            if entries.len() >= MAX_USERS {
                return Err(fail(format!("there are more than {MAX_USERS} users")));
            }
            entries.push((name, hash));
        }
        Ok(Self::of(entries))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<str>> {
        self.by_name
            .get_key_value(name)
            .map(|(name, _)| Arc::clone(name))
    }

    /// Whether this is the password of this user. Takes long.
    ///
    /// A name that there is not is held against the hash of somebody, always the same one: it
    /// takes as long as for those who are there, and how long says nothing about who is.
    pub(crate) fn is_right(&self, name: &str, password: &[u8]) -> bool {
        let known = self.by_name.get(name).copied();
        let position = known.unwrap_or_else(|| self.decoy(name));
        let right = self
            .entries
            .get(position)
            .is_some_and(|(_, hash)| hash.is_of(password));
        right && known.is_some()
    }

    fn decoy(&self, name: &str) -> usize {
        let [a, b, c, d, ..] = self.decoys.tag(&[name.as_bytes()]);
        let number = u32::from_le_bytes([a, b, c, d]) as usize;
        number.checked_rem(self.entries.len()).unwrap_or_default()
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("the name of the user is missing"),
        "*" | "anonymous" => {
            Err("this name stands for several people in rules; give the user another one")
        }
        _ if name.len() > MAX_NAME => Err("the name of the user is longer than 255 bytes"),
        _ if name.trim() != name || name.contains(char::is_control) => {
            Err("the name of the user has spaces around it or control characters in it")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

    fn error(text: &str) -> String {
        UserTable::parse(text).err().unwrap().to_string()
    }

    #[test]
    fn comments_blank_lines_and_foreign_line_ends_are_passed_over() {
        let text = format!("# users\r\n\r\n  \nalice:{HASH}\r\nb\u{f6}b smith:{HASH}  \n#x:{HASH}");
        let table = UserTable::parse(&text).unwrap();
        assert_eq!(table.entries.len(), 2);
        assert!(table.is_right("alice", b"secret"));
        assert!(table.is_right("b\u{f6}b smith", b"secret"));
        assert!(!table.is_right("alice", b"wrong"));
        assert!(!table.is_right("#x", b"secret"));
        assert_eq!(table.find("alice").as_deref(), Some("alice"));
        assert_eq!(table.find("Alice"), None);
    }

    #[test]
    fn a_name_that_there_is_not_is_hashed_too_and_never_right() {
        let table = UserTable::parse(&format!("alice:{HASH}")).unwrap();
        assert!(table.entries[table.decoy("mallory")].1.is_of(b"secret"));
        assert!(!table.is_right("mallory", b"secret"));
        assert!(!UserTable::parse("").unwrap().is_right("alice", b"secret"));
    }

    #[test]
    fn errors_name_the_line_and_never_what_stands_there() {
        for (text, expected) in [
            ("\nalice".to_owned(), "line 2: the form is `name:hash`"),
            (
                format!(":{HASH}"),
                "line 1: the name of the user is missing",
            ),
            (format!("*:{HASH}"), "line 1: this name stands for several"),
            (format!("anonymous:{HASH}"), "line 1: this name stands"),
            (
                format!("al\tice:{HASH}"),
                "line 1: the name of the user has",
            ),
            (format!(" alice:{HASH}"), "line 1: the name of the user has"),
            (
                format!("{}:{HASH}", "a".repeat(256)),
                "line 1: the name of the user is longer",
            ),
            ("# x\nalice:hunter2".to_owned(), "line 2: this is neither"),
            (
                format!("alice:{HASH}\n\nalice:{HASH}"),
                "line 3: this user stands in line 1",
            ),
            (
                "\n".repeat(1024 * 1024 + 1),
                "the users are more than 1 MiB",
            ),
        ] {
            let message = error(&text);
            assert!(message.starts_with(expected), "{message}");
            assert!(!message.contains("hunter2") && !message.contains(HASH));
        }
    }

    #[test]
    fn there_are_at_most_ten_thousand_users() {
        let lines = |count: usize| {
            let lines: Vec<_> = (0..count)
                .map(|number| format!("u{number}:{HASH}"))
                .collect();
            lines.join(
                "
",
            )
        };
        assert!(UserTable::parse(&lines(MAX_USERS)).is_ok());
        assert_eq!(
            error(&lines(MAX_USERS + 1)),
            "line 10001: there are more than 10000 users"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(\\PC{0,8}:?(\\$2y\\$05\\$)?\\PC{0,8}\n?){0,5}") {
            let _ = UserTable::parse(&text).is_ok();
        }

        #[test]
        fn every_user_is_found_again(names in proptest::collection::btree_set("[a-zA-Z0-9._@-]{1,12}", 0..10)) {
            prop_assume!(!names.contains("anonymous"));
            let lines: Vec<_> = names.iter().map(|name| format!("{name}:{HASH}")).collect();
            let table = UserTable::parse(&lines.join("\n")).unwrap();
            for name in &names {
                let found = table.find(name);
                prop_assert_eq!(found.as_deref(), Some(name.as_str()));
            }
            prop_assert_eq!(table.entries.len(), names.len());
        }
    }
}
