//! The `peak` command line.

fn main() {}
