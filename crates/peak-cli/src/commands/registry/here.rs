//! Something on this machine that was taken for the name of an image: `app` is an image at Docker Hub, `oci:app` the
//! layout in the directory `app`.

use std::path::Path;

use super::names::is_local;
use crate::error::{CliError, ErrorKind};
use crate::output::shown;

/// Where nothing could be got from a registry under a name that something here has too, says how that is written.
pub(super) fn with_place(names: &[String], error: CliError) -> CliError {
    let may_be_mistaken = matches!(
        error.kind,
        ErrorKind::NotFound | ErrorKind::Unavailable | ErrorKind::Authentication
    );
    let place = names.iter().find_map(|name| place(name));
    match place.filter(|_| may_be_mistaken) {
        Some(place) => error.with_hint(format!(
            "a registry was asked; what is in this directory is {place}"
        )),
        None => error,
    }
}

/// The layout or archive of that name, with or without a tag behind it.
fn place(name: &str) -> Option<String> {
    if is_local(name) {
        return None;
    }
    let shown = shown(name);
    let before_tag = name.rsplit_once(':').map(|(path, _)| path);
    [Some(name), before_tag]
        .into_iter()
        .flatten()
        .map(Path::new)
        .find_map(|path| {
            if path.join("oci-layout").is_file() {
                Some(format!("`oci:{shown}`"))
            } else if path.is_file() {
                Some(format!("`oci-archive:{shown}` or `docker-archive:{shown}`"))
            } else {
                None
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_or_file_is_known_with_and_without_a_tag() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::create_dir(path("app")).unwrap();
        std::fs::create_dir(path("other")).unwrap();
        std::fs::write(path("app/oci-layout"), "{}").unwrap();
        std::fs::write(path("app.tar"), "").unwrap();
        let layout = path("app");
        assert_eq!(place(&layout), Some(format!("`oci:{layout}`")));
        let tagged = format!("{layout}:1");
        assert_eq!(place(&tagged), Some(format!("`oci:{tagged}`")));
        assert!(place(&path("app.tar")).unwrap().contains("oci-archive:"));
        for name in [path("other"), path("none"), format!("oci:{layout}")] {
            assert_eq!(place(&name), None, "{name}");
        }
    }
}
