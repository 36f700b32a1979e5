//! Images as the Apolo platform names them.

use std::fmt;

/// An image in the local Docker Engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LocalImage {
    /// The name without its tag.
    pub name: String,
    /// The tag.
    pub tag: Option<String>,
}

impl LocalImage {
    /// A local image. The text is taken as it is.
    pub fn new(name: impl Into<String>, tag: Option<String>) -> Self {
        Self {
            name: name.into(),
            tag,
        }
    }
}

/// `name[:tag]`
impl fmt::Display for LocalImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(formatter, &self.name, self.tag.as_deref())
    }
}

/// An image in a registry: one of the platform's, or any other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RemoteImage {
    /// The name without its tag, and for platform images without organisation and project.
    pub name: String,
    /// The tag.
    pub tag: Option<String>,
    /// The registry's host, with its port.
    pub registry: Option<String>,
    place: Option<Place>,
}

/// Where on the platform an image is; an image of another registry has no such place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    cluster: String,
    organization: Option<String>,
    project: String,
}

impl RemoteImage {
    /// An image of the platform: in a project of a cluster, whose registry is `registry`.
    pub fn new_platform_image(
        name: impl Into<String>,
        registry: impl Into<String>,
        cluster_name: impl Into<String>,
        org_name: Option<String>,
        project_name: impl Into<String>,
        tag: Option<String>,
    ) -> Self {
        Self {
            name: name.into(),
            tag,
            registry: Some(registry.into()),
            place: Some(Place {
                cluster: cluster_name.into(),
                organization: org_name,
                project: project_name.into(),
            }),
        }
    }

    /// An image of any other registry.
    pub fn new_external_image(
        name: impl Into<String>,
        registry: Option<String>,
        tag: Option<String>,
    ) -> Self {
        Self {
            name: name.into(),
            tag,
            registry,
            place: None,
        }
    }

    /// Whether the image is the platform's.
    pub fn is_platform_image(&self) -> bool {
        self.place.is_some()
    }

    /// The cluster of a platform image.
    pub fn cluster_name(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.cluster.as_str())
    }

    /// The organisation of a platform image, where it has one.
    pub fn org_name(&self) -> Option<&str> {
        self.place.as_ref()?.organization.as_deref()
    }

    /// The project of a platform image.
    pub fn project_name(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.project.as_str())
    }

    /// The project, under the name that the platform's older documents give it.
    pub fn owner(&self) -> Option<&str> {
        self.project_name()
    }

    /// What the image is called in the local Docker Engine unless something else is asked for: its name and tag.
    pub fn to_local(&self) -> LocalImage {
        LocalImage::new(self.name.clone(), self.tag.clone())
    }

    /// The same image under another tag.
    #[must_use]
    pub fn with_tag(&self, tag: impl Into<String>) -> Self {
        Self {
            tag: Some(tag.into()),
            ..self.clone()
        }
    }

    /// The image without a tag, which means all of its tags.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self {
            tag: None,
            ..self.clone()
        }
    }

    /// What Docker calls the image: `registry/[organisation/]project/name[:tag]`, with `https://` in front where
    /// asked for; `name[:tag]` for an image that is not the platform's.
    pub fn as_docker_url(&self, with_scheme: bool) -> String {
        let tag = self
            .tag
            .as_ref()
            .map_or_else(String::new, |tag| format!(":{tag}"));
        let (Some(place), Some(registry)) = (&self.place, &self.registry) else {
            return format!("{}{tag}", self.name);
        };
        let scheme = if with_scheme { "https://" } else { "" };
        format!("{scheme}{registry}/{}{}{tag}", place.path(), self.name)
    }
}

impl Place {
    /// `[organisation/]project/`
    fn path(&self) -> String {
        match &self.organization {
            Some(organization) => format!("{organization}/{}/", self.project),
            None => format!("{}/", self.project),
        }
    }
}

/// `image://cluster/[organisation/]project/name[:tag]`, or `name[:tag]` for an image that is not the platform's.
impl fmt::Display for RemoteImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(formatter, "image://{}/{}", place.cluster, place.path())?;
        }
        write_name(formatter, &self.name, self.tag.as_deref())
    }
}

fn write_name(formatter: &mut fmt::Formatter<'_>, name: &str, tag: Option<&str>) -> fmt::Result {
    match tag {
        Some(tag) => write!(formatter, "{name}:{tag}"),
        None => formatter.write_str(name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn text(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }

    /// Both written forms of every image that the test vectors know.
    #[test]
    fn images_are_written_as_the_vectors_say() {
        let vectors: Value =
            serde_json::from_str(include_str!("../tests/vectors/apolo_references.json")).unwrap();
        let mut seen = 0;
        for case in vectors["cases"].as_array().unwrap() {
            for parsed in [&case["remote"], &case["remote_no_tag"]] {
                let Some(name) = text(&parsed["name"]) else {
                    continue;
                };
                let (tag, registry) = (text(&parsed["tag"]), text(&parsed["registry"]));
                let image = match text(&parsed["project"]) {
                    Some(project) => RemoteImage::new_platform_image(
                        name,
                        registry.unwrap(),
                        text(&parsed["cluster"]).unwrap(),
                        text(&parsed["org"]),
                        project,
                        tag,
                    ),
                    None => RemoteImage::new_external_image(name, registry, tag),
                };
                assert_eq!(
                    image.as_docker_url(false),
                    parsed["docker_url"].as_str().unwrap()
                );
                assert_eq!(image.to_string(), parsed["str"].as_str().unwrap());
                seen += 1;
            }
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn the_scheme_and_the_organisation_are_optional() {
        let image =
            RemoteImage::new_platform_image("app", "reg.example", "main", None, "team", None);
        assert_eq!(image.as_docker_url(true), "https://reg.example/team/app");
        assert_eq!(image.with_tag("v1").to_string(), "image://main/team/app:v1");
        assert_eq!(image.owner(), Some("team"));
        assert_eq!(
            LocalImage::new("app", Some("v1".into())).to_string(),
            "app:v1"
        );
    }
}
