//! The invariants of docs/architecture.md: here those that `cargo metadata` can show, in `sources` those that
//! stand in the sources.

mod sources;

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::support::workspace;

/// The clients: what the servers must not stand on.
const CLIENTS: [&str; 9] = [
    "peak-http",
    "peak-models",
    "peak-platform",
    "peak-artifacts",
    "peak-images",
    "peak-registry",
    "peak-transfer",
    "peak-docker",
    "peak-apolo",
];

/// Who may depend on whom inside the workspace, apart from tests. A new edge is a decision: write it down here.
const LAYERS: [(&str, &[&str]); 18] = [
    ("peak-oci", &[]),
    ("peak-models", &[]),
    ("peak-pack", &[]),
    ("peak-http", &[]),
    ("peak-platform", &["peak-http"]),
    (
        "peak-artifacts",
        &["peak-http", "peak-models", "peak-platform"],
    ),
    (
        "peak-images",
        &["peak-http", "peak-models", "peak-platform"],
    ),
    ("peak-registry", &["peak-http", "peak-oci"]),
    ("peak-layout", &["peak-oci"]),
    ("peak-docker", &["peak-http", "peak-layout", "peak-oci"]),
    (
        "peak-transfer",
        &["peak-docker", "peak-layout", "peak-oci", "peak-registry"],
    ),
    (
        "peak-apolo",
        &[
            "peak-docker",
            "peak-http",
            "peak-oci",
            "peak-registry",
            "peak-transfer",
        ],
    ),
    ("peak-serve", &[]),
    // For tests only, of clients and of servers.
    ("peak-test-peers", &[]),
    ("peak-registry-server", &["peak-oci", "peak-serve"]),
    (
        "peak-local",
        &["peak-oci", "peak-registry-server", "peak-serve"],
    ),
    (
        "peak-sdk",
        &[
            "peak-apolo",
            "peak-artifacts",
            "peak-docker",
            "peak-http",
            "peak-images",
            "peak-layout",
            "peak-local",
            "peak-models",
            "peak-oci",
            "peak-pack",
            "peak-platform",
            "peak-registry",
            "peak-registry-server",
            "peak-transfer",
        ],
    ),
    ("peak-cli", &["peak-sdk"]),
];

/// What this machine builds: other systems' crates may not even be downloaded.
fn metadata() -> Metadata {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc)
        .arg("-vV")
        .output()
        .unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .other_options(["--locked", "--filter-platform", host].map(str::to_owned))
        .exec()
        .unwrap()
}

/// Direct dependencies of each crate of the workspace, tests left out.
fn direct(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let names = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), names)
        })
        .collect()
}

/// Everything that a crate pulls in when it is used, at any depth, tests and build scripts left out.
fn everything_below(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let names: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.to_string()))
        .collect();
    let mut waiting: Vec<_> = resolve
        .nodes
        .iter()
        .filter(|node| names[&node.id] == name)
        .collect();
    assert_eq!(waiting.len(), 1, "{name} is not in the workspace");
    let mut found = BTreeSet::new();
    while let Some(node) = waiting.pop() {
        for dependency in &node.deps {
            let normal = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal);
            if normal && found.insert(names[&dependency.pkg].clone()) {
                waiting.extend(resolve.nodes.iter().find(|node| node.id == dependency.pkg));
            }
        }
    }
    found
}

#[test]
fn the_pure_crates_have_no_runtime_and_no_http() {
    let metadata = metadata();
    for name in ["peak-oci", "peak-models", "peak-pack"] {
        let below = everything_below(&metadata, name);
        for forbidden in ["tokio", "hyper", "hyper-util", "tower", "rustls", "axum"] {
            assert!(!below.contains(forbidden), "{name} pulls in {forbidden}");
        }
    }
}

#[test]
fn only_the_transport_core_and_its_counterpart_of_the_servers_name_hyper_and_rustls() {
    for (name, dependencies) in direct(&metadata()) {
        for transport in [
            "hyper",
            "hyper-util",
            "h2",
            "tokio-rustls",
            "rustls",
            "rustls-platform-verifier",
        ] {
            assert!(
                ["peak-http", "peak-serve"].contains(&name.as_str())
                    || !dependencies.contains(transport),
                "{name} names {transport}"
            );
        }
    }
}

#[test]
fn the_servers_stand_on_no_client() {
    let metadata = metadata();
    for name in ["peak-serve", "peak-registry-server", "peak-local"] {
        let below = everything_below(&metadata, name);
        for client in CLIENTS {
            assert!(!below.contains(client), "{name} pulls in {client}");
        }
    }
}

#[test]
fn each_crate_stands_only_on_the_layers_below_it() {
    let direct = direct(&metadata());
    let layers = BTreeMap::from(LAYERS);
    for (name, dependencies) in direct {
        if name == "xtask" {
            continue;
        }
        let allowed = layers
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} has no place in the layers"));
        for dependency in dependencies
            .iter()
            .filter(|dependency| dependency.starts_with("peak-"))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} depends on {dependency}"
            );
        }
    }
}

#[test]
fn every_crate_has_a_front_page_and_the_workspaces_lints() {
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} sets its own lints",
            package.name
        );
        assert_eq!(
            package.license.as_deref(),
            Some("Apache-2.0"),
            "{}",
            package.name
        );
        let library = package.manifest_path.parent().unwrap().join("src/lib.rs");
        if library.exists() {
            let text = std::fs::read_to_string(&library).unwrap();
            let front_page: Vec<_> = text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .collect();
            assert!(front_page.len() >= 5, "{} has no front page", package.name);
            assert!(
                front_page.iter().any(|line| line.contains("```")),
                "{} shows no example",
                package.name
            );
        }
    }
}

#[test]
fn the_code_map_has_every_crate() {
    let map = std::fs::read_to_string(workspace().join("docs/architecture.md")).unwrap();
    for package in metadata().workspace_packages() {
        let row = format!("\n| `{}` | ", package.name);
        assert!(map.contains(&row), "the map has no row {row:?}");
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let documented = std::fs::read_to_string(workspace().join("docs/dependencies.md")).unwrap();
    let mut missing = BTreeSet::new();
    for package in metadata().workspace_packages() {
        for dependency in &package.dependencies {
            if !dependency.name.starts_with("peak-")
                && !documented.contains(&format!("`{}`", dependency.name))
            {
                missing.insert(dependency.name.clone());
            }
        }
    }
    assert!(
        missing.is_empty(),
        "docs/dependencies.md does not speak of {missing:?}"
    );
}
