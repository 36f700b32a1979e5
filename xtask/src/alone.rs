//! Each crate by itself, with each of its features: what a crate needs must stand in its own manifest, and not come from
//! what its neighbours switch on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use crate::toolchain;

/// As `cargo metadata` gives it: what each feature switches on.
type Features = BTreeMap<String, Vec<String>>;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    features: Features,
}

/// What the crates that speak TLS have to choose from. Without one of them they cannot be built, and say so.
const PROVIDERS: [&str; 2] = ["aws-lc-rs", "ring"];

/// Checks each crate of the workspace with each of the combinations.
pub(crate) fn run(workspace: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let metadata = toolchain::output(toolchain::cargo(workspace).args([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("what cargo says of the workspace is not JSON")?;
    for package in &metadata.packages {
        for features in combinations(&package.features) {
            let features: Vec<&str> = features.into_iter().collect();
            let features = features.join(",");
            writeln!(out, "{} [{features}]", package.name)?;
            out.flush()?;
            let mut check = toolchain::cargo(workspace);
            check.args(["check", "--quiet", "--no-default-features"]);
            check.args(["--package", &package.name, "--features", &features]);
            toolchain::run(&mut check)?;
        }
    }
    Ok(())
}

/// No feature, each one, those that are on by default, and all: each with all that it switches on, none twice.
fn combinations(features: &Features) -> Vec<BTreeSet<&str>> {
    let asked = [vec![]]
        .into_iter()
        .chain(features.keys().map(|feature| vec![feature.as_str()]))
        .chain([features.keys().map(String::as_str).collect()]);
    let mut found = Vec::new();
    for asked in asked {
        let combination = with_provider(features, all_on(features, asked));
        if !found.contains(&combination) {
            found.push(combination);
        }
    }
    found
}

/// These features, and those of the same crate that they switch on. `default` only stands for others.
fn all_on<'a>(features: &'a Features, mut waiting: Vec<&'a str>) -> BTreeSet<&'a str> {
    let mut on = BTreeSet::new();
    while let Some(feature) = waiting.pop() {
        let Some((feature, switched)) = features.get_key_value(feature) else {
            // A feature of a dependency, or a dependency.
            continue;
        };
        if on.insert(feature.as_str()) {
            waiting.extend(switched.iter().map(String::as_str));
        }
    }
    on.remove("default");
    on
}

/// With the provider that is built sooner, where the combination needs one and has none.
fn with_provider<'a>(features: &'a Features, mut on: BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let [_, provider] = PROVIDERS;
    let has_choice = PROVIDERS.iter().all(|&name| features.contains_key(name));
    let speaks_tls = on.contains("tls") || !features.contains_key("tls");
    if has_choice && speaks_tls && !PROVIDERS.iter().any(|name| on.contains(name)) {
        on.insert(provider);
    }
    on
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(features: &[(&str, &[&str])]) -> Vec<String> {
        let features: Features = features
            .iter()
            .map(|&(name, on)| {
                (
                    name.to_owned(),
                    on.iter().map(|&on| on.to_owned()).collect(),
                )
            })
            .collect();
        combinations(&features)
            .into_iter()
            .map(|features| features.into_iter().collect::<Vec<_>>().join(","))
            .collect()
    }

    #[test]
    fn each_feature_is_tried_once_with_what_it_switches_on() {
        assert_eq!(lists(&[]), [""]);
        assert_eq!(lists(&[("fuzzing", &[])]), ["", "fuzzing"]);
        assert_eq!(
            lists(&[
                ("default", &["server", "tls"]),
                ("faults", &[]),
                ("server", &["dep:http-body", "tokio/net"]),
                ("tls", &["server", "peak-serve?/tls"]),
            ]),
            ["", "server,tls", "faults", "server", "faults,server,tls"]
        );
    }

    #[test]
    fn what_speaks_tls_has_a_provider() {
        let providers: [(&str, &[&str]); 3] = [
            ("aws-lc-rs", &["rustls/aws_lc_rs"]),
            ("ring", &["rustls/ring"]),
            ("test-util", &[]),
        ];
        assert_eq!(
            lists(&providers),
            [
                "ring",
                "aws-lc-rs",
                "ring,test-util",
                "aws-lc-rs,ring,test-util"
            ]
        );
        let optional = [providers[0], providers[1], ("tls", &["dep:rustls"])];
        assert_eq!(
            lists(&optional),
            ["", "aws-lc-rs", "ring", "ring,tls", "aws-lc-rs,ring,tls"]
        );
    }
}
