//! Which manifests of a repository are reached, and in which order the others go.

use std::collections::{HashMap, HashSet, VecDeque};

use peak_oci::Digest;

use crate::store::garbage::uses::Key;

/// A manifest and what it says about others.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) digest: Digest,
    /// The manifests that it lists, and other content among them, which is nobody here.
    pub(crate) children: Vec<Key>,
    pub(crate) subject: Option<Key>,
}

/// The manifests of one repository and how they hang together.
#[derive(Debug, Default)]
pub(crate) struct Family {
    members: HashMap<Key, Member>,
    referrers: HashMap<Key, Vec<Key>>,
}

impl Family {
    pub(crate) fn add(&mut self, member: Member) {
        let key = Key::of(&member.digest);
        if let Some(subject) = member.subject {
            self.referrers.entry(subject).or_default().push(key);
        }
        self.members.insert(key, member);
    }

    pub(crate) fn digest(&self, key: Key) -> Option<&Digest> {
        self.members.get(&key).map(|member| &member.digest)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Everything that those not among `removed` list.
    pub(crate) fn children_without(&self, removed: &HashSet<Key>) -> HashSet<Key> {
        self.members
            .iter()
            .filter(|(key, _)| !removed.contains(key))
            .flat_map(|(_, member)| member.children.iter().copied())
            .collect()
    }

    /// `roots`, what they list, what refers to any of them, and so on.
    pub(crate) fn reached(&self, roots: impl IntoIterator<Item = Key>) -> HashSet<Key> {
        let mut reached = HashSet::new();
        let mut open: Vec<Key> = roots.into_iter().collect();
        while let Some(key) = open.pop() {
            let Some(member) = self.members.get(&key) else {
                continue;
            };
            if reached.insert(key) {
                open.extend(&member.children);
                open.extend(self.referrers.get(&key).into_iter().flatten());
            }
        }
        reached
    }

    /// All but the `reached` ones, in the order in which they may go: what lists another before that, so
    /// that at no time something is there whose parts are not; and a subject before what refers to it.
    pub(crate) fn unreached(&self, reached: &HashSet<Key>) -> Vec<Key> {
        let mut parents: HashMap<Key, usize> = HashMap::new();
        let mut subjects: HashMap<Key, usize> = HashMap::new();
        let mut waiting: Vec<Key> = self
            .members
            .keys()
            .filter(|key| !reached.contains(key))
            .copied()
            .collect();
        waiting.sort_unstable();
        let goes = |key: &Key| self.members.contains_key(key) && !reached.contains(key);
        for member in waiting.iter().filter_map(|key| self.members.get(key)) {
            for child in member.children.iter().filter(|child| goes(child)) {
                *parents.entry(*child).or_default() += 1;
            }
            if member.subject.as_ref().is_some_and(goes) {
                *subjects.entry(Key::of(&member.digest)).or_default() += 1;
            }
        }
        let mut order = Vec::with_capacity(waiting.len());
        let mut done = HashSet::new();
        let mut ready: VecDeque<Key> = waiting
            .iter()
            .filter(|key| !parents.contains_key(key) && !subjects.contains_key(key))
            .copied()
            .collect();
        loop {
            let next = ready.pop_front().or_else(|| {
                // An index may list its own subject: then the referrer goes first. Listing alone has no
                // circles, as a digest cannot be known before what it is of.
                waiting
                    .iter()
                    .find(|key| !done.contains(*key) && !parents.contains_key(key))
                    .copied()
            });
            let Some(key) = next else {
                return order;
            };
            if !done.insert(key) {
                continue;
            }
            order.push(key);
            let children = self.members.get(&key).map(|member| &member.children);
            let children = children.into_iter().flatten().filter(|key| goes(key));
            for child in children {
                if release(&mut parents, *child) && !subjects.contains_key(child) {
                    ready.push_back(*child);
                }
            }
            for referrer in self.referrers.get(&key).into_iter().flatten() {
                if release(&mut subjects, *referrer) && !parents.contains_key(referrer) {
                    ready.push_back(*referrer);
                }
            }
        }
    }
}

/// Counts one hindrance less. Returns whether it was the last.
fn release(hindrances: &mut HashMap<Key, usize>, key: Key) -> bool {
    match hindrances.get_mut(&key) {
        Some(1) => {
            hindrances.remove(&key);
            true
        }
        Some(count) => {
            *count -= 1;
            false
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::sha256_of(name.as_bytes())
    }

    fn key(name: &str) -> Key {
        Key::of(&digest(name))
    }

    fn family(members: &[(&str, &[&str], Option<&str>)]) -> Family {
        let mut family = Family::default();
        for (name, children, subject) in members {
            family.add(Member {
                digest: digest(name),
                children: children.iter().map(|child| key(child)).collect(),
                subject: subject.map(key),
            });
        }
        family
    }

    fn keys(names: &[&str]) -> HashSet<Key> {
        names.iter().map(|name| key(name)).collect()
    }

    #[test]
    fn a_tag_reaches_through_indexes_and_to_what_refers() {
        let family = family(&[
            ("index", &["image", "layer"], None),
            ("image", &[], None),
            ("signature", &[], Some("image")),
            ("signature of the signature", &[], Some("signature")),
            ("other", &[], None),
            ("about nothing", &[], Some("never pushed")),
        ]);
        let reached = family.reached([key("index"), key("not here")]);
        assert_eq!(
            reached,
            keys(&["index", "image", "signature", "signature of the signature"])
        );
        assert_eq!(
            family
                .unreached(&reached)
                .into_iter()
                .collect::<HashSet<_>>(),
            keys(&["other", "about nothing"])
        );
    }

    #[test]
    fn a_referrer_does_not_reach_its_subject() {
        let family = family(&[("image", &[], None), ("signature", &[], Some("image"))]);
        assert_eq!(family.reached([key("signature")]), keys(&["signature"]));
    }

    #[test]
    fn what_lists_goes_before_what_is_listed_and_a_subject_before_its_referrers() {
        let family = family(&[
            ("outer", &["inner", "image"], None),
            ("inner", &["image"], None),
            ("image", &[], None),
            ("signature", &[], Some("inner")),
        ]);
        let order = family.unreached(&HashSet::new());
        let place = |name| order.iter().position(|found| *found == key(name)).unwrap();
        assert_eq!(order.len(), 4);
        assert!(place("outer") < place("inner"));
        assert!(place("inner") < place("image"));
        assert!(place("inner") < place("signature"));
    }

    #[test]
    fn an_index_that_lists_its_own_subject_goes_first() {
        let family = family(&[("index", &["image"], Some("image")), ("image", &[], None)]);
        assert_eq!(
            family.unreached(&HashSet::new()),
            [key("index"), key("image")]
        );
    }
}
