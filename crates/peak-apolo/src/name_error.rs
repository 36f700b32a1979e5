//! Why a text is not the name of an image.

use std::fmt;

use peak_oci::without_user;

/// How much of a text is repeated, in characters.
const SHOWN: usize = 200;

/// A text is not the name of an image. What stands before an `@` in its host may be a password, and is left out.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not the name of {wanted}: {problem}", Shown(text))]
pub struct ImageNameError {
    text: String,
    wanted: &'static str,
    problem: ImageNameProblem,
}

impl ImageNameError {
    pub(crate) fn local(text: &str, problem: ImageNameProblem) -> Self {
        Self::new(text, "a local image", problem)
    }

    pub(crate) fn remote(text: &str, problem: ImageNameProblem) -> Self {
        Self::new(text, "an image in a registry", problem)
    }

    fn new(text: &str, wanted: &'static str, problem: ImageNameProblem) -> Self {
        Self {
            text: without_user(text).into_owned(),
            wanted,
            problem: problem.without_user(),
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &ImageNameProblem {
        &self.problem
    }
}

impl ImageNameProblem {
    fn without_user(mut self) -> Self {
        if let Self::Component { component: part }
        | Self::Host { host: part }
        | Self::Tag { tag: part }
        | Self::TagNotAllowed { tag: part }
        | Self::UnknownCluster { cluster: part, .. } = &mut self
        {
            *part = without_user(part).into_owned();
        }
        self
    }
}

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageNameProblem {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It looks like an option.
    #[error("it begins with a dash")]
    LeadingDash,
    /// `image:latest` could be the local image `image`, or the platform's image `latest`.
    #[error(
        "it could be the tag `latest` of a local image `image` or the image `latest` of the platform; write `image:latest:latest` for the latter, `docker.io/library/image:latest` for the former"
    )]
    Ambiguous,
    /// The scheme of the platform, where a local image is wanted.
    #[error("`image:` names images of the platform, and a local image is wanted here")]
    NotLocal,
    /// Nothing stands before the colon.
    #[error("nothing stands before the `:` of the tag")]
    EmptyName,
    /// Nothing stands behind the colon.
    #[error("nothing stands behind the `:`; write a tag there, or leave the colon out")]
    EmptyTag,
    /// More colons than one for the tag and one for the port of a registry.
    #[error("it has too many colons")]
    TooManyColons,
    /// There is a cluster, an organisation or a project, and no image.
    #[error("it names no image; the full form is image://CLUSTER/ORG/PROJECT/NAME:TAG")]
    NoName,
    /// A part of the name has another form than parts of names have.
    #[error(
        "`{}` cannot be a part of a name; lowercase letters and digits can, joined by single `.`, `_` or `-`",
        Shown(component)
    )]
    Component {
        /// The part.
        component: String,
    },
    /// What stands before the first slash is neither a host nor a part of a name.
    #[error(
        "`{}` before the first `/` is neither a host nor a part of a name",
        Shown(host)
    )]
    Host {
        /// What stands there.
        host: String,
    },
    /// A digest, where a tag is wanted.
    #[error("images are named by tag here, and not by digest or with `@`")]
    Digest,
    /// The tag is too long.
    #[error("the tag has {length} characters, and at most 128 are allowed")]
    TagTooLong {
        /// Its length in characters.
        length: usize,
    },
    /// The tag has another form than tags have.
    #[error(
        "`{}` is not a tag; letters, digits and `_` are, and behind the first also `.` and `-`",
        Shown(tag)
    )]
    Tag {
        /// What was taken for a tag.
        tag: String,
    },
    /// A tag stands where none may.
    #[error("all tags of the image are meant here, so leave out `:{tag}`")]
    TagNotAllowed {
        /// The tag.
        tag: String,
    },
    /// There is no such cluster.
    #[error("there is no cluster `{}`; known are: {}", Shown(cluster), known.join(", "))]
    UnknownCluster {
        /// What was taken for a cluster.
        cluster: String,
        /// The clusters that there are.
        known: Vec<String>,
    },
    /// The name leaves the project out, and there is no default.
    #[error(
        "it has no project and there is no default one; write image:/PROJECT/NAME or set APOLO_PROJECT"
    )]
    NoDefaultProject,
    /// A `?`, as in a URL.
    #[error("it has a `?`, and names of images have no query")]
    Query,
    /// A `#`, as in a URL.
    #[error("it has a `#`, and names of images have no fragment")]
    Fragment,
    /// A user before the cluster, as in a URL.
    #[error("it has an `@` before the cluster, and names of images have no user")]
    User,
    /// A port behind the cluster, as in a URL.
    #[error("it has a `:` behind the cluster, and clusters have no port")]
    Port,
}

/// A text of somebody's as far as it is worth showing, on one line.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, character) in self.0.chars().enumerate() {
            if at == SHOWN {
                return formatter.write_str("…");
            }
            if character.is_control() {
                write!(formatter, "{}", character.escape_default())?;
            } else {
                write!(formatter, "{character}")?;
            }
        }
        Ok(())
    }
}
