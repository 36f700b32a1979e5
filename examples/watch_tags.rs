//! Watches a repository of a registry, and says which tags are new and which have moved to another image.
//!
//! ```sh
//! cargo run -p peak-sdk --example watch_tags --features registry-server -- [REPOSITORY [SECONDS]]
//! ```
//!
//! REPOSITORY is looked at every so many SECONDS (60 unless given) until Ctrl-C. Credentials are those that `docker login`
//! has kept. Without arguments there is an embedded registry for a moment, and somebody who pushes to it.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use peak_sdk::oci::{Digest, Index, Mixing, Reference, Tag};
use peak_sdk::registry::{Keychain, Registry, RegistryError, Repository};
use peak_sdk::registry_server::RegistryServer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let registry = Registry::builder()
        .keychain(Keychain::from_environment())
        .build()?;
    let mut arguments = std::env::args().skip(1);
    if let Some(image) = arguments.next() {
        let repository = registry.repository(&image.parse()?);
        let seconds: f64 = arguments.next().as_deref().unwrap_or("60").parse()?;
        let pause = Duration::try_from_secs_f64(seconds)?;
        let mut known = BTreeMap::new();
        loop {
            look(&repository, &mut known).await?;
            tokio::time::sleep(pause).await;
        }
    }
    let server = RegistryServer::in_memory().await?;
    let reference: Reference = format!("{}/team/app", server.host()).parse()?;
    let repository = registry.repository(&reference);
    let mut known = BTreeMap::new();
    for (content, tags) in [("one", ["1.0", "latest"]), ("two", ["1.1", "latest"])] {
        push(&repository, content, &tags).await?;
        look(&repository, &mut known).await?;
    }
    Ok(())
}

/// Says what has changed since `known`, and brings that up to date.
async fn look(
    repository: &Repository,
    known: &mut BTreeMap<Tag, Digest>,
) -> Result<(), RegistryError> {
    // The digest of a tag costs a question for headers, no manifest; some of them are asked at a time.
    let tags = repository.get_repository_tags();
    let digests = tags.map_ok(|tag| async move {
        let digest = repository.get_manifest_digest(&tag.clone().into()).await;
        Ok((tag, digest))
    });
    let mut digests = std::pin::pin!(digests.try_buffer_unordered(8));
    while let Some((tag, digest)) = digests.next().await.transpose()? {
        let digest = match digest {
            Ok(digest) => digest,
            // Deleted since the list was made.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        match known.insert(tag.clone(), digest.clone()) {
            None => println!("new    {tag} is {digest}"),
            Some(before) if before != digest => println!("moved  {tag} is {digest} now"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The smallest thing that can have a tag: an index of no images.
async fn push(to: &Repository, content: &str, tags: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut index = Index::create(Vec::new(), Mixing::Refuse)?;
    index
        .annotations
        .insert("content".to_owned(), content.to_owned());
    let tags: Result<Vec<Tag>, _> = tags.iter().map(|tag| tag.parse()).collect();
    Ok(to.upload_manifest(&index.to_raw()?, &tags?).await?)
}
