//! Packs a directory into a reproducible zip artifact, honouring ignore files.
