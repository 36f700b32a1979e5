//! Headers for entries whose place and size are known. The same name and size give the same bytes.

use tar::{EntryType, Header};

use super::{BLOCK, BLOCK_SIZE};

/// The two empty blocks at the end of an archive.
pub(crate) const END_SIZE: u64 = 2 * BLOCK;

/// The longest name that fits into a header; a longer one stands in an entry before it, as GNU tar does it.
const SHORT_NAME: usize = 100;

/// The size with what fills the last block.
pub(crate) fn padded(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(BLOCK)
}

/// All that stands before the content of a file: its header, with the name in one of its own where it is long.
///
/// Every file gets the same mode and owner and no time, so that an archive's bytes depend on its content alone.
pub(crate) fn reserve(name: &str, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if name.len() > SHORT_NAME {
        let mut content = name.as_bytes().to_vec();
        content.push(0);
        bytes.extend_from_slice(&header(
            b"././@LongLink",
            EntryType::GNULongName,
            content.len() as u64,
        ));
        bytes.append(&mut content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_SIZE), 0);
    }
    bytes.extend_from_slice(&header(name.as_bytes(), EntryType::Regular, size));
    bytes
}

fn header(name: &[u8], kind: EntryType, size: u64) -> [u8; BLOCK_SIZE] {
    let mut header = Header::new_gnu();
    for (place, byte) in header.as_old_mut().name.iter_mut().zip(name) {
        *place = *byte;
    }
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    *header.as_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_written_is_read_by_the_tar_crate() {
        let long = format!("blobs/sha512/{}", "a".repeat(128));
        let large = 0o100_000_000_000_u64;
        for (name, size) in [("oci-layout", 30), (long.as_str(), 3), ("large", large)] {
            let mut bytes = reserve(name, size);
            assert_eq!(bytes.len() % 512, 0);
            assert_eq!(bytes, reserve(name, size));
            bytes.resize(bytes.len() + 512 + 1024, 0);
            let mut archive = tar::Archive::new(bytes.as_slice());
            let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(entry.path().unwrap().to_str(), Some(name));
            assert_eq!(entry.size(), size);
            let mut content = Vec::new();
            let _ = entry.read_to_end(&mut content);
        }
    }
}
