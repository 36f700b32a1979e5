//! Moments in time.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// A moment in time as the platform writes it: RFC 3339 with milliseconds, in UTC.
///
/// Decoding takes any offset and any precision. A text that is no such time is kept as it came, so that one odd
/// timestamp does not make a whole answer unreadable; [`Timestamp::is_readable`] tells. [`FromStr`] is strict: it is
/// for what a user writes.
///
/// ```
/// use peak_models::Timestamp;
///
/// let time: Timestamp = "2026-11-21T09:30:00+01:00".parse()?;
/// assert_eq!(time.to_string(), "2026-11-21T08:30:00.000Z");
/// assert_eq!(time.as_millisecond(), Some(1_795_249_800_000));
///
/// assert_eq!(Timestamp::from_text("yesterday").to_string(), "yesterday");
/// # Ok::<(), peak_models::TimestampError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Timestamp(Content);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Content {
    Moment(jiff::Timestamp),
    Unreadable(String),
}

/// A text is not a time, or a time is outside of what can be written.
#[derive(Debug, Error)]
#[error("not a time such as `2026-11-21T08:30:00.000Z`")]
pub struct TimestampError(#[source] jiff::Error);

impl Timestamp {
    /// The current time.
    pub fn now() -> Self {
        Self(Content::Moment(jiff::Timestamp::now()))
    }

    /// From the text of an answer: kept as it is where it is no time.
    pub fn from_text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self(match text.parse() {
            Ok(moment) => Content::Moment(moment),
            Err(_) => Content::Unreadable(text),
        })
    }

    /// From milliseconds since 1970-01-01T00:00:00Z.
    pub fn from_millisecond(milliseconds: i64) -> Result<Self, TimestampError> {
        jiff::Timestamp::from_millisecond(milliseconds)
            .map(|moment| Self(Content::Moment(moment)))
            .map_err(TimestampError)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, or `None` where the text was no time.
    pub fn as_millisecond(&self) -> Option<i64> {
        match &self.0 {
            Content::Moment(moment) => Some(moment.as_millisecond()),
            Content::Unreadable(_) => None,
        }
    }

    /// The time as the standard library has it, or `None` where the text was no time.
    pub fn to_system_time(&self) -> Option<SystemTime> {
        match &self.0 {
            Content::Moment(moment) => Some(SystemTime::from(*moment)),
            Content::Unreadable(_) => None,
        }
    }

    /// Whether this is a time, and not a text that could not be read as one.
    pub fn is_readable(&self) -> bool {
        matches!(self.0, Content::Moment(_))
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = TimestampError;

    fn try_from(time: SystemTime) -> Result<Self, TimestampError> {
        jiff::Timestamp::try_from(time)
            .map(|moment| Self(Content::Moment(moment)))
            .map_err(TimestampError)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        text.parse()
            .map(|moment| Self(Content::Moment(moment)))
            .map_err(TimestampError)
    }
}

impl fmt::Display for Timestamp {
    /// Milliseconds are always there; more digits only where they say something.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Unreadable(text) => formatter.pad(text),
            Content::Moment(moment) if moment.subsec_nanosecond() % 1_000_000 == 0 => {
                formatter.pad(&format!("{moment:.3}"))
            }
            Content::Moment(moment) => formatter.pad(&moment.to_string()),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Moment(_) => write!(formatter, "Timestamp({self})"),
            Content::Unreadable(text) => write!(formatter, "Timestamp(unreadable {text:?})"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl de::Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a time")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        Ok(Timestamp::from_text(text))
    }

    // Nobody says whether a number counts seconds or milliseconds, so it is not guessed.
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Timestamp, E> {
        Ok(Timestamp(Content::Unreadable(number.to_string())))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Timestamp, E> {
        Ok(Timestamp(Content::Unreadable(number.to_string())))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Timestamp, E> {
        Ok(Timestamp(Content::Unreadable(number.to_string())))
    }
}

#[cfg(any(test, feature = "schema"))]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::Timestamp;

    #[test]
    fn it_is_written_with_milliseconds_in_utc() {
        for (text, written) in [
            ("2026-11-21T08:30:00.000Z", "2026-11-21T08:30:00.000Z"),
            ("2026-11-21T08:30:00Z", "2026-11-21T08:30:00.000Z"),
            ("2026-11-21T08:30:00.5Z", "2026-11-21T08:30:00.500Z"),
            ("2026-11-21T10:00:00.125+01:30", "2026-11-21T08:30:00.125Z"),
            ("2026-11-21T08:30:00.123456Z", "2026-11-21T08:30:00.123456Z"),
        ] {
            let time: Timestamp = serde_json::from_str(&format!("{text:?}")).unwrap();
            assert!(time.is_readable());
            assert_eq!(
                serde_json::to_string(&time).unwrap(),
                format!("{written:?}")
            );
        }
    }

    #[test]
    fn what_is_no_time_keeps_its_text() {
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-21"] {
            let json = format!("{text:?}");
            let time: Timestamp = serde_json::from_str(&json).unwrap();
            assert!(!time.is_readable(), "{text}");
            assert_eq!(time.as_millisecond(), None);
            assert_eq!(time.to_system_time(), None);
            assert_eq!(time.to_string(), text);
            assert_eq!(serde_json::to_string(&time).unwrap(), json);
        }
        let time: Timestamp = serde_json::from_str("1795249800000").unwrap();
        assert_eq!(time.to_string(), "1795249800000");
        assert!(!time.is_readable());
    }

    #[test]
    fn from_str_is_strict_and_says_what_is_wanted() {
        let error = "yesterday".parse::<Timestamp>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "not a time such as `2026-11-21T08:30:00.000Z`"
        );
        assert!(error.source().is_some());
    }

    #[test]
    fn it_is_the_time_of_the_standard_library() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_249_800_125);
        let timestamp = Timestamp::try_from(time).unwrap();
        assert_eq!(timestamp.to_string(), "2026-11-21T08:30:00.125Z");
        assert_eq!(timestamp.to_system_time(), Some(time));
        assert!(Timestamp::from_millisecond(i64::MAX).is_err());
    }

    proptest! {
        #[test]
        fn every_moment_survives_the_round_trip(milliseconds in -62_135_596_800_000_i64..253_402_200_000_000) {
            let time = Timestamp::from_millisecond(milliseconds).unwrap();
            let back: Timestamp = time.to_string().parse().unwrap();
            prop_assert_eq!(back.as_millisecond(), Some(milliseconds));
        }

        #[test]
        fn no_text_makes_an_answer_undecodable(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert!(serde_json::from_str::<Timestamp>(&json).is_ok());
        }
    }
}
