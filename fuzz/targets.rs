//! All fuzz targets in one program, so that it is linked once. `PEAK_FUZZ_TARGET` says which of them it is.

#![no_main]

use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

type Body = fn(&[u8]);

/// The names of targets with their bodies, which are called the same.
macro_rules! targets {
    ($($of:ident::$name:ident,)*) => {
        &[$((stringify!($name), $of::fuzzing::$name)),*]
    };
}

/// docs/fuzzing.md says what each one reads.
const TARGETS: &[(&str, Body)] = targets![
    peak_apolo::apolo_image,
    peak_registry_server::blob_range,
    peak_registry::challenge,
    peak_http::content_range,
    peak_local::copy_pattern,
    peak_docker::daemon_image,
    peak_oci::digest,
    peak_layout::docker_archive,
    peak_local::dockerfile,
    peak_docker::engine_progress,
    peak_local::file_range,
    peak_pack::ignore_rules,
    peak_local::layer_intake,
    peak_registry::link,
    peak_oci::manifest,
    peak_transfer::mirror_plan,
    peak_oci::platform,
    peak_oci::reference,
    peak_registry_server::registry_path,
    peak_transfer::tag_filter,
    peak_local::zip_intake,
];

static CHOSEN: OnceLock<Body> = OnceLock::new();

fn chosen() -> Body {
    let name = std::env::var("PEAK_FUZZ_TARGET").unwrap_or_default();
    let Some((_, body)) = TARGETS.iter().find(|(target, _)| *target == name) else {
        let names: Vec<_> = TARGETS.iter().map(|(target, _)| *target).collect();
        eprintln!(
            "PEAK_FUZZ_TARGET=`{name}` is no fuzz target; there are {}",
            names.join(", ")
        );
        exit(2)
    };
    *body
}

fuzz_target!(
    init: {
        CHOSEN.get_or_init(chosen);
    },
    |data: &[u8]| CHOSEN.get_or_init(chosen)(data)
);
