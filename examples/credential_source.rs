//! Credentials for registries from a source of one's own: here a file with the password, as secrets are mounted into
//! containers. Whoever manages it may change it at any time; the client notices when the registry refuses the old one.
//!
//! ```sh
//! cargo run -p peak-sdk --example credential_source --features registry-server -- [REPOSITORY USER FILE]
//! ```
//!
//! It lists the tags of REPOSITORY as USER, with the password in FILE. Without arguments there is an embedded registry,
//! whose password changes while the program runs.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::path::PathBuf;

use futures_util::TryStreamExt as _;
use peak_sdk::http::{BoxError, BoxFuture};
use peak_sdk::oci::{Index, Mixing, Reference};
use peak_sdk::registry::{CredentialProvider, Credentials, KeychainBuilder, Registry};
use peak_sdk::registry_server::auth::Auth;
use peak_sdk::registry_server::{RegistryServer, Store};

/// A user whose password is in a file, and the one registry that may see it.
struct MountedSecret {
    registry: String,
    user: String,
    file: PathBuf,
}

impl CredentialProvider for MountedSecret {
    fn credentials<'a>(
        &'a self,
        registry: &'a str,
    ) -> BoxFuture<'a, Result<Option<Credentials>, BoxError>> {
        Box::pin(async move {
            if registry != self.registry {
                return Ok(None);
            }
            let password = std::fs::read_to_string(&self.file)?;
            Ok(Some(Credentials::new(
                &self.user,
                password.trim_end().into(),
            )))
        })
    }
}

fn client(image: &Reference, user: String, file: PathBuf) -> Result<Registry, Box<dyn Error>> {
    let registry = image.registry().to_owned();
    let secret = MountedSecret {
        registry,
        user,
        file,
    };
    // Where it has nothing, what `docker login` has kept answers.
    let keychain = KeychainBuilder::from_environment().provider("the mounted secret", secret);
    Ok(Registry::builder().keychain(keychain.build()).build()?)
}

async fn list(registry: &Registry, image: &Reference) -> Result<(), Box<dyn Error>> {
    let tags = registry.repository(image).get_repository_tags();
    let tags: Vec<_> = tags.try_collect().await?;
    println!("{} tags", tags.len());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    if let (Some(image), Some(user), Some(file)) =
        (arguments.next(), arguments.next(), arguments.next())
    {
        let image = image.parse()?;
        return list(&client(&image, user, file.into())?, &image).await;
    }
    let store = Store::in_memory();
    let serve = |address: String, password: &str| {
        let server = RegistryServer::builder().storage(store.clone());
        server.auth(Auth::shared_secret(password)).bind(address)
    };
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("password");

    std::fs::write(&file, "spring\n")?;
    let server = serve("127.0.0.1:0".to_owned(), "spring").await?;
    let host = server.host();
    let image: Reference = format!("{host}/team/app").parse()?;
    let registry = client(&image, "robot".to_owned(), file.clone())?;
    let index = Index::create(Vec::new(), Mixing::Refuse)?.to_raw()?;
    let repository = registry.repository(&image);
    repository.upload_manifest(&index, &["v1".parse()?]).await?;
    list(&registry, &image).await?;
    print!("{}", registry.explain_credentials(&image).await?);

    server.shutdown().await;
    std::fs::write(&file, "summer\n")?;
    let server = serve(host, "summer").await?;
    println!("the password is another one now");
    list(&registry, &image).await?;
    server.shutdown().await;
    Ok(())
}
