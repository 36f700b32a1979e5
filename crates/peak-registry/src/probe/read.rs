//! Questions that change nothing at the registry.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, RANGE};
use http::{Method, StatusCode};
use peak_http::Origin;
use peak_http::resume::ContentRange;
use peak_oci::{Descriptor, Digest, Manifest, MediaType, Raw, RepositoryName, Selector, Tag};
use url::Url;

use super::answered;
use super::report::{
    Authentication, DigestHeader, ManifestHeaders, NotAsked, Paging, Probed, Ranges, ReferrersList,
    TokenLifetime,
};
use crate::auth::Scope;
use crate::auth::challenge::{self, Challenge};
use crate::connection::{Call, Connection, reasons, refusal, transport};
use crate::manifests::said_digest;
use crate::pages::{MAX_PAGE, Page};
use crate::reasons::printable;
use crate::referrers::{accepting_index, applied_filter, is_index};
use crate::root::why_no_registry;
use crate::tags::{read_catalog, read_tags};
use crate::{Registry, RegistryError, Repository, links};

/// How many indexes within each other are gone through to find a blob.
const MAX_DEPTH: usize = 3;

/// Largest part of a blob that is asked for, in bytes.
const MAX_PART: u64 = 1024;

/// What is known once the registry has answered for the first time.
pub(super) struct Beginning {
    pub(super) url: Url,
    pub(super) authentication: Authentication,
    challenge: Option<Challenge>,
}

impl Beginning {
    /// What it says to whoever needs a token.
    pub(super) fn bearer(&self) -> Option<&Challenge> {
        self.challenge
            .as_ref()
            .filter(|_| matches!(self.authentication, Authentication::Bearer { .. }))
    }
}

/// Asks as nobody. Some registries let everybody see their root, and ask only at a repository.
pub(super) async fn beginning(
    connection: &Connection,
    repository: Option<&Repository>,
    limit: Duration,
) -> Result<Beginning, RegistryError> {
    let root = connection.root().await?;
    let place = connection.host.name();
    let anonymous = |url: &Url| {
        Call::new("probe", Method::GET, url.clone())
            .anonymous(true)
            .deadline(limit)
    };
    let unusable = |reason| RegistryError::InvalidResponse {
        repository: place.to_owned(),
        reason,
    };
    let response = connection.send(anonymous(&root), place).await?;
    if let Some(reason) = why_no_registry(response.status(), response.headers()) {
        return Err(unusable(reason));
    }
    match response.status() {
        StatusCode::OK | StatusCode::UNAUTHORIZED => {}
        status => return Err(refusal(place, status, reasons(response).await)),
    }
    let mut headers = response.headers().clone();
    let mut asks = response.status() == StatusCode::UNAUTHORIZED;
    if let (false, Some(repository)) = (asks, repository) {
        let mut url = repository.url("tags", &"list").await?;
        url.set_query(Some("n=1"));
        let response = connection.send(anonymous(&url), place).await?;
        asks = response.status() == StatusCode::UNAUTHORIZED;
        headers = response.headers().clone();
    }
    let challenge = challenge::choose(&headers).filter(|_| asks);
    let authentication = match &challenge {
        None if asks => Authentication::Unknown {
            schemes: challenge::schemes(&headers),
        },
        None => Authentication::None,
        Some(challenge) if challenge.scheme == "basic" => Authentication::Basic {
            realm: challenge.parameter("realm").map(printable),
        },
        Some(challenge) => Authentication::Bearer {
            realm: token_server(&root, challenge),
            service: challenge.parameter("service").map(printable),
        },
    };
    Ok(Beginning {
        url: root,
        authentication,
        challenge,
    })
}

/// The token server that is named, without what may be secret in its URL.
fn token_server(root: &Url, challenge: &Challenge) -> String {
    let realm = challenge.parameter("realm").unwrap_or_default();
    let Ok(mut url) = root.join(realm) else {
        return printable(realm);
    };
    url.set_query(None);
    url.set_fragment(None);
    printable(&peak_http::redact::url(&url))
}

/// Gets a token as whoever we are, and sees for how long it is good.
pub(super) async fn token(
    registry: &Registry,
    place: &str,
    root: &Url,
    challenge: &Challenge,
    repository: Option<&RepositoryName>,
) -> Result<TokenLifetime, RegistryError> {
    let scope = repository.map(Scope::pull).unwrap_or_default();
    let said = registry
        .authenticator()
        .lifetime_of_token(root, challenge, &scope)
        .await
        .map_err(|source| transport(place, source))?;
    Ok(TokenLifetime { said })
}

/// How the repositories are listed.
pub(super) async fn catalog(
    connection: &Connection,
    limit: Duration,
) -> Result<Paging, RegistryError> {
    let mut url = connection.root().await?;
    url.set_path("/v2/_catalog");
    let place = connection.host.name();
    let read = |body: &Bytes| read_catalog(body).map(|page| names(&page));
    let (paging, _) = paging(connection, place, url, read, limit).await?;
    Ok(paging)
}

/// What can be found out in a repository.
pub(super) struct Content {
    pub(super) tags: Probed<Paging>,
    pub(super) manifests: Probed<ManifestHeaders>,
    pub(super) ranges: Probed<Ranges>,
    pub(super) referrers: Probed<ReferrersList>,
}

impl Content {
    pub(super) fn not_asked(why: NotAsked) -> Self {
        Self {
            tags: Probed::NotAsked(why),
            manifests: Probed::NotAsked(why),
            ranges: Probed::NotAsked(why),
            referrers: Probed::NotAsked(why),
        }
    }
}

/// Asks about the repository, and about this image of it, or any.
pub(super) async fn content(
    repository: &Repository,
    selector: Option<&Selector>,
    limit: Duration,
) -> Content {
    let place = repository.to_string();
    let (tags, first) = match answered(limit, &place, tags(repository, limit)).await {
        Probed::Found((paging, first)) => (Probed::Found(paging), first),
        Probed::NotAsked(why) => (Probed::NotAsked(why), None),
        Probed::Failed(error) => (Probed::Failed(error), None),
    };
    let selector = selector.cloned().or(first.map(Selector::Tag));
    let Some(selector) = selector else {
        let nothing = Digest::sha256_of(b"");
        return Content {
            tags,
            manifests: Probed::NotAsked(NotAsked::NeedsImage),
            ranges: Probed::NotAsked(NotAsked::NeedsImage),
            referrers: answered(limit, &place, referrers(repository, &nothing)).await,
        };
    };
    let manifest = answered(limit, &place, repository.get_manifest(&selector)).await;
    let manifest = match manifest {
        Probed::Found(manifest) => manifest,
        Probed::NotAsked(why) => {
            return Content {
                tags,
                ..Content::not_asked(why)
            };
        }
        Probed::Failed(error) => {
            return Content {
                tags,
                manifests: Probed::Failed(error),
                ..Content::not_asked(NotAsked::NeedsImage)
            };
        }
    };
    let headers = answered(limit, &place, headers(repository, &selector, &manifest));
    let referrers = answered(limit, &place, referrers(repository, manifest.digest()));
    let ranges = answered(limit, &place, ranges(repository, &manifest, limit));
    let (headers, referrers, ranges) = tokio::join!(headers, referrers, ranges);
    Content {
        tags,
        manifests: headers,
        ranges: match ranges {
            Probed::Found(Some(found)) => Probed::Found(found),
            Probed::Found(None) => Probed::NotAsked(NotAsked::NeedsImage),
            Probed::NotAsked(why) => Probed::NotAsked(why),
            Probed::Failed(error) => Probed::Failed(error),
        },
        referrers,
    }
}

/// How the tags are listed, and one of them.
async fn tags(
    repository: &Repository,
    limit: Duration,
) -> Result<(Paging, Option<Tag>), RegistryError> {
    let url = repository.url("tags", &"list").await?;
    let place = repository.to_string();
    let read = |body: &Bytes| read_tags(body).map(|page| names(&page));
    let (paging, first) = paging(repository.connection(), &place, url, read, limit).await?;
    Ok((paging, first.and_then(|name| name.parse().ok())))
}

/// The usable names of a page.
fn names<T: ToString>(page: &Page<T>) -> Vec<String> {
    page.entries.iter().map(ToString::to_string).collect()
}

/// Asks for a page of one entry, and where nothing leads on from it, for what stands behind that one. Gives the first
/// entry, too.
async fn paging(
    connection: &Connection,
    place: &str,
    mut url: Url,
    read: impl Fn(&Bytes) -> Option<Vec<String>>,
    limit: Duration,
) -> Result<(Paging, Option<String>), RegistryError> {
    let page = async |url: &Url| {
        let call = Call::new("probe_list", Method::GET, url.clone())
            .whole_body(MAX_PAGE)
            .deadline(limit);
        let response = connection.send(call, place).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let reasons = reasons(response).await;
            return match status {
                StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED => Ok(Err(status)),
                status => Err(refusal(place, status, reasons)),
            };
        }
        let headers = response.headers().clone();
        let body = response.bytes(MAX_PAGE).await;
        let body = body.map_err(|source| transport(place, source))?;
        let names = read(&body).ok_or_else(|| RegistryError::InvalidResponse {
            repository: place.to_owned(),
            reason: "its list is not in the form of the specification",
        })?;
        // A link that nobody may follow leads nowhere.
        let leads_on = matches!(links::next(url, &headers), Ok(Some(_)));
        Ok(Ok((names, leads_on)))
    };
    url.set_query(Some("n=1"));
    let (names, leads_on) = match page(&url).await? {
        Ok(found) => found,
        Err(status) => return Ok((Paging::Refused { status }, None)),
    };
    let first = names.first().cloned();
    let paging = match (names.len(), &first) {
        (2.., _) => Paging::AllAtOnce {
            entries: names.len(),
        },
        _ if leads_on => Paging::Links,
        (_, Some(last)) => {
            url.query_pairs_mut().append_pair("last", last);
            match page(&url).await? {
                Ok((behind, _)) if behind.iter().any(|name| name != last) => Paging::WithoutLinks,
                _ => Paging::TooFew,
            }
        }
        _ => Paging::TooFew,
    };
    Ok((paging, first))
}

/// What the registry says beside this manifest.
async fn headers(
    repository: &Repository,
    selector: &Selector,
    manifest: &Raw<Manifest>,
) -> Result<ManifestHeaders, RegistryError> {
    let types = &MediaType::MANIFESTS;
    let alone = repository.ask("probe_manifest", Method::HEAD, selector, types);
    let alone = alone.await?;
    let head = alone.status() == StatusCode::OK;
    let said = if head {
        said_digest(alone.headers())
    } else {
        said_digest(&repository.fetch_manifest(selector).await?.headers)
    };
    let digest = match said {
        None => DigestHeader::Missing,
        Some(said) if said.algorithm() != manifest.digest().algorithm() => DigestHeader::Right,
        Some(said) if said == *manifest.digest() => DigestHeader::Right,
        Some(_) => DigestHeader::Wrong,
    };
    Ok(ManifestHeaders { head, digest })
}

/// Who keeps the list of what refers to this manifest.
async fn referrers(
    repository: &Repository,
    subject: &Digest,
) -> Result<ReferrersList, RegistryError> {
    let mut url = repository.url("referrers", subject).await?;
    url.query_pairs_mut()
        .append_pair("artifactType", MediaType::OCI_EMPTY.as_str());
    let response = repository
        .send("probe_referrers", Method::GET, &url, accepting_index())
        .await?;
    match response.status() {
        StatusCode::OK if is_index(response.headers()) => Ok(ReferrersList::Registry {
            filters: applied_filter(response.headers()),
        }),
        StatusCode::OK
        | StatusCode::NOT_FOUND
        | StatusCode::BAD_REQUEST
        | StatusCode::NOT_ACCEPTABLE
        | StatusCode::METHOD_NOT_ALLOWED => {
            let status = response.status();
            let reasons = reasons(response).await;
            // The registry knows the question and has no such repository.
            if status == StatusCode::NOT_FOUND && reasons.has_any(&["NAME_UNKNOWN"]) {
                return Err(RegistryError::RepositoryNotFound {
                    repository: repository.to_string(),
                    reasons,
                });
            }
            Ok(ReferrersList::FallbackTag)
        }
        _ => Err(repository.refused(response).await),
    }
}

/// Asks for a part of the smallest blob. `None` where there is none that has parts.
async fn ranges(
    repository: &Repository,
    manifest: &Raw<Manifest>,
    limit: Duration,
) -> Result<Option<Ranges>, RegistryError> {
    let Some(blob) = small_blob(repository, manifest).await? else {
        return Ok(None);
    };
    let url = repository.url("blobs", &blob.digest).await?;
    let root = Origin::of(&url);
    let last = blob.size.saturating_sub(1).min(MAX_PART);
    let range = HeaderValue::from_str(&format!("bytes=1-{last}"))
        .map_err(|_| repository.unusable("the range cannot stand in a header"))?;
    let call = Call::new("probe_blob", Method::GET, url)
        .headers(HeaderMap::from_iter([(RANGE, range)]))
        .deadline(limit);
    // The body is not read: the headers say it.
    let response = repository.call(call).await?;
    Ok(Some(match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            let given = ContentRange::of(response.headers());
            let right = given.is_some_and(|given| {
                given.start() == 1
                    && given.end() == last
                    && given.total().is_none_or(|total| total == blob.size)
            });
            let from = Origin::of(response.url()).filter(|origin| Some(origin) != root.as_ref());
            if right {
                Ranges::Honoured {
                    from: from.map(|origin| printable(&origin.to_string())),
                }
            } else {
                Ranges::Wrong
            }
        }
        StatusCode::OK => Ranges::Ignored,
        status @ (StatusCode::RANGE_NOT_SATISFIABLE
        | StatusCode::BAD_REQUEST
        | StatusCode::NOT_IMPLEMENTED) => Ranges::Refused { status },
        _ => return Err(repository.refused(response).await),
    }))
}

/// The smallest blob of an image that has at least two bytes.
async fn small_blob(
    repository: &Repository,
    manifest: &Raw<Manifest>,
) -> Result<Option<Descriptor>, RegistryError> {
    let mut manifest = manifest.clone();
    for _ in 0..MAX_DEPTH {
        let Some(index) = manifest.value().as_index() else {
            let blobs = manifest.value().children().into_iter();
            let here = blobs.filter(|blob| blob.urls.is_empty() && blob.size > 1);
            return Ok(here.min_by_key(|blob| blob.size).cloned());
        };
        let Some(child) = index.manifests.first() else {
            return Ok(None);
        };
        let selector = Selector::Digest(child.digest.clone());
        manifest = repository.get_manifest(&selector).await?;
    }
    Ok(None)
}
