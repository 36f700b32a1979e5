//! Packs a directory, uploads it to Peak Images and waits for the image that is built from it.
//!
//! ```sh
//! cargo run -p peak-sdk --example upload_and_build --features local -- [DIRECTORY [NAME [VERSION]]]
//! ```
//!
//! `PEAK_AUTH_TOKEN` and `PEAK__STAGE` say who asks and where, as they do for the `peak` command. With nothing set, the
//! embedded platform builds `examples/hello-web`.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::path::PathBuf;

use peak_sdk::images::models::ImageType;
use peak_sdk::images::{Artifact, CreateImage, FollowOptions, Images, Upload};
use peak_sdk::local::Platform;
use peak_sdk::pack::{PackOptions, pack_to_file};
use peak_sdk::platform::Session;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or("examples/hello-web".to_owned()));
    let name = arguments.next().unwrap_or("hello-web".to_owned());
    let version = arguments.next().unwrap_or("0.0.1".to_owned());
    let scratch = tempfile::tempdir()?;

    // The same program runs on the real platform and on the embedded one.
    let real = ["PEAK_AUTH_TOKEN", "PEAK_ENDPOINT_URL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    let (session, embedded) = if real {
        (Session::from_environment()?, None)
    } else {
        let state = scratch.path().join("platform");
        let platform = Platform::builder().state_dir(state).start().await?;
        let session = Session::builder()
            .endpoint(platform.url())
            .without_token()
            .build()?;
        (session, Some(platform))
    };
    let images = Images::new(session);

    // Packing reads the disk and keeps the processors busy, so it has a thread for itself.
    let zip = scratch.path().join("artifact.zip");
    let target = zip.clone();
    let archive =
        tokio::task::spawn_blocking(move || pack_to_file(&directory, &PackOptions::new(), &target))
            .await??;
    println!(
        "packed {} files into {} bytes",
        archive.files.files.len(),
        archive.size
    );

    // Creates the image, or a version of the image, or builds the version again: whichever it takes.
    let upload = Upload::new(Artifact::file(&zip)?);
    let image = CreateImage::new(&name, ImageType::Webapp, upload).version(&version);
    let made = images.create_or_update_image_version(&image).await?;
    println!(
        "uploaded as image {}, version {}",
        made.image_id, made.version_id
    );

    let build = made.build_id.ok_or("the platform began no build")?;
    let build = images
        .wait_for_build(&made.image_id, &build, FollowOptions::new())
        .await?;
    if !build.is_success() {
        return Err(format!("the build of {name} is {}", build.status).into());
    }
    let built = images
        .describe_version(&made.image_id, &made.version_id)
        .await?;
    println!("built: pull it from {}", built.pull_url.unwrap_or_default());

    if let Some(platform) = embedded {
        platform.shutdown().await;
    }
    Ok(())
}
