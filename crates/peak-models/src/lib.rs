//! Domain types of the Peak platform, generated from JSON Schemas.
