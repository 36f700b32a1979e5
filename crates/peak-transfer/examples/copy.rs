//! Copies an image from one place to another: `copy oci:DIR[:TAG] 127.0.0.1:5000/team/app:v1`. For measurements, without
//! anything round the library.

use std::error::Error;

use peak_docker::{Engine, EngineConfig};
use peak_registry::Registry;
use peak_transfer::{Clients, CopyOptions, Target, copy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut names = std::env::args().skip(1);
    let (Some(from), Some(to)) = (names.next(), names.next()) else {
        return Err("say from where and to where".into());
    };
    let registry = Registry::builder().build()?;
    let engine = Engine::new(EngineConfig::from_environment()?);
    let clients = Clients::new(registry.clone()).engine(engine);
    let (source, selector) = from.parse::<Target>()?.open_source(&clients)?;
    let (sink, placement) = to.parse::<Target>()?.open_sink(&clients)?;
    let copied = copy(
        source.as_ref(),
        selector.as_ref(),
        sink.as_ref(),
        placement,
        &CopyOptions::new(),
    )
    .await;
    if copied.is_err() {
        registry.cancel_abandoned_uploads().await;
    }
    copied?;
    Ok(())
}
