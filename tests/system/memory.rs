//! How much memory the embedded platform takes: no more for large blobs and many clients than for small and few.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use sha2::{Digest as _, Sha256};

use crate::http::{Connection, path_of, with_digest};
use crate::support::{Sandbox, Server, digest};

const MIB: usize = 1 << 20;

/// The most that the server may ever have had, in MiB, in a build without optimisation too.
const BOUND: usize = 40;

const CLIENTS: u8 = 200;

/// The most memory that the process has had so far, in MiB, rounded up.
fn peak_memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap().div_ceil(1024)
}

/// A part of a large blob, different each time.
fn part(number: usize) -> Vec<u8> {
    let mut part = vec![7; MIB];
    part[..8].copy_from_slice(&number.to_le_bytes());
    part
}

fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .fold("sha256:".to_owned(), |text, byte| {
            text + &format!("{byte:02x}")
        })
}

#[test]
fn a_large_blob_is_pushed_and_pulled_in_little_memory() {
    let size = std::env::var("PEAK_BLOB_MIB").map_or(256, |text| text.parse().unwrap());
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let mut connection = Connection::open(server.host());
    let mut hash = Sha256::new();
    for number in 0..size {
        hash.update(part(number));
    }
    let digest = hex(hash);

    let begun = connection.send("POST", "/v2/large/blobs/uploads/", "text/plain", b"");
    let target = with_digest(begun.header("location").unwrap(), &digest);
    connection.begin("PUT", &target, "application/octet-stream", size * MIB, b"");
    for number in 0..size {
        connection.go_on(&part(number));
    }
    assert_eq!(connection.answer(true).status, 201);
    let pushed = peak_memory(&server);

    let mut stream = TcpStream::connect(server.host()).unwrap();
    let request = format!(
        "GET /v2/large/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; MIB];
    let mut head = Vec::new();
    let body = loop {
        let read = stream.read(&mut answer).unwrap();
        head.extend_from_slice(&answer[..read]);
        if let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            break head.split_off(end + 4);
        }
    };
    assert!(head.starts_with(b"HTTP/1.1 200 "));
    let mut hash = Sha256::new();
    hash.update(body);
    loop {
        match stream.read(&mut answer).unwrap() {
            0 => break,
            read => hash.update(&answer[..read]),
        }
    }
    assert_eq!(hex(hash), digest);
    let pulled = peak_memory(&server);
    println!("{size} MiB: {pushed} MiB of memory after the push, {pulled} MiB after the pull");
    assert!(
        pulled < BOUND,
        "{pushed} MiB after the push, {pulled} MiB after the pull"
    );
}

#[test]
fn two_hundred_clients_push_and_pull_at_once_without_an_error_in_bounded_memory() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve();
    let host = server.host();
    let all_are_in_the_middle = std::sync::Barrier::new(usize::from(CLIENTS));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let all_are_in_the_middle = &all_are_in_the_middle;
            scope.spawn(move || {
                let content = vec![client; MIB / 2];
                let digest = digest(&content);
                let mut connection = Connection::open(host);
                let start = format!("/v2/many/{client}/blobs/uploads/");
                let begun = connection.send("POST", &start, "text/plain", b"");
                // Who fails goes to the meeting too, or the others would wait for ever.
                let half = (begun.status == 202).then(|| {
                    let location = path_of(begun.header("location").unwrap()).to_owned();
                    let chunk = &content[..content.len() / 2];
                    let kind = "application/octet-stream";
                    (
                        connection.send("PATCH", &location, kind, chunk).status,
                        location,
                    )
                });
                all_are_in_the_middle.wait();
                assert_eq!(
                    begun.status,
                    202,
                    "{}",
                    String::from_utf8_lossy(&begun.body)
                );
                let (status, location) = half.unwrap();
                assert_eq!(status, 202);
                let rest = &content[content.len() / 2..];
                let target = with_digest(&location, &digest);
                let done = connection.send("PUT", &target, "application/octet-stream", rest);
                assert_eq!(done.status, 201);
                let blob = format!("/v2/many/{client}/blobs/{digest}");
                let pulled = connection.send("GET", &blob, "", b"");
                assert!(pulled.status == 200 && pulled.body == content);
            });
        }
    });
    let peak = peak_memory(&server);
    println!("{CLIENTS} clients: {peak} MiB of memory");
    // Half a MiB for each: what was read of a request and not yet written, and the other way round.
    assert!(peak < BOUND + usize::from(CLIENTS) / 2, "{peak} MiB");
}
