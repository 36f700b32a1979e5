//! The tags of a large repository.

use crate::bench::clients::{Client, Clients};
use crate::bench::images::{Content, Image, Layers};
use crate::bench::jobs::floors;
use crate::bench::registries::{DockerRegistry, Scratch};
use crate::bench::{Job, Race, Workplace};

pub(super) const JOB: Job = Job {
    name: "tags",
    about: "The tags of a repository of `docker-registry` that has 50,000. This registry has no pages: it answers \
            with all of them at once, and finding them takes it the longest.",
    prepare,
};

const TAGS: u32 = 50_000;

fn prepare(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let clients = Clients::find(workplace)?;
    let scratch = Scratch::new(workplace, "tags")?;
    let storage = scratch.path().join("storage");
    let layers = [Layers { count: 1, size: 10 }];
    let image = Image::make(&scratch.path().join("image"), &layers, Content::Noise)?;
    let name = "bench/tags";
    image.store(&storage, name)?;
    let tags = (1..TAGS).map(|number| format!("build-{number:05}-2026.11.21"));
    image.store_tags(&storage, name, tags)?;
    let registry = DockerRegistry::start(&storage)?;
    let repository = format!("{}/{name}", registry.address);
    let mut runners: Vec<_> = Client::ALL
        .into_iter()
        .map(|client| clients.tags(client, &repository))
        .collect();
    let url = format!("http://{}/v2/{name}/tags/list", registry.address);
    runners.push(floors::get(&url));
    Ok(vec![Race {
        title: "",
        runners,
        held: vec![Box::new(registry), Box::new(scratch)],
    }])
}
