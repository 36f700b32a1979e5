//! Who may do what where.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use peak_oci::RepositoryName;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::auth::actions::Actions;
use crate::auth::file::{AuthFileError, AuthSyntaxError, MAX_FILE, Watched};

/// Stands for all repositories, and for all users who have signed in.
const ALL: &str = "*";
/// Stands for everybody, signed in or not.
const ANONYMOUS: &str = "anonymous";

/// The most rules in one file.
const MAX_RULES: usize = 10_000;
/// The most pairs of a prefix and a user that the rules of one file may make.
const MAX_PAIRS: usize = 100_000;

/// What users may do, by the beginnings of the repositories' names.
///
/// A YAML (or JSON) document:
///
/// ```yaml
/// rules:
///   - repositories: team            # `team` and all below it, but not `teammate`
///     users: [alice, bob]
///     actions: [pull, push, delete]
///   - repositories: [public, mirror/debian]
///     users: anonymous              # everybody, signed in or not
///     actions: pull
///   - repositories: "*"             # all repositories
///     users: "*"                    # everybody who has signed in
///     actions: pull
/// ```
///
/// All rules that match add up, and what no rule allows is refused. A repository that somebody may
/// not pull looks to them like one that is not there. At most 1 MiB and 10,000 rules.
///
/// Clones are the same rules. The default: who has signed in may do everything, nobody else
/// anything.
#[derive(Clone)]
pub struct Rules(Arc<Watched<RuleTable>>);

impl Rules {
    /// The rules of a file, which is looked at once a second and read again when it has changed.
    /// Where it cannot be used any more, the rules from before stay and the log says so.
    ///
    /// Blocks while it reads.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, AuthFileError> {
        Watched::follow(path.as_ref(), RuleTable::parse).map(|table| Self(Arc::new(table)))
    }

    /// Rules that do not change, from the text of a file.
    ///
    /// ```
    /// use peak_registry_server::auth::Rules;
    /// assert!(Rules::parse("rules: [{repositories: team, users: alice, actions: [pull, push]}]").is_ok());
    /// assert!(Rules::parse("rules: [{repositories: team, users: alice, actions: write}]").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, AuthSyntaxError> {
        RuleTable::parse(text).map(|table| Self(Arc::new(Watched::fixed(table))))
    }

    pub(crate) async fn current(&self) -> Arc<RuleTable> {
        self.0.current().await
    }
}

impl Default for Rules {
    fn default() -> Self {
        let mut table = RuleTable::default();
        table.allow("", ALL, Actions::ALL);
        Self(Arc::new(Watched::fixed(table)))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Rules").field(&self.0).finish()
    }
}

/// One version of the rules, by prefix; the empty prefix is that of all repositories.
#[derive(Debug, Default)]
pub(crate) struct RuleTable(HashMap<Box<str>, Allowed>);

/// What is allowed below one prefix.
#[derive(Debug, Default)]
struct Allowed {
    everybody: Actions,
    signed_in: Actions,
    users: HashMap<Box<str>, Actions>,
}

impl RuleTable {
    pub(crate) fn parse(text: &str) -> Result<Self, AuthSyntaxError> {
        if text.len() as u64 > MAX_FILE {
            return Err(AuthSyntaxError::new("the rules are more than 1 MiB"));
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let document: Document = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| AuthSyntaxError::new(error.to_string()))?;
        let rules = document.rules;
        let pairs: usize = rules
            .iter()
            .map(|rule| rule.repositories.0.len() * rule.users.0.len())
            .sum();
        if rules.len() > MAX_RULES || pairs > MAX_PAIRS {
            return Err(AuthSyntaxError::new(format!(
                "there are more than {MAX_RULES} rules, or more than {MAX_PAIRS} pairs of a repository and a user"
            )));
        }
        let mut table = Self::default();
        for rule in &rules {
            let actions = rule
                .actions
                .0
                .iter()
                .fold(Actions::NONE, |all, one| all | one.0);
            for prefix in &rule.repositories.0 {
                for user in &rule.users.0 {
                    table.allow(&prefix.0, &user.0, actions);
                }
            }
        }
        Ok(table)
    }

    fn allow(&mut self, prefix: &str, user: &str, actions: Actions) {
        let allowed = self.0.entry(prefix.into()).or_default();
        let entry = match user {
            ANONYMOUS => &mut allowed.everybody,
            ALL => &mut allowed.signed_in,
            name => allowed.users.entry(name.into()).or_default(),
        };
        *entry |= actions;
    }

    /// What somebody may do with a repository; `None` is somebody who has not signed in.
    pub(crate) fn allowed(&self, user: Option<&str>, repository: &RepositoryName) -> Actions {
        let name = repository.as_str();
        let ends = name.match_indices('/').map(|(at, _)| at);
        let prefixes = ends.filter_map(|at| name.get(..at));
        ["", name]
            .into_iter()
            .chain(prefixes)
            .filter_map(|prefix| self.0.get(prefix))
            .fold(Actions::NONE, |all, allowed| all | allowed.to(user))
    }

    /// Whether who has not signed in may do this anywhere.
    pub(crate) fn allows_anonymous(&self, action: Actions) -> bool {
        self.0
            .values()
            .any(|allowed| !(allowed.everybody & action).is_empty())
    }
}

impl Allowed {
    fn to(&self, user: Option<&str>) -> Actions {
        let Some(user) = user else {
            return self.everybody;
        };
        let own = self.users.get(user).copied().unwrap_or_default();
        self.everybody | self.signed_in | own
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    repositories: OneOrMore<Prefix>,
    users: OneOrMore<User>,
    actions: OneOrMore<Action>,
}

/// A word, or a list of at least one.
struct OneOrMore<T>(Vec<T>);

/// Where a word does not say what it should.
type Misfit = &'static str;

/// A part of a rule that is one word.
trait Word: Sized {
    fn read(word: &str) -> Result<Self, Misfit>;
}

struct Prefix(String);

impl Word for Prefix {
    fn read(word: &str) -> Result<Self, Misfit> {
        if word == ALL {
            return Ok(Self(String::new()));
        }
        if word.contains('*') || word.ends_with('/') {
            return Err(
                "a repository is given by the beginning of its name, as `team`, which stands for `team` and all below it; \"*\" alone stands for all repositories",
            );
        }
        word.parse::<RepositoryName>()
            .map(|name| Self(name.as_str().to_owned()))
            .map_err(|_| "this cannot be the name of a repository or its beginning")
    }
}

struct User(String);

impl Word for User {
    fn read(word: &str) -> Result<Self, Misfit> {
        if word.is_empty() {
            return Err(
                "the name of a user is missing; \"*\" stands for all who have signed in, `anonymous` for everybody",
            );
        }
        Ok(Self(word.to_owned()))
    }
}

struct Action(Actions);

impl Word for Action {
    fn read(word: &str) -> Result<Self, Misfit> {
        Actions::named(word)
            .map(Self)
            .ok_or("the actions are pull, push and delete")
    }
}

impl<'de, T: Word> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words<T>(std::marker::PhantomData<T>);

        impl<'de, T: Word> Visitor<'de> for Words<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a word or a list of words")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<OneOrMore<T>, E> {
                T::read(word)
                    .map(|word| OneOrMore(vec![word]))
                    .map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore<T>, A::Error> {
                let mut words = Vec::new();
                while let Some(One(word)) = list.next_element()? {
                    words.push(word);
                }
                if words.is_empty() {
                    return Err(de::Error::custom(
                        "an empty list allows nothing; remove the rule",
                    ));
                }
                Ok(OneOrMore(words))
            }
        }

        deserializer.deserialize_any(Words(std::marker::PhantomData))
    }
}

struct One<T>(T);

impl<'de, T: Word> Deserialize<'de> for One<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        T::read(&word).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = r#"
rules:
  - repositories: team            # and all below it
    users: [alice, bob]
    actions: [pull, push, delete]
  - repositories: [public, mirror/debian]
    users: anonymous
    actions: pull
  - repositories: team/shared
    users: "*"
    actions: [push]
  - repositories: "*"
    users: "*"
    actions: pull
"#;

    fn allowed(table: &RuleTable, user: Option<&str>, repository: &str) -> String {
        table
            .allowed(user, &repository.parse().unwrap())
            .to_string()
    }

    fn error(text: &str) -> String {
        RuleTable::parse(text).err().unwrap().to_string()
    }

    #[test]
    fn rules_add_up_and_end_at_the_slash() {
        let table = RuleTable::parse(EXAMPLE).unwrap();
        for (user, repository, expected) in [
            (Some("alice"), "team", "pull,push,delete"),
            (Some("alice"), "team/a/b", "pull,push,delete"),
            (Some("alice"), "teammate", "pull"),
            (Some("carol"), "team/a", "pull"),
            (Some("carol"), "team/shared/x", "pull,push"),
            (Some("carol"), "team/sharedx", "pull"),
            (None, "team", ""),
            (None, "public", "pull"),
            (None, "public/x", "pull"),
            (None, "publicx", ""),
            (None, "mirror", ""),
            (None, "mirror/debian/amd64", "pull"),
            (None, "x/public", ""),
        ] {
            assert_eq!(
                allowed(&table, user, repository),
                expected,
                "{user:?} {repository}"
            );
        }
        assert!(table.allows_anonymous(Actions::PULL));
        assert!(!table.allows_anonymous(Actions::PUSH));
    }

    #[test]
    fn without_rules_who_has_signed_in_may_do_everything_and_with_none_nobody() {
        let Rules(default) = Rules::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let table = runtime.block_on(default.current());
        assert_eq!(allowed(&table, Some("x"), "a/b"), "pull,push,delete");
        assert_eq!(allowed(&table, None, "a/b"), "");
        let none = RuleTable::parse("rules: []").unwrap();
        assert_eq!(allowed(&none, Some("x"), "a/b"), "");
    }

    #[test]
    fn json_is_read_as_well() {
        let text = r#"{"rules": [{"repositories": "a", "users": ["x"], "actions": ["pull"]}]}"#;
        let table = RuleTable::parse(text).unwrap();
        assert_eq!(allowed(&table, Some("x"), "a"), "pull");
    }

    #[test]
    fn slips_are_errors_that_say_where_and_what() {
        let rule = |text: &str| format!("rules:\n  - {}\n", text.replace('\n', "\n    "));
        for (text, expected) in [
            (String::new(), "unexpected end"),
            ("rule: []".to_owned(), "rule"),
            (rule("repositories: team\nusers: x"), "actions"),
            (
                rule("repositories: team\nusers: x\nactions: pull\nwho: y"),
                "who",
            ),
            (
                rule("repositories: team\nusers: x\nactions: read"),
                "pull, push and delete",
            ),
            (
                rule("repositories: team\nusers: x\nactions: [pull, Push]"),
                "pull, push and delete",
            ),
            (
                rule("repositories: team/**\nusers: x\nactions: pull"),
                "the beginning of its name",
            ),
            (
                rule("repositories: team/\nusers: x\nactions: pull"),
                "the beginning of its name",
            ),
            (
                rule("repositories: Team\nusers: x\nactions: pull"),
                "cannot be the name",
            ),
            (
                rule("repositories: ../x\nusers: x\nactions: pull"),
                "cannot be the name",
            ),
            (
                rule("repositories: []\nusers: x\nactions: pull"),
                "remove the rule",
            ),
            (
                rule("repositories: team\nusers: ''\nactions: pull"),
                "missing",
            ),
            (rule("repositories: team\nusers: [[x]]\nactions: pull"), ""),
            (
                rule("repositories: team\nusers: x\nusers: y\nactions: pull"),
                "users",
            ),
            (rule("repositories: team\nusers: *\nactions: pull"), ""),
        ] {
            let message = error(&text);
            assert!(message.contains(expected), "{text}: {message}");
            assert!(message.contains("line "), "{text}: {message}");
        }
    }

    #[test]
    fn the_number_of_rules_is_bounded() {
        let one = "{repositories: a, users: b, actions: pull},";
        assert!(error(&format!("rules: [{}]", one.repeat(MAX_RULES + 1))).contains("more than"));
        let many: Vec<String> = (0..400).map(|number| format!("x{number}")).collect();
        let many = many.join(",");
        let rule = format!("rules: [{{repositories: [{many}], users: [{many}], actions: pull}}]");
        assert!(error(&rule).contains("more than"));
        assert!(error(&" ".repeat(1024 * 1024 + 1)).contains("1 MiB"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(rules:)?[ \n\\[{]?\\PC{0,60}") {
            let _ = RuleTable::parse(&text).is_ok();
        }

        #[test]
        fn a_prefix_is_one_at_the_slash_and_nowhere_else(
            prefix in "[a-z]{1,3}(/[a-z]{1,3}){0,2}",
            name in "[a-z]{1,3}(/[a-z]{1,3}){0,3}",
        ) {
            let text = format!("rules: [{{repositories: '{prefix}', users: 'x', actions: push}}]");
            let table = RuleTable::parse(&text).unwrap();
            let below = name == prefix || name.starts_with(&format!("{prefix}/"));
            prop_assert_eq!(allowed(&table, Some("x"), &name) == "push", below);
        }
    }
}
