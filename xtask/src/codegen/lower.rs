//! Lowers the schemas to what is to be generated: names are Rust names, references are resolved.

use std::collections::BTreeMap;

use super::error::{Location, Problem, SchemaError};
use super::schema::{Definition, Document, KnownValue, Property, Shape, Value};

/// The variant that holds what no known value matches.
pub(crate) const UNKNOWN_VARIANT: &str = "Unknown";

/// Everything to generate: a module for each schema file, in the order of the files.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) modules: Vec<Module>,
}

/// What one schema file becomes.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    /// The schema file's name.
    pub(crate) file: String,
    pub(crate) documentation: String,
    pub(crate) items: Vec<Item>,
}

/// A type.
#[derive(Debug)]
pub(crate) enum Item {
    Struct(Struct),
    OpenEnum(OpenEnum),
    /// Written by hand; only its name is known.
    Support(String),
}

impl Item {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Struct(item) => &item.name,
            Self::OpenEnum(item) => &item.name,
            Self::Support(name) => name,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) documentation: String,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    /// The name on the wire.
    pub(crate) wire: String,
    /// The name in Rust, without `r#`.
    pub(crate) rust: String,
    pub(crate) documentation: String,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
}

/// The type of a field, before its presence is taken into account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Secret,
    Boolean,
    Unsigned,
    Signed,
    /// A generated struct.
    Struct(String),
    /// A generated open enumeration, or a type written by hand: both are made `From` simpler things.
    Value(String),
    List(Box<Kind>),
}

/// What it means that a field is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It cannot be.
    Required,
    /// It is absent.
    Optional,
    /// An empty list.
    EmptyList,
}

#[derive(Debug)]
pub(crate) struct OpenEnum {
    pub(crate) name: String,
    pub(crate) documentation: String,
    pub(crate) variants: Vec<Variant>,
}

#[derive(Debug)]
pub(crate) struct Variant {
    /// The value on the wire.
    pub(crate) wire: String,
    pub(crate) rust: String,
    pub(crate) documentation: String,
}

/// Lowers the documents, which come in the order of their file names.
pub(crate) fn lower(documents: &[Document]) -> Result<Model, SchemaError> {
    let types = Types::collect(documents)?;
    let modules = documents
        .iter()
        .map(|document| lower_document(document, &types))
        .collect::<Result<_, _>>()?;
    Ok(Model { modules })
}

/// Every type of every file by its name: the generated types are all exported at one place, so names are global.
struct Types<'a>(BTreeMap<&'a str, &'a Definition>);

impl<'a> Types<'a> {
    fn collect(documents: &'a [Document]) -> Result<Self, SchemaError> {
        let mut types: BTreeMap<&str, &Definition> = BTreeMap::new();
        for definition in documents.iter().flat_map(|document| &document.definitions) {
            if let Some(first) = types.insert(&definition.name, definition) {
                return Err(definition.location.error(Problem::DuplicateType {
                    name: definition.name.clone(),
                    other: first.location.clone(),
                }));
            }
        }
        Ok(Self(types))
    }

    /// Follows a `$ref` such as `#/$defs/Tag` or `versions.json#/$defs/Tag`.
    fn resolve(&self, target: &str, location: &Location) -> Result<Kind, SchemaError> {
        let unresolved = || location.error(Problem::UnresolvedReference(target.to_owned()));
        let (file, pointer) = target.split_once('#').ok_or_else(unresolved)?;
        let file = if file.is_empty() {
            location.file()
        } else {
            file
        };
        let name = pointer.strip_prefix("/$defs/").ok_or_else(unresolved)?;
        let definition = self
            .0
            .get(name)
            .filter(|definition| definition.location.file() == file)
            .ok_or_else(unresolved)?;
        Ok(match definition.shape {
            Shape::Object { .. } => Kind::Struct(name.to_owned()),
            Shape::OpenEnum { .. } | Shape::Support => Kind::Value(name.to_owned()),
        })
    }
}

fn lower_document(document: &Document, types: &Types<'_>) -> Result<Module, SchemaError> {
    let file = document.location.file();
    let name = file.strip_suffix(".json").unwrap_or(file);
    // `mod.rs` and the list for the tests have names of their own.
    let usable = is_identifier(name, |first| first.is_ascii_lowercase())
        && !["mod", "catalog"].contains(&name)
        && !is_keyword(name);
    if !usable {
        return Err(document
            .location
            .error(Problem::UnusableName(name.to_owned())));
    }
    Ok(Module {
        name: name.to_owned(),
        file: file.to_owned(),
        documentation: document.description.clone(),
        items: document
            .definitions
            .iter()
            .map(|definition| lower_definition(definition, types))
            .collect::<Result<_, _>>()?,
    })
}

fn lower_definition(definition: &Definition, types: &Types<'_>) -> Result<Item, SchemaError> {
    let name = definition.name.clone();
    if !is_identifier(&name, |first| first.is_ascii_uppercase()) || name == "Self" {
        return Err(definition.location.error(Problem::UnusableName(name)));
    }
    let documentation = definition.description.clone();
    match &definition.shape {
        Shape::Support => Ok(Item::Support(name)),
        Shape::Object {
            properties,
            required,
        } => {
            let mut names = Names::default();
            let fields = properties
                .iter()
                .map(|property| lower_property(property, required, types, &mut names))
                .collect::<Result<_, _>>()?;
            Ok(Item::Struct(Struct {
                name,
                documentation,
                fields,
            }))
        }
        Shape::OpenEnum { values } => {
            let mut names = Names::default();
            names.take(UNKNOWN_VARIANT, UNKNOWN_VARIANT, &definition.location)?;
            let variants = values
                .iter()
                .map(|value| lower_known_value(value, &mut names))
                .collect::<Result<_, _>>()?;
            Ok(Item::OpenEnum(OpenEnum {
                name,
                documentation,
                variants,
            }))
        }
    }
}

fn lower_property(
    property: &Property,
    required: &[String],
    types: &Types<'_>,
    names: &mut Names,
) -> Result<Field, SchemaError> {
    let location = &property.location;
    let rust = snake_case(&property.name);
    // `new` makes the value, and a setter is named as its field is.
    let usable = is_identifier(&rust, |first| first.is_ascii_lowercase())
        && !["new", "self", "super", "crate"].contains(&rust.as_str());
    if !usable {
        return Err(location.error(Problem::UnusableName(property.name.clone())));
    }
    names.take(&rust, &property.name, location)?;
    let presence = match (required.contains(&property.name), property.empty_by_default) {
        (true, true) => {
            return Err(location
                .child("default")
                .error(Problem::Expected("no default of what is required")));
        }
        (true, false) => Presence::Required,
        (false, true) => Presence::EmptyList,
        (false, false) => Presence::Optional,
    };
    Ok(Field {
        wire: property.name.clone(),
        rust,
        documentation: property.description.clone(),
        kind: lower_value(&property.value, types)?,
        presence,
    })
}

fn lower_value(value: &Value, types: &Types<'_>) -> Result<Kind, SchemaError> {
    Ok(match value {
        Value::Text => Kind::Text,
        Value::Secret => Kind::Secret,
        Value::Boolean => Kind::Boolean,
        Value::Integer { unsigned: true } => Kind::Unsigned,
        Value::Integer { unsigned: false } => Kind::Signed,
        Value::List(item) => Kind::List(Box::new(lower_value(item, types)?)),
        Value::Reference { target, location } => types.resolve(target, location)?,
    })
}

fn lower_known_value(value: &KnownValue, names: &mut Names) -> Result<Variant, SchemaError> {
    let rust = upper_camel_case(&value.value);
    if !is_identifier(&rust, |first| first.is_ascii_uppercase()) || rust == "Self" {
        return Err(value
            .location
            .error(Problem::UnusableName(value.value.clone())));
    }
    names.take(&rust, &value.value, &value.location)?;
    Ok(Variant {
        wire: value.value.clone(),
        rust,
        documentation: value.description.clone(),
    })
}

/// The Rust names taken within one type, each with the name it was made of.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn take(&mut self, rust: &str, name: &str, location: &Location) -> Result<(), SchemaError> {
        match self.0.insert(rust.to_owned(), name.to_owned()) {
            None => Ok(()),
            Some(other) => Err(location.error(Problem::NameClash {
                name: name.to_owned(),
                other,
                rust: rust.to_owned(),
            })),
        }
    }
}

/// Whether Rust reserves the name. The parser of the emitted code is asked, so that the list is nowhere twice.
pub(crate) fn is_keyword(name: &str) -> bool {
    syn::parse_str::<syn::Ident>(name).is_err()
}

fn is_identifier(name: &str, first_is_right: impl Fn(char) -> bool) -> bool {
    name.starts_with(first_is_right)
        && name
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
}

/// `pullUrl` → `pull_url`, `githubCommitURL` → `github_commit_url`.
fn snake_case(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut result = String::with_capacity(name.len() + 4);
    for (index, &character) in characters.iter().enumerate() {
        if character.is_ascii_uppercase() {
            let before = index.checked_sub(1).and_then(|index| characters.get(index));
            let after = characters.get(index + 1);
            let starts_word = before.is_some_and(|before| !before.is_ascii_uppercase())
                || (before.is_some() && after.is_some_and(char::is_ascii_lowercase));
            if starts_word && !result.ends_with('_') {
                result.push('_');
            }
        }
        result.push(if character == '-' {
            '_'
        } else {
            character.to_ascii_lowercase()
        });
    }
    result
}

/// `workspace-r` → `WorkspaceR`, `in_use` → `InUse`.
fn upper_camel_case(value: &str) -> String {
    value
        .split(['-', '_', ' '])
        .map(|word| {
            let mut characters = word.chars();
            characters.next().map_or_else(String::new, |first| {
                first.to_ascii_uppercase().to_string() + characters.as_str()
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::{Item, Kind, Model, Presence, SchemaError, lower, snake_case, upper_camel_case};

    fn lower_files(files: &[(&str, &str)]) -> Result<Model, SchemaError> {
        let documents = files
            .iter()
            .map(|(file, definitions)| {
                let text = format!(
                    r#"{{
                        "$schema": "https://json-schema.org/draft/2020-12/schema",
                        "$id": "https://example.com/{file}",
                        "description": "Pets.",
                        "$defs": {definitions}
                    }}"#
                );
                schema::read(file, &text)
            })
            .collect::<Result<Vec<_>, _>>()?;
        lower(&documents)
    }

    fn object(properties: &str) -> String {
        format!(
            r#"{{"type": "object", "description": "d", "properties": {{{properties}}}, "examples": [{{}}]}}"#
        )
    }

    #[test]
    fn a_reference_to_nothing_is_named_with_its_pointer() {
        for target in [
            "#/$defs/Owner",
            "people.json#/$defs/Pet",
            "pets.json#/$defs/Owner",
            "#/Pet",
            "Pet",
        ] {
            let pet = object(&format!(
                r#""owner": {{"$ref": "{target}", "description": "d"}}"#
            ));
            let error = lower_files(&[("pets.json", &format!(r#"{{"Pet": {pet}}}"#))]).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "pets.json#/$defs/Pet/properties/owner/$ref: `$ref` to `{target}`, which is not there"
                )
            );
        }
    }

    #[test]
    fn references_go_within_a_file_and_across() {
        let pet = object(
            r##""mother": {"$ref": "#/$defs/Species", "description": "d"},
               "owners": {"type": "array", "items": {"$ref": "people.json#/$defs/Owner"}, "description": "d"}"##,
        );
        let species =
            r#"{"type": "string", "description": "d", "x-peak-known-values": {"dog-like": "d"}}"#;
        let model = lower_files(&[
            ("people.json", &format!(r#"{{"Owner": {}}}"#, object(""))),
            (
                "pets.json",
                &format!(r#"{{"Pet": {pet}, "Species": {species}}}"#),
            ),
        ])
        .unwrap();
        let Item::Struct(pet) = &model.modules[1].items[0] else {
            panic!("not a struct");
        };
        assert_eq!(pet.fields[0].kind, Kind::Value("Species".to_owned()));
        assert_eq!(pet.fields[0].presence, Presence::Optional);
        assert_eq!(
            pet.fields[1].kind,
            Kind::List(Box::new(Kind::Struct("Owner".to_owned())))
        );
    }

    #[test]
    fn a_type_in_two_files_is_an_error_that_names_both() {
        let definitions = format!(r#"{{"Pet": {}}}"#, object(""));
        let error = lower_files(&[("a.json", &definitions), ("b.json", &definitions)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "b.json#/$defs/Pet: the type `Pet` is there twice, also at a.json#/$defs/Pet"
        );
    }

    #[test]
    fn names_that_become_equal_in_rust_are_an_error() {
        let pet = object(
            r#""petName": {"type": "string", "description": "d"},
               "pet_name": {"type": "string", "description": "d"}"#,
        );
        let error = lower_files(&[("pets.json", &format!(r#"{{"Pet": {pet}}}"#))]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pets.json#/$defs/Pet/properties/pet_name: \
             `pet_name` and `petName` would both be named `pet_name` in Rust"
        );

        let species =
            r#"{"type": "string", "description": "d", "x-peak-known-values": {"unknown": "d"}}"#;
        let error =
            lower_files(&[("pets.json", &format!(r#"{{"Species": {species}}}"#))]).unwrap_err();
        assert!(error.to_string().contains("named `Unknown`"), "{error}");
    }

    #[test]
    fn names_that_rust_cannot_have_are_an_error() {
        for name in ["pet/name", "1st", "new", ""] {
            let pet = object(&format!(
                r#""{name}": {{"type": "string", "description": "d"}}"#
            ));
            let error = lower_files(&[("pets.json", &format!(r#"{{"Pet": {pet}}}"#))]).unwrap_err();
            assert!(error.to_string().contains("Rust name"), "{name}: {error}");
        }
        let error =
            lower_files(&[("pets.json", &format!(r#"{{"pet": {}}}"#, object("")))]).unwrap_err();
        assert!(
            error.to_string().contains("`pet` cannot be made"),
            "{error}"
        );
    }

    #[test]
    fn words_are_told_apart() {
        assert_eq!(snake_case("id"), "id");
        assert_eq!(snake_case("lastBuildAt"), "last_build_at");
        assert_eq!(snake_case("githubCommitURL"), "github_commit_url");
        assert_eq!(snake_case("URLOfCommit"), "url_of_commit");
        assert_eq!(upper_camel_case("workspace-python"), "WorkspacePython");
        assert_eq!(upper_camel_case("api"), "Api");
    }
}
