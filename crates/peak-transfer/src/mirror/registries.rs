//! Registries as the places of a mirror.

use peak_oci::{BoxFuture, ContentError, Reference, Source, Tag};
use peak_registry::{Registry, Repository};

use super::run::{Destination, Repositories};

impl Repositories for Registry {
    fn source(&self, name: &Reference) -> Box<dyn Source> {
        Box::new(self.repository(name))
    }

    fn destination(&self, name: &Reference) -> Box<dyn Destination> {
        Box::new(self.repository(name))
    }
}

impl Destination for Repository {
    fn delete_tag<'a>(&'a self, tag: &'a Tag) -> BoxFuture<'a, Result<(), ContentError>> {
        Box::pin(async move { Ok(Repository::delete_tag(self, tag).await?) })
    }
}
