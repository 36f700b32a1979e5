//! Client of the Peak Artifacts service.
