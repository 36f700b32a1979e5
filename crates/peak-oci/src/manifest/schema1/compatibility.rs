//! What a layer of a schema 1 manifest says about itself.

use crate::config::{ContainerConfig, History};
use crate::json::{Fields, FromJson, Json, JsonError, UnknownFields, parse};

/// The text `v1Compatibility`, parsed: the image of Docker's first image format that the layer is the top of.
///
/// That of the top layer describes the whole image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct V1Compatibility {
    /// The identifier, 64 hexadecimal digits.
    pub id: Option<String>,
    /// The identifier of the layer below.
    pub parent: Option<String>,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// The operating system.
    pub os: Option<String>,
    /// The processor architecture.
    pub architecture: Option<String>,
    /// How a container is run.
    pub config: Option<ContainerConfig>,
    /// How the container ran that made the layer: its `cmd` is the command.
    pub container_config: Option<ContainerConfig>,
    /// Whether the layer holds nothing. Writers before Docker 1.10 did not say so.
    pub throwaway: bool,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl V1Compatibility {
    pub(super) fn parse(text: &str) -> Result<Self, JsonError> {
        Self::from_json(parse(text.as_bytes())?).map_err(JsonError::at_top)
    }

    /// The entry that a config would have for the layer.
    pub(crate) fn to_history(&self) -> History {
        let command = self
            .container_config
            .as_ref()
            .and_then(|config| config.cmd.as_ref());
        let mut history = History::default();
        history.created.clone_from(&self.created);
        history.created_by = command.map(|words| words.join(" "));
        history.author.clone_from(&self.author);
        history.comment.clone_from(&self.comment);
        history.empty_layer = self.throwaway;
        history
    }
}

impl FromJson for V1Compatibility {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        let mut fields = Fields::of(value)?;
        Ok(Self {
            id: fields.optional("id")?,
            parent: fields.optional("parent")?,
            created: fields.optional("created")?,
            author: fields.optional("author")?,
            comment: fields.optional("comment")?,
            os: fields.optional("os")?,
            architecture: fields.optional("architecture")?,
            config: fields.optional("config")?,
            container_config: fields.optional("container_config")?,
            throwaway: fields.or_default("throwaway")?,
            unknown: fields.rest(),
        })
    }
}
