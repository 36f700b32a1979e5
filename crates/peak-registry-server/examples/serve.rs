//! Serves a directory as a registry: `cargo run --example serve -- DIRECTORY [ADDRESS]`.
#![expect(
    clippy::print_stdout,
    reason = "an example program tells where it listens"
)]

use peak_registry_server::{Store, router};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .ok_or("the first argument is the directory")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let store = Store::open(directory.as_ref())?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, router(store)).await?;
    Ok(())
}
