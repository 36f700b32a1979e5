//! What the fields of a form mean. Pure: no input or output, no state.

use peak_oci::{RepositoryName, Tag};

use super::error::ApiError;
use super::json::{Object, list_of};
use super::upload::Form;
use crate::artifacts::Spooled;
use crate::model::{BuildArgument, BuildDetails, BuildSource, EntityType, ImageType};

/// The fields of a new image, and of a new or changed version of one. For versions `name` and `type` mean nothing;
/// clients that create or update as needed send the same form for all three.
pub(super) const IMAGE_FIELDS: &[&str] = &[
    "name",
    "type",
    "version",
    "description",
    "buildDetails",
    "autodeployResources",
];

/// The fields of a new artifact.
pub(super) const ARTIFACT_FIELDS: &[&str] = &["name", "description", "source", "scan", "validate"];

/// The fields of a new version of an artifact.
pub(super) const ARTIFACT_VERSION_FIELDS: &[&str] = &["scan", "validate"];

/// The most build arguments and secrets of one build.
const ENTRIES: usize = 256;

/// The longest path or name, bytes.
const NAME_LIMIT: usize = 4096;

/// The longest description, bytes.
const DESCRIPTION_LIMIT: usize = 64 * 1024;

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
            ApiError::impossible(format!(
                "`name` must be lower-case letters and digits, in parts that `.`, `_`, `__`, dashes or `/` separate: \
                 {error}"
            ))
        })
    }

    /// `type`.
    pub(super) fn image_type(&self) -> Result<ImageType, ApiError> {
        let text = self.required("type")?;
        ImageType::from_text(text).ok_or_else(|| {
            ApiError::malformed(format!(
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
            ApiError::impossible(format!(
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
        for name in ["scan", "validate"] {
            let text = self.texts.get(name).map_or("false", String::as_str);
            if !["true", "false", "null"].contains(&text) {
                return Err(ApiError::malformed(format!(
                    "`{name}` must be true or false"
                )));
            }
        }
        Ok(())
    }

    /// The archive, which must be there and be a zip.
    pub(super) fn zip(self) -> Result<Spooled, ApiError> {
        let archive = self.artifact.ok_or_else(|| {
            ApiError::malformed("the part `artifact` with a zip archive is required")
        })?;
        if archive.is_zip() {
            Ok(archive)
        } else {
            Err(ApiError::impossible("the artifact is not a zip archive"))
        }
    }

    /// Whether the form asks for a build at all; a new version always has one.
    pub(super) fn wants_build(&self) -> bool {
        self.artifact.is_some() || self.texts.contains_key("buildDetails")
    }

    /// `buildDetails` and what they need, with the defaults filled in.
    pub(super) fn build(&self) -> Result<Build, ApiError> {
        let details = match self.texts.get("buildDetails").map(String::as_str) {
            None | Some("null") => Object::parse("`buildDetails`", b"{}"),
            Some(text) => Object::parse("`buildDetails`", text.as_bytes()),
        };
        let details = read_details(details?)?;
        if details.source == Some(BuildSource::Upload) && self.artifact.is_none() {
            return Err(ApiError::malformed(
                "the source `upload` needs a part `artifact` with a zip archive",
            ));
        }
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
        if self.autodeploy_resources()? > 0 {
            notes.push(
                "note: the embedded platform deploys nothing; autodeployResources are ignored"
                    .to_owned(),
            );
        }
        Ok(notes)
    }

    /// How many `autodeployResources` there are; they are read so that mistakes in them show.
    fn autodeploy_resources(&self) -> Result<usize, ApiError> {
        const NAME: &str = "autodeployResources";
        let Some(text) = self.texts.get(NAME).filter(|text| *text != "null") else {
            return Ok(0);
        };
        let Ok(resources) = serde_json::from_str(text) else {
            return Err(ApiError::malformed(format!("`{NAME}` must be a list")));
        };
        let resources = list_of(&format!("`{NAME}`"), resources, |resource| {
            resource.required_id("entityId")?;
            let kind = resource.required_text("entityType")?;
            EntityType::from_text(&kind).map(drop).ok_or_else(|| {
                ApiError::malformed(format!(
                    "`entityType` of `{NAME}` must be one of {}",
                    EntityType::VALUES.join(", ")
                ))
            })
        })?;
        Ok(resources.len())
    }

    fn required(&self, name: &'static str) -> Result<&str, ApiError> {
        let text = self
            .texts
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty());
        text.ok_or_else(|| ApiError::malformed(format!("the field `{name}` is required")))
    }
}

/// The details of a build as they are kept. Each source has its own fields, and those of another are unknown to it.
fn read_details(mut object: Object) -> Result<BuildDetails, ApiError> {
    let source = match object.text("source")? {
        None => BuildSource::default(),
        Some(text) => BuildSource::from_text(&text).ok_or_else(|| {
            ApiError::malformed(format!(
                "`source` of `buildDetails` must be one of {}",
                BuildSource::VALUES.join(", ")
            ))
        })?,
    };
    let mut details = BuildDetails {
        source: Some(source),
        use_cache: Some(object.flag("useCache")?.unwrap_or(true)),
        build_arguments: object.objects("buildArguments", |argument| {
            Ok(BuildArgument {
                name: argument.required_text("name")?,
                value: argument.text("value")?.ok_or_else(|| {
                    ApiError::malformed("each of `buildArguments` needs a `value`")
                })?,
            })
        })?,
        secrets: object.texts("secrets")?,
        ..BuildDetails::default()
    };
    match source {
        BuildSource::Upload => read_paths(&mut object, &mut details)?,
        BuildSource::Github => {
            read_paths(&mut object, &mut details)?;
            object.required_text("repository")?;
            object.required_text("branch")?;
            object.text("token")?;
        }
        BuildSource::Dockerfile => {
            let text = object.required_text("dockerfile")?;
            if text.trim().is_empty() {
                return Err(ApiError::impossible("the `dockerfile` says nothing"));
            }
            details.dockerfile = Some(text);
        }
    }
    object.finish()?;
    if source == BuildSource::Github {
        return Err(ApiError::impossible(
            "the embedded platform does not reach GitHub; upload the directory, or give the source `dockerfile`",
        ));
    }
    Ok(details)
}

/// Empty stands for the default, so that both are answered alike.
fn read_paths(object: &mut Object, details: &mut BuildDetails) -> Result<(), ApiError> {
    let given = |path: Option<String>| path.filter(|path| !path.is_empty());
    details.dockerfile_path = given(object.text("dockerfilePath")?);
    details.context = given(object.text("context")?);
    Ok(())
}

/// Whether an artifact may have this name.
pub(super) fn check_artifact_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.len() > NAME_LIMIT {
        return Err(ApiError::malformed(format!(
            "`name` must have at least one byte and at most {NAME_LIMIT}"
        )));
    }
    Ok(())
}

/// Whether something may have this description.
pub(super) fn check_description(description: &str) -> Result<(), ApiError> {
    if description.len() > DESCRIPTION_LIMIT {
        return Err(ApiError::malformed(format!(
            "`description` is longer than {DESCRIPTION_LIMIT} bytes"
        )));
    }
    Ok(())
}

fn check_details(details: &BuildDetails) -> Result<(), ApiError> {
    let arguments = details.build_arguments.as_deref().unwrap_or_default();
    let secrets = details.secrets.as_deref().unwrap_or_default();
    if arguments.len() > ENTRIES || secrets.len() > ENTRIES {
        return Err(ApiError::malformed(format!(
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
            return Err(ApiError::malformed(
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
            return Err(ApiError::malformed(format!("`{name}` is not a path")));
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
            let expected = if name.is_empty() { 400 } else { 422 };
            assert_eq!(error.status, expected, "{name}");
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
        assert_eq!(form([]).image_type().unwrap_err().status, 400);
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
            details(r#"{"source": "dockerfile", "dockerfile": "FROM scratch", "secrets": null}"#)
                .unwrap();
        assert_eq!(build.details.use_cache, Some(true));
        assert_eq!(build.details.context, None);
        assert!(build.notes.is_empty());
    }

    #[test]
    fn each_source_needs_what_it_is_built_from() {
        for (json, status, word) in [
            ("{}", 400, "artifact"),
            ("null", 400, "artifact"),
            (r#"{"source": "upload"}"#, 400, "artifact"),
            (r#"{"source": "dockerfile"}"#, 400, "`dockerfile`"),
            (
                r#"{"source": "dockerfile", "dockerfile": " "}"#,
                422,
                "`dockerfile`",
            ),
            (
                r#"{"source": "dockerfile", "dockerfile": "FROM scratch", "context": "web"}"#,
                400,
                "`context`",
            ),
            (
                r#"{"source": "github", "repository": "r", "token": "secret-t"}"#,
                400,
                "`branch`",
            ),
            (
                r#"{"source": "github", "repository": "r", "branch": "main", "token": "secret-t"}"#,
                422,
                "GitHub",
            ),
            (r#"{"source": "ftp"}"#, 400, "upload, github, dockerfile"),
            (r#"{"useCache": "yes"}"#, 400, "`useCache`"),
            (r#"{"colour": "red"}"#, 400, "`colour`"),
            (
                r#"{"buildArguments": [{"name": "A", "value": "", "colour": "red"}]}"#,
                400,
                "`colour`",
            ),
            (r#"{"secrets": [1]}"#, 400, "`secrets`"),
            ("{", 400, "JSON"),
        ] {
            let error = details(json).unwrap_err();
            assert_eq!(error.status, status, "{json}");
            assert!(error.detail.contains(word), "{json}: {}", error.detail);
            assert!(!error.detail.contains("secret-t"));
        }
    }

    #[test]
    fn flags_are_true_or_false() {
        for (text, is_right) in [("true", true), ("false", true), ("1", false), ("", false)] {
            assert_eq!(
                form([("scan", text)]).check_flags().is_ok(),
                is_right,
                "{text}"
            );
        }
        assert!(form([]).check_flags().is_ok());
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
        assert_eq!(form.build().unwrap_err().status, 400);
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
