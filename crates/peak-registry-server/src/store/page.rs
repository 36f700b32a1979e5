//! One page of a sorted listing, out of names that come in any order.

use std::collections::BinaryHeap;

/// A part of a sorted listing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The items, sorted.
    pub items: Vec<T>,
    /// Whether there are items after the last of these.
    pub more: bool,
}

/// Keeps the `limit` smallest of the items that sort after `last`.
///
/// Directories come in no order; a heap of the page's size sorts out a page in memory that does not
/// grow with the listing.
pub(crate) struct Collector<'a, T> {
    last: Option<&'a str>,
    limit: usize,
    smallest: BinaryHeap<T>,
    more: bool,
}

impl<'a, T: Ord + AsRef<str>> Collector<'a, T> {
    pub(crate) fn new(last: Option<&'a str>, limit: usize) -> Self {
        Self {
            last,
            limit,
            smallest: BinaryHeap::new(),
            more: false,
        }
    }

    /// Whether the item, as far as can be said now, belongs into the page.
    ///
    /// An item that it does not want needs no [`add`](Self::add), which saves looking it up.
    pub(crate) fn wants(&self, item: &T) -> bool {
        if self.last.is_some_and(|last| item.as_ref() <= last) {
            return false;
        }
        // Whether an item that does not fit really exists matters for `more` until one is known to.
        !(self.is_full() && self.more && self.smallest.peek().is_none_or(|largest| item > largest))
    }

    pub(crate) fn add(&mut self, item: T) {
        self.smallest.push(item);
        if self.smallest.len() > self.limit {
            self.smallest.pop();
            self.more = true;
        }
    }

    pub(crate) fn finish(self) -> Page<T> {
        Page {
            items: self.smallest.into_sorted_vec(),
            more: self.more,
        }
    }

    fn is_full(&self) -> bool {
        self.smallest.len() >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn page(names: &[String], last: Option<&str>, limit: usize) -> Page<String> {
        let mut collector = Collector::new(last, limit);
        for name in names {
            if collector.wants(name) {
                collector.add(name.clone());
            }
        }
        collector.finish()
    }

    #[test]
    fn a_page_of_none_says_whether_there_is_any() {
        assert_eq!(
            page(&["a".to_owned()], None, 0),
            Page {
                items: vec![],
                more: true
            }
        );
        assert_eq!(
            page(&[], None, 0),
            Page {
                items: vec![],
                more: false
            }
        );
    }

    proptest! {
        #[test]
        fn pages_put_together_are_the_sorted_listing(
            names in proptest::collection::btree_set("[a-c]{1,3}", 0..30),
            limit in 1_usize..8,
            seed in any::<u64>(),
        ) {
            let mut shuffled: Vec<String> = names.iter().cloned().collect();
            let length = shuffled.len().max(1);
            shuffled.rotate_left(usize::try_from(seed % length as u64).unwrap());
            let mut seen = Vec::new();
            loop {
                let last = seen.last().cloned();
                let next = page(&shuffled, last.as_deref(), limit);
                prop_assert!(next.items.len() <= limit);
                prop_assert!(!next.more || next.items.len() == limit);
                seen.extend(next.items);
                if !next.more { break; }
            }
            prop_assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names);
        }
    }
}
