//! Lists of tags and of repositories.

use bytes::Bytes;
use futures_util::{Stream, TryFutureExt as _, TryStreamExt as _, stream};
use peak_oci::{RepositoryName, Tag};
use serde::Deserialize;

use crate::client::Registry;
use crate::pages::{List, Page};
use crate::{RegistryError, Repository};

impl Repository {
    /// All tags of the repository, page by page as they are asked for, in the registry's order (which the
    /// specification wants to be the lexical one). Entries that are no tags are skipped.
    ///
    /// The stream ends after the first error: [`RegistryError::RepositoryNotFound`] where there is no such
    /// repository, and whatever a request can meet.
    pub fn get_repository_tags(
        &self,
    ) -> impl Stream<Item = Result<Tag, RegistryError>> + Send + use<> {
        self.tags_from(None)
    }

    /// As [`get_repository_tags`](Self::get_repository_tags), those behind this one. A registry that does not know how
    /// to begin in the middle gives all (distribution before version 3).
    pub fn get_repository_tags_after(
        &self,
        last: &Tag,
    ) -> impl Stream<Item = Result<Tag, RegistryError>> + Send + use<> {
        self.tags_from(Some(last))
    }

    fn tags_from(
        &self,
        last: Option<&Tag>,
    ) -> impl Stream<Item = Result<Tag, RegistryError>> + Send + use<> {
        let list = List {
            connection: self.connection().clone(),
            operation: "get_repository_tags",
            place: self.to_string(),
            read: read_tags,
        };
        let (repository, last) = (self.clone(), last.cloned());
        let first = async move {
            let mut url = repository.url("tags", &"list").await?;
            url.query_pairs_mut()
                .append_pair("n", &repository.connection().page_size().to_string());
            if let Some(last) = last {
                url.query_pairs_mut().append_pair("last", last.as_str());
            }
            Ok(url)
        };
        started(first, list)
    }
}

impl Registry {
    /// The repositories of a registry, page by page as they are asked for. Many registries do not tell; Docker Hub and
    /// Quay are among them. Names that are none are skipped.
    ///
    /// The stream ends after the first error.
    pub fn catalog(
        &self,
        registry: &str,
    ) -> impl Stream<Item = Result<RepositoryName, RegistryError>> + Send + use<> {
        let connection = self.connection(registry);
        let asked = connection.clone();
        let first = async move {
            let mut url = asked.root().await?;
            url.set_path("/v2/_catalog");
            url.query_pairs_mut()
                .append_pair("n", &asked.page_size().to_string());
            Ok(url)
        };
        let list = List {
            place: connection.host.name().to_owned(),
            connection,
            operation: "get_catalog",
            read: read_catalog,
        };
        started(first, list)
    }
}

/// The walk, or the one error that the first URL is.
fn started<T: Send + 'static>(
    first: impl Future<Output = Result<url::Url, RegistryError>> + Send,
    list: List<T>,
) -> impl Stream<Item = Result<T, RegistryError>> + Send {
    stream::once(first.map_ok(|url| list.walk(url))).try_flatten()
}

/// `{"name": …, "tags": […]}`; `null` is an empty list.
pub(crate) fn read_tags(body: &Bytes) -> Option<Page<Tag>> {
    #[derive(Deserialize)]
    struct Tags {
        #[serde(default)]
        tags: Option<Vec<String>>,
    }
    let page: Tags = object(body)?;
    Some(valid(page.tags))
}

/// The same of repositories.
pub(crate) fn read_catalog(body: &Bytes) -> Option<Page<RepositoryName>> {
    #[derive(Deserialize)]
    struct Catalog {
        #[serde(default)]
        repositories: Option<Vec<String>>,
    }
    let page: Catalog = object(body)?;
    Some(valid(page.repositories))
}

/// An object; a list would do for a struct, too.
fn object<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Option<T> {
    let is_object = body.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(body).ok())?
}

/// The names that are valid; the others are of no use to anybody, which the log says.
fn valid<T: std::str::FromStr>(names: Option<Vec<String>>) -> Page<T> {
    let names = names.unwrap_or_default();
    let read = |name: &String| {
        let entry = name.parse().ok();
        if entry.is_none() {
            tracing::warn!(
                name = %name.escape_debug().take(200).collect::<String>(),
                "a name that the registry lists is not valid and is left out"
            );
        }
        entry
    };
    Page {
        entries: names.iter().filter_map(read).collect(),
        is_empty: names.is_empty(),
    }
}
