//! Listings: repositories, tags and referrers.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use peak_oci::{Descriptor, Digest, MediaType, RepositoryName, Selector};
use serde::Serialize;

use crate::auth::Permissions;
use crate::routes::failure::{Code, Failure};
use crate::routes::parameters::{self, Parameters};
use crate::routes::{Registry, blocking, header_value};
use crate::store::{Page, Repository, StoreError};

/// The most names in one answer, however many were asked for.
const MAX_NAMES: usize = 10_000;

/// The most referrers that are read for one answer.
const MAX_REFERRERS: usize = 500;

/// An answer with referrers ends when its descriptors have this many bytes: annotations can be
/// long, and clients take at most 4 MiB. The last descriptor may go beyond, by a manifest's size.
const ENOUGH_REFERRERS: usize = 1024 * 1024;

/// Says that the answer has only what was asked for.
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<RepositoryName>,
}

#[derive(Serialize)]
struct Tags {
    name: RepositoryName,
    tags: Vec<peak_oci::Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrers {
    schema_version: u32,
    media_type: MediaType,
    manifests: Vec<Descriptor>,
}

pub(crate) async fn catalog(
    registry: &Registry,
    uri: &Uri,
    permissions: Permissions,
) -> Result<Response, Failure> {
    let wanted = Wanted::of(&Parameters::of(uri)?)?;
    let store = registry.store.clone();
    let (last, limit) = (wanted.last.clone(), wanted.limit);
    let page = blocking(move || {
        store.repositories_page_of(|name| permissions.lists(name), last.as_deref(), limit)
    })
    .await?;
    let link = wanted.link("/v2/_catalog", &page)?;
    Ok((
        link,
        Json(Catalog {
            repositories: page.items,
        }),
    )
        .into_response())
}

pub(crate) async fn tags(
    registry: &Registry,
    name: RepositoryName,
    uri: &Uri,
) -> Result<Response, Failure> {
    let wanted = Wanted::of(&Parameters::of(uri)?)?;
    let repository = registry.store.repository(&name);
    let (last, limit) = (wanted.last.clone(), wanted.limit);
    let page = blocking(move || {
        if repository.exists()? {
            repository.tags_page(last.as_deref(), limit)
        } else {
            Err(StoreError::RepositoryUnknown {
                repository: repository.name().clone(),
            })
        }
    })
    .await?;
    let link = wanted.link(&format!("/v2/{name}/tags/list"), &page)?;
    Ok((
        link,
        Json(Tags {
            name,
            tags: page.items,
        }),
    )
        .into_response())
}

pub(crate) async fn referrers(
    registry: &Registry,
    name: RepositoryName,
    subject: Digest,
    uri: &Uri,
) -> Result<Response, Failure> {
    let parameters = Parameters::of(uri)?;
    let filter = parameters.first("artifactType").map(str::to_owned);
    let last = parameters.first("last").map(str::to_owned);
    let mut path = format!("/v2/{name}/referrers/{subject}?");
    if let Some(filter) = &filter {
        path.push_str("artifactType=");
        path.push_str(&parameters::encode(filter));
        path.push('&');
    }

    let repository = registry.store.repository(&name);
    let filtered = filter.is_some();
    let (manifests, next) =
        blocking(move || describe(&repository, &subject, last.as_deref(), filter.as_deref()))
            .await?;
    let mut response = Json(Referrers {
        schema_version: 2,
        media_type: MediaType::OCI_INDEX,
        manifests,
    })
    .into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header_value(MediaType::OCI_INDEX.as_str())?,
    );
    if filtered {
        headers.insert(
            OCI_FILTERS_APPLIED,
            HeaderValue::from_static("artifactType"),
        );
    }
    if let Some(next) = next {
        headers.insert(
            header::LINK,
            header_value(&format!("<{path}last={next}>; rel=\"next\""))?,
        );
    }
    Ok(response)
}

/// The part of a listing that a request asks for.
struct Wanted {
    last: Option<String>,
    limit: usize,
}

impl Wanted {
    fn of(parameters: &Parameters) -> Result<Self, Failure> {
        let limit = match parameters.first("n") {
            None => MAX_NAMES,
            Some(text) => text
                .parse::<u64>()
                .map(|number| usize::try_from(number).unwrap_or(MAX_NAMES).min(MAX_NAMES))
                .map_err(|_| {
                    Failure::bad_request(
                        Code::PaginationNumberInvalid,
                        "the parameter `n` is not a whole number from 0",
                    )
                })?,
        };
        Ok(Self {
            last: parameters.first("last").map(str::to_owned),
            limit,
        })
    }

    /// The header that leads to the next page, if there is one.
    fn link<T: AsRef<str>>(&self, path: &str, page: &Page<T>) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        // A page of none has no last item that a next one could follow.
        if let Some(last) = page.items.last().filter(|_| page.more) {
            let last = parameters::encode(last.as_ref());
            let link = format!("<{path}?n={}&last={last}>; rel=\"next\"", self.limit);
            headers.insert(header::LINK, header_value(&link)?);
        }
        Ok(headers)
    }
}

/// Descriptors of the manifests that refer to the subject, as many as fit an answer, and if there
/// are more, after which digest they begin.
fn describe(
    repository: &Repository,
    subject: &Digest,
    last: Option<&str>,
    filter: Option<&str>,
) -> Result<(Vec<Descriptor>, Option<Digest>), StoreError> {
    let page = repository.referrers_page(subject, last, MAX_REFERRERS)?;
    let mut descriptors = Vec::new();
    let mut bytes = 0;
    let mut rest = page.items.into_iter().peekable();
    while let Some(digest) = rest.next() {
        let descriptor = describe_one(repository, &digest)?;
        if let Some(descriptor) = descriptor.filter(|descriptor| is_wanted(descriptor, filter)) {
            bytes += annotations_size(&descriptor);
            descriptors.push(descriptor);
        }
        let more = page.more || rest.peek().is_some();
        if more && (bytes >= ENOUGH_REFERRERS || rest.peek().is_none()) {
            return Ok((descriptors, Some(digest)));
        }
    }
    Ok((descriptors, None))
}

/// The descriptor of a manifest as referrers are listed; `None` if it was deleted meanwhile.
fn describe_one(
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<Descriptor>, StoreError> {
    let manifest = match repository.manifest(&Selector::Digest(digest.clone())) {
        Ok(manifest) => manifest,
        Err(StoreError::ManifestUnknown { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut descriptor = manifest.descriptor();
    descriptor.artifact_type = manifest.value().artifact_type().cloned();
    descriptor
        .annotations
        .clone_from(manifest.value().annotations());
    Ok(Some(descriptor))
}

fn is_wanted(descriptor: &Descriptor, artifact_type: Option<&str>) -> bool {
    artifact_type.is_none_or(|wanted| {
        descriptor
            .artifact_type
            .as_ref()
            .is_some_and(|actual| actual.as_str() == wanted)
    })
}

/// About the bytes that the annotations take in the answer.
fn annotations_size(descriptor: &Descriptor) -> usize {
    /// What the fixed members of a descriptor take.
    const FIXED: usize = 256;
    descriptor
        .annotations
        .iter()
        .map(|(name, value)| name.len() + value.len() + 6)
        .sum::<usize>()
        + FIXED
}
