//! Lists that come in pages (`spec/peak-api.md`, "Pagination").

use std::future::Future;

use futures_core::Stream;
use futures_util::stream;

use crate::error::Error;

/// Most pages that one walk asks for; a server that always promises one more ends here.
pub const MAX_PAGES: u64 = 100_000;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// How many pages there are, as far as the service says.
    pub page_count: Option<u64>,
}

impl<T> Page<T> {
    /// A page.
    pub fn new(items: Vec<T>, page_count: Option<u64>) -> Self {
        Self { items, page_count }
    }
}

/// All items of a list, page by page from the first; `fetch` asks for the page of a number, counted
/// from 1. The next page is asked for only when the items of the one before are used up.
///
/// The walk goes on to the page count of the latest answer, since lists change while they are
/// walked, and ends early at an empty page. Where the service does not say how many pages there
/// are, it goes on until an empty page. It ends after the first error.
pub fn items<T, F, A>(fetch: F) -> impl Stream<Item = Result<T, Error>>
where
    F: FnMut(u64) -> A,
    A: Future<Output = Result<Page<T>, Error>>,
{
    let walk = Walk {
        fetch,
        items: Vec::new().into_iter(),
        next_page: Some(1),
    };
    stream::try_unfold(walk, |mut walk| async move {
        loop {
            if let Some(item) = walk.items.next() {
                return Ok(Some((item, walk)));
            }
            let Some(number) = walk.next_page else {
                return Ok(None);
            };
            if number > MAX_PAGES {
                return Err(Error::TooManyPages { limit: MAX_PAGES });
            }
            let page = (walk.fetch)(number).await?;
            let is_last =
                page.items.is_empty() || page.page_count.is_some_and(|count| number >= count);
            walk.next_page = (!is_last).then_some(number + 1);
            walk.items = page.items.into_iter();
        }
    })
}

struct Walk<T, F> {
    fetch: F,
    items: std::vec::IntoIter<T>,
    next_page: Option<u64>,
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::ready;

    use futures_util::{StreamExt, TryStreamExt};

    use super::*;

    /// Walks over prepared answers; gives the items and the numbers of the pages asked for.
    fn walk(answers: &[(&[u32], Option<u64>)]) -> (Vec<u32>, Vec<u64>) {
        let asked = RefCell::new(Vec::new());
        let items = futures_util::FutureExt::now_or_never(
            items(|number| {
                asked.borrow_mut().push(number);
                let (items, count) = answers[usize::try_from(number).unwrap() - 1];
                ready(Ok(Page::new(items.to_vec(), count)))
            })
            .try_collect::<Vec<_>>(),
        );
        (items.unwrap().unwrap(), asked.into_inner())
    }

    #[test]
    fn walks_to_the_page_count_of_the_latest_answer() {
        assert_eq!(walk(&[(&[1, 2], Some(1))]), (vec![1, 2], vec![1]));
        let grew: &[(&[u32], _)] = &[(&[1], Some(2)), (&[2], Some(3)), (&[3], Some(3))];
        assert_eq!(walk(grew), (vec![1, 2, 3], vec![1, 2, 3]));
        let shrank: &[(&[u32], _)] = &[(&[1], Some(3)), (&[2], Some(2))];
        assert_eq!(walk(shrank), (vec![1, 2], vec![1, 2]));
    }

    #[test]
    fn an_empty_page_is_the_end() {
        assert_eq!(walk(&[(&[], Some(0))]), (vec![], vec![1]));
        assert_eq!(
            walk(&[(&[1], Some(9)), (&[], Some(9))]),
            (vec![1], vec![1, 2])
        );
        assert_eq!(walk(&[(&[1], None), (&[], None)]), (vec![1], vec![1, 2]));
    }

    #[test]
    fn an_error_ends_the_walk() {
        let mut answers = vec![
            Err(Error::InvalidRequest {
                message: "no".to_owned(),
            }),
            Ok(Page::new(vec![1], Some(2))),
        ];
        let walk = items(|_| ready(answers.pop().unwrap()));
        let all = futures_util::FutureExt::now_or_never(walk.collect::<Vec<_>>()).unwrap();
        assert!(matches!(
            all.as_slice(),
            [Ok(1), Err(Error::InvalidRequest { .. })]
        ));
    }

    #[test]
    fn a_list_without_an_end_is_an_error() {
        let walk = items(|number| ready(Ok(Page::new(vec![()], Some(number + 1)))));
        let all = futures_util::FutureExt::now_or_never(walk.try_for_each(|()| ready(Ok(()))));
        assert!(matches!(all, Some(Err(Error::TooManyPages { .. }))));
    }
}
