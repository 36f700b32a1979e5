//! What holds for whatever the builder is given; see [`crate::fuzzing`].
#![expect(
    clippy::missing_panics_doc,
    reason = "they panic where something does not hold, which is all they are for"
)]

use std::io::{self, Read, Write as _};
use std::sync::atomic::AtomicBool;

use super::contents::Contents;
use super::dockerfile::Dockerfile;
use super::limits::Limits;
use super::pattern::Pattern;
use super::stop::Stop;
use super::tarball::{self, Member, MemberKind, TarError};
use super::tree::{Content, Kind};
use super::{path, unpack};

/// Dockerfiles.
pub fn dockerfile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let limits = Limits::default();
    let Ok(read) = Dockerfile::parse(text, &limits) else {
        return;
    };
    assert!(!read.stages.is_empty());
    let mut lines = Vec::new();
    let mut texts = Vec::new();
    for instruction in &read.arguments {
        lines.push(instruction.line);
        texts.push(&instruction.text);
    }
    for stage in &read.stages {
        lines.push(stage.line);
        texts.push(&stage.text);
        assert!(!stage.image.is_empty());
        for instruction in &stage.instructions {
            lines.push(instruction.line);
            texts.push(&instruction.text);
        }
    }
    assert!(lines.is_sorted(), "instructions come in order: {lines:?}");
    let count = text.split('\n').count();
    assert!(lines.iter().all(|line| (1..=count).contains(line)));
    assert!(lines.len() <= limits.instructions);
    for text in texts {
        assert!(!text.is_empty() && !text.contains(char::is_control));
    }
    read.declared();
    // A comment more changes nothing.
    let with_comment = Dockerfile::parse(&format!("{text}\n# comment\n"), &limits);
    let stages = with_comment.map(|more| more.stages.len());
    assert!(
        stages
            .as_ref()
            .is_ok_and(|stages| *stages == read.stages.len())
            || text.trim_end().ends_with(read.escape)
            || text.contains("<<"),
        "{stages:?}"
    );
}

/// Patterns of `COPY`: a line with the pattern, and one with a path.
pub fn copy_pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (text, path) = text.split_once('\n').unwrap_or((text, "a/b"));
    if text.len() > 512 || path.len() > 512 {
        return;
    }
    if let Ok(pattern) = Pattern::parse(text) {
        pattern.matches(path);
    }
    let path = path::resolve_clamped("", path);
    let mut escaped = String::new();
    for character in path.chars() {
        if character != '/' {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    for pattern in [escaped, "*/".repeat(path::components(&path).count())] {
        if !path.is_empty() {
            let matches = Pattern::parse(&pattern).map(|pattern| pattern.matches(&path));
            assert_eq!(matches, Ok(true), "{pattern:?} of {path:?}");
        }
    }
}

/// Uploaded archives: what is unpacked keeps to the limits and stays inside.
pub fn zip_intake(data: &[u8]) {
    let limits = Limits {
        entries: 32,
        directory_bytes: 64 * 1024,
        total_bytes: 64 * 1024,
        entry_bytes: 16 * 1024,
        ratio: 20,
        ratio_from_bytes: 4 * 1024,
        path_bytes: 128,
        path_depth: 8,
        ..Limits::default()
    };
    let Ok(directory) = tempfile::tempdir() else {
        return;
    };
    let archive = directory.path().join("archive.zip");
    if std::fs::write(&archive, data).is_err() {
        return;
    }
    let mut contents = Contents::new(directory.path());
    let stop = AtomicBool::new(false);
    let Ok(tree) = unpack::unpack(&archive, &mut contents, &limits, Stop::new(&stop)) else {
        return;
    };
    assert!(tree.len() <= limits.entries);
    let mut total = 0;
    for (name, node) in tree.iter() {
        is_inside(name);
        assert!(name.len() <= limits.path_bytes);
        assert!(path::components(name).count() <= limits.path_depth);
        assert!(path::ancestors(name).all(|parent| tree.is_directory(parent)));
        assert!(node.mode <= 0o7777);
        match &node.kind {
            Kind::File { size, content } => {
                assert!(*size <= limits.entry_bytes);
                total += size;
                let Content::Disk(number) = content else {
                    unreachable!("it came out of the archive");
                };
                let length = contents.open(*number).and_then(|file| file.metadata());
                assert_eq!(length.map(|file| file.len()).ok(), Some(*size));
            }
            Kind::Symlink { target } => {
                let directory = path::parent(name).unwrap_or_default();
                assert!(path::resolve(directory, target).is_ok(), "{target:?}");
            }
            Kind::Directory => {}
            Kind::Special => unreachable!("such entries are refused"),
        }
    }
    assert!(total <= limits.total_bytes);
}

/// Layers of base images: their entries stay inside, and do not depend on how the bytes come.
pub fn layer_intake(data: &[u8]) {
    let whole = members(data);
    assert_eq!(members(Slow { data, size: 1 }), whole, "byte by byte");
    assert_eq!(members(Slow { data, size: 511 }), whole, "piece by piece");
    assert!(whole.members.len() <= data.len() / tarball::BLOCK);
    for (member, came) in &whole.members {
        is_inside(&member.path);
        assert!(member.mode <= 0o7777);
        match &member.kind {
            MemberKind::File { size } => {
                let is_whole = came == size;
                assert!(is_whole || (came < size && whole.error.is_some()));
            }
            MemberKind::HardLink { target } => {
                assert!(!target.starts_with('/') && !target.split('/').any(|part| part == ".."));
            }
            MemberKind::Directory | MemberKind::Symlink { .. } | MemberKind::Special => {}
        }
    }
}

#[derive(Debug, PartialEq)]
struct Members {
    /// Each with how much of its content came.
    members: Vec<(Member, u64)>,
    error: Option<String>,
}

fn members(reader: impl Read) -> Members {
    let mut members = Vec::new();
    let result = tarball::read(reader, |member, content| {
        let came = io::copy(content, &mut io::sink()).map_err(TarError::Read)?;
        members.push((member, came));
        Ok(())
    });
    Members {
        members,
        error: result.err().map(|error| format!("{error:?}")),
    }
}

/// Gives so many bytes at a time.
struct Slow<'a> {
    data: &'a [u8],
    size: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.size.min(self.data.len()).min(buffer.len());
        let (now, later) = self.data.split_at(count);
        self.data = later;
        buffer.write_all(now)?;
        Ok(count)
    }
}

fn is_inside(name: &str) {
    assert!(!name.is_empty() && !name.contains('\0'), "{name:?}");
    assert!(
        name.split('/').all(|part| !matches!(part, "" | "." | "..")),
        "{name:?}"
    );
}
