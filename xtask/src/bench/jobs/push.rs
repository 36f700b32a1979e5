//! Images from an OCI layout into an empty registry.

use crate::bench::clients::{Client, Clients, Place};
use crate::bench::images::{Content, Image};
use crate::bench::jobs::{floors, pull};
use crate::bench::registries::{DockerRegistry, Scratch};
use crate::bench::{Job, Race, Workplace};

pub(super) const JOB: Job = Job {
    name: "push",
    about: "From an OCI layout into `docker-registry` on loopback, which is empty each time; storage and layout are in \
            memory (`/dev/shm`). The registry hashes as well, and on the same processors: the CPU time is the client's.",
    prepare,
};

fn prepare(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let clients = Clients::find(workplace)?;
    let mut races = Vec::new();
    for (name, title, layers) in [
        ("push-large", "4 layers of 256 MiB", pull::LARGE),
        ("push-small", "500 layers of 16 KiB", pull::SMALL),
    ] {
        let scratch = Scratch::new(workplace, name)?;
        let registry = DockerRegistry::start(&scratch.path().join("storage"))?;
        let image = Image::make(&scratch.path().join("image"), &[layers], Content::Noise)?;
        let mut runners: Vec<_> = Client::ALL
            .into_iter()
            .map(|client| {
                // A name of its own: skopeo remembers where it has seen a blob.
                let place = Place::new(&registry, &format!("bench/{}", client.name()));
                clients.push(client, &image.layout, &place, &registry.everything())
            })
            .collect();
        runners.push(floors::hash(&image));
        races.push(Race {
            title,
            runners,
            held: vec![Box::new(registry), Box::new(scratch)],
        });
    }
    Ok(races)
}
