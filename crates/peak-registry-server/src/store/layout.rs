//! Where things stand below the store's directory.
//!
//! Names come in only as types whose grammar has neither a path separator, nor a leading dot, nor
//! an empty text, and each becomes one path component: no name leads out of its directory. The
//! table of the layout is on the crate's front page.

use std::path::{Path, PathBuf};

use peak_oci::{Algorithm, Digest, RepositoryName, Tag};
use uuid::Uuid;

/// Stands for `/` in the directory name of a repository; the grammar of names does not have it.
const SLASH: &str = "+";

/// The paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The file whose lock says that the store is open.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(LOCK)
    }

    /// The file that says that this is a store, and of which version.
    pub(crate) fn marker(&self) -> PathBuf {
        self.root.join("registry.json")
    }

    /// Unfinished files that end with the process.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join(TEMPORARY)
    }

    /// Manifests whose deletion has been decided but not done to the end.
    pub(crate) fn deleting(&self) -> PathBuf {
        self.root.join("deleting")
    }

    /// One directory per repository that has ever had an upload that may outlast the process.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// An unfinished upload: its file's name and length are all that there is to know of it.
    pub(crate) fn upload(&self, name: &RepositoryName, algorithm: Algorithm, id: Uuid) -> PathBuf {
        self.uploads()
            .join(directory_name(name))
            .join(format!("{algorithm}-{id}"))
    }

    /// One directory per repository.
    pub(crate) fn repositories(&self) -> PathBuf {
        self.root.join("repositories")
    }

    /// Is there while the store is closed, if it was closed properly.
    pub(crate) fn clean(&self) -> PathBuf {
        self.root.join("clean")
    }

    /// One directory per algorithm, with directories of content.
    pub(crate) fn contents(&self) -> PathBuf {
        self.root.join(CONTENTS)
    }

    /// Everything that stands in the store's own directory.
    pub(crate) fn known(&self) -> [PathBuf; 8] {
        [
            self.lock(),
            self.marker(),
            self.clean(),
            self.temporary(),
            self.uploads(),
            self.deleting(),
            self.repositories(),
            self.contents(),
        ]
    }

    /// The bytes of a blob or manifest, whichever repositories have it.
    pub(crate) fn content(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root
            .join(CONTENTS)
            .join(digest.algorithm().to_string())
            .join(hex.get(..2).unwrap_or(hex))
            .join(hex)
    }

    pub(crate) fn repository(&self, name: &RepositoryName) -> RepositoryLayout {
        RepositoryLayout {
            directory: self.repositories().join(directory_name(name)),
        }
    }
}

/// The lock's file name: with [`TEMPORARY`] all that may stand beside a marker yet to be written.
pub(crate) const LOCK: &str = "lock";
/// The name of the directory of what ends with the process.
pub(crate) const TEMPORARY: &str = "temporary";

/// The name of the directory of all content.
const CONTENTS: &str = "blobs";

fn directory_name(repository: &RepositoryName) -> String {
    repository.as_str().replace('/', SLASH)
}

/// The upload that the file of this name is.
pub(crate) fn upload_of(file_name: &str) -> Option<(Algorithm, Uuid)> {
    let (algorithm, id) = file_name.split_once('-')?;
    let upload = (algorithm.parse().ok()?, Uuid::try_parse(id).ok()?);
    // The parser takes several spellings; only that of `upload` is one.
    (upload.1.to_string() == id).then_some(upload)
}

/// The repository that the directory of this name is for.
pub(crate) fn repository_of(directory_name: &str) -> Option<RepositoryName> {
    directory_name.replace(SLASH, "/").parse().ok()
}

/// The paths of one repository.
#[derive(Debug, Clone)]
pub(crate) struct RepositoryLayout {
    directory: PathBuf,
}

impl RepositoryLayout {
    /// Where everything of the repository is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// One empty file per blob that the repository has.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.directory.join("blobs")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(file_name(digest))
    }

    /// One record per manifest that the repository has.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.directory.join("manifests")
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> PathBuf {
        self.manifests().join(file_name(digest))
    }

    /// One file per tag, with the digest in it.
    pub(crate) fn tags(&self) -> PathBuf {
        self.directory.join("tags")
    }

    pub(crate) fn tag(&self, tag: &Tag) -> PathBuf {
        self.tags().join(tag.as_str())
    }

    /// One empty file per manifest that names `subject` as its subject.
    pub(crate) fn referrers(&self, subject: &Digest) -> PathBuf {
        self.subjects().join(file_name(subject))
    }

    /// One directory per subject that has referrers.
    pub(crate) fn subjects(&self) -> PathBuf {
        self.directory.join("referrers")
    }

    pub(crate) fn referrer(&self, subject: &Digest, referrer: &Digest) -> PathBuf {
        self.referrers(subject).join(file_name(referrer))
    }
}

/// A digest as a file name: not every file system takes the colon.
fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// The digest that the file of this name is for.
pub(crate) fn digest_of(file_name: &str) -> Option<Digest> {
    file_name.replacen('-', ":", 1).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    fn stays_below(root: &Path, path: &Path) -> bool {
        path.strip_prefix(root).is_ok_and(|rest| {
            rest.components().count() > 0
                && rest
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)))
        })
    }

    #[test]
    fn names_with_slashes_become_one_component_and_come_back() {
        let layout = Layout::new(Path::new("/data"));
        let name: RepositoryName = "team/sub-group/app.web".parse().unwrap();
        let directory = layout.repository(&name).directory;
        assert_eq!(
            directory,
            Path::new("/data/repositories/team+sub-group+app.web")
        );
        assert_eq!(repository_of("team+sub-group+app.web"), Some(name));
    }

    #[test]
    fn foreign_names_in_the_directories_are_nobody() {
        assert_eq!(repository_of(".."), None);
        assert_eq!(repository_of("+"), None);
        assert_eq!(repository_of("lost+found+"), None);
        assert_eq!(digest_of("sha256-"), None);
        assert_eq!(digest_of("..-.."), None);
    }

    #[test]
    fn digests_come_back_from_their_file_names() {
        for algorithm in [peak_oci::Algorithm::Sha256, peak_oci::Algorithm::Sha512] {
            let digest = Digest::of(algorithm, b"x");
            assert_eq!(digest_of(&file_name(&digest)), Some(digest));
        }
    }

    #[test]
    fn uploads_come_back_from_their_file_names() {
        let layout = Layout::new(Path::new("/data"));
        let name: RepositoryName = "team/app".parse().unwrap();
        let id = Uuid::new_v4();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let path = layout.upload(&name, algorithm, id);
            assert!(stays_below(Path::new("/data/uploads/team+app"), &path));
            let file_name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(upload_of(file_name), Some((algorithm, id)));
        }
        let upper = id.to_string().to_uppercase();
        for foreign in [
            "",
            "sha256-",
            &format!("md5-{id}"),
            &format!("sha256-{upper}"),
        ] {
            assert_eq!(upload_of(foreign), None);
        }
    }

    proptest! {
        #[test]
        fn no_name_leaves_the_directory(text in "[a-z0-9./_+%\\\\:-]{1,40}|\\PC{1,20}") {
            let layout = Layout::new(Path::new("/data"));
            if let Ok(name) = text.parse::<RepositoryName>() {
                let repository = layout.repository(&name);
                prop_assert!(stays_below(Path::new("/data/repositories"), &repository.directory));
                prop_assert_eq!(repository.directory.parent(), Some(Path::new("/data/repositories")));
                let back = repository.directory.file_name().and_then(|n| n.to_str()).and_then(repository_of);
                prop_assert_eq!(back, Some(name));
            }
            if let Ok(tag) = text.parse::<Tag>() {
                let repository = layout.repository(&"a".parse().unwrap());
                let path = repository.tag(&tag);
                prop_assert!(stays_below(&repository.tags(), &path));
            }
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert!(stays_below(Path::new("/data/blobs"), &layout.content(&digest)));
            }
        }
    }
}
