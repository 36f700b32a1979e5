//! Files that appear whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::LayoutError;

/// A new file in `staging` that vanishes unless it is given its name with [`publish`].
///
/// Its name begins with `prefix`, for people who look into the directory.
pub(crate) fn begin(staging: &Path, prefix: impl AsRef<OsStr>) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix.as_ref());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any other file: the umask decides. The default of temporary files would hide blobs from other users.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(staging)
}

/// Makes the content durable, then gives it its name in one step.
///
/// The name itself is durable only after [`sync_directory`].
pub(crate) fn publish(file: NamedTempFile, target: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a small file so that readers see the old content or the new one, never a mixture.
pub(crate) fn write_whole(
    staging: &Path,
    target: &Path,
    hint: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let mut file = begin(staging, format!("{hint}-"))?;
    file.write_all(bytes)?;
    publish(file, target)
}

/// Makes renames within the directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Whether the path still leads to the file or directory that is held.
#[cfg(unix)]
pub(crate) fn is_at(held: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (held.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
pub(crate) fn is_at(_held: &File, _path: &Path) -> bool {
    true
}

/// Reads a file of at most `limit` bytes; `None` where there is none.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, LayoutError> {
    // Looked at before it is opened: opening a named pipe would wait for ever.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            return Err(LayoutError::reading(path)(io::Error::other(
                "not a regular file",
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LayoutError::reading(path)(error)),
    }
    let file = File::open(path).map_err(LayoutError::reading(path))?;
    read_all(file, path, limit).map(Some)
}

/// Reads an open file of at most `limit` bytes; `path` is for the error.
pub(crate) fn read_all(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, LayoutError> {
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(LayoutError::reading(path))?;
    if bytes.len() as u64 > limit {
        return Err(LayoutError::TooLarge {
            path: path.to_path_buf(),
            limit,
        });
    }
    Ok(bytes)
}
