//! Holds the generated types against the schemas they are generated from.
//!
//! The generator could be wrong, or a type in `support/` could: so here the schemas are read a second time, by other
//! and simpler code, and compared with what `schemars` derives from the types; and every example goes through its type.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::generated::catalog;

/// A type, and where its schema is.
pub(crate) struct Subject {
    file: &'static str,
    name: &'static str,
    derived: fn() -> Value,
    round_trip: fn(&Value) -> serde_json::Result<Value>,
}

impl Subject {
    /// The type `T`, which is `$defs/{name}` of the file.
    pub(crate) fn of<T: Serialize + DeserializeOwned + JsonSchema>(
        file: &'static str,
        name: &'static str,
    ) -> Self {
        Self {
            file,
            name,
            derived: || schema_for!(T).to_value(),
            round_trip: |value| serde_json::to_value(T::deserialize(value)?),
        }
    }
}

/// The schema files by name.
fn sources() -> BTreeMap<String, Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            sources.insert(name, serde_json::from_str(&text).unwrap());
        }
    }
    sources
}

/// What both kinds of schema say of a type.
#[derive(Debug, PartialEq)]
enum Form {
    Struct {
        properties: BTreeMap<String, Form>,
        required: BTreeSet<String>,
    },
    OpenEnum(BTreeSet<String>),
    List(Box<Form>),
    Reference(String),
    Scalar {
        types: BTreeSet<String>,
        format: Option<String>,
        minimum: Option<i64>,
        secret: bool,
    },
}

/// Brings a schema into the small form. Both dialects come in: the source writes `x-peak-known-values` where the
/// derived one has `anyOf`, and only the derived one says that an absent value may be `null`.
fn form(schema: &Value) -> Form {
    let schema = schema.as_object().unwrap();
    if let Some(reference) = schema.get("$ref") {
        let name = reference.as_str().unwrap().rsplit('/').next().unwrap();
        return Form::Reference(name.to_owned());
    }
    if let Some(values) = schema.get("x-peak-known-values") {
        return Form::OpenEnum(values.as_object().unwrap().keys().cloned().collect());
    }
    if let Some(choices) = schema.get("anyOf") {
        let choices = choices.as_array().unwrap();
        if let Some(values) = choices[0].get("enum") {
            assert_eq!(choices[1], serde_json::json!({"type": "string"}));
            return Form::OpenEnum(texts(values));
        }
        assert_eq!(choices.len(), 2);
        assert_eq!(choices[1], serde_json::json!({"type": "null"}));
        return form(&choices[0]);
    }
    let mut types = match &schema["type"] {
        Value::String(one) => BTreeSet::from([one.clone()]),
        many => texts(many),
    };
    types.remove("null");
    if types == BTreeSet::from(["object".to_owned()]) {
        return Form::Struct {
            properties: object(schema.get("properties"))
                .iter()
                .map(|(name, property)| (name.clone(), form(property)))
                .collect(),
            required: schema.get("required").map(texts).unwrap_or_default(),
        };
    }
    if types == BTreeSet::from(["array".to_owned()]) {
        return Form::List(Box::new(form(&schema["items"])));
    }
    Form::Scalar {
        types,
        format: schema
            .get("format")
            .and_then(Value::as_str)
            // The width of an integer in Rust is nothing that the wire knows.
            .filter(|format| !["uint64", "int64"].contains(format))
            .map(str::to_owned),
        minimum: schema.get("minimum").and_then(Value::as_i64),
        secret: schema.get("x-peak-secret") == Some(&Value::Bool(true)),
    }
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

fn texts(value: &Value) -> BTreeSet<String> {
    let items = value.as_array().unwrap().iter();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_definition_has_its_type() {
    let defined: BTreeSet<(String, String)> = sources()
        .into_iter()
        .flat_map(|(file, source)| {
            let names: Vec<String> = object(source.get("$defs")).keys().cloned().collect();
            names.into_iter().map(move |name| (file.clone(), name))
        })
        .collect();
    let generated = catalog::subjects()
        .iter()
        .map(|subject| (subject.file.to_owned(), subject.name.to_owned()))
        .collect();
    assert_eq!(defined, generated);
}

#[test]
fn every_type_says_what_its_schema_says() {
    let sources = sources();
    for subject in catalog::subjects() {
        let source = form(&sources[subject.file]["$defs"][subject.name]);
        let derived = (subject.derived)();
        assert_eq!(derived["title"], subject.name);
        assert_eq!(
            form(&derived),
            source,
            "{} of {}",
            subject.name,
            subject.file
        );
    }
}

#[test]
fn every_example_survives_its_type() {
    let sources = sources();
    for subject in catalog::subjects() {
        let definition = &sources[subject.file]["$defs"][subject.name];
        let examples = definition["examples"].as_array().unwrap();
        assert!(!examples.is_empty());
        for example in examples {
            let result = (subject.round_trip)(example).unwrap();
            assert_eq!(result, *example, "{} of {}", subject.name, subject.file);
        }
    }
}

#[test]
fn the_comparison_sees_a_difference() {
    let sources = sources();
    let mut source = sources["images.json"]["$defs"]["Image"].clone();
    let derived = form(&schema_for!(crate::Image).to_value());
    assert_eq!(form(&source), derived);
    source["properties"]["name"]["x-peak-secret"] = true.into();
    assert_ne!(form(&source), derived);
}
