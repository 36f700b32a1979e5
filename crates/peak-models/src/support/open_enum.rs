//! What every open enumeration can do, beside what is generated for it.

/// Implements the conversions of an open enumeration that has `KNOWN`, `as_str` and the variant `Unknown`.
macro_rules! implement {
    ($name:ident) => {
        impl $name {
            /// Whether the value is one of those known today.
            pub fn is_known(&self) -> bool {
                !matches!(self, Self::Unknown(_))
            }

            fn known(text: &str) -> Option<Self> {
                Self::KNOWN
                    .iter()
                    .find(|known| known.as_str().eq_ignore_ascii_case(text))
                    .cloned()
            }
        }

        /// Takes a known value in any ASCII letter case, and keeps the text of any other.
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::known(text).unwrap_or_else(|| Self::Unknown(text.to_owned()))
            }
        }

        /// Takes a known value in any ASCII letter case, and keeps the text of any other.
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::known(&text).unwrap_or(Self::Unknown(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self::from(text))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }

        #[cfg(any(test, feature = "schema"))]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let known: Vec<&str> = Self::KNOWN.iter().map(Self::as_str).collect();
                schemars::json_schema!({ "anyOf": [{ "enum": known }, { "type": "string" }] })
            }
        }
    };
}

pub(crate) use implement;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{BuildStatus, ImageType};

    #[test]
    fn known_values_are_taken_in_any_letter_case() {
        assert_eq!(ImageType::from("workspace-r"), ImageType::WorkspaceR);
        assert_eq!(ImageType::from("Workspace-R"), ImageType::WorkspaceR);
        assert_eq!(
            "WORKFLOW".parse::<ImageType>().unwrap(),
            ImageType::Workflow
        );
        assert_eq!(ImageType::from("Workflow".to_owned()).as_str(), "workflow");
    }

    #[test]
    fn unknown_values_keep_their_text() {
        let status = BuildStatus::from("Queued");
        assert_eq!(status, BuildStatus::Unknown("Queued".to_owned()));
        assert!(!status.is_known());
        assert_eq!(status.to_string(), "Queued");
        assert_eq!(serde_json::to_string(&status).unwrap(), r#""Queued""#);
    }

    #[test]
    fn display_pads_for_tables() {
        assert_eq!(format!("[{:<9}]", BuildStatus::Failed), "[failed   ]");
    }

    #[test]
    fn known_values_are_listed_in_order() {
        let texts: Vec<&str> = BuildStatus::KNOWN.iter().map(BuildStatus::as_str).collect();
        assert_eq!(
            texts,
            ["building", "failed", "success", "stopping", "stopped"]
        );
        assert!(BuildStatus::KNOWN.iter().all(BuildStatus::is_known));
    }

    proptest! {
        #[test]
        fn any_text_decodes_and_only_its_letter_case_may_change(text in any::<String>()) {
            let status = BuildStatus::from(text.as_str());
            prop_assert!(status.as_str().eq_ignore_ascii_case(&text));
            prop_assert_eq!(BuildStatus::from(status.as_str()), status);
        }
    }
}
