//! Reading and writing at a position, so that many can use one open file at once.

use std::fs::File;
use std::io;

#[cfg(unix)]
fn read_once(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_once(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(unix)]
fn write_once(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_once(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

/// Fills the buffer from `offset` on; says how much there was before the end of the file.
pub(crate) fn read(file: &File, buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read_once(file, rest, offset) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The bytes from `offset` on, `count` of them or as many as there are before the end of the file.
pub(crate) fn frame(file: &File, count: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(count);
    while frame.len() < count {
        let at = offset + frame.len() as u64;
        match append_once(file, &mut frame, count, at) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    frame.truncate(count);
    Ok(frame)
}

/// Reads into memory that nobody has filled with zeros before: that costs a twentieth of a copy.
#[cfg(unix)]
fn append_once(file: &File, frame: &mut Vec<u8>, _count: usize, offset: u64) -> io::Result<usize> {
    let room = rustix::buffer::spare_capacity(frame);
    Ok(rustix::io::pread(file, room, offset)?)
}

#[cfg(windows)]
fn append_once(file: &File, frame: &mut Vec<u8>, count: usize, offset: u64) -> io::Result<usize> {
    let begin = frame.len();
    frame.resize(count, 0);
    let read = read_once(file, frame.get_mut(begin..).unwrap_or_default(), offset);
    frame.truncate(begin + *read.as_ref().unwrap_or(&0));
    read
}

/// Writes all bytes from `offset` on.
pub(crate) fn write(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match write_once(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
