//! Packs a directory into the artifact that the Peak platform builds images from: a zip whose bytes
//! depend on nothing but the files in it.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let place = tempfile::tempdir()?;
//! # let project = place.path().join("project");
//! # std::fs::create_dir_all(project.join("src"))?;
//! # std::fs::write(project.join("Dockerfile"), "FROM scratch\n")?;
//! # std::fs::write(project.join("src/main.py"), "print('hello')\n")?;
//! # std::fs::write(project.join("debug.log"), "noise\n")?;
//! # std::fs::write(project.join(".dockerignore"), "*.log\n")?;
//! use peak_pack::{PackOptions, pack_to_file, scan, tree};
//!
//! // What would go in? Nothing is read but the directory entries.
//! let files = scan(&project, &PackOptions::new())?;
//! println!("{}", tree(&files));
//!
//! let archive = pack_to_file(&project, &PackOptions::new(), &place.path().join("artifact.zip"))?;
//! assert_eq!(archive.files.total(), files.total());
//! # assert!(files.files.iter().all(|file| file.path != "debug.log"));
//! # Ok(())
//! # }
//! ```
//!
//! The same tree gives the same bytes on any machine and in any file system order: entries are
//! sorted, carry one fixed time and one of two modes. Ignore files speak gitignore's pattern
//! language, with one rule of the platform's own: the last pattern that matches a file *or any of
//! its parent directories* decides (`spec/peak-api.md`, "Packing a directory into an artifact").
//!
//! Files are compressed by all processors; the bytes do not show how many there were. They come from two
//! libraries, by the size of the file, of which neither lets the processor it runs on change its output;
//! another version of one of them may.
//!
//! What this crate is not: it does not upload, it knows nothing of HTTP or of an async runtime, and
//! it does not unpack. Its functions block; call them from a blocking thread.

mod archive;
mod cancel;
mod compress;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod ignore_rules;
mod options;
mod pipeline;
mod scan;
mod size;
mod tree;
mod zip_format;

pub use archive::{Archive, pack, pack_to_file};
pub use cancel::{CancelFlag, CancelOnDrop};
pub use error::{Change, PackError};
pub use options::{DEFAULT_IGNORE_FILE, DEFAULT_SIZE_LIMIT, PackOptions};
pub use scan::{FileEntry, FileList, MAX_ENTRIES, MAX_PATH_LENGTH, scan};
pub use tree::tree;
