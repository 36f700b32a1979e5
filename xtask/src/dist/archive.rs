//! A gzipped tar archive that says nothing of the machine, the user and the hour that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// The mode of a file that is run.
pub(crate) const EXECUTABLE: u32 = 0o755;

/// The mode of a file that is read.
pub(crate) const PLAIN: u32 = 0o644;

/// Files by their paths in the archive, each with its mode and what is in it.
pub(crate) type Entries = BTreeMap<String, (u32, Vec<u8>)>;

/// In gzip's header: on which kind of system it was made is not told.
const UNKNOWN_SYSTEM: u8 = 255;

/// The archive: everything below one directory of this name, sorted, owned by root, and of this time.
pub(crate) fn of(name: &str, entries: &Entries, time: u64) -> anyhow::Result<Vec<u8>> {
    let gzip = GzBuilder::new()
        .mtime(u32::try_from(time).context("a gzip archive cannot be of that time")?)
        .operating_system(UNKNOWN_SYSTEM)
        .write(Vec::new(), Compression::best());
    let mut tar = Builder::new(gzip);
    for directory in directories(entries.keys()) {
        let path = Path::new(name).join(directory);
        let mut header = header(EntryType::Directory, EXECUTABLE, 0, time);
        tar.append_data(&mut header, path, std::io::empty())?;
    }
    for (file, (mode, content)) in entries {
        let size = u64::try_from(content.len())?;
        let mut header = header(EntryType::Regular, *mode, size, time);
        tar.append_data(&mut header, Path::new(name).join(file), content.as_slice())?;
    }
    Ok(tar.into_inner()?.finish()?)
}

/// All directories that these files are in, an outer one before what is in it. The archive's own is the empty path.
fn directories<'a>(files: impl Iterator<Item = &'a String>) -> BTreeSet<&'a Path> {
    files
        .flat_map(|file| Path::new(file).ancestors().skip(1))
        .collect()
}

fn header(kind: EntryType, mode: u32, size: u64, time: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header
}
