//! Lists that come in pages, walked one page at a time.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use crate::RegistryError;
use crate::connection::{Call, Connection, reasons, transport};
use crate::links::{self, LinkError};

/// How many entries are asked for unless something else is wanted; some registries refuse more than 1000.
pub(crate) const PAGE_SIZE: NonZeroU32 = match NonZeroU32::new(1000) {
    Some(size) => size,
    None => NonZeroU32::MIN,
};

/// Longest page that is read, in bytes.
pub(crate) const MAX_PAGE: u64 = 8 * 1024 * 1024;

/// Most pages of one list.
const MAX_PAGES: u64 = 1_000_000;

/// A list: where it starts, and how its pages are read.
pub(crate) struct List<T> {
    pub(crate) connection: Connection,
    pub(crate) operation: &'static str,
    /// What errors call the other side.
    pub(crate) place: String,
    /// What stands in a page, given its body.
    pub(crate) read: fn(&Bytes) -> Option<Page<T>>,
}

/// What stands in a page.
pub(crate) struct Page<T> {
    /// The entries that can be used
    pub(crate) entries: Vec<T>,
    /// Whether it had no entries at all: the end, whatever it links to
    pub(crate) is_empty: bool,
}

impl<T: Send + 'static> List<T> {
    /// All entries from the page at this URL on. Ends after the last page, an empty page, or an error.
    pub(crate) fn walk(self, first: Url) -> impl Stream<Item = Result<T, RegistryError>> + Send {
        let walk = Walk {
            list: self,
            next: Some(first),
            entries: VecDeque::new(),
            guard: LoopGuard::default(),
        };
        stream::try_unfold(walk, |mut walk| async move {
            loop {
                if let Some(entry) = walk.entries.pop_front() {
                    return Ok(Some((entry, walk)));
                }
                let Some(url) = walk.next.take() else {
                    return Ok(None);
                };
                walk.page(url).await?;
            }
        })
    }

    fn unusable(&self, reason: &'static str) -> RegistryError {
        RegistryError::InvalidResponse {
            repository: self.place.clone(),
            reason,
        }
    }
}

struct Walk<T> {
    list: List<T>,
    next: Option<Url>,
    entries: VecDeque<T>,
    guard: LoopGuard,
}

impl<T: Send + 'static> Walk<T> {
    async fn page(&mut self, url: Url) -> Result<(), RegistryError> {
        let list = &self.list;
        if !self.guard.is_new(&url) {
            return Err(list.unusable("its list leads back to a page that was there before"));
        }
        let call = Call::new(list.operation, Method::GET, url.clone()).whole_body(MAX_PAGE);
        let response = list.connection.send(call, &list.place).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            let reasons = reasons(response).await;
            return Err(if status == StatusCode::NOT_FOUND {
                RegistryError::RepositoryNotFound {
                    repository: list.place.clone(),
                    reasons,
                }
            } else {
                crate::connection::refusal(&list.place, status, reasons)
            });
        }
        let headers = response.headers().clone();
        let body = response
            .bytes(MAX_PAGE)
            .await
            .map_err(|source| transport(&list.place, source))?;
        let page = (list.read)(&body)
            .ok_or_else(|| list.unusable("its list is not in the form of the specification"))?;
        // Some registries link on from an empty page for ever.
        self.next = if page.is_empty {
            None
        } else {
            following(list, &url, &headers)?
        };
        self.entries = page.entries.into();
        Ok(())
    }
}

fn following<T: Send + 'static>(
    list: &List<T>,
    page: &Url,
    headers: &HeaderMap,
) -> Result<Option<Url>, RegistryError> {
    links::next(page, headers).map_err(|error| {
        list.unusable(match error {
            LinkError::Elsewhere => "its list goes on at another server, where nobody is asked",
            LinkError::Unreadable => "the link to the next page of its list cannot be read",
        })
    })
}

/// Notices pages that come again, in constant memory: each page is compared with an earlier one that moves on at the
/// powers of two (Brent's algorithm).
#[derive(Default)]
pub(crate) struct LoopGuard {
    seen: Option<Url>,
    count: u64,
    moves_at: u64,
}

impl LoopGuard {
    pub(crate) fn is_new(&mut self, url: &Url) -> bool {
        if self.seen.as_ref() == Some(url) || self.count >= MAX_PAGES {
            return false;
        }
        self.count += 1;
        if self.count > self.moves_at {
            self.moves_at = self.count.saturating_mul(2);
            self.seen = Some(url.clone());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_of_any_length_are_noticed() {
        for (before, length) in [(0, 1), (0, 2), (5, 1), (7, 10), (100, 33)] {
            let mut guard = LoopGuard::default();
            let mut asked = 0_u64;
            loop {
                let page = if asked < before {
                    asked
                } else {
                    before + (asked - before) % length
                };
                let url = Url::parse(&format!("https://r.example/?page={page}")).unwrap();
                if !guard.is_new(&url) {
                    break;
                }
                asked += 1;
                assert!(asked < 1000, "{before} {length}");
            }
            assert!(asked >= before + length);
        }
    }

    #[test]
    fn new_pages_are_no_loop() {
        let mut guard = LoopGuard::default();
        for page in 0..5000 {
            let url = Url::parse(&format!("https://r.example/?page={page}")).unwrap();
            assert!(guard.is_new(&url));
        }
    }
}
