//! The platform that images are built for, and the build arguments that say it.

use peak_oci::Platform;

/// Images are for Linux, on the kind of processor that is here.
pub(crate) fn target_platform() -> Platform {
    let host = Platform::host();
    let mut platform = Platform::new("linux", host.architecture);
    platform.variant = host.variant;
    platform
}

/// The arguments that have values without anybody giving them.
pub(crate) fn platform_arguments(platform: &Platform) -> Vec<(String, String)> {
    let parts = [
        ("PLATFORM", platform.to_string()),
        ("OS", platform.os.clone()),
        ("ARCH", platform.architecture.clone()),
        ("VARIANT", platform.variant.clone().unwrap_or_default()),
    ];
    ["TARGET", "BUILD"]
        .into_iter()
        .flat_map(|prefix| {
            parts
                .iter()
                .map(move |(suffix, text)| (format!("{prefix}{suffix}"), text.clone()))
        })
        .collect()
}
