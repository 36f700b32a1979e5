//! The life of a build, and its log.

use redb::{ReadableTable, WriteTransaction};

use super::records::BuiltRecord;
use super::tables::{self, BUILDS, IMAGES, LOG_LINES, UNFINISHED, VERSIONS, under};
use super::{State, StateError};
use crate::model::BuildStatus;
use crate::timestamp::Timestamp;

/// A page of a log ends after this many lines,
const PAGE_LINES: usize = 500;
/// or after the line with which it comes to this many bytes.
const PAGE_BYTES: usize = 256 * 1024;

/// A line of a build's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) timestamp: Timestamp,
    pub(crate) message: String,
}

impl LogLine {
    /// A line that is written now.
    pub(crate) fn now(message: impl Into<String>) -> Self {
        Self {
            timestamp: Timestamp::now(),
            message: message.into(),
        }
    }
}

/// How a build ended.
pub(crate) enum Outcome {
    /// With this image.
    Success(BuiltRecord),
    /// Without one.
    Failed,
}

impl Outcome {
    /// The outcome of a build that made this image, `size` in bytes.
    pub(crate) fn success(digest: peak_oci::Digest, size: u64) -> Self {
        Self::Success(BuiltRecord { digest, size })
    }
}

/// Some lines of a log, from one on.
pub(crate) struct LogPage {
    pub(crate) status: BuildStatus,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) lines: Vec<LogLine>,
    /// The number of the line after these.
    pub(crate) position: u64,
    /// Whether there is such a line, or may yet be one.
    pub(crate) has_more: bool,
}

impl State {
    /// Notes that a build has left the queue.
    pub(crate) fn start_build(&self, image: u64, build: u64) -> Result<(), StateError> {
        self.write(|transaction| {
            let mut builds = transaction.open_table(BUILDS)?;
            let mut record = tables::build(&builds, image, build)?;
            record.started_at = Some(Timestamp::now());
            tables::put_build(&mut builds, image, build, &record)
        })
    }

    /// Adds lines at the end of a build's log.
    pub(crate) fn append_log(&self, build: u64, lines: &[LogLine]) -> Result<(), StateError> {
        self.write(|transaction| append(transaction, build, lines))
    }

    /// Ends a build: its last lines, its status and that of its version change at once, so that who
    /// sees the end sees the whole log.
    pub(crate) fn finish_build(
        &self,
        image: u64,
        build: u64,
        outcome: Outcome,
        last_lines: &[LogLine],
    ) -> Result<(), StateError> {
        self.write(|transaction| finish(transaction, image, build, outcome, last_lines))
    }

    /// Ends every build that has not ended as failed, with `line` as the last of its log. Says how many.
    pub(crate) fn fail_unfinished(&self, line: &str) -> Result<usize, StateError> {
        self.write(|transaction| {
            let mut unfinished = Vec::new();
            for entry in transaction.open_table(UNFINISHED)?.iter()? {
                unfinished.push(entry?.0.value());
            }
            for (image, build) in &unfinished {
                finish(
                    transaction,
                    *image,
                    *build,
                    Outcome::Failed,
                    &[LogLine::now(line)],
                )?;
            }
            Ok(unfinished.len())
        })
    }

    /// The lines of a build's log from the line numbered `from` on, at most a page of them.
    pub(crate) fn log_page(
        &self,
        image: u64,
        build: u64,
        from: u64,
    ) -> Result<LogPage, StateError> {
        self.read(|transaction| {
            tables::image(&transaction.open_table(IMAGES)?, image)?;
            let record = tables::build(&transaction.open_table(BUILDS)?, image, build)?;
            let mut lines = Vec::new();
            let mut bytes = 0_usize;
            let mut next = from;
            let mut more = record.status == BuildStatus::Building;
            for entry in transaction
                .open_table(LOG_LINES)?
                .range((build, from)..=(build, u64::MAX))?
            {
                if lines.len() == PAGE_LINES || bytes >= PAGE_BYTES {
                    more = true;
                    break;
                }
                let (key, value) = entry?;
                let (milliseconds, message) = value.value();
                bytes = bytes.saturating_add(message.len());
                next = key.value().1.saturating_add(1);
                let timestamp = Timestamp::from_milliseconds(milliseconds);
                lines.push(LogLine {
                    timestamp,
                    message: message.to_owned(),
                });
            }
            Ok(LogPage {
                status: record.status,
                started_at: record.started_at,
                finished_at: record.finished_at,
                lines,
                position: next,
                has_more: more,
            })
        })
    }
}

fn append(transaction: &WriteTransaction, build: u64, lines: &[LogLine]) -> Result<(), StateError> {
    let mut table = transaction.open_table(LOG_LINES)?;
    let last = table
        .range(under(build))?
        .next_back()
        .transpose()?
        .map(|(key, _)| key.value().1);
    let first = last.map_or(0, |last| last.saturating_add(1));
    for (number, line) in (first..).zip(lines) {
        table.insert(
            (build, number),
            (line.timestamp.milliseconds(), line.message.as_str()),
        )?;
    }
    Ok(())
}

fn finish(
    transaction: &WriteTransaction,
    image: u64,
    build: u64,
    outcome: Outcome,
    last_lines: &[LogLine],
) -> Result<(), StateError> {
    let now = Timestamp::now();
    append(transaction, build, last_lines)?;
    let mut builds = transaction.open_table(BUILDS)?;
    let mut record = tables::build(&builds, image, build)?;
    let mut versions = transaction.open_table(VERSIONS)?;
    let mut version = tables::version(&versions, image, record.version_id)?;
    match outcome {
        Outcome::Success(result) => {
            record.status = BuildStatus::Success;
            version.built = Some(result);
        }
        Outcome::Failed => record.status = BuildStatus::Failed,
    }
    record.finished_at = Some(now);
    version.updated_at = now;
    tables::put_build(&mut builds, image, build, &record)?;
    tables::put_version(&mut versions, image, record.version_id, &version)?;
    transaction.open_table(UNFINISHED)?.remove((image, build))?;
    Ok(())
}
