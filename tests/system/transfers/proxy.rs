//! A proxy before a registry that counts what passes, slows it down, and breaks it.

use std::borrow::Cow;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request on its way to the registry.
#[derive(Clone, Debug)]
pub(super) struct Request {
    head: String,
    length: u64,
}

impl Request {
    /// Method and path.
    pub(super) fn line(&self) -> &str {
        self.head
            .lines()
            .next()
            .unwrap()
            .trim_end_matches(" HTTP/1.1")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The digest of the blob that is read.
    pub(super) fn blob(&self) -> Option<&str> {
        self.line()
            .strip_prefix("GET ")?
            .split_once("/blobs/")
            .map(|(_, digest)| digest)
    }

    /// How many bytes its body has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The first byte that is asked for.
    pub(super) fn start(&self) -> u64 {
        let range = self
            .header("range")
            .and_then(|range| range.strip_prefix("bytes="));
        range.map_or(0, |range| range.split_once('-').unwrap().0.parse().unwrap())
    }
}

/// How many bytes of an answer wait at most in the socket of whoever asked, where the rate is limited.
///
/// A machine that is slow for a moment, at a disk that flushes say, would otherwise take in megabytes that nobody has
/// seen: the kernel's buffer grows to 32 MiB.
pub(super) const UNREAD: u64 = 256 << 10;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    Pass,
    /// The connection breaks after so many bytes of the answer's body.
    Cut(u64),
    /// After so many bytes of the answer's body nothing more comes, and the connection stays.
    Stall(u64),
    /// The answer's body is so many bytes long, and its head says so.
    Resized(u64),
    /// The byte at this place of the answer's body is another one.
    Changed(u64),
    /// The registry does not hear that a range is asked for.
    Whole,
    /// The answer says that it begins a byte later.
    OtherRange,
    /// The byte at this place of the request's body is another one.
    ChangedBody(u64),
    /// The registry is not asked: this is the answer.
    Answer(Cow<'static, str>),
}

/// What has passed.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) request: Request,
    /// The status of the answer; 0 if there was none.
    pub(super) status: u16,
    /// How many bytes of the request's body came.
    pub(super) received: u64,
    /// How many bytes of the answer's body went out. Through a proxy with a rate, whoever asked has read them, but for
    /// [`UNREAD`] of them.
    pub(super) sent: u64,
}

type Decide = dyn Fn(&Request) -> Fate + Send + Sync;

struct Shared {
    upstream: Mutex<String>,
    decide: Box<Decide>,
    /// How many bytes a second a connection carries in a direction.
    rate: Option<u64>,
    exchanges: Mutex<Vec<Exchange>>,
    has_ended: AtomicBool,
}

pub(super) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    pub(super) fn start(
        upstream: &str,
        rate: Option<u64>,
        decide: impl Fn(&Request) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream.to_owned()),
            decide: Box::new(decide),
            rate,
            exchanges: Mutex::default(),
            has_ended: AtomicBool::new(false),
        });
        let proxy = Self {
            address,
            shared: Arc::clone(&shared),
        };
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.has_ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // Who has gone has gone: errors of one connection are no errors of the proxy.
                    let _ = client.and_then(|client| shared.pass(&client));
                });
            }
        });
        proxy
    }

    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Where the registry is from now on.
    pub(super) fn lead_to(&self, upstream: &str) {
        upstream.clone_into(&mut self.shared.upstream.lock().unwrap());
    }

    /// What has passed, and what is passing.
    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        self.shared.exchanges.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        // So that it looks.
        let _ = TcpStream::connect(self.address);
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The head of a request or answer.
fn read_head(from: &mut BufReader<&TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// The same head with another value of a header, or without it.
fn with(head: &str, name: &str, value: Option<&str>) -> String {
    let is_other = |line: &&str| {
        line.split_once(':')
            .is_none_or(|(key, _)| !key.eq_ignore_ascii_case(name))
    };
    let mut lines: Vec<String> = head
        .trim_end()
        .lines()
        .filter(is_other)
        .map(str::to_owned)
        .collect();
    lines.extend(value.map(|value| format!("{name}: {value}")));
    lines.join("\r\n") + "\r\n\r\n"
}

impl Shared {
    /// One connection, with one request.
    fn pass(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut from = BufReader::new(client);
        let head = read_head(&mut from)?;
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let request = Request { head, length };
        let fate = (self.decide)(&request);
        let number = {
            let mut exchanges = self.exchanges.lock().unwrap();
            exchanges.push(Exchange {
                request: request.clone(),
                status: 0,
                received: 0,
                sent: 0,
            });
            exchanges.len() - 1
        };
        let note = |change: &dyn Fn(&mut Exchange)| {
            change(&mut self.exchanges.lock().unwrap()[number]);
        };
        let mut to = client;
        if let Fate::Answer(answer) = &fate {
            // An answer before its question has come would be lost with the connection.
            io::copy(&mut (&mut from).take(request.length), &mut io::sink())?;
            return to.write_all(answer.as_bytes());
        }
        let upstream = self.upstream.lock().unwrap().clone();
        let server = TcpStream::connect(upstream)?;
        server.set_nodelay(true)?;
        let mut head = with(&request.head, "Connection", Some("close"));
        if let Fate::Whole = fate {
            head = with(&head, "Range", None);
        }
        (&server).write_all(head.as_bytes())?;
        let mut received = |count| note(&|exchange| exchange.received += count);
        let mut rest = request.length;
        if let Fate::ChangedBody(place) = fate
            && place < rest
        {
            carry(&mut from, &mut &server, place, self.rate, &mut received)?;
            let mut byte = [0];
            from.read_exact(&mut byte)?;
            (&server).write_all(&[!byte[0]])?;
            rest -= place + 1;
        }
        carry(&mut from, &mut &server, rest, self.rate, received)?;

        let mut answer = BufReader::new(&server);
        let mut head = read_head(&mut answer)?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        note(&|exchange| exchange.status = status);
        let has_no_body = request.line().starts_with("HEAD") || status == 204 || status == 304;
        let promised: u64 =
            header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut length = if has_no_body { 0 } else { promised };
        head = with(&head, "Connection", Some("close"));
        if let Fate::Resized(other) = fate {
            head = with(&head, "Content-Length", Some(&other.to_string()));
        }
        if let (Fate::OtherRange, Some(range)) = (&fate, header(&head, "content-range")) {
            head = with(&head, "Content-Range", Some(&shifted(range)));
        }
        to.write_all(head.as_bytes())?;
        let mut unchecked = 0;
        let mut sent = |count| {
            note(&|exchange| exchange.sent += count);
            unchecked += count;
            if self.rate.is_some() && unchecked >= UNREAD / 2 {
                unchecked = 0;
                while unread(client) > UNREAD / 2 && !self.has_ended.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        };
        match fate {
            Fate::Cut(after) | Fate::Stall(after) | Fate::Resized(after) => {
                length = length.min(after);
            }
            Fate::Changed(place) if place < length => {
                carry(&mut answer, &mut to, place, self.rate, &mut sent)?;
                let mut byte = [0];
                answer.read_exact(&mut byte)?;
                to.write_all(&[!byte[0]])?;
                length -= place + 1;
            }
            _ => {}
        }
        carry(&mut answer, &mut to, length, self.rate, &mut sent)?;
        match fate {
            Fate::Stall(_) => {
                // Until the other one goes.
                let _ = io::copy(&mut from, &mut io::sink());
            }
            Fate::Resized(other) if other > promised => {
                io::copy(&mut io::repeat(7).take(other - promised), &mut to)?;
            }
            _ => {}
        }
        client.shutdown(Shutdown::Write)
    }
}

/// A `Content-Range` that begins a byte later.
fn shifted(range: &str) -> String {
    let range = range.strip_prefix("bytes ").unwrap();
    let (start, rest) = range.split_once('-').unwrap();
    format!("bytes {}-{rest}", start.parse::<u64>().unwrap() + 1)
}

/// How many bytes the other end of a connection on this machine has got and not read; none where it is gone, or where
/// the system has no list of connections to look it up in.
fn unread(connection: &TcpStream) -> u64 {
    let in_list = |address: io::Result<SocketAddr>| match address {
        // The bytes of the address in the order of this machine, those of the port not.
        Ok(SocketAddr::V4(address)) => {
            let ip = u32::from_ne_bytes(address.ip().octets());
            Some(format!("{ip:08X}:{:04X}", address.port()))
        }
        _ => None,
    };
    let ends = in_list(connection.peer_addr()).zip(in_list(connection.local_addr()));
    let list = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let found = ends.and_then(|(theirs, ours)| {
        list.lines().find_map(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let is_theirs = columns.next()? == theirs && columns.next()? == ours;
            let queues = columns.nth(1).filter(|_| is_theirs)?;
            u64::from_str_radix(queues.split_once(':')?.1, 16).ok()
        })
    });
    found.unwrap_or_default()
}

/// Carries so many bytes over, no faster than the rate.
fn carry(
    from: &mut impl Read,
    to: &mut impl Write,
    length: u64,
    rate: Option<u64>,
    mut carried: impl FnMut(u64),
) -> io::Result<()> {
    let begun = Instant::now();
    let mut piece = [0; 16 * 1024];
    let mut done = 0;
    while done < length {
        let most = usize::try_from(length - done).unwrap().min(piece.len());
        let count = from.read(&mut piece[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&piece[..count])?;
        done += count as u64;
        carried(count as u64);
        if let Some(rate) = rate {
            let due = Duration::from_micros(done * 1_000_000 / rate);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    Ok(())
}
