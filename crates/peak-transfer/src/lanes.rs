//! Which blob is next: large and small ones in two lanes, so that neither waits for all of the other. No I/O.
//!
//! Large ones first would leave hundreds of small ones, each of which is all latency, for the end; small ones first
//! would begin the largest one last, and then everybody waits for it. So the largest is begun first, and one place is
//! kept for small ones as long as there are some.
//!
//! A source whose blobs stream by one after another is followed: one at a time, in its order.

use std::collections::{HashMap, VecDeque};

use peak_oci::{Descriptor, Digest};

/// From this size a blob takes longer to move than to ask for, on most networks.
pub(crate) const LARGE: u64 = 1024 * 1024;

/// Blobs that wait for their turn.
#[derive(Debug)]
pub(crate) struct Lanes<'a> {
    /// The largest first.
    large: VecDeque<&'a Descriptor>,
    /// In the order in which they are named.
    small: VecDeque<&'a Descriptor>,
    /// Places all together.
    places: usize,
    large_under_way: usize,
    small_under_way: usize,
}

impl<'a> Lanes<'a> {
    /// Sorts blobs into lanes; so many may be under way at once.
    pub(crate) fn new(blobs: &'a [Descriptor], places: usize) -> Self {
        let (mut large, small): (Vec<_>, Vec<_>) =
            blobs.iter().partition(|blob| blob.size >= LARGE);
        large.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        Self {
            large: large.into(),
            small: small.into(),
            places: places.max(1),
            large_under_way: 0,
            small_under_way: 0,
        }
    }

    /// One blob at a time, in this order; those that it does not name come before.
    pub(crate) fn in_order(blobs: &'a [Descriptor], order: &[Digest]) -> Self {
        let places: HashMap<&Digest, usize> = order.iter().zip(1..).collect();
        let mut lane: Vec<_> = blobs.iter().collect();
        lane.sort_by_key(|blob| places.get(&blob.digest));
        Self {
            large: lane.into(),
            small: VecDeque::new(),
            places: 1,
            large_under_way: 0,
            small_under_way: 0,
        }
    }

    /// The next one to begin, if there is a place for one.
    pub(crate) fn next(&mut self) -> Option<&'a Descriptor> {
        let under_way = self.large_under_way + self.small_under_way;
        if under_way >= self.places {
            return None;
        }
        // With one place only they take turns by size alone.
        let small_has_its_place = self.places == 1
            || self.small.is_empty()
            || self.small_under_way > 0
            || under_way + 1 < self.places;
        // Where something large is under way, further places go to what is next in either lane.
        let takes_large = !self.large.is_empty() && small_has_its_place;
        let next = if takes_large {
            self.large.pop_front()
        } else {
            self.small.pop_front()
        };
        let next = next.or_else(|| self.large.pop_front())?;
        *self.lane(next) += 1;
        Some(next)
    }

    /// One that was begun has ended.
    pub(crate) fn ended(&mut self, blob: &Descriptor) {
        let lane = self.lane(blob);
        *lane = lane.saturating_sub(1);
    }

    fn lane(&mut self, blob: &Descriptor) -> &mut usize {
        if blob.size >= LARGE {
            &mut self.large_under_way
        } else {
            &mut self.small_under_way
        }
    }
}

#[cfg(test)]
mod tests {
    use peak_oci::MediaType;
    use proptest::prelude::*;

    use super::*;

    fn blobs(sizes: &[u64]) -> Vec<Descriptor> {
        sizes
            .iter()
            .enumerate()
            .map(|(number, size)| {
                let digest = Digest::sha256_of(number.to_string().as_bytes());
                Descriptor::new(MediaType::OCI_LAYER, digest, *size)
            })
            .collect()
    }

    fn sizes(lanes: &mut Lanes<'_>) -> Vec<u64> {
        std::iter::from_fn(|| lanes.next())
            .map(|blob| blob.size)
            .collect()
    }

    #[test]
    fn the_largest_begin_first_and_one_place_is_for_small_ones() {
        let blobs = blobs(&[1, 2, LARGE, 9 * LARGE, 3 * LARGE, 2 * LARGE, 3]);
        let mut lanes = Lanes::new(&blobs, 4);
        assert_eq!(sizes(&mut lanes), [9 * LARGE, 3 * LARGE, 2 * LARGE, 1]);
        // The place of the small one goes to the next small one.
        lanes.ended(&blobs[0]);
        assert_eq!(sizes(&mut lanes), [2]);
        // The place of a large one goes to the next large one.
        lanes.ended(&blobs[3]);
        assert_eq!(sizes(&mut lanes), [LARGE]);
        lanes.ended(&blobs[1]);
        assert_eq!(sizes(&mut lanes), [3]);
    }

    #[test]
    fn all_places_are_used_where_there_is_one_kind_only() {
        let large = blobs(&[LARGE; 6]);
        assert_eq!(sizes(&mut Lanes::new(&large, 4)).len(), 4);
        let small = blobs(&[7; 6]);
        assert_eq!(sizes(&mut Lanes::new(&small, 4)).len(), 4);
        assert_eq!(sizes(&mut Lanes::new(&small, 0)), [7]);
    }

    #[test]
    fn a_source_that_streams_is_followed_one_by_one() {
        let blobs = blobs(&[3, LARGE, 1, 9 * LARGE]);
        let order = [&blobs[2], &blobs[3], &blobs[1]].map(|blob| blob.digest.clone());
        let mut lanes = Lanes::in_order(&blobs, &order);
        for expected in [&blobs[0], &blobs[2], &blobs[3], &blobs[1]] {
            assert_eq!(lanes.next(), Some(expected));
            assert_eq!(lanes.next(), None);
            lanes.ended(expected);
        }
        assert_eq!(lanes.next(), None);
    }

    proptest! {
        #[test]
        fn every_blob_gets_its_turn_and_no_lane_starves(
            list in proptest::collection::vec(prop_oneof![0..LARGE, LARGE..4 * LARGE], 0..40),
            places in 1_usize..6,
            picks in proptest::collection::vec(any::<usize>(), 40),
        ) {
            let blobs = blobs(&list);
            let mut lanes = Lanes::new(&blobs, places);
            let mut under_way: Vec<&Descriptor> = Vec::new();
            let mut seen = 0;
            for pick in picks {
                while let Some(next) = lanes.next() {
                    under_way.push(next);
                    seen += 1;
                }
                prop_assert!(under_way.len() <= places);
                let small = under_way.iter().filter(|blob| blob.size < LARGE).count();
                if places > 1 {
                    prop_assert!(lanes.small.is_empty() || small > 0);
                    prop_assert!(lanes.large.is_empty() || small < under_way.len());
                }
                if under_way.is_empty() {
                    break;
                }
                lanes.ended(under_way.swap_remove(pick % under_way.len()));
            }
            prop_assert_eq!(seen, blobs.len());
        }
    }
}
