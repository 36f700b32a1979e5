//! What the fields of a form mean. Pure: no input or output, no state.

use peak_oci::{RepositoryName, Tag};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::upload::Form;
use crate::artifacts::Spooled;
use crate::model::{BuildDetails, BuildSource, EntityType, ImageType};

/// The most build arguments and secrets of one build.
const ENTRIES: usize = 256;

/// The longest path or name, bytes.
const NAME_LIMIT: usize = 4096;

/// The longest description, bytes.
const DESCRIPTION_LIMIT: usize = 64 * 1024;

/// What may be deployed again after a build; understood so that mistakes show, and noted in the log.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AutodeployResource {
    entity_id: serde_json::Value,
    entity_type: String,
}

/// What a form asks to be built.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) details: BuildDetails,
    /// What is not done and why, for the log.
    pub(super) notes: Vec<String>,
}

impl Form {
    /// `name`: also the name of the repository, so its grammar decides.
    pub(super) fn image_name(&self) -> Result<RepositoryName, ApiError> {
        let name = self.required("name")?;
        name.parse().map_err(|error| {
            ApiError::invalid(format!(
                "`name` must be lower-case letters and digits, in parts that `.`, `_`, `__`, dashes or `/` separate: \
                 {error}"
            ))
        })
    }

    /// `type`.
    pub(super) fn image_type(&self) -> Result<ImageType, ApiError> {
        let text = self.required("type")?;
        ImageType::from_text(text).ok_or_else(|| {
            ApiError::invalid(format!(
                "`type` must be one of {}",
                ImageType::VALUES.join(", ")
            ))
        })
    }

    /// `version`: also the tag in the registry, so its grammar decides.
    pub(super) fn version(&self) -> Result<Option<Tag>, ApiError> {
        let Some(text) = self.texts.get("version").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error| {
            ApiError::invalid(format!(
                "`version` must be at most 128 letters, digits, `.`, `_` and `-`, and begin with none of `.` and `-`: \
                 {error}"
            ))
        })
    }

    /// `description`.
    pub(super) fn description(&self) -> Result<Option<String>, ApiError> {
        let description = self.texts.get("description");
        description.map_or(Ok(()), |text| check_description(text))?;
        Ok(description.cloned())
    }

    /// `name` of an artifact: any text, and several artifacts may have the same.
    pub(super) fn artifact_name(&self) -> Result<String, ApiError> {
        let name = self.required("name")?;
        check_artifact_name(name)?;
        Ok(name.to_owned())
    }

    /// `scan` and `validate`, which ask for nothing that is done here, so that mistakes in them show.
    pub(super) fn check_flags(&self) -> Result<(), ApiError> {
        self.json::<bool>("scan")?;
        self.json::<bool>("validate")?;
        Ok(())
    }

    /// The archive, which must be there and be a zip.
    pub(super) fn zip(self) -> Result<Spooled, ApiError> {
        let archive = self.artifact.ok_or_else(|| {
            ApiError::invalid("the part `artifact` with a zip archive is required")
        })?;
        if archive.is_zip() {
            Ok(archive)
        } else {
            Err(ApiError::invalid("the artifact is not a zip archive"))
        }
    }

    /// Whether the form asks for a build at all; a new version always has one.
    pub(super) fn wants_build(&self) -> bool {
        self.artifact.is_some() || self.texts.contains_key("buildDetails")
    }

    /// `buildDetails` and what they need, with the defaults filled in.
    pub(super) fn build(&self) -> Result<Build, ApiError> {
        let mut details: BuildDetails = self.json("buildDetails")?.unwrap_or_default();
        let source = details.source.unwrap_or_default();
        match source {
            BuildSource::Upload if self.artifact.is_none() => {
                return Err(ApiError::invalid(
                    "the source `upload` needs a part `artifact` with a zip archive",
                ));
            }
            BuildSource::Github => {
                return Err(ApiError::invalid(
                    "the embedded platform does not reach GitHub; upload the directory, or give the source `dockerfile`",
                ));
            }
            BuildSource::Dockerfile
                if details
                    .dockerfile
                    .as_deref()
                    .is_none_or(|text| text.trim().is_empty()) =>
            {
                return Err(ApiError::invalid(
                    "the source `dockerfile` needs the text of it in `dockerfile`",
                ));
            }
            BuildSource::Upload | BuildSource::Dockerfile => {}
        }
        details.source = Some(source);
        details.use_cache = Some(details.use_cache.unwrap_or(true));
        // Empty stands for the default, so that both are answered alike.
        details.dockerfile_path = details.dockerfile_path.filter(|path| !path.is_empty());
        details.context = details.context.filter(|path| !path.is_empty());
        check_details(&details)?;
        Ok(Build {
            notes: self.notes(&details)?,
            details,
        })
    }

    fn notes(&self, details: &BuildDetails) -> Result<Vec<String>, ApiError> {
        let mut notes = Vec::new();
        if details
            .secrets
            .as_ref()
            .is_some_and(|secrets| !secrets.is_empty())
        {
            notes.push(
                "note: the embedded platform has no secrets; the build runs without them"
                    .to_owned(),
            );
        }
        let resources: Vec<AutodeployResource> =
            self.json("autodeployResources")?.unwrap_or_default();
        for resource in &resources {
            if EntityType::from_text(&resource.entity_type).is_none()
                || !(resource.entity_id.is_string() || resource.entity_id.is_number())
            {
                return Err(ApiError::invalid(format!(
                    "each of `autodeployResources` needs an `entityId` and an `entityType` of {}",
                    EntityType::VALUES.join(", ")
                )));
            }
        }
        if !resources.is_empty() {
            notes.push(
                "note: the embedded platform deploys nothing; autodeployResources are ignored"
                    .to_owned(),
            );
        }
        Ok(notes)
    }

    fn required(&self, name: &'static str) -> Result<&str, ApiError> {
        let text = self
            .texts
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty());
        text.ok_or_else(|| ApiError::invalid(format!("the field `{name}` is required")))
    }

    /// A field that holds JSON. `null` is the same as no field.
    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.texts.get(name) else {
            return Ok(None);
        };
        serde_json::from_str(text).map_err(|error| {
            // The error's own text could repeat a value, and a value could be a secret.
            ApiError::invalid(format!(
                "`{name}` is not the JSON that is expected there, at line {} column {}",
                error.line(),
                error.column()
            ))
        })
    }
}

/// Whether an artifact may have this name.
pub(super) fn check_artifact_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.len() > NAME_LIMIT {
        return Err(ApiError::invalid(format!(
            "`name` must have at least one byte and at most {NAME_LIMIT}"
        )));
    }
    Ok(())
}

/// Whether something may have this description.
pub(super) fn check_description(description: &str) -> Result<(), ApiError> {
    if description.len() > DESCRIPTION_LIMIT {
        return Err(ApiError::invalid(format!(
            "`description` is longer than {DESCRIPTION_LIMIT} bytes"
        )));
    }
    Ok(())
}

fn check_details(details: &BuildDetails) -> Result<(), ApiError> {
    let arguments = details.build_arguments.as_deref().unwrap_or_default();
    let secrets = details.secrets.as_deref().unwrap_or_default();
    if arguments.len() > ENTRIES || secrets.len() > ENTRIES {
        return Err(ApiError::invalid(format!(
            "a build has at most {ENTRIES} build arguments and {ENTRIES} secrets"
        )));
    }
    for argument in arguments {
        let name = &argument.name;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty()
            || name.len() > NAME_LIMIT
            || !name.bytes().all(allowed)
            || starts_with_digit(name)
        {
            return Err(ApiError::invalid(
                "the name of a build argument must be letters, digits and `_`, and not begin with a digit",
            ));
        }
    }
    for (name, path) in [
        ("dockerfilePath", &details.dockerfile_path),
        ("context", &details.context),
    ] {
        if path
            .as_ref()
            .is_some_and(|path| path.len() > NAME_LIMIT || path.contains('\0'))
        {
            return Err(ApiError::invalid(format!("`{name}` is not a path")));
        }
    }
    Ok(())
}

fn starts_with_digit(name: &str) -> bool {
    name.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form<const N: usize>(fields: [(&'static str, &str); N]) -> Form {
        let texts = fields
            .into_iter()
            .map(|(name, text)| (name, text.to_owned()))
            .collect();
        Form {
            texts,
            artifact: None,
        }
    }

    fn details(json: &str) -> Result<Build, ApiError> {
        form([("buildDetails", json)]).build()
    }

    #[test]
    fn names_are_those_of_repositories() {
        for name in ["hello-web", "team/hello_web", "a.b__c"] {
            assert_eq!(form([("name", name)]).image_name().unwrap().as_str(), name);
        }
        for name in ["", "Hello", "a b", "../escape", "a//b", "-a", "a:b"] {
            let error = form([("name", name)]).image_name().unwrap_err();
            assert_eq!(error.status, 422, "{name}");
        }
    }

    #[test]
    fn types_are_those_of_the_api() {
        assert_eq!(
            form([("type", "workspace-r")]).image_type().unwrap(),
            ImageType::WorkspaceR
        );
        assert!(
            form([("type", "spaceship")])
                .image_type()
                .unwrap_err()
                .detail
                .contains("workspace-python")
        );
        assert_eq!(form([]).image_type().unwrap_err().status, 422);
    }

    #[test]
    fn versions_are_tags() {
        assert_eq!(
            form([("version", "1.0.0-rc_1")])
                .version()
                .unwrap()
                .unwrap()
                .as_str(),
            "1.0.0-rc_1"
        );
        assert!(form([]).version().unwrap().is_none());
        for version in ["1.0+2", "a/b", ".1", "a b"] {
            assert_eq!(
                form([("version", version)]).version().unwrap_err().status,
                422,
                "{version}"
            );
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        let build =
            details(r#"{"source": "dockerfile", "dockerfile": "FROM scratch", "context": ""}"#)
                .unwrap();
        assert_eq!(build.details.use_cache, Some(true));
        assert_eq!(build.details.context, None);
        assert!(build.notes.is_empty());
    }

    #[test]
    fn each_source_needs_what_it_is_built_from() {
        for (json, word) in [
            ("{}", "artifact"),
            ("null", "artifact"),
            (r#"{"source": "upload"}"#, "artifact"),
            (r#"{"source": "dockerfile"}"#, "dockerfile"),
            (
                r#"{"source": "github", "repository": "r", "token": "secret-t"}"#,
                "GitHub",
            ),
            (r#"{"source": "ftp"}"#, "JSON"),
            (r#"{"useCache": "yes"}"#, "JSON"),
            ("{", "JSON"),
        ] {
            let error = details(json).unwrap_err();
            assert_eq!(error.status, 422, "{json}");
            assert!(error.detail.contains(word), "{json}: {}", error.detail);
        }
    }

    #[test]
    fn what_is_not_done_is_noted() {
        let mut form = form([(
            "buildDetails",
            r#"{"source": "dockerfile", "dockerfile": "FROM scratch", "secrets": ["database"]}"#,
        )]);
        form.texts.insert(
            "autodeployResources",
            r#"[{"entityId": 3, "entityType": "webapp"}]"#.to_owned(),
        );
        let build = form.build().unwrap();
        assert_eq!(build.notes.len(), 2);
        assert!(!build.notes.concat().contains("database"));
        form.texts.insert(
            "autodeployResources",
            r#"[{"entityId": 3, "entityType": "moon"}]"#.to_owned(),
        );
        assert_eq!(form.build().unwrap_err().status, 422);
    }

    #[test]
    fn names_of_build_arguments_are_checked_and_values_not_repeated() {
        for name in ["", "1A", "A=B", "A B"] {
            let json = serde_json::json!({
                "source": "dockerfile", "dockerfile": "FROM scratch", "buildArguments": [{"name": name, "value": "s3cret"}],
            });
            let error = details(&json.to_string()).unwrap_err();
            assert!(!error.detail.contains("s3cret"));
        }
        let error = details(r#"{"buildArguments": [{"name": "s3cret", "value": 7}]}"#).unwrap_err();
        assert!(!error.detail.contains("s3cret"));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text: String) {
            let _ = details(&text);
            let _ = form([("name", &text), ("version", &text), ("type", &text)]).image_name();
            let _ = form([("version", &text)]).version();
        }
    }
}
