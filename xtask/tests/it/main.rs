//! The maintenance commands as processes.

#[cfg(unix)]
mod bench;
mod codegen;
