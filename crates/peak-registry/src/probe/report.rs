//! What is found out about a registry.

use std::time::Duration;

use http::StatusCode;
use url::Url;

use crate::RegistryError;

/// What [`Registry::probe`](crate::Registry::probe) has found. Texts that the registry chose are without control
/// characters and of bounded length.
#[derive(Debug)]
#[non_exhaustive]
pub struct ProbeReport {
    /// The registry, by its one name.
    pub registry: String,
    /// The URL of its API.
    pub url: Url,
    /// How it wants it proved who asks.
    pub authentication: Authentication,
    /// For how long its tokens are good.
    pub token: Probed<TokenLifetime>,
    /// Whether it lets us in, with the credentials that there are.
    pub access: Probed<()>,
    /// How it lists its repositories.
    pub catalog: Probed<Paging>,
    /// How it lists the tags of the repository.
    pub tags: Probed<Paging>,
    /// What it says beside a manifest.
    pub manifests: Probed<ManifestHeaders>,
    /// What it gives for a part of a blob.
    pub ranges: Probed<Ranges>,
    /// Who keeps the lists of what refers to an image.
    pub referrers: Probed<ReferrersList>,
    /// How it takes blobs.
    pub uploads: Probed<BlobUploads>,
    /// What it deletes.
    pub deletion: Probed<Deletion>,
    /// Whether it takes a blob from another of its repositories.
    pub mounts: Probed<Mounts>,
    /// What was stored and could not be deleted again, each by its whole name.
    pub left_behind: Vec<String>,
}

/// What came of a question.
#[derive(Debug)]
pub enum Probed<T> {
    /// The answer.
    Found(T),
    /// It was not asked.
    NotAsked(NotAsked),
    /// There was no answer that says it.
    Failed(RegistryError),
}

/// Why a question was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAsked {
    /// It takes a [repository](crate::ProbeOptions::image).
    NeedsRepository,
    /// It takes an image with a blob of two bytes or more, and the repository has none, or its tags were not told.
    NeedsImage,
    /// It takes a repository that may be [written to](crate::ProbeOptions::write_to).
    NeedsLeaveToWrite,
    /// It takes a [second repository](crate::ProbeOptions::mount_into) that may be written to.
    NeedsTwoRepositories,
    /// It takes a registry that lets us in.
    NeedsAccess,
    /// It takes uploads, and those have failed.
    NeedsUploads,
    /// The registry wants no tokens.
    NoTokens,
}

/// How a registry wants it proved who asks, as it says it to whoever shows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authentication {
    /// It lets everybody in.
    None,
    /// User name and password with each request.
    Basic {
        /// What it calls what is protected.
        realm: Option<String>,
    },
    /// A token from a server that it names.
    Bearer {
        /// The token server, without its query.
        realm: String,
        /// What it calls itself there.
        service: Option<String>,
    },
    /// Only in ways that are not known here.
    Unknown {
        /// What they are called.
        schemes: Vec<String>,
    },
}

/// For how long a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenLifetime {
    /// What the token server says. Where it says nothing, or less, 60 seconds count.
    pub said: Option<Duration>,
}

/// How a list comes that was asked for in pages of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Paging {
    /// In pages, each with a link to the next one.
    Links,
    /// In pages, and nothing says that there are more.
    WithoutLinks,
    /// All at once, however much was asked for.
    AllAtOnce {
        /// How many entries that can be used.
        entries: usize,
    },
    /// There are too few entries to tell: one or none.
    TooFew,
    /// The registry does not give the list.
    Refused {
        /// Its answer.
        status: StatusCode,
    },
}

/// What comes beside a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestHeaders {
    /// Whether it can be asked for the headers alone (HEAD).
    pub head: bool,
    /// What it says of the digest.
    pub digest: DigestHeader,
}

/// `Docker-Content-Digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DigestHeader {
    /// That of the manifest.
    Right,
    /// Another one.
    Wrong,
    /// Nothing.
    Missing,
}

/// What a registry gives for a part of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ranges {
    /// The part.
    Honoured {
        /// The other server that blobs come from, where it is not the registry itself.
        from: Option<String>,
    },
    /// The whole blob.
    Ignored,
    /// Another part, or one that says not which.
    Wrong,
    /// Nothing.
    Refused {
        /// Its answer.
        status: StatusCode,
    },
}

/// Who keeps the list of what refers to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReferrersList {
    /// The registry.
    Registry {
        /// Whether it can be asked for those of one type alone.
        filters: bool,
    },
    /// Clients, under a tag that is named after the image.
    FallbackTag,
}

/// How a registry takes blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobUploads {
    /// Whether it takes them in chunks.
    pub chunks: bool,
    /// The smallest chunk that it takes, in bytes (`OCI-Chunk-Min-Length`), where it says so.
    pub smallest_chunk: Option<u64>,
    /// Whether it ends an upload when it is told to.
    pub cancels: bool,
}

/// What a registry deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deletion {
    /// Manifests, by digest.
    pub manifests: Deletes,
    /// Tags alone.
    pub tags: Deletes,
    /// Blobs.
    pub blobs: Deletes,
}

/// What a registry says when it is asked to delete what it cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deletes {
    /// That it does not have it.
    Yes,
    /// That it does not delete such things.
    No,
    /// That we may not.
    Denied,
    /// Nothing that says it.
    Unclear,
}

/// What comes of mounting a blob from another repository of the same registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mounts {
    /// It is there then.
    Yes,
    /// The registry wants it to be sent all the same.
    No,
    /// It is refused.
    Refused {
        /// The answer.
        status: StatusCode,
    },
}
