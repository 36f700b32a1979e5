//! The registry as its clients see it, and the store as it comes back after a crash.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod http;
#[cfg(test)]
mod interrupted;
#[cfg(test)]
#[cfg(feature = "server")]
mod server;
#[cfg(test)]
mod support;
