//! A slow link to a server: a proxy for TCP that lets bytes through later, and not too many at a time.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Bytes that are looked at together: a little more than a millisecond of 100 Mbit/s.
const CHUNK: usize = 16 * 1024;

/// Chunks under way in one direction of one connection; more wait at their sender.
const UNDER_WAY: usize = 64;

/// What the link lets through.
#[derive(Clone, Copy)]
pub(super) struct Speed {
    /// From one end to the other.
    pub(super) delay: Duration,
    /// In each direction, all connections together.
    pub(super) bytes_per_second: u32,
}

/// Listens on loopback and passes on to `server`; says where. It works until the process ends.
pub(super) fn start(server: &str, speed: Speed) -> anyhow::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?.to_string();
    let server = server.to_owned();
    let up = Arc::new(Wire::new(speed));
    let down = Arc::new(Wire::new(speed));
    thread::Builder::new()
        .name("link".to_owned())
        .spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection that fails is the client's to notice.
                let _ = connect(client, &server, &up, &down, speed);
            }
        })
        .context("cannot start a thread")?;
    Ok(address)
}

fn connect(
    client: TcpStream,
    server: &str,
    up: &Arc<Wire>,
    down: &Arc<Wire>,
    speed: Speed,
) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    // The client believes that it is connected; over a real link that takes a round.
    let connected = Instant::now() + speed.delay * 2;
    pass(client.try_clone()?, server.try_clone()?, up, connected)?;
    pass(server, client, down, connected)
}

/// Starts to pass on what comes from one end.
fn pass(from: TcpStream, to: TcpStream, wire: &Arc<Wire>, not_before: Instant) -> io::Result<()> {
    let (sender, receiver) = mpsc::sync_channel(UNDER_WAY);
    let wire = Arc::clone(wire);
    let builder = || thread::Builder::new().stack_size(128 * 1024);
    builder().spawn(move || take_in(from, &wire, not_before, &sender))?;
    builder().spawn(move || give_out(to, &receiver))?;
    Ok(())
}

fn take_in(
    mut from: TcpStream,
    wire: &Wire,
    not_before: Instant,
    sender: &SyncSender<(Instant, Vec<u8>)>,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                let bytes = chunk.get(..count).unwrap_or_default().to_vec();
                let arrival = wire.arrival(Instant::now().max(not_before), bytes.len());
                if sender.send((arrival, bytes)).is_err() {
                    return;
                }
            }
        }
    }
}

fn give_out(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    for (arrival, bytes) in receiver {
        thread::sleep(arrival.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// One direction of the link.
struct Wire {
    speed: Speed,
    /// When it has let through all that came so far.
    free: Mutex<Instant>,
}

impl Wire {
    fn new(speed: Speed) -> Self {
        Self {
            speed,
            free: Mutex::new(Instant::now()),
        }
    }

    /// When so many bytes are at the other end, that come now.
    fn arrival(&self, now: Instant, bytes: usize) -> Instant {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let takes =
            Duration::from_secs_f64(f64::from(bytes) / f64::from(self.speed.bytes_per_second));
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(now) + takes;
        *free + self.speed.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_together_arrives_one_after_the_other_and_later() {
        let wire = Wire::new(Speed {
            delay: Duration::from_millis(5),
            bytes_per_second: 1000,
        });
        let now = Instant::now() + Duration::from_secs(1);
        assert_eq!(wire.arrival(now, 100), now + Duration::from_millis(105));
        assert_eq!(wire.arrival(now, 100), now + Duration::from_millis(205));
        let later = now + Duration::from_secs(1);
        assert_eq!(wire.arrival(later, 10), later + Duration::from_millis(15));
    }

    #[test]
    fn all_bytes_pass_in_both_directions() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap().to_string();
        let echo = thread::spawn(move || {
            let (mut connection, _) = server.accept().unwrap();
            let mut all = Vec::new();
            connection.read_to_end(&mut all).unwrap();
            connection.write_all(&all).unwrap();
        });
        let speed = Speed {
            delay: Duration::from_millis(1),
            bytes_per_second: 100_000_000,
        };
        let mut client = TcpStream::connect(start(&address, speed).unwrap()).unwrap();
        let sent = vec![7; 100_000];
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(received == sent);
        echo.join().unwrap();
    }
}
