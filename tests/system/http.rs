//! HTTP by hand.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::support::digest;

/// A request by hand, so that no client of ours stands between the test and the server.
pub(crate) struct Connection(BufReader<TcpStream>);

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl Connection {
    pub(crate) fn open(host: &str) -> Self {
        Self::try_open(host).unwrap()
    }

    /// The same where the server may be gone.
    pub(crate) fn try_open(host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a head that promises `length` bytes, and these bytes of the body.
    pub(crate) fn begin(
        &mut self,
        method: &str,
        target: &str,
        kind: &str,
        length: usize,
        body: &[u8],
    ) {
        self.try_begin(method, target, kind, length, body).unwrap();
    }

    fn try_begin(
        &mut self,
        method: &str,
        target: &str,
        kind: &str,
        length: usize,
        body: &[u8],
    ) -> io::Result<()> {
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        self.0.get_mut().write_all(head.as_bytes())?;
        self.0.get_mut().write_all(body)?;
        self.0.get_mut().flush()
    }

    pub(crate) fn send(&mut self, method: &str, target: &str, kind: &str, body: &[u8]) -> Answer {
        self.try_send(method, target, kind, body).unwrap()
    }

    /// The same where the server may go away: an answer that is not whole is an error.
    pub(crate) fn try_send(
        &mut self,
        method: &str,
        target: &str,
        kind: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        self.try_begin(method, target, kind, body.len(), body)?;
        self.try_answer(method != "HEAD")
    }

    /// More of a body that was begun.
    pub(crate) fn go_on(&mut self, body: &[u8]) {
        self.0.get_mut().write_all(body).unwrap();
        self.0.get_mut().flush().unwrap();
    }

    /// Reads the answer to what was sent.
    pub(crate) fn answer(&mut self, has_body: bool) -> Answer {
        self.try_answer(has_body).unwrap()
    }

    fn try_answer(&mut self, has_body: bool) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if has_body {
            let length = answer
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
            answer.body.resize(length, 0);
            self.0.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// A whole line.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        if line.ends_with('\n') {
            Ok(line)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Pushes a blob in one piece.
    pub(crate) fn push_blob(&mut self, repository: &str, content: &[u8]) -> String {
        let digest = digest(content);
        self.push_blob_as(repository, content, &digest);
        digest
    }

    /// The same under a digest of another algorithm.
    pub(crate) fn push_blob_as(&mut self, repository: &str, content: &[u8], digest: &str) {
        let begun = self.send(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            "text/plain",
            b"",
        );
        assert_eq!(begun.status, 202);
        let location = with_digest(begun.header("location").unwrap(), digest);
        let done = self.send("PUT", &location, "application/octet-stream", content);
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    }
}

/// A location's path and query, whether it came with its host or without.
pub(crate) fn path_of(location: &str) -> &str {
    location
        .split_once("://")
        .map_or(location, |(_, rest)| &rest[rest.find('/').unwrap()..])
}

/// The location of an upload's end: with the digest that it is to be finished under.
pub(crate) fn with_digest(location: &str, digest: &str) -> String {
    let path = path_of(location);
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}digest={digest}")
}
