// Generated from schemas/build_logs.json by `cargo xtask codegen`. Do not edit: change the schema and run it again.

//! Logs of builds: `image-management/api/v2/images/{id}/builds/{buildId}/logs`.

/// A line of a build's log.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LogLine {
    /// When the platform received the line.
    #[serde(rename = "ingestionTime", default, skip_serializing_if = "Option::is_none")]
    pub ingestion_time: Option<crate::Timestamp>,
    /// The line's text. It comes from the build: do not trust it to be free of control
    /// characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the line was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<crate::Timestamp>,
}

impl LogLine {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `ingestion_time`.
    #[must_use]
    pub fn ingestion_time(mut self, value: impl Into<crate::Timestamp>) -> Self {
        self.ingestion_time = Some(value.into());
        self
    }

    /// Sets `message`.
    #[must_use]
    pub fn message(mut self, value: impl Into<String>) -> Self {
        self.message = Some(value.into());
        self
    }

    /// Sets `timestamp`.
    #[must_use]
    pub fn timestamp(mut self, value: impl Into<crate::Timestamp>) -> Self {
        self.timestamp = Some(value.into());
        self
    }
}

/// A page of a build's log, and how the build stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BuildLogs {
    /// How the build stands.
    #[serde(rename = "buildStatus", default, skip_serializing_if = "Option::is_none")]
    pub build_status: Option<crate::BuildStatus>,
    /// When the build was started.
    #[serde(rename = "startTime", default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<crate::Timestamp>,
    /// When the build ended; absent while it runs.
    #[serde(rename = "finishTime", default, skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<crate::Timestamp>,
    /// The lines of this page, oldest first.
    #[serde(default, deserialize_with = "crate::support::null_as_default")]
    pub logs: Vec<crate::LogLine>,
    /// What to ask for the lines after these with.
    #[serde(rename = "nextToken", default, skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

impl BuildLogs {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `build_status`.
    #[must_use]
    pub fn build_status(mut self, value: impl Into<crate::BuildStatus>) -> Self {
        self.build_status = Some(value.into());
        self
    }

    /// Sets `start_time`.
    #[must_use]
    pub fn start_time(mut self, value: impl Into<crate::Timestamp>) -> Self {
        self.start_time = Some(value.into());
        self
    }

    /// Sets `finish_time`.
    #[must_use]
    pub fn finish_time(mut self, value: impl Into<crate::Timestamp>) -> Self {
        self.finish_time = Some(value.into());
        self
    }

    /// Sets `logs`.
    #[must_use]
    pub fn logs(mut self, values: impl IntoIterator<Item = crate::LogLine>) -> Self {
        self.logs = values.into_iter().collect();
        self
    }

    /// Sets `next_token`.
    #[must_use]
    pub fn next_token(mut self, value: impl Into<String>) -> Self {
        self.next_token = Some(value.into());
        self
    }
}

/// Where the whole log of a build can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BuildLogsDownload {
    /// A signed URL, to be fetched without authentication. Whoever has it can read the log, so
    /// it is kept secret.
    #[serde(rename = "downloadUrl", default, skip_serializing_if = "Option::is_none")]
    pub download_url: Option<crate::Secret>,
}

impl BuildLogsDownload {
    /// Nothing is set yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `download_url`.
    #[must_use]
    pub fn download_url(mut self, value: impl Into<crate::Secret>) -> Self {
        self.download_url = Some(value.into());
        self
    }
}
