//! What holds for any name of an image: the bodies of fuzz targets (docs/fuzzing.md). No part of the interface.

use crate::{Clusters, LocalImage};

/// Names of images in the Engine and on the platform.
pub fn apolo_image(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let clusters = [
        Clusters::builder("main").default_project("mine"),
        Clusters::builder("main")
            .default_org("us")
            .default_project("mine"),
        Clusters::builder("main"),
    ];
    for builder in clusters {
        let clusters = builder
            .cluster("main", "https://registry.main.example")
            .cluster("other", "https://registry.other.example:5000")
            .build();
        assert!(clusters.is_ok());
        if let Ok(clusters) = clusters {
            name_holds(&clusters, text);
        }
    }
}

fn name_holds(clusters: &Clusters, text: &str) {
    if let Ok(image) = text.parse::<LocalImage>() {
        assert!(image.tag.is_some(), "`latest` where there is none");
        let written = image.to_string();
        // `image` is a name; `image:latest` could also be meant for the platform's `latest`, and is refused.
        if written != "image:latest" {
            assert_eq!(written.parse().as_ref().ok(), Some(&image), "{written:?}");
        }
        if let Ok(remote) = clusters.to_platform(&image) {
            assert!(remote.is_platform_image());
            assert_eq!(remote.tag, image.tag);
        }
    }
    if let Ok(image) = clusters.parse_remote(text) {
        assert!(image.tag.is_some(), "`latest` where there is none");
        if image.is_platform_image() {
            for written in [image.to_string(), image.as_docker_url(false)] {
                let again = clusters.parse_remote(&written);
                assert_eq!(again.as_ref().ok(), Some(&image), "{written:?}");
            }
        }
    }
    if let Ok(image) = clusters.parse_remote_without_tag(text) {
        assert!(image.tag.is_none() || !image.is_platform_image());
    }
}

#[cfg(test)]
mod tests {
    include!("../../../fuzz/seeds.rs");

    #[test]
    fn the_seeds_hold() {
        hold("apolo_image", super::apolo_image);
    }
}
