//! The records of a zip archive, as APPNOTE 6.3.10 of PKWARE lays them out.
//!
//! Written here since entries are compressed by several threads into pieces of memory, headers
//! included, and only then get their place in the archive. Sizes and checksums stand in front of the
//! data, so there are no data descriptors, which some readers do not take.

use crate::error::PackError;

/// Deflate (section 4.4.5).
const DEFLATED: u16 = 8;
/// Not compressed: what a directory's entry is.
const STORED: u16 = 0;
/// Version 2.0 reads deflate and directories (section 4.4.3).
const VERSION: u16 = 20;
/// Version 4.5 reads 64-bit sizes.
const VERSION_ZIP64: u16 = 45;
/// The upper byte of "version made by" (section 4.4.2): attributes are those of Unix.
const MADE_BY_UNIX: u16 = 3 << 8;
/// General purpose bit 11: the name is UTF-8.
const UTF8_NAME: u16 = 1 << 11;
/// 1980-01-01 00:00:00, the first moment that MS-DOS knows: day 1, month 1, year 0.
const DATE: u16 = (1 << 5) | 1;
const TIME: u16 = 0;
/// MS-DOS's attribute of directories, for readers that look at nothing else.
const DOS_DIRECTORY: u32 = 0x10;
const ZIP64_EXTRA: u16 = 1;

/// From this size on an entry gets 64-bit size fields; a bit under 4 GiB, since what does not
/// compress grows a little.
const LARGE_FILE_SIZE: u64 = 4_000_000_000;

/// What an archive says of one of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The path; that of a directory ends with `/`.
    pub(crate) name: &'a str,
    pub(crate) executable: bool,
    pub(crate) crc: u32,
    pub(crate) compressed_size: u64,
    pub(crate) size: u64,
    /// Where its local header is, from the archive's start.
    pub(crate) offset: u64,
}

impl<'a> Entry<'a> {
    pub(crate) fn directory(name: &'a str, offset: u64) -> Self {
        Self {
            name,
            executable: false,
            crc: 0,
            compressed_size: 0,
            size: 0,
            offset,
        }
    }

    fn is_directory(&self) -> bool {
        self.name.ends_with('/')
    }

    /// Decided by the size alone: the header has the same length before and after the data is known.
    fn is_large(&self) -> bool {
        self.size >= LARGE_FILE_SIZE
    }

    /// The fields that local and central headers have in common, from the version on.
    fn push_common(
        &self,
        version: u16,
        sizes: [u32; 2],
        extra: u16,
        out: &mut Vec<u8>,
    ) -> Result<(), PackError> {
        let name_length = u16::try_from(self.name.len()).map_err(|_| PackError::PathTooLong {
            path: self.name.to_owned(),
            limit: usize::from(u16::MAX),
        })?;
        push_u16(out, version);
        push_u16(out, if self.name.is_ascii() { 0 } else { UTF8_NAME });
        push_u16(
            out,
            if self.is_directory() {
                STORED
            } else {
                DEFLATED
            },
        );
        push_u16(out, TIME);
        push_u16(out, DATE);
        push_u32(out, self.crc);
        for size in sizes {
            push_u32(out, size);
        }
        push_u16(out, name_length);
        push_u16(out, extra);
        Ok(())
    }

    /// Section 4.3.7: what stands in front of the data.
    pub(crate) fn push_local_header(&self, out: &mut Vec<u8>) -> Result<(), PackError> {
        push_u32(out, 0x0403_4b50);
        if self.is_large() {
            self.push_common(VERSION_ZIP64, [u32::MAX; 2], 20, out)?;
        } else {
            let sizes = [self.compressed_size, self.size].map(or_marker);
            self.push_common(VERSION, sizes, 0, out)?;
        }
        out.extend_from_slice(self.name.as_bytes());
        if self.is_large() {
            push_zip64_extra(out, &[self.size, self.compressed_size]);
        }
        Ok(())
    }

    /// Section 4.3.12: what stands in the directory at the archive's end.
    pub(crate) fn push_central_header(&self, out: &mut Vec<u8>) -> Result<(), PackError> {
        // Section 4.5.3: only those of the three that do not fit, in this order.
        let mut wide = Vec::new();
        if self.is_large() {
            wide.extend([self.size, self.compressed_size]);
        }
        if needs_zip64(self.offset) {
            wide.push(self.offset);
        }
        let version = if wide.is_empty() {
            VERSION
        } else {
            VERSION_ZIP64
        };
        let extra = if wide.is_empty() {
            0
        } else {
            4 + 8 * u16::try_from(wide.len()).unwrap_or(0)
        };
        let sizes = if self.is_large() {
            [u32::MAX; 2]
        } else {
            [self.compressed_size, self.size].map(or_marker)
        };
        push_u32(out, 0x0201_4b50);
        push_u16(out, MADE_BY_UNIX | version);
        self.push_common(version, sizes, extra, out)?;
        push_u16(out, 0); // no comment
        push_u16(out, 0); // on the first disk
        push_u16(out, 0); // nothing said about the contents
        push_u32(out, self.attributes());
        push_u32(out, or_marker(self.offset));
        out.extend_from_slice(self.name.as_bytes());
        if !wide.is_empty() {
            push_zip64_extra(out, &wide);
        }
        Ok(())
    }

    fn attributes(&self) -> u32 {
        let mode: u32 = match (self.is_directory(), self.executable) {
            (true, _) => return (0o040_755 << 16) | DOS_DIRECTORY,
            (false, true) => 0o100_755,
            (false, false) => 0o100_644,
        };
        mode << 16
    }
}

/// Sections 4.3.14 to 4.3.16: what closes the archive after a central directory of `entries` headers
/// in `size` bytes that starts at `offset`.
pub(crate) fn push_end(entries: u64, offset: u64, size: u64, out: &mut Vec<u8>) {
    let few = u16::try_from(entries)
        .ok()
        .filter(|count| *count != u16::MAX);
    if few.is_none() || needs_zip64(offset) || needs_zip64(size) {
        push_u32(out, 0x0606_4b50);
        push_u64(out, 44); // the bytes of this record that follow
        push_u16(out, MADE_BY_UNIX | VERSION_ZIP64);
        push_u16(out, VERSION_ZIP64);
        push_u32(out, 0); // this disk
        push_u32(out, 0); // the directory's disk
        push_u64(out, entries); // on this disk
        push_u64(out, entries);
        push_u64(out, size);
        push_u64(out, offset);

        push_u32(out, 0x0706_4b50);
        push_u32(out, 0); // the disk of the record above
        push_u64(out, offset.saturating_add(size));
        push_u32(out, 1); // disks
    }
    push_u32(out, 0x0605_4b50);
    push_u16(out, 0);
    push_u16(out, 0);
    push_u16(out, few.unwrap_or(u16::MAX));
    push_u16(out, few.unwrap_or(u16::MAX));
    push_u32(out, or_marker(size));
    push_u32(out, or_marker(offset));
    push_u16(out, 0); // no comment
}

fn needs_zip64(value: u64) -> bool {
    value >= u64::from(u32::MAX)
}

/// The value, or all ones, which say that it stands in a 64-bit field elsewhere.
fn or_marker(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn push_zip64_extra(out: &mut Vec<u8>, values: &[u64]) {
    push_u16(out, ZIP64_EXTRA);
    push_u16(out, 8 * u16::try_from(values.len()).unwrap_or(0));
    for value in values {
        push_u64(out, *value);
    }
}

fn push_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn push_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn push_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};

    use super::*;

    /// Where 32 bits do not reach; the file before it is a hole.
    const FAR: u64 = 5_000_000_000;

    #[test]
    fn offsets_and_sizes_over_4_gib_are_read_back() {
        let mut file = tempfile::tempfile().unwrap();
        let near = Entry {
            name: "large.bin",
            executable: true,
            crc: 0x1234_5678,
            compressed_size: FAR - 1000,
            size: FAR + 5,
            offset: 0,
        };
        let far = Entry {
            name: "small.txt",
            executable: false,
            crc: 0x3610_a686,
            compressed_size: 10,
            size: 5,
            offset: FAR,
        };
        let mut header = Vec::new();
        near.push_local_header(&mut header).unwrap();
        file.write_all(&header).unwrap();
        file.seek(SeekFrom::Start(FAR)).unwrap();
        let mut rest = Vec::new();
        far.push_local_header(&mut rest).unwrap();
        // `hello` as a stored block of deflate.
        rest.extend_from_slice(&[1, 5, 0, 0xfa, 0xff]);
        rest.extend_from_slice(b"hello");
        let directory = FAR + rest.len() as u64;
        near.push_central_header(&mut rest).unwrap();
        far.push_central_header(&mut rest).unwrap();
        let size = FAR + rest.len() as u64 - directory;
        push_end(2, directory, size, &mut rest);
        file.write_all(&rest).unwrap();

        let mut archive = zip::ZipArchive::new(file).unwrap();
        assert_eq!(archive.len(), 2);
        {
            let entry = archive.by_index_raw(0).unwrap();
            assert_eq!(
                (entry.size(), entry.compressed_size()),
                (FAR + 5, FAR - 1000)
            );
            assert_eq!(
                (entry.header_start(), entry.unix_mode()),
                (0, Some(0o100_755))
            );
        }
        let mut entry = archive.by_index(1).unwrap();
        assert_eq!(entry.header_start(), FAR);
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_name_that_does_not_fit_is_an_error() {
        let name = "a".repeat(65_536);
        let entry = Entry::directory(&name, 0);
        assert!(entry.push_local_header(&mut Vec::new()).is_err());
        let entry = Entry::directory(&name[1..], 0);
        assert!(entry.push_local_header(&mut Vec::new()).is_ok());
    }
}
