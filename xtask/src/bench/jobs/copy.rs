//! Images from a registry into a registry.

use crate::bench::clients::{Client, Clients, Place};
use crate::bench::images::{Content, Image};
use crate::bench::jobs::pull;
use crate::bench::registries::{DockerRegistry, Scratch};
use crate::bench::{Job, Race, Workplace};

pub(super) const JOB: Job = Job {
    name: "copy",
    about: "From one `docker-registry` on loopback to another one, which is empty each time; and into another \
            repository of the same one, which needs no bytes of a layer to be moved.",
    prepare,
};

fn prepare(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let clients = Clients::find(workplace)?;
    let mut races = Vec::new();
    for (name, is_shared, title, layers) in [
        (
            "copy-large",
            false,
            "4 layers of 256 MiB, to another registry",
            pull::LARGE,
        ),
        (
            "copy-small",
            false,
            "500 layers of 16 KiB, to another registry",
            pull::SMALL,
        ),
        (
            "copy-shared-large",
            true,
            "4 layers of 256 MiB, within a registry",
            pull::LARGE,
        ),
        (
            "copy-shared-small",
            true,
            "500 layers of 16 KiB, within a registry",
            pull::SMALL,
        ),
    ] {
        let scratch = Scratch::new(workplace, name)?;
        let storage = scratch.path().join("source");
        let source = DockerRegistry::start(&storage)?;
        let image = Image::make(&scratch.path().join("image"), &[layers], Content::Noise)?;
        image.store(&storage, "bench/source")?;
        let target = if is_shared {
            None
        } else {
            Some(DockerRegistry::start(&scratch.path().join("target"))?)
        };
        let from = Place::new(&source, "bench/source");
        let runners = Client::ALL
            .into_iter()
            .map(|client| {
                // A name of its own: skopeo remembers where it has seen a blob.
                let repository = format!("copied/{}", client.name());
                let (registry, cleared) = match &target {
                    Some(target) => (target, target.everything()),
                    None => (&source, source.repository(&repository)),
                };
                let to = Place::new(registry, &repository);
                clients.copy(client, &from, &to, &cleared)
            })
            .collect();
        races.push(Race {
            title,
            runners,
            held: vec![Box::new(source), Box::new(target), Box::new(scratch)],
        });
    }
    Ok(races)
}
