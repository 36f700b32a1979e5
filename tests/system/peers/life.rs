//! The public Python client against our embedded platform, from the first artifact to the last deleted image.

use super::python::{interpreter, run_script};
use crate::support::Sandbox;

/// Runs a part of `life_cycle.py`, which checks every answer itself.
fn lives(part: &str) {
    let Some(python) = interpreter() else {
        return;
    };
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let directory = sandbox.path("work");
    std::fs::create_dir(&directory).unwrap();
    let output = run_script(&python, "life_cycle.py")
        .arg(part)
        .current_dir(directory)
        .env_clear()
        .env("HOME", sandbox.path("home"))
        .env("PEAK_ENDPOINT_URL", &server.url)
        .env("PEAK_AUTH_TOKEN", "any token")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.ends_with("all done\n"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_python_client_lives_with_artifacts_on_the_embedded_platform() {
    lives("artifacts");
}

#[test]
fn the_python_client_lives_with_images_on_the_embedded_platform() {
    lives("images");
}
