//! An OCI registry over a directory on disk, as a library.
