//! Whether memory grows with what is moved.

use crate::bench::clients::{Client, Clients, Place};
use crate::bench::images::{Content, Image, Layers};
use crate::bench::registries::{DockerRegistry, Scratch};
use crate::bench::{Job, Race, Workplace};

pub(super) const JOB: Job = Job {
    name: "memory",
    about: "Images of growing size from `docker-registry` into an OCI layout on disk, to look at the memory. The \
            layers are zeros, which need no room at the registry.",
    prepare,
};

const MIB: u64 = 1024 * 1024;

fn prepare(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let clients = Clients::find(workplace)?;
    let scratch = Scratch::new(workplace, "memory")?;
    let storage = scratch.path().join("storage");
    let registry = DockerRegistry::start(&storage)?;
    let mut races = Vec::new();
    for (number, title, size) in [
        (0, "one layer of 100 MiB", 100 * MIB),
        (1, "one layer of 1 GiB", 1024 * MIB),
        (2, "one layer of 10 GiB", 10 * 1024 * MIB),
    ] {
        let layout = scratch.path().join(format!("image-{number}"));
        let image = Image::make(&layout, &[Layers { count: 1, size }], Content::Hole)?;
        let repository = format!("bench/{number}");
        image.store(&storage, &repository)?;
        let place = Place::new(&registry, &repository);
        // On disk: there may be less memory than that.
        let pulled = workplace.data.join("pulled");
        races.push(Race {
            title,
            runners: [Client::Peak, Client::Crane, Client::Skopeo]
                .map(|client| clients.pull(client, &place, &pulled))
                .into(),
            held: Vec::new(),
        });
    }
    if let Some(last) = races.last_mut() {
        last.held = vec![Box::new(registry), Box::new(scratch)];
    }
    Ok(races)
}
