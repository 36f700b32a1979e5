//! The client of Apolo's images with the embedded registry and with an Engine that answers as it is told.

mod engine;
mod registry;
mod straight;
mod support;
