//! Points in time as the Peak API writes them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time with the precision of a millisecond, written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    /// The present moment.
    pub(crate) fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// Milliseconds since the start of 1970, as the state keeps the times of log lines.
    pub(crate) fn milliseconds(self) -> i64 {
        self.0
    }

    /// The reverse of [`milliseconds`](Self::milliseconds).
    pub(crate) fn from_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Reads what a caller may give as a date: RFC 3339, or an ISO 8601 date with or without a time,
    /// which then counts as UTC.
    pub(crate) fn parse(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>()
            .or_else(|_| {
                let civil = text.parse::<jiff::civil::DateTime>()?;
                civil
                    .to_zoned(jiff::tz::TimeZone::UTC)
                    .map(|zoned| zoned.timestamp())
            })
            .map(|timestamp| Self(timestamp.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only a damaged state has times that are out of range, and that is no reason to answer nothing.
        let timestamp = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        write!(formatter, "{timestamp:.3}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_milliseconds_in_utc() {
        assert_eq!(
            Timestamp::from_milliseconds(i64::MAX).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            Timestamp::from_milliseconds(0).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            Timestamp::from_milliseconds(1_795_217_400_125).to_string(),
            "2026-11-20T23:30:00.125Z"
        );
    }

    #[test]
    fn reads_what_it_writes_and_what_callers_write() {
        let now = Timestamp::now();
        assert_eq!(Timestamp::parse(&now.to_string()).unwrap(), now);
        let midnight = Timestamp::parse("2026-11-21T00:00:00.000Z").unwrap();
        for same in [
            "2026-11-21",
            "2026-11-21T00:00:00",
            "2026-11-21T01:00:00+01:00",
        ] {
            assert_eq!(Timestamp::parse(same).unwrap(), midnight, "{same}");
        }
        assert!(Timestamp::parse("yesterday").is_err());
    }
}
