//! What refers to a manifest: signatures, attestations and the like.
//!
//! A registry may keep the list itself; where it does not, the list is an index under a tag that is named after the
//! manifest (distribution-spec 1.1, "Referrers Tag Schema"), and clients keep it.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use peak_oci::{Descriptor, Digest, Index, Manifest, MediaType, Raw, Selector, Tag};
use url::Url;

use crate::connection::reasons;
use crate::links;
use crate::pages::LoopGuard;
use crate::{RegistryError, Repository};

/// Longest list that is read, in bytes.
const MAX_LIST: u64 = 4 * 1024 * 1024;

/// How often a list under a fallback tag is written again when others write it at the same time.
const MAX_TRIES: usize = 5;

/// The filters that the registry has already applied.
const FILTERS_HEADER: &str = "oci-filters-applied";

impl Repository {
    /// What refers to the manifest with this digest; only what is of the artifact type where one is given. The
    /// registry is asked first, then the list under the fallback tag. A manifest that nothing refers to, or that is
    /// not there, has none.
    ///
    /// The stream ends after the first error.
    pub fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
    ) -> impl Stream<Item = Result<Descriptor, RegistryError>> + Send + use<> {
        let walk = Walk {
            repository: self.clone(),
            subject: subject.clone(),
            artifact_type: artifact_type.cloned(),
            next: Next::First,
            guard: LoopGuard::default(),
        };
        stream::try_unfold(walk, |mut walk| async move {
            let page = walk.page().await?;
            Ok::<_, RegistryError>(page.map(|page| (page, walk)))
        })
        .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
        .try_flatten()
    }

    /// Puts a manifest into the list of its subject's referrers under the fallback tag: read, merge, write, and read
    /// again, since others may have written in between.
    pub(crate) async fn add_referrer(&self, manifest: &Raw<Manifest>) -> Result<(), RegistryError> {
        let Some(subject) = manifest.value().subject() else {
            return Ok(());
        };
        let mut entry = manifest.descriptor();
        entry.artifact_type = manifest.value().artifact_type().cloned();
        entry.annotations.clone_from(manifest.value().annotations());
        let tag = Tag::of_referrers(&subject.digest)
            .ok_or_else(|| self.unusable("the subject's digest cannot be a tag"))?;
        for _ in 0..MAX_TRIES {
            let list = self.fallback_list(&tag).await?;
            let mut index = entries(list);
            if index
                .manifests
                .iter()
                .any(|known| known.digest == entry.digest)
            {
                return Ok(());
            }
            index.manifests.push(entry.clone());
            self.put_list(&index, &tag).await?;
        }
        Err(RegistryError::ReferrersChanged {
            repository: self.to_string(),
            subject: subject.digest.clone(),
        })
    }

    /// Takes a deleted manifest out of the list of its subject's referrers under the fallback tag, where the registry
    /// does not keep the list itself.
    pub(crate) async fn remove_referrer(
        &self,
        subject: &Digest,
        deleted: &Digest,
    ) -> Result<(), RegistryError> {
        let Some(tag) = Tag::of_referrers(subject) else {
            return Ok(());
        };
        if self.keeps_referrers(subject).await? {
            return Ok(());
        }
        for _ in 0..MAX_TRIES {
            let Some(list) = self.fallback_list(&tag).await? else {
                return Ok(());
            };
            let digest = list.digest().clone();
            let mut index = entries(Some(list));
            let before = index.manifests.len();
            index.manifests.retain(|entry| entry.digest != *deleted);
            if index.manifests.len() == before {
                return Ok(());
            }
            if index.manifests.is_empty() {
                // By digest: a list that somebody else writes meanwhile is another one and stays.
                match self.delete_just_manifest(&digest).await {
                    Err(RegistryError::DeleteUnsupported { .. }) => {}
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => continue,
                }
            }
            self.put_list(&index, &tag).await?;
        }
        Err(RegistryError::ReferrersChanged {
            repository: self.to_string(),
            subject: subject.clone(),
        })
    }

    /// Whether the registry keeps lists of referrers.
    async fn keeps_referrers(&self, subject: &Digest) -> Result<bool, RegistryError> {
        let url = self.url("referrers", subject).await?;
        let response = self
            .send("get_referrers", Method::GET, &url, accepting_index())
            .await?;
        Ok(response.status() == StatusCode::OK && is_index(response.headers()))
    }

    /// The list under the fallback tag, if there is one.
    async fn fallback_list(&self, tag: &Tag) -> Result<Option<Raw<Manifest>>, RegistryError> {
        match self.get_manifest(&Selector::Tag(tag.clone())).await {
            Ok(manifest) if manifest.value().as_index().is_some() => Ok(Some(manifest)),
            Ok(_) => Err(self.unusable("what stands under the tag for referrers is no index")),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put_list(&self, index: &Index, tag: &Tag) -> Result<(), RegistryError> {
        let index = index
            .to_raw()
            .map_err(|_| self.unusable("the list of referrers cannot be written"))?;
        let selector = Selector::Tag(tag.clone());
        self.put_manifest(&index, &selector).await.map(drop)
    }
}

enum Next {
    First,
    Page(Url),
    End,
}

struct Walk {
    repository: Repository,
    subject: Digest,
    artifact_type: Option<MediaType>,
    next: Next,
    guard: LoopGuard,
}

impl Walk {
    async fn page(&mut self) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let (url, is_first) = match std::mem::replace(&mut self.next, Next::End) {
            Next::First => (self.first().await?, true),
            Next::Page(url) => (url, false),
            Next::End => return Ok(None),
        };
        if !self.guard.is_new(&url) {
            return Err(self
                .repository
                .unusable("its list of referrers leads back to a page that was there before"));
        }
        let response = self
            .repository
            .send("get_referrers", Method::GET, &url, accepting_index())
            .await?;
        let is_list = response.status() == StatusCode::OK && is_index(response.headers());
        if !is_list {
            let status = response.status();
            let reasons = reasons(response).await;
            let has_none = is_first
                && matches!(
                    status,
                    StatusCode::OK
                        | StatusCode::NOT_FOUND
                        | StatusCode::BAD_REQUEST
                        | StatusCode::NOT_ACCEPTABLE
                        | StatusCode::METHOD_NOT_ALLOWED
                );
            return match status {
                // The registry knows the question and has no such repository.
                StatusCode::NOT_FOUND if reasons.has_any(&["NAME_UNKNOWN"]) => {
                    Err(RegistryError::RepositoryNotFound {
                        repository: self.repository.to_string(),
                        reasons,
                    })
                }
                _ if has_none => self.fallback().await.map(Some),
                StatusCode::OK => Err(self
                    .repository
                    .unusable("its list of referrers is no index")),
                status => Err(self.repository.refusal(status, reasons)),
            };
        }
        let headers = response.headers().clone();
        let body = response
            .bytes(MAX_LIST)
            .await
            .map_err(|source| self.repository.transport(source))?;
        let found = self.read(body)?;
        let following = links::next(&url, &headers).map_err(|_| {
            self.repository
                .unusable("its list of referrers goes on elsewhere")
        })?;
        if let Some(next) = following.filter(|_| !found.is_empty()) {
            self.next = Next::Page(next);
        }
        Ok(Some(if applied_filter(&headers) {
            found
        } else {
            self.filter(found)
        }))
    }

    async fn first(&self) -> Result<Url, RegistryError> {
        let mut url = self.repository.url("referrers", &self.subject).await?;
        if let Some(artifact_type) = &self.artifact_type {
            url.query_pairs_mut()
                .append_pair("artifactType", artifact_type.as_str());
        }
        Ok(url)
    }

    fn read(&self, body: Bytes) -> Result<Vec<Descriptor>, RegistryError> {
        let index =
            Manifest::parse(body, Some(MediaType::OCI_INDEX.as_str())).map_err(|source| {
                RegistryError::InvalidManifest {
                    repository: self.repository.to_string(),
                    selector: format!("the referrers of {}", self.subject),
                    source,
                }
            })?;
        match index.into_value() {
            Manifest::Index(index) => Ok(index.manifests),
            _ => Err(self
                .repository
                .unusable("its list of referrers is no index")),
        }
    }

    async fn fallback(&self) -> Result<Vec<Descriptor>, RegistryError> {
        let Some(tag) = Tag::of_referrers(&self.subject) else {
            return Ok(Vec::new());
        };
        let list = self.repository.fallback_list(&tag).await?;
        Ok(self.filter(entries(list).manifests))
    }

    fn filter(&self, mut found: Vec<Descriptor>) -> Vec<Descriptor> {
        if let Some(wanted) = &self.artifact_type {
            found.retain(|descriptor| descriptor.artifact_type.as_ref() == Some(wanted));
        }
        found
    }
}

/// The index of a list; an empty one where there is no list.
fn entries(list: Option<Raw<Manifest>>) -> Index {
    match list.map(Raw::into_value) {
        Some(Manifest::Index(index)) => index,
        _ => Index::new(Vec::new()),
    }
}

/// Whether the registry has given only what is of the artifact type that it was asked for.
pub(crate) fn applied_filter(headers: &HeaderMap) -> bool {
    headers.get_all(FILTERS_HEADER).iter().any(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',')
                .any(|filter| filter.trim().eq_ignore_ascii_case("artifactType"))
        })
    })
}

pub(crate) fn accepting_index() -> HeaderMap {
    let accept = HeaderValue::from_static("application/vnd.oci.image.index.v1+json");
    HeaderMap::from_iter([(ACCEPT, accept)])
}

pub(crate) fn is_index(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| MediaType::from_content_type(text).ok())
        .is_some_and(|media_type| media_type == MediaType::OCI_INDEX)
}
