//! The progress of an operation as the Engine streams it: JSON objects one after another.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use peak_oci::Digest;

/// Most bytes of one object: far more than a line of a build's log has.
const MAX_OBJECT: usize = 1024 * 1024;

/// One message of the Engine while it works: a step of a push or pull, or some text of a build or load.
///
/// The texts come as the Engine sends them; those of a build may hold control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineEvent {
    /// What it is about: a layer's short identifier, or a tag. `None` for the operation as a whole.
    pub id: Option<String>,
    /// What is done: `Pushing`, `Layer already exists`.
    pub status: Option<String>,
    /// A bar with amounts, drawn by the Engine; newer ones send none.
    pub progress: Option<String>,
    /// How much is done, in bytes, where the Engine counts.
    pub detail: Option<ProgressDetail>,
    /// A piece of a build's log, or what a load says; with line ends where they are.
    pub stream: Option<String>,
    /// What came out of it.
    pub result: Option<EventResult>,
}

/// How much of something is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgressDetail {
    /// What is done, in bytes.
    pub current: Option<u64>,
    /// What there is to do, in bytes.
    pub total: Option<u64>,
}

/// What came out of an operation (`aux` in the Engine's API).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventResult {
    /// The digest of the manifest that was pushed.
    pub digest: Option<Digest>,
    /// The size of that manifest, in bytes.
    pub size: Option<u64>,
    /// The tag that was pushed.
    pub tag: Option<String>,
    /// The identifier of the image that was built.
    pub id: Option<String>,
}

/// A message as it was read: an event, or the error that ends the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Event(EngineEvent),
    Error { code: Option<i64>, message: String },
}

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProgressError {
    #[error("the progress holds something that is no JSON object")]
    NotAnObject,
    #[error("a message of the progress is larger than {MAX_OBJECT} bytes")]
    TooLarge,
    #[error("a message of the progress cannot be read: {0}")]
    Invalid(String),
    #[error("the progress ends in the middle of a message")]
    Truncated,
}

/// Reads messages out of bytes that come in any pieces.
#[derive(Debug, Default)]
pub(crate) struct ProgressParser {
    /// The beginning of an object.
    object: Vec<u8>,
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl ProgressParser {
    /// Takes the next bytes, and puts the messages that are whole with them behind `messages`. After an error there is
    /// nothing more to read.
    pub(crate) fn read(
        &mut self,
        bytes: &[u8],
        messages: &mut VecDeque<Message>,
    ) -> Result<(), ProgressError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.depth == 0 {
                rest = rest.trim_ascii_start();
                match rest.first() {
                    None => return Ok(()),
                    Some(b'{') => {}
                    Some(_) => return Err(ProgressError::NotAnObject),
                }
            }
            let end = self.end_of_object(rest);
            let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
            if self.object.len() + part.len() > MAX_OBJECT {
                return Err(ProgressError::TooLarge);
            }
            rest = behind;
            if end.is_none() {
                self.object.extend_from_slice(part);
            } else if self.object.is_empty() {
                messages.push_back(message(part)?);
            } else {
                self.object.extend_from_slice(part);
                let whole = message(&self.object);
                self.object.clear();
                messages.push_back(whole?);
            }
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(crate) fn finish(&self) -> Result<(), ProgressError> {
        if self.depth == 0 {
            Ok(())
        } else {
            Err(ProgressError::Truncated)
        }
    }

    /// Behind the brace that closes the object, if it is here. Whether what is between is JSON is not looked at.
    fn end_of_object(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' => self.depth += 1,
                b'}' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(index + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    progress: Option<String>,
    #[serde(default, rename = "progressDetail")]
    detail: Option<Value>,
    #[serde(default)]
    stream: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default, rename = "errorDetail")]
    error_detail: Option<ErrorDetail>,
    #[serde(default)]
    aux: Option<Value>,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    code: Option<i64>,
    #[serde(default)]
    message: Option<String>,
}

fn message(bytes: &[u8]) -> Result<Message, ProgressError> {
    // What a build prints need not be text.
    let text = String::from_utf8_lossy(bytes);
    let wire: Wire =
        serde_json::from_str(&text).map_err(|error| ProgressError::Invalid(error.to_string()))?;
    // `error` is the older form, and both may be there.
    if wire.error.is_some() || wire.error_detail.is_some() {
        let (code, detail) = wire
            .error_detail
            .map_or((None, None), |detail| (detail.code, detail.message));
        let texts = [detail, wire.error];
        let message = texts.into_iter().flatten().find(|text| !text.is_empty());
        return Ok(Message::Error {
            code: code.filter(|code| *code != 0),
            message: message.unwrap_or_else(|| "it does not say why".to_owned()),
        });
    }
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(Message::Event(EngineEvent {
        id: filled(wire.id),
        status: filled(wire.status),
        progress: filled(wire.progress),
        detail: wire.detail.as_ref().and_then(detail),
        stream: wire.stream,
        result: wire.aux.as_ref().and_then(result),
    }))
}

/// Amounts that are not counted are missing, 0 or negative.
fn detail(value: &Value) -> Option<ProgressDetail> {
    let amount = |name: &str| value.get(name).and_then(Value::as_u64);
    let detail = ProgressDetail {
        current: amount("current"),
        total: amount("total").filter(|total| *total > 0),
    };
    (detail != ProgressDetail::default()).then_some(detail)
}

fn result(value: &Value) -> Option<EventResult> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let result = EventResult {
        digest: text("Digest").and_then(|digest| digest.parse().ok()),
        size: value.get("Size").and_then(Value::as_u64),
        tag: text("Tag").map(str::to_owned),
        id: text("ID").map(str::to_owned),
    };
    (result != EventResult::default()).then_some(result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Message>, ProgressError> {
        let mut parser = ProgressParser::default();
        let mut messages = VecDeque::new();
        for piece in pieces {
            parser.read(piece, &mut messages)?;
        }
        parser.finish()?;
        Ok(messages.into())
    }

    fn one(text: &str) -> Message {
        let messages = read([text.as_bytes()]).unwrap();
        <[Message; 1]>::try_from(messages).unwrap()[0].clone()
    }

    fn event(text: &str) -> EngineEvent {
        match one(text) {
            Message::Event(event) => event,
            Message::Error { message, .. } => panic!("{message}"),
        }
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn stream() -> String {
        let lines = [
            r#"{"status":"The push refers to repository [127.0.0.1:5000/a]"}"#.to_owned(),
            r#"{"status":"Pushing","progressDetail":{"current":512,"total":1024},"progress":"[=\u003e ] 512B/1.024kB","id":"b6d3"}"#.to_owned(),
            "\n\n".to_owned(),
            r#"{"stream":"Step 1/2 : RUN echo '}{\"\\' ä\n"}"#.to_owned(),
            r#"{"id":"v1","status":"a","progressDetail":{}}{"status":"b"} {"status":"c"}"#.to_owned(),
            format!(r#"{{"progressDetail":{{}},"aux":{{"Tag":"v1","Digest":"{DIGEST}","Size":528}}}}"#),
        ];
        lines.join("\r\n")
    }

    #[test]
    fn every_field_of_an_event_is_read() {
        let messages = read([stream().as_bytes()]).unwrap();
        assert_eq!(messages.len(), 7);
        let pushing = event(
            r#"{"status":"Pushing","progressDetail":{"current":512,"total":1024},"progress":"[=> ]","id":"b6d3"}"#,
        );
        assert_eq!(pushing.id.as_deref(), Some("b6d3"));
        assert_eq!(pushing.status.as_deref(), Some("Pushing"));
        assert_eq!(pushing.progress.as_deref(), Some("[=> ]"));
        let detail = pushing.detail.unwrap();
        assert_eq!((detail.current, detail.total), (Some(512), Some(1024)));
        let Some(Message::Event(last)) = messages.last() else {
            panic!("{messages:?}");
        };
        let result = last.result.as_ref().unwrap();
        assert_eq!(result.digest.as_ref().unwrap().as_str(), DIGEST);
        assert_eq!(
            (result.size, result.tag.as_deref()),
            (Some(528), Some("v1"))
        );
        assert_eq!(last.detail, None);
        let built = event(r#"{"aux":{"ID":"sha256:abc"}}"#);
        assert_eq!(built.result.unwrap().id.as_deref(), Some("sha256:abc"));
        assert_eq!(event(r#"{"stream":"\n"}"#).stream.as_deref(), Some("\n"));
    }

    #[test]
    fn what_the_engine_does_not_know_is_left_out() {
        let unknown = event(
            r#"{"status":"","id":null,"progressDetail":{"current":-1,"total":0},"aux":null,"new":[1,{"a":"}"}]}"#,
        );
        assert_eq!(unknown, EngineEvent::default());
        // BuildKit's traces.
        assert_eq!(event(r#"{"id":"moby.trace","aux":"CpA="}"#).result, None);
    }

    #[test]
    fn errors_come_in_an_old_and_a_new_form() {
        for (text, code, says) in [
            (
                r#"{"errorDetail":{"message":"denied: no"},"error":"denied: no"}"#,
                None,
                "denied: no",
            ),
            (r#"{"error":"old"}"#, None, "old"),
            (
                r#"{"errorDetail":{"code":404,"message":"new"}}"#,
                Some(404),
                "new",
            ),
            (r#"{"errorDetail":{"code":0},"error":"old"}"#, None, "old"),
            (r#"{"errorDetail":{}}"#, None, "it does not say why"),
        ] {
            let expected = Message::Error {
                code,
                message: says.to_owned(),
            };
            assert_eq!(one(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_progress_is_an_error() {
        for (text, error) in [
            ("[]", ProgressError::NotAnObject),
            ("{}\r\nnull", ProgressError::NotAnObject),
            ("}", ProgressError::NotAnObject),
            (r#"{"status":"a"#, ProgressError::Truncated),
            ("{", ProgressError::Truncated),
        ] {
            assert_eq!(read([text.as_bytes()]), Err(error), "{text}");
        }
        for text in [r#"{"status":1}"#, "{]}", "{a}"] {
            let result = read([text.as_bytes()]);
            assert!(matches!(result, Err(ProgressError::Invalid(_))), "{text}");
        }
        let deep = format!("{}{}", r#"{"a":"#.repeat(1000), "}".repeat(1000));
        assert!(read([deep.as_bytes()]).is_err());
    }

    #[test]
    fn one_message_has_a_bound_and_many_have_none() {
        let of = |length: usize| format!(r#"{{"stream":"{}"}}"#, "a".repeat(length));
        let allowed = of(MAX_OBJECT - 13);
        assert_eq!(allowed.len(), MAX_OBJECT);
        let many = allowed.repeat(3);
        let pieces = |text: &str| read(text.as_bytes().chunks(1000)).map(|all| all.len());
        assert_eq!(pieces(&many), Ok(3));
        assert_eq!(read([many.as_bytes()]).map(|all| all.len()), Ok(3));
        assert_eq!(pieces(&of(MAX_OBJECT - 12)), Err(ProgressError::TooLarge));
        // One that never ends is not waited for.
        let mut parser = ProgressParser::default();
        let endless = std::iter::once(&b"{\""[..]).chain(std::iter::repeat(&[b'a'; 1000][..]));
        let read = endless
            .take(10_000)
            .try_for_each(|piece| parser.read(piece, &mut VecDeque::new()));
        assert_eq!(read, Err(ProgressError::TooLarge));
        assert!(parser.object.len() <= MAX_OBJECT);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let messages = read([&b"{\"stream\":\"a\xff\"}"[..]]).unwrap();
        let [Message::Event(event)] = &messages[..] else {
            panic!("{messages:?}");
        };
        assert_eq!(event.stream.as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn it_does_not_matter_where_the_stream_is_split() {
        let text = stream();
        let whole = read([text.as_bytes()]).unwrap();
        for middle in 0..=text.len() {
            let (one, other) = text.as_bytes().split_at(middle);
            assert_eq!(read([one, other]).as_ref(), Ok(&whole), "at {middle}");
        }
        assert_eq!(read(text.as_bytes().chunks(1)), Ok(whole));
    }

    proptest! {
        #[test]
        fn any_texts_come_through_any_pieces(
            texts in proptest::collection::vec((".*", ".*", any::<bool>()), 0..8),
            size in 1..40_usize,
            between in "[ \r\n\t]{0,4}",
        ) {
            let mut bytes = between.clone().into_bytes();
            let mut expected = Vec::new();
            for (id, stream, is_error) in &texts {
                if *is_error && !stream.is_empty() {
                    bytes.extend(serde_json::to_vec(&serde_json::json!({"error": stream})).unwrap());
                    expected.push(Message::Error { code: None, message: stream.clone() });
                } else {
                    bytes.extend(serde_json::to_vec(&serde_json::json!({"id": id, "stream": stream})).unwrap());
                    expected.push(Message::Event(EngineEvent {
                        id: Some(id.clone()).filter(|id| !id.is_empty()),
                        stream: Some(stream.clone()),
                        ..EngineEvent::default()
                    }));
                }
                bytes.extend(between.as_bytes());
            }
            prop_assert_eq!(read(bytes.chunks(size)), Ok(expected));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1..20_usize) {
            let _ = read(bytes.chunks(size));
        }
    }
}
