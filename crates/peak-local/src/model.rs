//! The terms of the images API that both the state and the answers use.
//!
//! They are this server's own and share nothing with the client's models, so that a mistake in one of
//! the two shows when they meet.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines an enumeration of the API: its values as texts, and how to tell a caller what they are.
macro_rules! enumeration {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value as the API writes it.
            pub(crate) const VALUES: &'static [&'static str] = &[$($text),+];

            /// The value that has exactly this text.
            pub(crate) fn from_text(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

enumeration! {
    /// What an image is for.
    ImageType {
        Workflow = "workflow",
        WorkspaceR = "workspace-r",
        WorkspacePython = "workspace-python",
        Webapp = "webapp",
        Api = "api",
    }
}

enumeration! {
    /// Whether a version can be used.
    VersionStatus {
        NotReady = "not-ready",
        Ready = "ready",
        InUse = "in-use",
        Deleting = "deleting",
        DeleteFailed = "delete-failed",
    }
}

enumeration! {
    /// How a build stands.
    BuildStatus {
        Building = "building",
        Failed = "failed",
        Success = "success",
        Stopping = "stopping",
        Stopped = "stopped",
    }
}

enumeration! {
    /// Who an image belongs to. Every image of the embedded platform is `custom`.
    Scope {
        Global = "global",
        Custom = "custom",
    }
}

enumeration! {
    /// What may be deployed again after a build.
    EntityType {
        Workflow = "workflow",
        Workspace = "workspace",
        Api = "api",
        Webapp = "webapp",
    }
}

enumeration! {
    /// Where the files of a build come from.
    #[derive(Default)]
    BuildSource {
        /// An uploaded archive.
        #[default]
        Upload = "upload",
        /// A repository on GitHub; understood in order to be refused with a reason.
        Github = "github",
        /// The text of a Dockerfile.
        Dockerfile = "dockerfile",
    }
}

/// One `ARG` of the Dockerfile and its value. Values may be secret, so `Debug` shows the name alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BuildArgument {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl fmt::Debug for BuildArgument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BuildArgument")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a version is built from and how: as sent, as kept and as answered.
///
/// The credentials of a repository are not among the fields, so they are never kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BuildDetails {
    #[serde(default)]
    pub(crate) source: Option<BuildSource>,
    #[serde(default)]
    pub(crate) use_cache: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) build_arguments: Option<Vec<BuildArgument>>,
    /// The names of secrets of the platform, not their values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secrets: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dockerfile_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dockerfile: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enumerations_know_their_texts() {
        for text in BuildStatus::VALUES {
            let value = BuildStatus::from_text(text).unwrap();
            assert_eq!(serde_json::to_value(value).unwrap(), *text);
        }
        assert_eq!(ImageType::from_text("Workflow"), None);
    }

    #[test]
    fn the_value_of_a_build_argument_is_not_shown() {
        let details: BuildDetails =
            serde_json::from_str(r#"{"buildArguments": [{"name": "TOKEN", "value": "s3cret"}]}"#)
                .unwrap();
        let shown = format!("{details:?}");
        assert!(shown.contains("TOKEN"));
        assert!(!shown.contains("s3cret"));
    }
}
