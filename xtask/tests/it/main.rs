//! The maintenance commands as processes.

#[cfg(unix)]
mod bench;
mod codegen;
#[cfg(target_os = "linux")]
mod dist;
