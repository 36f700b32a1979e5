//! The registry as its clients see it, and the store as it comes back after a crash.

#[cfg(test)]
mod auth;
#[cfg(test)]
mod check;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod garbage;
#[cfg(test)]
mod http;
#[cfg(test)]
mod interrupted;
#[cfg(test)]
mod peers;
#[cfg(test)]
#[cfg(feature = "server")]
mod server;
#[cfg(test)]
mod support;
