//! Serves a directory as a registry: `cargo run --example serve -- DIRECTORY [ADDRESS]`.
#![expect(
    clippy::print_stdout,
    reason = "an example program tells where it listens"
)]

use peak_registry_server::{RegistryServer, Store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .ok_or("the first argument is the directory")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let registry = RegistryServer::builder()
        .storage(Store::open(directory.as_ref())?)
        .bind(address)
        .await?;
    println!("{}", registry.address());
    // It serves until this process is ended.
    std::future::pending().await
}
