//! A push that was killed goes on in the next run, where it stopped.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::{Sandbox, Server, digest, eventually, files_under, finish, signal};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 48 * MIB;

/// A proxy that counts the bytes on their way to the registry, and lets no more through than it may.
struct Proxy {
    address: String,
    sent: Arc<AtomicU64>,
    limit: Arc<AtomicU64>,
    /// How often all connections were cut.
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap().to_string(),
            sent: Arc::default(),
            limit: Arc::new(AtomicU64::new(u64::MAX)),
            cuts: Arc::default(),
        };
        let counts = Counts(
            Arc::clone(&proxy.sent),
            Arc::clone(&proxy.limit),
            Arc::clone(&proxy.cuts),
        );
        let to = server.host().to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&to).unwrap());
                let (mut from, mut back) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut back);
                    let _ = back.shutdown(Shutdown::Both);
                });
                let counts = counts.clone();
                std::thread::spawn(move || forward(client, server, &counts));
            }
        });
        proxy
    }

    /// The bytes since it was last asked.
    fn take(&self) -> u64 {
        self.sent.swap(0, Ordering::SeqCst)
    }

    /// Starts a push that gets stuck in the middle of the large blob.
    fn half_a_push(&self, sandbox: &Sandbox, push: [&str; 4]) -> Child {
        self.take();
        self.limit.store(SIZE / 2, Ordering::SeqCst);
        let child = sandbox.command(push).spawn().unwrap();
        eventually("half of the blob", || {
            (self.sent.load(Ordering::SeqCst) >= SIZE / 2).then_some(())
        });
        child
    }

    /// Cuts what is open, and lets everything through from now on.
    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
        self.limit.store(u64::MAX, Ordering::SeqCst);
        self.take();
    }
}

/// Bytes sent, the most of them, and cuts.
#[derive(Clone)]
struct Counts(Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicU64>);

fn forward(mut client: TcpStream, mut server: TcpStream, counts: &Counts) {
    let Counts(sent, limit, cuts) = counts;
    let now = || cuts.load(Ordering::SeqCst);
    let begun = now();
    let mut bytes = [0; 16 * 1024];
    loop {
        // Where no more may pass nothing more is read, and the client waits.
        while sent.load(Ordering::SeqCst) >= limit.load(Ordering::SeqCst) && now() == begun {
            std::thread::sleep(Duration::from_millis(5));
        }
        match client.read(&mut bytes) {
            Ok(count)
                if count > 0 && now() == begun && server.write_all(&bytes[..count]).is_ok() =>
            {
                sent.fetch_add(count as u64, Ordering::SeqCst);
            }
            _ => break,
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// A layout with an artifact of one large blob.
fn layout(sandbox: &Sandbox) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let blob: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(usize::try_from(SIZE / 8).unwrap())
    .flatten()
    .collect();
    let part = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.test.large",
        "config": part("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [part("application/octet-stream", &blob)],
    })
    .to_string();
    let index = json!({
        "schemaVersion": 2,
        "manifests": [part("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes())],
    })
    .to_string();
    let name = |bytes: &[u8]| digest(bytes).replace(':', "/");
    sandbox.files(
        "layout",
        [
            (
                "oci-layout",
                br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice(),
            ),
            ("index.json", index.as_bytes()),
            (&format!("blobs/{}", name(b"{}")), b"{}"),
            (
                &format!("blobs/{}", name(manifest.as_bytes())),
                manifest.as_bytes(),
            ),
            (&format!("blobs/{}", name(&blob)), &blob),
        ],
    );
}

fn states(sandbox: &Sandbox) -> Vec<String> {
    files_under(&sandbox.path("state/peak-uploads"))
}

#[test]
fn a_push_that_was_killed_goes_on_where_it_stopped() {
    let sandbox = Sandbox::new();
    layout(&sandbox);
    let server = sandbox.serve();
    let proxy = Proxy::before(&server);
    let reference = format!("{}/large/app:v1", proxy.address);
    let push = ["registry", "push", "oci:layout", &reference];

    let mut child = proxy.half_a_push(&sandbox, push);
    signal(&child, "KILL");
    child.wait().unwrap();
    let kept = states(&sandbox);
    assert_eq!(kept.len(), 1, "{kept:?}");
    private(&sandbox.path("state/peak-uploads").join(&kept[0]));

    proxy.cut();
    sandbox.peak(push).assert_code(0);
    let rest = proxy.take();
    assert!(
        rest < SIZE / 2 + 2 * MIB,
        "{rest} of {SIZE} bytes were sent again"
    );
    assert!(rest > SIZE / 2 - 2 * MIB, "{rest}");
    assert_eq!(states(&sandbox), Vec::<String>::new());

    let back = format!("{}/large/app:v1", server.host());
    sandbox
        .peak(["registry", "pull", &back, "oci:back"])
        .assert_code(0);
}

#[test]
fn a_push_whose_session_is_gone_begins_anew_and_one_that_is_interrupted_leaves_nothing() {
    let sandbox = Sandbox::new();
    layout(&sandbox);
    let server = sandbox.serve();
    let proxy = Proxy::before(&server);
    let reference = format!("{}/large/app:v1", proxy.address);
    let push = ["registry", "push", "oci:layout", &reference];
    let child = proxy.half_a_push(&sandbox, push);
    signal(&child, "INT");
    proxy.limit.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(finish(child).code, Some(130));
    assert_eq!(states(&sandbox), Vec::<String>::new());

    let mut child = proxy.half_a_push(&sandbox, push);
    signal(&child, "KILL");
    child.wait().unwrap();
    proxy.cut();
    let kept = sandbox
        .path("state/peak-uploads")
        .join(&states(&sandbox)[0]);
    let text = std::fs::read_to_string(&kept).unwrap();
    let place = text.split("/blobs/uploads/").nth(1).unwrap();
    let session = &place[..36];
    std::fs::write(&kept, text.replace(session, &"0".repeat(8))).unwrap();
    sandbox.peak(push).assert_code(0);
    assert!(proxy.take() > SIZE);
    assert_eq!(states(&sandbox), Vec::<String>::new());
}

#[cfg(unix)]
fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[cfg(not(unix))]
fn private(_: &Path) {}
