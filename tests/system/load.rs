//! Many clients at once.

use std::sync::{Arc, Barrier};

use crate::http::Connection;
use crate::support::{Sandbox, digest};

const CLIENTS: usize = 200;

/// What the process may have in memory at its most, in a build without optimisation. The clients send
/// more than that at the same time.
#[cfg(target_os = "linux")]
const MEMORY: u64 = 192 * 1024 * 1024;

/// Pushes a small and a large blob, and pulls both.
fn push_and_pull(host: &str, number: usize) {
    let mut connection = Connection::open(host);
    for size in [100, 1024 * 1024 + number] {
        let mut content = vec![0; size];
        for (piece, index) in content.chunks_mut(8).zip(0_u64..) {
            let value = (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number as u64).to_le_bytes();
            piece.copy_from_slice(&value[..piece.len()]);
        }
        let digest = digest(&content);
        let push = format!("/v2/load/blobs/uploads/?digest={digest}");
        let pushed = connection.send("POST", &push, "application/octet-stream", &content);
        assert_eq!(
            pushed.status,
            201,
            "{}",
            String::from_utf8_lossy(&pushed.body)
        );
        let pull = format!("/v2/load/blobs/{digest}");
        let pulled = connection.send("GET", &pull, "text/plain", b"");
        assert_eq!(pulled.status, 200);
        assert!(
            pulled.body == content,
            "client {number}: {size} bytes differ"
        );
    }
}

#[test]
fn two_hundred_clients_at_once_meet_no_error() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let start = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (host, start) = (server.host().to_owned(), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                push_and_pull(&host, number);
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    #[cfg(target_os = "linux")]
    {
        let peak = peak_memory(&server);
        assert!(peak < MEMORY, "{} MiB", peak / 1024 / 1024);
    }
}

/// The most that a process ever had in memory, bytes.
#[cfg(target_os = "linux")]
fn peak_memory(server: &crate::support::Server) -> u64 {
    let path = format!("/proc/{}/status", server.child.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}
