//! The client as its users see it: over Unix sockets to an Engine that misbehaves on purpose, over mocks with a paused
//! clock where waiting is involved, and against a real Docker Engine.
#![cfg(unix)]

#[cfg(test)]
mod fake;
#[cfg(test)]
mod images;
#[cfg(test)]
mod patience;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod traces;
