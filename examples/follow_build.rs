//! Follows the latest build of an image: its log line by line while it is written, and how it ends.
//!
//! ```sh
//! cargo run -p peak-sdk --example follow_build --features local -- [NAME]
//! ```
//!
//! `PEAK_AUTH_TOKEN` and `PEAK__STAGE` say who asks and where, as they do for the `peak` command. Without a NAME a build
//! is begun on the embedded platform, to have one to follow.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::pin::pin;

use futures_util::TryStreamExt as _;
use peak_sdk::images::models::{Id, ImageType};
use peak_sdk::images::{
    BuildLogEvent, CreateImage, Dockerfile, Existing, FollowOptions, Images, ListImageBuilds,
};
use peak_sdk::local::Platform;
use peak_sdk::platform::Session;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(name) = std::env::args().nth(1) {
        let images = Images::new(Session::from_environment()?);
        return follow_latest(&images, &name).await;
    }
    let state = tempfile::tempdir()?;
    let platform = Platform::builder()
        .state_dir(state.path().join("platform"))
        .start()
        .await?;
    let session = Session::builder()
        .endpoint(platform.url())
        .without_token()
        .build()?;
    let images = Images::new(session);
    let dockerfile = Dockerfile::new("FROM scratch\nLABEL greeting=hello\nCMD [\"/hello\"]\n");
    let image = CreateImage::new("hello", ImageType::Workflow, dockerfile).version("1.0.0");
    images.create_image(&image).await?;
    let followed = follow_latest(&images, "hello").await;
    platform.shutdown().await;
    followed
}

async fn follow_latest(images: &Images, name: &str) -> Result<(), Box<dyn Error>> {
    let (image, build) = latest_build(images, name).await?;
    let mut events = pin!(images.follow_build_logs(&image, &build, FollowOptions::new()));
    while let Some(event) = events.try_next().await? {
        match event {
            // Whoever wrote the Dockerfile wrote this line: let it not steer the terminal.
            BuildLogEvent::Line(line) => {
                let text = line.message.unwrap_or_default();
                println!("| {}", text.replace(char::is_control, " "));
            }
            BuildLogEvent::Finished(build) if build.is_success() => println!("{}", build.status),
            BuildLogEvent::Finished(build) => {
                return Err(format!("the build of {name} is {}", build.status).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The image of this name, and its latest build: lists are newest first.
async fn latest_build(images: &Images, name: &str) -> Result<(Id, Id), Box<dyn Error>> {
    let (Existing::Image(image) | Existing::Version(image, _)) = images.look_up(name, None).await?
    else {
        return Err(format!("there is no image {name}").into());
    };
    let mut builds = pin!(images.list_image_builds(&image, ListImageBuilds::new()));
    let latest = builds.try_next().await?;
    let build = latest.and_then(|build| build.build_id);
    Ok((image, build.ok_or("nothing has been built yet")?))
}
