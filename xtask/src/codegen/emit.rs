//! Emits Rust for the lowered model.
//!
//! The text is `prettyplease`'s, with blank lines between items; the generated module is marked `rustfmt::skip`, so
//! the bytes depend on `Cargo.lock` only and not on which rustfmt is installed.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use super::lower::{
    Field, Item, Kind, Model, Module, OpenEnum, Presence, Struct, UNKNOWN_VARIANT, is_keyword,
};

/// Documentation is wrapped at this many characters.
const DOCUMENTATION_WIDTH: usize = 90;

/// A file to write: its name within the generated folder, and its text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Emits everything, in a fixed order.
pub(crate) fn emit(model: &Model) -> Result<Vec<File>, syn::Error> {
    let mut files = Vec::new();
    for module in model.modules.iter().filter(|module| has_code(module)) {
        files.push(emit_module(module)?);
    }
    files.push(emit_root(model)?);
    files.push(emit_catalog(model)?);
    Ok(files)
}

/// Whether anything is generated for a module, or all its types are written by hand.
fn has_code(module: &Module) -> bool {
    module
        .items
        .iter()
        .any(|item| !matches!(item, Item::Support(_)))
}

fn emit_module(module: &Module) -> Result<File, syn::Error> {
    let items = module
        .items
        .iter()
        .flat_map(|item| match item {
            Item::Struct(item) => emit_struct(item),
            Item::OpenEnum(item) => emit_open_enum(item),
            Item::Support(_) => Vec::new(),
        })
        .collect::<Vec<_>>();
    file(
        &format!("{}.rs", module.name),
        &format!("schemas/{}", module.file),
        &module.documentation,
        items,
    )
}

/// `mod.rs`: the modules and what they export.
fn emit_root(model: &Model) -> Result<File, syn::Error> {
    let mut items = vec![quote! { #[cfg(test)] pub(crate) mod catalog; }];
    for module in model.modules.iter().filter(|module| has_code(module)) {
        let name = identifier(&module.name);
        items.push(quote! { mod #name; });
    }
    for module in model.modules.iter().filter(|module| has_code(module)) {
        let name = identifier(&module.name);
        let types = module
            .items
            .iter()
            .filter(|item| !matches!(item, Item::Support(_)))
            .map(|item| identifier(item.name()));
        items.push(quote! { pub use #name::{#(#types),*}; });
    }
    file("mod.rs", "schemas/", "The generated types.", items)
}

/// `catalog.rs`: every type with its schema, for the tests that hold them against each other.
fn emit_catalog(model: &Model) -> Result<File, syn::Error> {
    let subjects = model.modules.iter().flat_map(|module| {
        module.items.iter().map(|item| {
            let name = item.name();
            let file = &module.file;
            let rust = identifier(name);
            quote! { Subject::of::<crate::#rust>(#file, #name) }
        })
    });
    let items = vec![
        quote! { use crate::conformance::Subject; },
        quote! {
            /// Every type of the schemas, in their order.
            pub(crate) fn subjects() -> Vec<Subject> {
                vec![#(#subjects),*]
            }
        },
    ];
    file(
        "catalog.rs",
        "schemas/",
        "Every type and the schema it is generated from.",
        items,
    )
}

/// Formats the items one by one, so that there are blank lines between them but not between those of one line each.
fn file(
    name: &str,
    source: &str,
    documentation: &str,
    items: Vec<TokenStream>,
) -> Result<File, syn::Error> {
    let mut text = format!(
        "// Generated from {source} by `cargo xtask codegen`. Do not edit: change the schema and run it again.\n\n"
    );
    for line in wrap(documentation) {
        text.push_str("//!");
        text.push_str(&line);
        text.push('\n');
    }
    let mut after_short_item = false;
    for (index, item) in items.into_iter().enumerate() {
        let formatted = prettyplease::unparse(&syn::parse2(item)?);
        let is_short = formatted.lines().count() == 1;
        if index == 0 || !(is_short && after_short_item) {
            text.push('\n');
        }
        push_with_spaced_members(&mut text, &formatted);
        after_short_item = is_short;
    }
    Ok(File {
        name: name.to_owned(),
        text,
    })
}

/// Appends an item with a blank line between the members of an `impl`, which `prettyplease` sets solid.
fn push_with_spaced_members(text: &mut String, item: &str) {
    let mut after_member = false;
    for line in item.lines() {
        if after_member && line.starts_with("    ") {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        after_member = matches!(line, "    }" | "    ];")
            || line.starts_with("    pub const ") && line.ends_with(';');
    }
}

fn emit_struct(item: &Struct) -> Vec<TokenStream> {
    let name = identifier(&item.name);
    let documentation = documentation(&item.documentation);
    let fields = item.fields.iter().map(emit_field);
    let required: Vec<&Field> = item
        .fields
        .iter()
        .filter(|field| field.presence == Presence::Required)
        .collect();
    // What has required fields has no default that would mean anything.
    let default = required.is_empty().then(|| quote! { Default, });
    let definition = quote! {
        #documentation
        #[derive(Debug, Clone, PartialEq, Eq, #default serde::Serialize, serde::Deserialize)]
        #[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
        #[non_exhaustive]
        pub struct #name {
            #(#fields)*
        }
    };
    let constructor = if required.is_empty() {
        quote! {
            #[doc = " Nothing is set yet."]
            pub fn new() -> Self {
                Self::default()
            }
        }
    } else {
        let parameters = required.iter().map(|field| {
            let name = identifier(&field.rust);
            let parameter = parameter_type(&field.kind);
            quote! { #name: #parameter }
        });
        let values = item.fields.iter().map(|field| {
            let name = identifier(&field.rust);
            match field.presence {
                Presence::Required => {
                    let value = converted(&field.kind, &quote! { #name });
                    quote! { #name: #value }
                }
                Presence::Optional => quote! { #name: None },
                Presence::EmptyList => quote! { #name: Vec::new() },
            }
        });
        quote! {
            #[doc = " With what is required; nothing else is set yet."]
            pub fn new(#(#parameters),*) -> Self {
                Self { #(#values),* }
            }
        }
    };
    let setters = item.fields.iter().map(emit_setter);
    let implementation = quote! {
        impl #name {
            #constructor
            #(#setters)*
        }
    };
    vec![definition, implementation]
}

fn emit_field(field: &Field) -> TokenStream {
    let name = identifier(&field.rust);
    let documentation = documentation(&field.documentation);
    let plain = plain_type(&field.kind);
    let mut attributes = Vec::new();
    if field.wire != field.rust {
        let wire = &field.wire;
        attributes.push(quote! { rename = #wire });
    }
    let is_integer = matches!(field.kind, Kind::Unsigned | Kind::Signed);
    let kind = match field.presence {
        Presence::Required => {
            if is_integer {
                attributes.push(quote! { deserialize_with = "crate::support::integer::required" });
            }
            plain
        }
        Presence::Optional => {
            attributes.push(quote! { default });
            if is_integer {
                attributes.push(quote! { deserialize_with = "crate::support::integer::optional" });
            }
            attributes.push(quote! { skip_serializing_if = "Option::is_none" });
            quote! { Option<#plain> }
        }
        Presence::EmptyList => {
            attributes.push(quote! { default });
            attributes.push(quote! { deserialize_with = "crate::support::null_as_default" });
            plain
        }
    };
    let attribute = (!attributes.is_empty()).then(|| quote! { #[serde(#(#attributes),*)] });
    quote! {
        #documentation
        #attribute
        pub #name: #kind,
    }
}

fn emit_setter(field: &Field) -> TokenStream {
    let name = identifier(&field.rust);
    let documentation = format!(" Sets `{}`.", field.rust);
    let parameter = parameter_type(&field.kind);
    let argument = identifier(if matches!(field.kind, Kind::List(_)) {
        "values"
    } else {
        "value"
    });
    let value = converted(&field.kind, &quote! { #argument });
    let value = match field.presence {
        Presence::Optional => quote! { Some(#value) },
        Presence::Required | Presence::EmptyList => value,
    };
    quote! {
        #[doc = #documentation]
        #[must_use]
        pub fn #name(mut self, #argument: #parameter) -> Self {
            self.#name = #value;
            self
        }
    }
}

fn emit_open_enum(item: &OpenEnum) -> Vec<TokenStream> {
    let name = identifier(&item.name);
    let documentation = documentation(&item.documentation);
    let unknown = identifier(UNKNOWN_VARIANT);
    let variants = item.variants.iter().map(|variant| {
        let documentation =
            self::documentation(&format!("`{}`: {}", variant.wire, variant.documentation));
        let name = identifier(&variant.rust);
        quote! { #documentation #name, }
    });
    let names: Vec<Ident> = item
        .variants
        .iter()
        .map(|variant| identifier(&variant.rust))
        .collect();
    let texts: Vec<&str> = item
        .variants
        .iter()
        .map(|variant| variant.wire.as_str())
        .collect();
    vec![
        quote! {
            #documentation
            #[derive(Debug, Clone, PartialEq, Eq, Hash)]
            #[non_exhaustive]
            pub enum #name {
                #(#variants)*
                #[doc = " Any other value, with its text as it came."]
                #unknown(String),
            }
        },
        quote! {
            impl #name {
                #[doc = " The values known today, in the order of the schema."]
                pub const KNOWN: &'static [Self] = &[#(Self::#names),*];

                #[doc = " The text on the wire."]
                pub fn as_str(&self) -> &str {
                    match self {
                        #(Self::#names => #texts,)*
                        Self::#unknown(text) => text,
                    }
                }
            }
        },
        quote! { crate::support::open_enum::implement!(#name); },
    ]
}

/// The type of a field that is there.
fn plain_type(kind: &Kind) -> TokenStream {
    match kind {
        Kind::Text => quote! { String },
        Kind::Secret => quote! { crate::Secret },
        Kind::Boolean => quote! { bool },
        Kind::Unsigned => quote! { u64 },
        Kind::Signed => quote! { i64 },
        Kind::Struct(name) | Kind::Value(name) => {
            let name = identifier(name);
            quote! { crate::#name }
        }
        Kind::List(item) => {
            let item = plain_type(item);
            quote! { Vec<#item> }
        }
    }
}

/// What a constructor or setter takes: whatever converts without loss.
fn parameter_type(kind: &Kind) -> TokenStream {
    let plain = plain_type(kind);
    match kind {
        Kind::Text | Kind::Secret | Kind::Value(_) => quote! { impl Into<#plain> },
        Kind::Boolean | Kind::Unsigned | Kind::Signed | Kind::Struct(_) => plain,
        Kind::List(item) => {
            let item = parameter_type(item);
            quote! { impl IntoIterator<Item = #item> }
        }
    }
}

/// The conversion of an argument of [`parameter_type`] to [`plain_type`].
fn converted(kind: &Kind, argument: &TokenStream) -> TokenStream {
    match kind {
        Kind::Text | Kind::Secret | Kind::Value(_) => quote! { #argument.into() },
        Kind::Boolean | Kind::Unsigned | Kind::Signed | Kind::Struct(_) => argument.clone(),
        Kind::List(item) => match **item {
            Kind::Text | Kind::Secret | Kind::Value(_) => {
                quote! { #argument.into_iter().map(Into::into).collect() }
            }
            Kind::Boolean | Kind::Unsigned | Kind::Signed | Kind::Struct(_) => {
                quote! { #argument.into_iter().collect() }
            }
            Kind::List(_) => {
                let inner = converted(item, &quote! { items });
                quote! { #argument.into_iter().map(|items| #inner).collect() }
            }
        },
    }
}

fn identifier(name: &str) -> Ident {
    if is_keyword(name) {
        Ident::new_raw(name, Span::call_site())
    } else {
        Ident::new(name, Span::call_site())
    }
}

fn documentation(text: &str) -> TokenStream {
    let lines = wrap(text);
    quote! { #(#[doc = #lines])* }
}

/// Breaks the text at spaces. Each line has a leading space unless it is empty, as it follows `///`.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > DOCUMENTATION_WIDTH {
                lines.push(std::mem::take(&mut line));
            }
            line.push(' ');
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{lower, schema};
    use super::{DOCUMENTATION_WIDTH, emit, wrap};

    fn emitted(definitions: &str) -> String {
        let document = schema::read(
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
        .unwrap();
        let model = lower::lower(&[document]).unwrap();
        let mut files = emit(&model).unwrap();
        assert_eq!(files[0].name, "pets.rs");
        files.remove(0).text
    }

    #[test]
    fn a_struct_has_docs_optional_fields_and_setters() {
        let text = emitted(
            r#"{"Pet": {
                "type": "object",
                "description": "A pet.",
                "properties": {
                    "type": {"type": "string", "description": "What it is."},
                    "ageInYears": {"type": "integer", "minimum": 0, "description": "How old it is."},
                    "otherNames": {
                        "type": "array", "items": {"type": "string"}, "default": [],
                        "description": "What else it is called."
                    }
                },
                "required": ["type"],
                "examples": [{"type": "dog", "otherNames": []}]
            }}"#,
        );
        let expected = r#"// Generated from schemas/pets.json by `cargo xtask codegen`. Do not edit: change the schema and run it again.

//! Pets.

/// A pet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Pet {
    /// What it is.
    pub r#type: String,
    /// How old it is.
    #[serde(
        rename = "ageInYears",
        default,
        deserialize_with = "crate::support::integer::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub age_in_years: Option<u64>,
    /// What else it is called.
    #[serde(
        rename = "otherNames",
        default,
        deserialize_with = "crate::support::null_as_default"
    )]
    pub other_names: Vec<String>,
}

impl Pet {
    /// With what is required; nothing else is set yet.
    pub fn new(r#type: impl Into<String>) -> Self {
        Self {
            r#type: r#type.into(),
            age_in_years: None,
            other_names: Vec::new(),
        }
    }

    /// Sets `type`.
    #[must_use]
    pub fn r#type(mut self, value: impl Into<String>) -> Self {
        self.r#type = value.into();
        self
    }

    /// Sets `age_in_years`.
    #[must_use]
    pub fn age_in_years(mut self, value: u64) -> Self {
        self.age_in_years = Some(value);
        self
    }

    /// Sets `other_names`.
    #[must_use]
    pub fn other_names(
        mut self,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.other_names = values.into_iter().map(Into::into).collect();
        self
    }
}
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn an_open_enum_has_a_place_for_what_is_unknown() {
        let text = emitted(
            r#"{"Species": {
                "type": "string",
                "description": "A species.",
                "x-peak-known-values": {"dog-like": "Barks."}
            }}"#,
        );
        assert!(
            text.contains("    /// `dog-like`: Barks.\n    DogLike,\n"),
            "{text}"
        );
        assert!(text.contains("    Unknown(String),\n"), "{text}");
        assert!(text.contains("Self::DogLike => \"dog-like\""), "{text}");
        assert!(
            text.ends_with("crate::support::open_enum::implement!(Species);\n"),
            "{text}"
        );
    }

    #[test]
    fn documentation_is_wrapped_and_keeps_its_paragraphs() {
        let text = format!("{}\n\nSecond.", "word ".repeat(60));
        let lines = wrap(&text);
        assert!(lines.len() > 4);
        assert!(lines.iter().all(|line| line.len() <= DOCUMENTATION_WIDTH));
        assert_eq!(lines[lines.len() - 2..], ["", " Second."]);
    }
}
