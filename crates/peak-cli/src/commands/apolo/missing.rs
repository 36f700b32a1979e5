//! What a cluster has in place of the image or the tag that it does not have. An error that says so costs at most two more
//! requests and a second, and is never replaced by what becomes of them.

use std::time::Duration;

use peak_sdk::apolo::{Images, RemoteImage};

use crate::error::CliError;
use crate::output::printable;
use crate::suggest::{did_you_mean, either, nearest};

/// How long an error is kept back to find out what there is.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// So few tags are all told where none of them is near.
const FEW: usize = 5;

/// Most images that are suggested.
const SUGGESTIONS: usize = 3;

/// Puts behind the error what there is, if the image was named by text.
pub(super) async fn with_suggestion(
    images: &Images,
    error: CliError,
    text: Option<&str>,
) -> CliError {
    let Some(image) = text.and_then(|text| images.clusters().parse_remote(text).ok()) else {
        return error;
    };
    let looked = tokio::time::timeout(TIME_LIMIT, suggestion(images, &image)).await;
    match looked.ok().flatten() {
        Some(hint) => error.with_hint(hint),
        None => error.with_hint("`peak apolo ls` shows the images, `peak apolo tags` their tags"),
    }
}

async fn suggestion(images: &Images, image: &RemoteImage) -> Option<String> {
    let name = image.without_tag().to_string();
    let tags = images.tags(&image.without_tag()).await.unwrap_or_default();
    if !tags.is_empty() {
        let tags: Vec<_> = tags.into_iter().filter_map(|found| found.tag).collect();
        return Some(of_tags(
            &name,
            image.tag.as_deref().unwrap_or_default(),
            &tags,
        ));
    }
    let found = images.list(image.cluster_name()).await.ok()?;
    // What is before the name is much the same for all of them. The same name may be in another project.
    let mut names = vec![image.name.clone()];
    names.extend(nearest(
        &image.name,
        found.iter().map(|found| found.name.as_str()),
    ));
    let mut near: Vec<_> = names
        .iter()
        .flat_map(|name| found.iter().filter(move |found| found.name == *name))
        .map(|found| printable(&found.to_string()))
        .filter(|found| *found != name)
        .collect();
    near.truncate(SUGGESTIONS);
    (!near.is_empty()).then(|| format!("did you mean {}?", either(&near)))
}

/// The tags that could be meant, or all of them where they are few.
fn of_tags(name: &str, wanted: &str, tags: &[String]) -> String {
    if let Some(question) = did_you_mean(wanted, tags) {
        return question;
    }
    if tags.len() > FEW {
        return format!("`peak apolo tags {name}` shows the tags that it has");
    }
    let tags: Vec<_> = tags
        .iter()
        .map(|tag| format!("`{}`", printable(tag)))
        .collect();
    format!("it has {}", tags.join(", "))
}

#[cfg(test)]
mod tests {
    use super::of_tags;

    #[test]
    fn few_tags_are_told_and_many_are_for_another_command() {
        let tags = |count: usize| (0..count).map(|n| format!("v{n}")).collect::<Vec<_>>();
        assert_eq!(of_tags("image:a", "latest", &tags(2)), "it has `v0`, `v1`");
        let many = of_tags("image:a", "latest", &tags(6));
        assert!(many.contains("`peak apolo tags image:a`"), "{many}");
    }
}
