//! Reads the declared subset of JSON Schema; `schemas/README.md` has it as a table.
//!
//! Nothing is skipped: a keyword that is not listed for its place is an error, so that a schema cannot say something
//! that the generated types silently do not hold.

use super::error::{Location, Problem, SchemaError};
use super::json::Json;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

const DOCUMENT: &[&str] = &["$schema", "$id", "description", "$defs"];
const OBJECT: &[&str] = &["type", "description", "properties", "required", "examples"];
const OPEN_ENUM: &[&str] = &["type", "description", "x-peak-known-values", "examples"];
const SUPPORT: &[&str] = &[
    "x-peak-support",
    "type",
    "format",
    "description",
    "examples",
];
const REFERENCE: &[&str] = &["$ref", "description"];
const TEXT: &[&str] = &["type", "description", "x-peak-secret"];
const INTEGER: &[&str] = &["type", "description", "minimum"];
const BOOLEAN: &[&str] = &["type", "description"];
const ARRAY: &[&str] = &["type", "description", "items", "default"];

/// One schema file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) location: Location,
    pub(crate) description: String,
    pub(crate) definitions: Vec<Definition>,
}

/// One entry of `$defs`.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) location: Location,
    pub(crate) description: String,
    pub(crate) shape: Shape,
}

/// What an entry of `$defs` defines.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A struct.
    Object {
        properties: Vec<Property>,
        required: Vec<String>,
    },
    /// Text with known values, each with its description.
    OpenEnum { values: Vec<KnownValue> },
    /// A type that is written by hand.
    Support,
}

/// A value of an open enumeration.
#[derive(Debug)]
pub(crate) struct KnownValue {
    pub(crate) value: String,
    pub(crate) location: Location,
    pub(crate) description: String,
}

/// A property of an object.
#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) location: Location,
    pub(crate) description: String,
    pub(crate) value: Value,
    /// `default: []`: absent means empty.
    pub(crate) empty_by_default: bool,
}

/// What a property, or an item of a list, holds.
#[derive(Debug)]
pub(crate) enum Value {
    /// `$ref`, as written, and its place.
    Reference { target: String, location: Location },
    /// A string.
    Text,
    /// A string that must not be shown.
    Secret,
    /// A boolean.
    Boolean,
    /// An integer.
    Integer { unsigned: bool },
    /// An array.
    List(Box<Value>),
}

/// Reads one schema file. `file` is its name without a directory, for references and errors.
pub(crate) fn read(file: &str, text: &str) -> Result<Document, SchemaError> {
    let location = Location::root(file);
    let json: Json = serde_json::from_str(text)
        .map_err(|error| location.error(Problem::Syntax(error.to_string())))?;
    let document = Node::of(&json, location)?;
    document.only(DOCUMENT)?;
    if document.text("$schema")? != DIALECT {
        return Err(document.location.child("$schema").error(Problem::Expected(
            "https://json-schema.org/draft/2020-12/schema",
        )));
    }
    document.text("$id")?;
    let definitions = document.object("$defs")?.children(read_definition)?;
    Ok(Document {
        description: document.description()?,
        location: document.location,
        definitions,
    })
}

fn read_definition(name: &str, node: Node<'_>) -> Result<Definition, SchemaError> {
    let shape = if node.flag("x-peak-support")? {
        // The rest describes the type for readers and for the comparison with it; nothing is generated from it.
        node.only(SUPPORT)?;
        Shape::Support
    } else {
        match node.text("type")? {
            "object" => read_object(&node)?,
            "string" => read_open_enum(&node)?,
            _ => {
                return Err(node
                    .location
                    .child("type")
                    .error(Problem::Expected("`object` or `string`")));
            }
        }
    };
    Ok(Definition {
        name: name.to_owned(),
        description: node.description()?,
        location: node.location,
        shape,
    })
}

fn read_object(node: &Node<'_>) -> Result<Shape, SchemaError> {
    node.only(OBJECT)?;
    // The round trip of the examples is the test of the generated type, so every type has at least one.
    match node.get("examples") {
        Some(Json::List(examples)) if !examples.is_empty() => {}
        Some(_) => {
            return Err(node
                .location
                .child("examples")
                .error(Problem::Expected("an array that is not empty")));
        }
        None => return Err(node.location.error(Problem::MissingKeyword("examples"))),
    }
    let properties = node.object("properties")?.children(read_property)?;
    let required = node.text_list("required")?;
    for (index, name) in required.iter().enumerate() {
        if !properties.iter().any(|property| property.name == *name) {
            return Err(node
                .location
                .child("required")
                .child(&index.to_string())
                .error(Problem::RequiredWithoutProperty(name.clone())));
        }
    }
    Ok(Shape::Object {
        properties,
        required,
    })
}

fn read_open_enum(node: &Node<'_>) -> Result<Shape, SchemaError> {
    node.only(OPEN_ENUM)?;
    let known = node.object("x-peak-known-values")?;
    let values = known
        .entries
        .iter()
        .map(|(value, description)| {
            let location = known.location.child(value);
            let Json::Text(description) = description else {
                return Err(location.error(Problem::Expected("a string: the description")));
            };
            Ok(KnownValue {
                value: value.clone(),
                location,
                description: description.clone(),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Shape::OpenEnum { values })
}

fn read_property(name: &str, node: Node<'_>) -> Result<Property, SchemaError> {
    let value = read_value(&node)?;
    let empty_by_default = match node.get("default") {
        None => false,
        Some(Json::List(items)) if items.is_empty() => true,
        Some(_) => {
            return Err(node
                .location
                .child("default")
                .error(Problem::Expected("an empty array")));
        }
    };
    Ok(Property {
        name: name.to_owned(),
        description: node.description()?,
        location: node.location,
        value,
        empty_by_default,
    })
}

fn read_value(node: &Node<'_>) -> Result<Value, SchemaError> {
    if node.get("$ref").is_some() {
        node.only(REFERENCE)?;
        return Ok(Value::Reference {
            target: node.text("$ref")?.to_owned(),
            location: node.location.child("$ref"),
        });
    }
    match node.text("type")? {
        "string" => {
            node.only(TEXT)?;
            Ok(if node.flag("x-peak-secret")? {
                Value::Secret
            } else {
                Value::Text
            })
        }
        "integer" => {
            node.only(INTEGER)?;
            match node.get("minimum") {
                None => Ok(Value::Integer { unsigned: false }),
                Some(Json::Integer(0)) => Ok(Value::Integer { unsigned: true }),
                Some(_) => Err(node
                    .location
                    .child("minimum")
                    .error(Problem::Expected("0: no other minimum is held"))),
            }
        }
        "boolean" => {
            node.only(BOOLEAN)?;
            Ok(Value::Boolean)
        }
        "array" => {
            node.only(ARRAY)?;
            let items = node.object("items")?;
            if items.get("default").is_some() {
                return Err(items
                    .location
                    .child("default")
                    .error(Problem::Expected("no default inside of a list")));
            }
            Ok(Value::List(Box::new(read_value(&items)?)))
        }
        _ => Err(node.location.child("type").error(Problem::Expected(
            "`string`, `integer`, `boolean` or `array`; objects go to `$defs`",
        ))),
    }
}

/// An object of the schema and its place.
struct Node<'a> {
    location: Location,
    entries: &'a [(String, Json)],
}

impl<'a> Node<'a> {
    fn of(json: &'a Json, location: Location) -> Result<Self, SchemaError> {
        match json {
            Json::Object(entries) => Ok(Self { location, entries }),
            _ => Err(location.error(Problem::Expected("an object"))),
        }
    }

    fn get(&self, keyword: &str) -> Option<&'a Json> {
        self.entries
            .iter()
            .find(|(key, _)| key == keyword)
            .map(|(_, value)| value)
    }

    fn only(&self, allowed: &'static [&'static str]) -> Result<(), SchemaError> {
        match self
            .entries
            .iter()
            .find(|(key, _)| !allowed.contains(&key.as_str()))
        {
            None => Ok(()),
            Some((key, _)) => Err(self.location.child(key).error(Problem::UnknownKeyword {
                keyword: key.clone(),
                allowed,
            })),
        }
    }

    fn text(&self, keyword: &'static str) -> Result<&'a str, SchemaError> {
        match self.get(keyword) {
            Some(Json::Text(text)) => Ok(text),
            Some(_) => Err(self
                .location
                .child(keyword)
                .error(Problem::Expected("a string"))),
            None => Err(self.location.error(Problem::MissingKeyword(keyword))),
        }
    }

    fn description(&self) -> Result<String, SchemaError> {
        let text = self.text("description")?;
        if text.trim().is_empty() {
            return Err(self
                .location
                .child("description")
                .error(Problem::Expected("a text that is not empty")));
        }
        Ok(text.to_owned())
    }

    fn flag(&self, keyword: &'static str) -> Result<bool, SchemaError> {
        match self.get(keyword) {
            None => Ok(false),
            Some(Json::Boolean(true)) => Ok(true),
            Some(_) => Err(self
                .location
                .child(keyword)
                .error(Problem::Expected("`true`, or nothing"))),
        }
    }

    fn text_list(&self, keyword: &'static str) -> Result<Vec<String>, SchemaError> {
        let location = self.location.child(keyword);
        match self.get(keyword) {
            None => Ok(Vec::new()),
            Some(Json::List(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| match item {
                    Json::Text(text) => Ok(text.clone()),
                    _ => Err(location
                        .child(&index.to_string())
                        .error(Problem::Expected("a string"))),
                })
                .collect(),
            Some(_) => Err(location.error(Problem::Expected("an array of strings"))),
        }
    }

    fn object(&self, keyword: &'static str) -> Result<Node<'a>, SchemaError> {
        match self.get(keyword) {
            Some(json) => Node::of(json, self.location.child(keyword)),
            None => Err(self.location.error(Problem::MissingKeyword(keyword))),
        }
    }

    /// The objects under the keys of this one, such as the entries of `$defs`.
    fn children<T>(
        &self,
        read: impl Fn(&str, Node<'a>) -> Result<T, SchemaError>,
    ) -> Result<Vec<T>, SchemaError> {
        self.entries
            .iter()
            .map(|(key, value)| read(key, Node::of(value, self.location.child(key))?))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Problem;
    use super::{Document, SchemaError, Shape, Value, read};

    fn read_definitions(definitions: &str) -> Result<Document, SchemaError> {
        read(
            "pets.json",
            &format!(
                r#"{{
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "$id": "https://example.com/pets.json",
                    "description": "Pets.",
                    "$defs": {definitions}
                }}"#
            ),
        )
    }

    fn read_pet_property(property: &str) -> Result<Document, SchemaError> {
        read_definitions(&format!(
            r#"{{"Pet": {{
                "type": "object",
                "description": "A pet.",
                "properties": {{"a/b": {property}}},
                "examples": [{{}}]
            }}}}"#
        ))
    }

    #[test]
    fn an_unknown_keyword_is_named_with_file_and_pointer() {
        let error = read_pet_property(
            r#"{"type": "string", "description": "Its name.", "pattern": "^[a-z]+$"}"#,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "pets.json#/$defs/Pet/properties/a~1b/pattern: unknown keyword `pattern`; \
             the subset knows here: type, description, x-peak-secret"
        );
    }

    #[test]
    fn keywords_are_known_only_where_they_mean_something() {
        for (property, keyword) in [
            (
                r#"{"type": "string", "minimum": 0, "description": "d"}"#,
                "minimum",
            ),
            (
                r##"{"$ref": "#/$defs/Pet", "type": "string", "description": "d"}"##,
                "type",
            ),
            (
                r#"{"type": "boolean", "default": [], "description": "d"}"#,
                "default",
            ),
            (
                r#"{"type": "array", "items": {"type": "string", "enum": []}, "description": "d"}"#,
                "enum",
            ),
        ] {
            let error = read_pet_property(property).unwrap_err();
            assert!(
                matches!(&error.problem, Problem::UnknownKeyword { keyword: found, .. } if found == keyword),
                "{property}: {error}"
            );
        }
    }

    #[test]
    fn what_the_subset_wants_is_asked_for() {
        for (property, expected) in [
            (
                r#"{"type": "string"}"#,
                "/a~1b: the keyword `description` is missing",
            ),
            (
                r#"{"type": "string", "description": " "}"#,
                "a text that is not empty",
            ),
            (
                r#"{"description": "d"}"#,
                "/a~1b: the keyword `type` is missing",
            ),
            (
                r#"{"type": "object", "description": "d"}"#,
                "objects go to `$defs`",
            ),
            (
                r#"{"type": "integer", "minimum": 1, "description": "d"}"#,
                "minimum: expected 0",
            ),
            (
                r#"{"type": "array", "description": "d"}"#,
                "the keyword `items` is missing",
            ),
            (r#""string""#, "/a~1b: expected an object"),
        ] {
            let error = read_pet_property(property).unwrap_err().to_string();
            assert!(error.contains(expected), "{property}: {error}");
        }
    }

    #[test]
    fn an_object_needs_an_example() {
        let error = read_definitions(
            r#"{"Pet": {"type": "object", "description": "A pet.", "properties": {}}}"#,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "pets.json#/$defs/Pet: the keyword `examples` is missing"
        );
    }

    #[test]
    fn what_is_required_must_be_a_property() {
        let error = read_definitions(
            r#"{"Pet": {
                "type": "object", "description": "A pet.", "properties": {},
                "required": ["name"], "examples": [{}]
            }}"#,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "pets.json#/$defs/Pet/required/0: `name` is required but is not a property"
        );
    }

    #[test]
    fn a_type_said_twice_in_one_file_is_an_error() {
        let error = read_definitions(r#"{"Pet": {}, "Pet": {}}"#).unwrap_err();
        assert!(
            error.to_string().contains("`Pet` is there twice"),
            "{error}"
        );
    }

    #[test]
    fn properties_keep_their_order_and_their_meaning() {
        let document = read_definitions(
            r#"{"Pet": {
                "type": "object",
                "description": "A pet.",
                "properties": {
                    "token": {"type": "string", "description": "d", "x-peak-secret": true},
                    "age": {"type": "integer", "description": "d", "minimum": 0},
                    "names": {"type": "array", "description": "d", "items": {"type": "string"}, "default": []}
                },
                "required": ["age"],
                "examples": [{"age": 3}]
            }}"#,
        )
        .unwrap();
        let Shape::Object {
            properties,
            required,
        } = &document.definitions[0].shape
        else {
            panic!("not an object");
        };
        assert_eq!(required, &["age"]);
        assert_eq!(properties[0].name, "token");
        assert!(matches!(properties[0].value, Value::Secret));
        assert!(matches!(
            properties[1].value,
            Value::Integer { unsigned: true }
        ));
        assert!(matches!(&properties[2].value, Value::List(item) if matches!(**item, Value::Text)));
        assert!(properties[2].empty_by_default);
    }
}
