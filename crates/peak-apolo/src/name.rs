//! Reads the names of images.

use std::str::FromStr;

use peak_oci::Reference;

use crate::{
    Cluster, Clusters, ImageNameError, ImageNameProblem as Problem, LocalImage, RemoteImage,
};

const SCHEME: &str = "image:";
const LATEST: &str = "latest";

/// Longest tag, in characters.
const MAX_TAG: usize = 128;

impl Clusters {
    /// Reads the name of an image in a registry.
    ///
    /// A text that begins with `image:` or with the registry of one of the clusters names an image of the platform:
    /// `image:NAME`, `image:/PROJECT/NAME`, `image://CLUSTER/[ORG/]PROJECT/NAME`, `REGISTRY/[ORG/]PROJECT/NAME`, each with
    /// `:TAG` or without, which means `latest`. What is left out takes the defaults; behind a cluster or a registry the
    /// first part is an organisation where it is the default organisation, else a project. Everything else names an image
    /// of another registry.
    ///
    /// # Errors
    /// [`ImageNameError`], with the [problem](ImageNameError::problem).
    pub fn parse_remote(&self, text: &str) -> Result<RemoteImage, ImageNameError> {
        self.remote(text, Tag::Allowed)
            .map_err(|problem| ImageNameError::remote(text, problem))
    }

    /// As [`parse_remote`](Self::parse_remote), where an image of the platform must have no tag, and gets none.
    ///
    /// # Errors
    /// [`ImageNameError`], with the [problem](ImageNameError::problem).
    pub fn parse_remote_without_tag(&self, text: &str) -> Result<RemoteImage, ImageNameError> {
        self.remote(text, Tag::Denied)
            .map_err(|problem| ImageNameError::remote(text, problem))
    }

    /// What a local image is called on the platform: its name in the default cluster, organisation and project; in
    /// another cluster and project where the name begins with a registry of the platform.
    ///
    /// # Errors
    /// [`ImageNameError`] where there is no default project and the name has none.
    pub fn to_platform(&self, image: &LocalImage) -> Result<RemoteImage, ImageNameError> {
        self.platform_form(image)
            .map_err(|problem| ImageNameError::remote(&image.to_string(), problem))
    }

    fn platform_form(&self, image: &LocalImage) -> Result<RemoteImage, Problem> {
        let mut cluster = self.default_cluster();
        let mut project = None;
        let mut name = image.name.as_str();
        if let Some((of_name, path)) = self.of_registry(name) {
            cluster = of_name;
            match path.split_once('/') {
                Some((first, rest)) => (project, name) = (Some(first), rest),
                None => name = path,
            }
        }
        let project = match project {
            Some(project) => project,
            None => self.default_project().ok_or(Problem::NoDefaultProject)?,
        };
        Ok(self.image(cluster, project, name, image.tag.clone()))
    }

    fn remote(&self, text: &str, tag: Tag) -> Result<RemoteImage, Problem> {
        check(text)?;
        if let Some(rest) = text.strip_prefix(SCHEME) {
            return self.of_scheme(rest, tag);
        }
        if let Some((cluster, path)) = self.of_registry(text) {
            no_query_or_fragment(path)?;
            return self.behind_cluster(cluster, path, tag);
        }
        let LocalImage { name, tag } = parse_local(text)?;
        let (registry, name) = match name.split_once('/') {
            Some((registry, rest)) if registry.contains(':') => {
                (Some(registry.to_owned()), rest.to_owned())
            }
            _ => (None, name),
        };
        Ok(RemoteImage::new_external_image(name, registry, tag))
    }

    /// What stands behind `image:`.
    fn of_scheme(&self, rest: &str, tag: Tag) -> Result<RemoteImage, Problem> {
        no_query_or_fragment(rest)?;
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        if authority.contains('@') {
            return Err(Problem::User);
        }
        if authority.contains(':') {
            return Err(Problem::Port);
        }
        let name = path.trim_start_matches('/');
        if !authority.is_empty() {
            let cluster = self.get(authority).ok_or_else(|| Problem::UnknownCluster {
                cluster: authority.to_owned(),
                known: self.names(),
            })?;
            return self.behind_cluster(cluster, name, tag);
        }
        let cluster = self.default_cluster();
        let (name, tag) = parse_path(name, tag)?;
        if !path.starts_with('/') {
            let project = self.default_project().ok_or(Problem::NoDefaultProject)?;
            return Ok(self.image(cluster, project, name, tag));
        }
        let (project, name) = name.split_once('/').ok_or(Problem::NoName)?;
        Ok(self.image(cluster, project, name, tag))
    }

    /// `[ORG/]PROJECT/NAME[:TAG]`
    fn behind_cluster(
        &self,
        cluster: &Cluster,
        path: &str,
        tag: Tag,
    ) -> Result<RemoteImage, Problem> {
        let (path, tag) = parse_path(path, tag)?;
        let (mut project, mut name) = path.split_once('/').ok_or(Problem::NoName)?;
        if Some(project) == self.default_org() {
            (project, name) = name.split_once('/').ok_or(Problem::NoName)?;
        }
        Ok(self.image(cluster, project, name, tag))
    }

    fn image(
        &self,
        cluster: &Cluster,
        project: &str,
        name: &str,
        tag: Option<String>,
    ) -> RemoteImage {
        RemoteImage::new_platform_image(
            name,
            cluster.registry(),
            cluster.name(),
            self.default_org().map(str::to_owned),
            project,
            tag,
        )
    }
}

/// Reads the name of an image in the local Docker Engine: `[HOST[:PORT]/]NAME[:TAG]`; without a tag `latest` is meant.
impl FromStr for LocalImage {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        check(text)
            .and_then(|()| {
                if text.starts_with(SCHEME) {
                    return Err(Problem::NotLocal);
                }
                parse_local(text)
            })
            .map_err(|problem| ImageNameError::local(text, problem))
    }
}

/// Whether a tag may stand in the name; if it may and does not, `latest` is meant.
#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Allowed,
    Denied,
}

/// What no name may be, of whatever kind.
fn check(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        Err(Problem::Empty)
    } else if text.starts_with('-') {
        Err(Problem::LeadingDash)
    } else if text == "image:latest" {
        Err(Problem::Ambiguous)
    } else {
        Ok(())
    }
}

fn no_query_or_fragment(text: &str) -> Result<(), Problem> {
    if text.contains('#') {
        Err(Problem::Fragment)
    } else if text.contains('?') {
        Err(Problem::Query)
    } else {
        Ok(())
    }
}

/// The path of an image of the platform, and its tag.
fn parse_path(path: &str, tag: Tag) -> Result<(&str, Option<String>), Problem> {
    if path.is_empty() {
        return Err(Problem::NoName);
    }
    let (name, written) = split_tag(path)?;
    check_components(name)?;
    match (written, tag) {
        (Some(written), Tag::Denied) => Err(Problem::TagNotAllowed {
            tag: written.to_owned(),
        }),
        (None, Tag::Denied) => Ok((name, None)),
        (written, Tag::Allowed) => Ok((name, Some(written.unwrap_or(LATEST).to_owned()))),
    }
}

/// `[HOST[:PORT]/]NAME[:TAG]`
fn parse_local(text: &str) -> Result<LocalImage, Problem> {
    let (host, rest) = match text.split_once('/') {
        Some((host, rest)) => (Some(host), rest),
        None => (None, text),
    };
    let (rest, tag) = split_tag(rest)?;
    check_components(rest)?;
    let mut name = rest.to_owned();
    if let Some(host) = host {
        if !is_component(host) && !is_host(host) {
            return Err(Problem::Host {
                host: host.to_owned(),
            });
        }
        name = format!("{host}/{rest}");
    }
    let tag = tag.unwrap_or(LATEST).to_owned();
    Ok(LocalImage::new(name, Some(tag)))
}

/// Splits `NAME[:TAG]`, and checks the tag.
fn split_tag(text: &str) -> Result<(&str, Option<&str>), Problem> {
    let Some((name, tag)) = text.split_once(':') else {
        return Ok((text, None));
    };
    if text.contains('@') {
        return Err(Problem::Digest);
    }
    if tag.contains(':') {
        return Err(Problem::TooManyColons);
    }
    if name.is_empty() {
        return Err(Problem::EmptyName);
    }
    if tag.is_empty() {
        return Err(Problem::EmptyTag);
    }
    let length = tag.chars().count();
    if length > MAX_TAG {
        return Err(Problem::TagTooLong { length });
    }
    if !is_tag(tag) {
        let tag = tag.to_owned();
        return Err(Problem::Tag { tag });
    }
    Ok((name, Some(tag)))
}

fn check_components(name: &str) -> Result<(), Problem> {
    if name.is_empty() {
        return Err(Problem::NoName);
    }
    if name.contains('@') {
        return Err(Problem::Digest);
    }
    match name.split('/').find(|part| !is_component(part)) {
        None => Ok(()),
        Some(part) => Err(Problem::Component {
            component: part.to_owned(),
        }),
    }
}

/// Lowercase letters and digits, joined by single `.`, `_` or `-`.
pub(crate) fn is_component(text: &str) -> bool {
    text.split(['.', '_', '-']).all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

/// Letters, digits and `_`, behind the first also `.` and `-`.
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().next().is_some_and(is_word)
        && text
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// Whether Docker takes the text for the host of a registry, in front of a name.
fn is_host(text: &str) -> bool {
    Reference::parse(&format!("{text}/a"))
        .is_ok_and(|reference| reference.registry().eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../tests/vectors/apolo_references.json")).unwrap()
    }

    /// The clusters and defaults of the vectors.
    fn clusters() -> Clusters {
        let config = vectors()["config"].take();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut builder = Clusters::builder(text(&config["default_cluster"]))
            .default_org(text(&config["default_org"]))
            .default_project(text(&config["default_project"]));
        for (name, url) in config["clusters"].as_object().unwrap() {
            builder = builder.cluster(name, text(url));
        }
        builder.build().unwrap()
    }

    fn shown(image: &RemoteImage) -> Value {
        json!({
            "name": image.name,
            "tag": image.tag,
            "registry": image.registry,
            "cluster": image.cluster_name(),
            "org": image.org_name(),
            "project": image.project_name(),
            "docker_url": image.as_docker_url(false),
            "str": image.to_string(),
        })
    }

    fn or_error(value: Result<Value, ImageNameError>) -> Value {
        value.unwrap_or_else(|_| json!({"error": true}))
    }

    #[test]
    fn no_error_has_what_may_be_a_password() {
        for text in [
            "user:sekret@host.example/app",
            "user:sekret@host.example",
            "image:user:sekret@host.example/app",
            "image://user:sekret@cluster/org/project/app:1",
        ] {
            let remote = clusters().parse_remote(text).unwrap_err();
            let local = text.parse::<LocalImage>().unwrap_err();
            for error in [remote, local] {
                let told = format!("{error} {error:?}");
                assert!(!told.contains("sekret"), "{told}");
            }
        }
    }

    fn problem(text: &str) -> Problem {
        clusters().parse_remote(text).unwrap_err().problem().clone()
    }

    #[test]
    fn every_name_of_the_vectors_is_read_as_they_say() {
        let clusters = clusters();
        let vectors = vectors();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() > 130, "{}", cases.len());
        for case in cases {
            let input = case["input"].as_str().unwrap();
            let local = input.parse::<LocalImage>().map(|local| {
                let platform = clusters.to_platform(&local).unwrap();
                json!({"name": local.name, "tag": local.tag, "to_platform": platform.to_string()})
            });
            let read = json!({
                "input": input,
                "remote": or_error(clusters.parse_remote(input).map(|image| shown(&image))),
                "remote_no_tag":
                    or_error(clusters.parse_remote_without_tag(input).map(|image| shown(&image))),
                "local": or_error(local),
            });
            assert_eq!(&read, case);
        }
    }

    #[test]
    fn each_mistake_has_its_own_problem() {
        let long = "t".repeat(129);
        for (text, expected) in [
            ("", Problem::Empty),
            ("-x", Problem::LeadingDash),
            ("image:latest", Problem::Ambiguous),
            (":v1", Problem::EmptyName),
            ("image::v1", Problem::EmptyName),
            ("app:", Problem::EmptyTag),
            ("image:app:", Problem::EmptyTag),
            ("app:v1:v2", Problem::TooManyColons),
            ("image:app:v1:v2", Problem::TooManyColons),
            ("image:", Problem::NoName),
            ("image:/", Problem::NoName),
            ("image:/proj", Problem::NoName),
            ("image://default", Problem::NoName),
            ("image://default/proj", Problem::NoName),
            ("image://default/acme/proj", Problem::NoName),
            ("reg.apolo.example/", Problem::NoName),
            ("reg.apolo.example/app", Problem::NoName),
            ("image:app@sha256", Problem::Digest),
            ("app@sha256:00", Problem::Digest),
            (&format!("app:{long}"), Problem::TagTooLong { length: 129 }),
            ("app:.v", Problem::Tag { tag: ".v".into() }),
            (
                "image:App",
                Problem::Component {
                    component: "App".into(),
                },
            ),
            (
                "image:App/app",
                Problem::Component {
                    component: "App".into(),
                },
            ),
            (
                "a//b",
                Problem::Component {
                    component: String::new(),
                },
            ),
            ("a_/b", Problem::Host { host: "a_".into() }),
            ("image:app?", Problem::Query),
            ("reg.apolo.example/proj/app?", Problem::Query),
            ("image:app#", Problem::Fragment),
            ("image://me@default/proj/app", Problem::User),
            ("image://default:/proj/app", Problem::Port),
            ("image://default:80/proj/app", Problem::Port),
            (
                "image://main/proj/app",
                Problem::UnknownCluster {
                    cluster: "main".into(),
                    known: vec!["default".into(), "other".into()],
                },
            ),
        ] {
            assert_eq!(problem(text), expected, "{text}");
        }
        let local = "image:app".parse::<LocalImage>().unwrap_err();
        assert_eq!(local.problem(), &Problem::NotLocal);
        let tagged = clusters()
            .parse_remote_without_tag("image:app:v1")
            .unwrap_err();
        assert_eq!(
            tagged.to_string(),
            "`image:app:v1` is not the name of an image in a registry: all tags of the image are meant here, so leave out `:v1`"
        );
    }

    #[test]
    fn without_a_default_project_names_have_to_say_theirs() {
        let clusters = Clusters::builder("main")
            .cluster("main", "https://reg.example")
            .build()
            .unwrap();
        let full = clusters.parse_remote("image:/team/app").unwrap();
        assert_eq!(full.to_string(), "image://main/team/app:latest");
        let local: LocalImage = "app".parse().unwrap();
        for error in [
            clusters.parse_remote("image:app").unwrap_err(),
            clusters.to_platform(&local).unwrap_err(),
        ] {
            assert_eq!(error.problem(), &Problem::NoDefaultProject);
        }
    }

    #[test]
    fn long_and_odd_texts_are_shown_cut_off_and_on_one_line() {
        let error = clusters()
            .parse_remote(&"\n".repeat(1000))
            .unwrap_err()
            .to_string();
        assert!(error.len() < 1200 && !error.contains('\n'), "{error}");
    }

    /// Texts that are nearly names.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "image:",
            "//",
            "/",
            ":",
            "default",
            "other",
            "acme",
            "proj",
            "reg.apolo.example",
            "reg2.apolo.example:5000",
            "localhost:5000",
            "app",
            "a.b",
            "a_b",
            "v1",
            "latest",
            "-",
            ".",
            "_",
            "?",
            "#",
            "@",
            "%41",
            "é",
            " ",
            "\n",
            "A",
            "[::1]",
        ]);
        prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_was_read_is_read_again_from_its_own_form(text in prop_oneof![text(), any::<String>()]) {
            let clusters = clusters();
            if let Ok(image) = clusters.parse_remote(&text) {
                // An image of another registry is written without it.
                if image.is_platform_image() {
                    prop_assert_eq!(&clusters.parse_remote(&image.to_string()).unwrap(), &image);
                    prop_assert_eq!(&clusters.parse_remote(&image.as_docker_url(false)).unwrap(), &image);
                    prop_assert!(Reference::parse(&image.as_docker_url(false)).is_ok());
                }
                prop_assert!(image.tag.is_some());
            }
            if let Ok(image) = clusters.parse_remote_without_tag(&text) {
                prop_assert_eq!(image.tag.is_none(), image.is_platform_image());
            }
            if let Ok(image) = text.parse::<LocalImage>() {
                prop_assert_eq!(&image.to_string().parse::<LocalImage>().unwrap(), &image);
                prop_assert!(Reference::parse(&image.to_string()).is_ok());
                prop_assert!(clusters.to_platform(&image).is_ok());
            }
        }
    }
}
