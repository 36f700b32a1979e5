//! Facade: every crate of the family behind a feature.
