//! Which image of `index.json` is meant, and what a new one replaces. No I/O.

use peak_oci::annotations::REF_NAME;
use peak_oci::{Descriptor, Digest, Index, MediaType, Selector, Tag};

use crate::LayoutError;

pub(crate) fn name_of(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations.get(REF_NAME).map(String::as_str)
}

/// Whether an entry is an image of its own, and not something about another one.
fn is_image(descriptor: &Descriptor) -> bool {
    let tag = name_of(descriptor).and_then(|name| name.parse::<Tag>().ok());
    !tag.is_some_and(|tag| tag.is_about_a_manifest())
}

/// The names of all images; digests for those that have none.
pub(crate) fn names(index: &Index) -> Vec<String> {
    index
        .manifests
        .iter()
        .filter(|descriptor| is_image(descriptor))
        .map(|descriptor| {
            name_of(descriptor).map_or_else(|| descriptor.digest.to_string(), str::to_owned)
        })
        .collect()
}

/// The image of the index that `selector` means.
///
/// `Ok(None)` only for a digest that is not listed: it may still be a blob that a listed index points to.
pub(crate) fn select<'a>(
    index: &'a Index,
    selector: Option<&Selector>,
) -> Result<Option<&'a Descriptor>, LayoutError> {
    match selector {
        Some(Selector::Digest(digest)) => Ok(index
            .manifests
            .iter()
            .find(|descriptor| descriptor.digest == *digest)),
        Some(Selector::Tag(tag)) => {
            let named = |descriptor: &&Descriptor| name_of(descriptor) == Some(tag.as_str());
            only(index, named).map(Some).map_err(|count| match count {
                0 => LayoutError::UnknownImage {
                    name: tag.to_string(),
                    available: names(index),
                },
                _ => LayoutError::Ambiguous {
                    available: names(index),
                },
            })
        }
        None => only(index, |descriptor| is_image(descriptor))
            .or_else(|_| only(index, |descriptor| name_of(descriptor).is_none()))
            .map(Some)
            .map_err(|_| LayoutError::Ambiguous {
                available: names(index),
            }),
    }
}

/// The tags of `index.json`, those of lists of referrers aside, which are the layout's own.
pub(crate) fn tags(index: &Index) -> Vec<Tag> {
    index
        .manifests
        .iter()
        .filter_map(|descriptor| name_of(descriptor)?.parse().ok())
        .filter(|tag: &Tag| !tag.is_of_referrers())
        .collect()
}

/// The manifest that `selector` means: an image of the index, or whatever has that digest.
pub(crate) fn find(
    index: &Index,
    selector: Option<&Selector>,
) -> Result<(Digest, Option<MediaType>), LayoutError> {
    match (select(index, selector)?, selector) {
        (Some(entry), _) => Ok((entry.digest.clone(), Some(entry.media_type.clone()))),
        (None, Some(Selector::Digest(digest))) => Ok((digest.clone(), None)),
        (None, _) => Err(LayoutError::Ambiguous {
            available: names(index),
        }),
    }
}

/// The one image that `wanted` is true of, or how many there are. Entries that are the same image count once.
fn only(index: &Index, wanted: impl Fn(&&Descriptor) -> bool) -> Result<&Descriptor, usize> {
    let mut found: Option<&Descriptor> = None;
    let mut count = 0;
    for descriptor in index.manifests.iter().filter(wanted) {
        if found.is_none_or(|earlier| earlier.digest != descriptor.digest) {
            count += 1;
        }
        found = found.or(Some(descriptor));
    }
    match (found, count) {
        (Some(descriptor), 1) => Ok(descriptor),
        _ => Err(count),
    }
}

/// Puts `root` into the index under `tag`, in the place of what had that name (or had none).
///
/// Everything else stays as it is, in its order.
pub(crate) fn place(
    index: &mut Index,
    mut root: Descriptor,
    tag: Option<&Tag>,
) -> Result<(), LayoutError> {
    let name = tag.map(Tag::as_str);
    if let Some(name) = name {
        root.annotations
            .insert(REF_NAME.to_owned(), name.to_owned());
    } else {
        root.annotations.remove(REF_NAME);
        let nameless = || {
            index
                .manifests
                .iter()
                .filter(|entry| name_of(entry).is_none())
        };
        if nameless().any(|entry| entry.digest == root.digest) {
            return Ok(());
        }
        let count = nameless().count();
        if count > 1 {
            return Err(LayoutError::SeveralUntagged { count });
        }
    }
    let replaced = |entry: &Descriptor| name_of(entry) == name;
    let position = index
        .manifests
        .iter()
        .position(replaced)
        .unwrap_or(index.manifests.len());
    index.manifests.retain(|entry| !replaced(entry));
    index.manifests.insert(position, root);
    Ok(())
}

#[cfg(test)]
mod tests {
    use peak_oci::{Digest, MediaType};

    use super::*;

    fn image(content: &str, name: Option<&str>) -> Descriptor {
        let mut descriptor = Descriptor::new(
            MediaType::OCI_MANIFEST,
            Digest::sha256_of(content.as_bytes()),
            content.len() as u64,
        );
        if let Some(name) = name {
            descriptor
                .annotations
                .insert(REF_NAME.to_owned(), name.to_owned());
        }
        descriptor
    }

    fn listed(index: &Index) -> Vec<(Digest, Option<String>)> {
        index
            .manifests
            .iter()
            .map(|entry| (entry.digest.clone(), name_of(entry).map(str::to_owned)))
            .collect()
    }

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    #[test]
    fn no_selector_means_the_only_image_or_the_only_nameless_one() {
        let one = Index::new(vec![image("a", Some("v1"))]);
        assert_eq!(
            select(&one, None).unwrap().unwrap().digest,
            image("a", None).digest
        );

        let nameless = Index::new(vec![image("a", Some("v1")), image("b", None)]);
        assert_eq!(
            select(&nameless, None).unwrap().unwrap().digest,
            image("b", None).digest
        );

        let two = Index::new(vec![image("a", Some("v1")), image("b", Some("v2"))]);
        let error = select(&two, None).unwrap_err();
        assert!(error.to_string().ends_with("v1, v2"), "{error}");
    }

    #[test]
    fn what_is_about_an_image_is_no_image() {
        let about = Tag::of_referrers(&image("a", None).digest).unwrap();
        let signature = format!("{about}.sig");
        let index = Index::new(vec![
            image("list", Some(about.as_str())),
            image("a", Some("v1")),
            image("signature", Some(&signature)),
        ]);
        let only = select(&index, None).unwrap().unwrap();
        assert_eq!(only.digest, image("a", None).digest);
        assert_eq!(names(&index), ["v1"]);
        let all: Vec<_> = tags(&index).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["v1", &signature]);
    }

    #[test]
    fn the_same_image_under_two_names_is_still_one_image() {
        let index = Index::new(vec![image("a", Some("v1")), image("a", Some("latest"))]);
        assert!(select(&index, None).unwrap().is_some());
    }

    #[test]
    fn an_unknown_name_lists_what_there_is() {
        let index = Index::new(vec![image("a", Some("v1"))]);
        let error = select(&index, Some(&Selector::Tag(tag("v9")))).unwrap_err();
        assert_eq!(error.to_string(), "there is no image `v9`; there are: v1");
    }

    #[test]
    fn a_new_image_replaces_its_name_and_nothing_else() {
        let mut index = Index::new(vec![
            image("a", Some("v1")),
            image("b", Some("v2")),
            image("c", None),
        ]);
        place(&mut index, image("new", None), Some(&tag("v1"))).unwrap();
        assert_eq!(
            listed(&index),
            vec![
                (image("new", None).digest, Some("v1".to_owned())),
                (image("b", None).digest, Some("v2".to_owned())),
                (image("c", None).digest, None),
            ]
        );
        place(&mut index, image("newer", Some("stray")), None).unwrap();
        assert_eq!(
            listed(&index).last(),
            Some(&(image("newer", None).digest, None))
        );
        assert_eq!(index.manifests.len(), 3);
    }

    #[test]
    fn which_of_several_nameless_images_to_replace_is_not_guessed() {
        let mut index = Index::new(vec![image("a", None), image("b", None)]);
        let error = place(&mut index, image("c", None), None).unwrap_err();
        assert!(matches!(error, LayoutError::SeveralUntagged { count: 2 }));
        place(&mut index, image("b", None), None).unwrap();
        assert_eq!(index.manifests.len(), 2);
    }
}
