//! A real Docker Engine.
