//! Images from a registry into an OCI layout.

use std::any::Any;
use std::time::Duration;

use crate::bench::clients::{Client, Clients, Place};
use crate::bench::images::{Content, Image, Layers};
use crate::bench::jobs::floors;
use crate::bench::link::{self, Speed};
use crate::bench::registries::{DockerRegistry, Scratch};
use crate::bench::{Job, Race, Workplace};

pub(super) const PLAIN: Job = Job {
    name: "pull",
    about: "From `docker-registry` on loopback into an OCI layout that does not exist; storage and layout are in \
            memory (`/dev/shm`).",
    prepare: plain,
};

pub(super) const TLS: Job = Job {
    name: "pull-tls",
    about: "The same over TLS 1.3, to an address of this machine that is not loopback.",
    prepare: tls,
};

pub(super) const LINK: Job = Job {
    name: "pull-link",
    about: "The same through a proxy of ours that lets through 100 Mbit/s in each direction, 5 ms later: 2 layers of \
            16 MiB and 50 of 16 KiB.",
    prepare: link,
};

const MIB: u64 = 1024 * 1024;

/// What is pulled and pushed: a few large layers, and many small ones.
pub(super) const LARGE: Layers = Layers {
    count: 4,
    size: 256 * MIB,
};
pub(super) const SMALL: Layers = Layers {
    count: 500,
    size: 16 * 1024,
};
const SINGLE: Layers = Layers {
    count: 1,
    size: 2048 * MIB,
};

fn plain(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let kinds = [
        ("4 layers of 256 MiB", vec![LARGE], 2),
        ("500 layers of 16 KiB", vec![SMALL], 4),
        ("one layer of 2 GiB", vec![SINGLE], 1),
    ];
    races(
        workplace,
        &kinds,
        |registry| Ok(registry.address.clone()),
        DockerRegistry::start,
    )
}

fn tls(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let kinds = [
        ("4 layers of 256 MiB", vec![LARGE], 2),
        ("500 layers of 16 KiB", vec![SMALL], 4),
    ];
    races(
        workplace,
        &kinds,
        |registry| Ok(registry.address.clone()),
        DockerRegistry::start_tls,
    )
}

fn link(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let large = Layers {
        count: 2,
        size: 16 * MIB,
    };
    let small = Layers {
        count: 50,
        size: 16 * 1024,
    };
    let speed = Speed {
        delay: Duration::from_millis(5),
        bytes_per_second: 100_000_000 / 8,
    };
    races(
        workplace,
        &[("", vec![large, small], 4)],
        |registry| link::start(&registry.address, speed),
        DockerRegistry::start,
    )
}

/// One race for each image: its title, its layers, and how many connections `curl` uses for the floor.
fn races(
    workplace: &Workplace,
    images: &[(&'static str, Vec<Layers>, usize)],
    address: impl FnOnce(&DockerRegistry) -> anyhow::Result<String>,
    start: impl FnOnce(&std::path::Path) -> anyhow::Result<DockerRegistry>,
) -> anyhow::Result<Vec<Race>> {
    let clients = Clients::find(workplace)?;
    let scratch = Scratch::new(workplace, "pull")?;
    let storage = scratch.path().join("storage");
    let registry = start(&storage)?;
    let address = address(&registry)?;
    let mut races = Vec::new();
    for (number, (title, layers, connections)) in images.iter().enumerate() {
        let repository = format!("bench/{number}");
        let layout = scratch.path().join(format!("image-{number}"));
        let image = Image::make(&layout, layers, Content::Noise)?;
        image.store(&storage, &repository)?;
        let place = if registry.certificate.is_some() {
            Place::new(&registry, &repository)
        } else {
            Place::at(&address, &repository)
        };
        let pulled = scratch.path().join("pulled");
        let mut runners: Vec<_> = Client::ALL
            .into_iter()
            .map(|client| clients.pull(client, &place, &pulled))
            .collect();
        let scheme = if registry.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        runners.push(floors::curl(
            *connections,
            &image,
            &format!("{scheme}://{address}/v2/{repository}"),
            registry.certificate.as_deref(),
            &scratch.path().join(format!("lists-{number}")),
            &pulled,
        )?);
        runners.push(floors::hash(&image));
        races.push(Race {
            title,
            runners,
            held: Vec::new(),
        });
    }
    let held: Vec<Box<dyn Any>> = vec![Box::new(registry), Box::new(scratch)];
    // All races are prepared before the first runs: the last one keeps the server and the data.
    if let Some(last) = races.last_mut() {
        last.held = held;
    }
    Ok(races)
}
