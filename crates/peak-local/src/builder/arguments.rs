//! The values of `ARG`: those that were given for the build, those before the first `FROM`, and what of them
//! nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::expand::{Value, Variables};
use super::image::Environment;
use super::target::{platform_arguments, target_platform};

/// Arguments that Docker knows without `ARG`; not declaring them is no oversight.
const PREDEFINED: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// What an `ARG` declares: names, with their defaults.
type Declarations = [(String, Option<String>)];

/// Variables before the first stage, or in one.
pub(crate) struct Scope<'a> {
    pub environment: Option<&'a Environment>,
    pub arguments: &'a BTreeMap<String, Value>,
}

impl Variables for Scope<'_> {
    fn variable(&self, name: &str) -> Option<&Value> {
        // `ENV` wins over `ARG`.
        self.environment
            .and_then(|environment| environment.get(name))
            .or_else(|| self.arguments.get(name))
    }
}

/// The arguments of one build.
pub(crate) struct Arguments<'a> {
    /// Of several for one name the last counts.
    given: &'a [(String, String)],
    /// What holds before the first stage, and in stages that declare it.
    globals: BTreeMap<String, Value>,
    /// The names that an `ARG` asked for.
    asked_for: BTreeSet<String>,
}

impl<'a> Arguments<'a> {
    /// Those given, and those that say for which platform is built.
    pub(crate) fn new(given: &'a [(String, String)]) -> Self {
        let globals = platform_arguments(&target_platform());
        let globals = globals.into_iter().map(|(name, text)| {
            let private = false;
            (name, Value { text, private })
        });
        Self {
            given,
            globals: globals.collect(),
            asked_for: BTreeSet::new(),
        }
    }

    /// What can be used before the first stage.
    pub(crate) fn global_scope(&self) -> Scope<'_> {
        Scope {
            environment: None,
            arguments: &self.globals,
        }
    }

    /// The values that these declarations have; those without any are left out.
    pub(crate) fn values<E>(
        &self,
        declarations: &Declarations,
        expand: impl Fn(&str) -> Result<Value, E>,
    ) -> Result<Vec<(String, Value)>, E> {
        let mut values = Vec::new();
        for (name, default) in declarations {
            let value = match (self.given(name), default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(expand(default)?),
                (None, None) => self.globals.get(name).cloned(),
            };
            values.extend(value.map(|value| (name.clone(), value)));
        }
        Ok(values)
    }

    /// Notes that these declarations were come by.
    pub(crate) fn declared(&mut self, declarations: &Declarations) {
        let names = declarations.iter().map(|(name, _)| name.clone());
        self.asked_for.extend(names);
    }

    /// Sets what holds from here on before the first stage.
    pub(crate) fn set_globals(&mut self, values: Vec<(String, Value)>) {
        self.globals.extend(values);
    }

    /// The names of given arguments that nothing asked for, sorted.
    pub(crate) fn unused(&self) -> Vec<&'a str> {
        let names: BTreeSet<&str> = self
            .given
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !self.asked_for.contains(*name))
            .filter(|name| !PREDEFINED.contains(&name.to_ascii_uppercase().as_str()))
            .collect();
        names.into_iter().collect()
    }

    fn given(&self, name: &str) -> Option<Value> {
        let (_, text) = self.given.iter().rev().find(|(given, _)| given == name)?;
        Some(Value {
            text: text.clone(),
            private: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        names.iter().map(owned).collect()
    }

    fn values(arguments: &Arguments<'_>, declared: &[(&str, Option<&str>)]) -> Vec<String> {
        let declared: Vec<_> = declared
            .iter()
            .map(|(name, default)| ((*name).to_owned(), default.map(str::to_owned)))
            .collect();
        let expand = |text: &str| {
            Ok::<_, ()>(Value {
                text: text.to_owned(),
                private: false,
            })
        };
        let values = arguments.values(&declared, expand).unwrap();
        let shown = |(name, value): (String, Value)| {
            format!(
                "{name}={}{}",
                value.text,
                if value.private { "!" } else { "" }
            )
        };
        values.into_iter().map(shown).collect()
    }

    #[test]
    fn what_is_given_goes_before_the_default_and_that_before_what_held_before() {
        let given = pairs(&[("A", "1"), ("A", "2")]);
        let mut arguments = Arguments::new(&given);
        let global = Value {
            text: "global".to_owned(),
            private: false,
        };
        arguments.set_globals(vec![("B".to_owned(), global)]);
        let declared = [("A", Some("x")), ("B", Some("y")), ("C", None)];
        assert_eq!(values(&arguments, &declared), ["A=2!", "B=y"]);
        assert_eq!(values(&arguments, &[("B", None)]), ["B=global"]);
        assert_eq!(
            values(&arguments, &[("TARGETOS", None)]),
            ["TARGETOS=linux"]
        );
    }

    #[test]
    fn arguments_that_nobody_asked_for_are_named_but_for_those_that_docker_knows() {
        let given = pairs(&[("B", ""), ("A", ""), ("http_proxy", ""), ("C", "")]);
        let mut arguments = Arguments::new(&given);
        arguments.declared(&[("C".to_owned(), None)]);
        assert_eq!(arguments.unused(), ["A", "B"]);
    }
}
