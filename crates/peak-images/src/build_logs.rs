//! Following the log of a build until the build has ended.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use peak_models::{BuildLogs, BuildStatus, Id, LogLine, Timestamp};
use peak_platform::Session;

use crate::error::Error;
use crate::requests::logs::BuildLogsPage;

/// Longest pause between two looks at a log unless the caller says otherwise.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// First pause. A small build is done in less than a second, and nobody should wait for the rest of
/// it.
const FIRST_INTERVAL: Duration = Duration::from_millis(100);

/// How often the end of a log is looked for, when the build has ended and every page is empty but has
/// a token that leads on.
const EMPTY_LOOKS_AT_END: u32 = 3;

/// How a log is followed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FollowOptions {
    poll_interval: Duration,
    next_token: Option<String>,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            poll_interval: POLL_INTERVAL,
            next_token: None,
        }
    }
}

impl FollowOptions {
    /// From the start of the log, with a look at it about every second and some quicker ones at
    /// first.
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest pause between two looks at the log.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Goes on from where a page said to.
    #[must_use]
    pub fn next_token(mut self, token: impl Into<String>) -> Self {
        self.next_token = Some(token.into());
        self
    }
}

/// Something that a followed log shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildLogEvent {
    /// A line was written.
    Line(LogLine),
    /// The build has ended; nothing follows.
    Finished(FinishedBuild),
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FinishedBuild {
    /// Its last status.
    pub status: BuildStatus,
    /// When it was started.
    pub start_time: Option<Timestamp>,
    /// When it ended.
    pub finish_time: Option<Timestamp>,
}

impl FinishedBuild {
    /// Whether there is an image.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// What a page says of the end of the build; nothing while it goes on.
    fn of(page: &BuildLogs) -> Option<Self> {
        let status = page.build_status.clone()?;
        // Of a status that the platform added later, the time tells.
        let is_unknown = matches!(status, BuildStatus::Unknown(_));
        let has_ended = status.is_terminal() || (is_unknown && page.finish_time.is_some());
        has_ended.then(|| Self {
            status,
            start_time: page.start_time.clone(),
            finish_time: page.finish_time.clone(),
        })
    }
}

pub(crate) fn follow(
    session: Session,
    image: Id,
    build: Id,
    options: FollowOptions,
) -> impl Stream<Item = Result<BuildLogEvent, Error>> + Send {
    let follower = Follower {
        session,
        image,
        build,
        cursor: Cursor::new(options.next_token),
        lines: VecDeque::new(),
        pause: None,
        interval: FIRST_INTERVAL.min(options.poll_interval),
        longest_interval: options.poll_interval,
        empty_looks: 0,
        phase: Phase::Running,
    };
    // The state moves into the future of each step and is kept by the stream while that waits, so
    // that giving up one step loses nothing.
    stream::try_unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Ok(event.map(|event| (event, follower)))
    })
}

struct Follower {
    session: Session,
    image: Id,
    build: Id,
    cursor: Cursor,
    lines: VecDeque<LogLine>,
    /// How long to wait before the next look.
    pause: Option<Duration>,
    interval: Duration,
    longest_interval: Duration,
    /// Looks in a row, since the build has ended, that brought no line.
    empty_looks: u32,
    phase: Phase,
}

enum Phase {
    Running,
    /// All lines are here; when they are given, this is the last event.
    Ended(FinishedBuild),
    Over,
}

impl Follower {
    async fn next(&mut self) -> Result<Option<BuildLogEvent>, Error> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(BuildLogEvent::Line(line)));
            }
            match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Over => return Ok(None),
                Phase::Ended(build) => return Ok(Some(BuildLogEvent::Finished(build))),
                Phase::Running => self.phase = Phase::Running,
            }
            if let Some(pause) = self.pause.take() {
                tokio::time::sleep(pause).await;
            }
            let page = self
                .session
                .call(&BuildLogsPage {
                    image: &self.image,
                    build: &self.build,
                    next_token: self.cursor.token.as_deref(),
                })
                .await?;
            self.take(page);
        }
    }

    fn take(&mut self, page: BuildLogs) {
        let finished = FinishedBuild::of(&page);
        let step = self.cursor.step(page);
        let has_lines = !step.lines.is_empty();
        self.empty_looks = if has_lines || finished.is_none() {
            0
        } else {
            self.empty_looks + 1
        };
        self.lines = step.lines.into();
        match (finished, step.position) {
            // Nothing can follow.
            (Some(build), Position::End) => self.phase = Phase::Ended(build),
            // The last lines may still be on their way to the log when the build has ended. Once a
            // look brings nothing new, that was all; or a few, where each leads on to another place.
            (Some(build), Position::Same) if !has_lines => self.phase = Phase::Ended(build),
            (Some(build), Position::Further) if self.empty_looks >= EMPTY_LOOKS_AT_END => {
                self.phase = Phase::Ended(build);
            }
            // There is more to read now, unless the log only says so.
            (_, Position::Further) if has_lines => {}
            (Some(_), _) => self.pause = Some(self.first_interval()),
            (None, _) => self.pause = Some(self.grown_interval()),
        }
    }

    fn first_interval(&self) -> Duration {
        FIRST_INTERVAL.min(self.longest_interval)
    }

    fn grown_interval(&mut self) -> Duration {
        let interval = self.interval;
        self.interval = (interval * 2).min(self.longest_interval);
        interval
    }
}

/// A place in a log, and what has been read there.
///
/// A page may be asked for more than once: the platform repeats the token, or leaves it out, while
/// there is nothing after it. Services differ in what such a page then holds: the same lines and
/// those that were added, or only those that were added. Both must give each line once.
struct Cursor {
    token: Option<String>,
    /// Fingerprints of the lines that were read with this token, in their order.
    read: Vec<u64>,
}

#[derive(Debug, PartialEq)]
struct Step {
    /// The lines that are new.
    lines: Vec<LogLine>,
    position: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// The page has a token that leads on.
    Further,
    /// The page has the token that it was asked for with.
    Same,
    /// The page has no token.
    End,
}

impl Cursor {
    fn new(token: Option<String>) -> Self {
        Self {
            token,
            read: Vec::new(),
        }
    }

    fn step(&mut self, mut page: BuildLogs) -> Step {
        // An empty token leads nowhere.
        page.next_token = page.next_token.filter(|token| !token.is_empty());
        let prints: Vec<u64> = page.logs.iter().map(fingerprint).collect();
        let position = match &page.next_token {
            Some(token) if self.token.as_ref() != Some(token) => Position::Further,
            Some(_) => Position::Same,
            None => Position::End,
        };
        let known = if self.read.starts_with(&prints) {
            prints.len()
        } else if prints.starts_with(&self.read) {
            self.read.len()
        } else {
            // Only what was added.
            0
        };
        if position == Position::Further {
            self.token = page.next_token;
            self.read = Vec::new();
        } else if prints.len() > known {
            self.read = prints;
        }
        Step {
            lines: page.logs.into_iter().skip(known).collect(),
            position,
        }
    }
}

fn fingerprint(line: &LogLine) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.message.hash(&mut hasher);
    line.timestamp.hash(&mut hasher);
    line.ingestion_time.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(lines: &[&str], next_token: Option<&str>) -> BuildLogs {
        let logs: Vec<_> = lines
            .iter()
            .map(|text| serde_json::json!({ "message": text }))
            .collect();
        serde_json::from_value(serde_json::json!({ "logs": logs, "nextToken": next_token }))
            .unwrap()
    }

    /// Reads pages one after the other; gives what is new in each, and the token asked for with.
    fn read(pages: &[BuildLogs]) -> Vec<(Option<String>, Vec<String>)> {
        let mut cursor = Cursor::new(None);
        pages
            .iter()
            .map(|page| {
                let token = cursor.token.clone();
                let lines = cursor.step(page.clone()).lines;
                let texts = lines.into_iter().map(|line| line.message.unwrap());
                (token, texts.collect())
            })
            .collect()
    }

    fn texts(pages: &[BuildLogs]) -> Vec<Vec<String>> {
        read(pages).into_iter().map(|(_, texts)| texts).collect()
    }

    #[test]
    fn tokens_lead_from_page_to_page() {
        let steps = read(&[
            page(&["a", "b"], Some("1")),
            page(&["a"], Some("2")),
            page(&[], Some("2")),
        ]);
        let tokens: Vec<_> = steps.iter().map(|(token, _)| token.as_deref()).collect();
        assert_eq!(tokens, [None, Some("1"), Some("2")]);
        // The same text on another page is another line.
        assert_eq!(steps[1].1, ["a"]);
    }

    #[test]
    fn a_page_that_grows_under_its_token_repeats_nothing() {
        assert_eq!(
            texts(&[
                page(&["a"], Some("1")),
                page(&["b"], Some("1")),
                page(&["b", "c"], Some("1")),
                page(&["b", "c"], Some("1")),
                page(&["b"], Some("1")),
                page(&["b", "c", "d", "e"], Some("2")),
                page(&["e"], Some("3")),
            ]),
            [
                vec!["a"],
                vec!["b"],
                vec!["c"],
                vec![],
                vec![],
                vec!["d", "e"],
                vec!["e"]
            ]
        );
    }

    #[test]
    fn a_token_that_gives_only_what_was_added_loses_nothing() {
        assert_eq!(
            texts(&[
                page(&["a"], Some("1")),
                page(&["b"], Some("1")),
                page(&["c", "d"], Some("1")),
                page(&[], Some("1")),
                page(&["e"], Some("1")),
            ]),
            [vec!["a"], vec!["b"], vec!["c", "d"], vec![], vec!["e"]]
        );
    }

    #[test]
    fn without_tokens_the_whole_log_comes_each_time() {
        assert_eq!(
            texts(&[
                page(&["a"], None),
                page(&["a", "a"], None),
                page(&["a", "a"], None),
                page(&["a", "a", "b"], None),
            ]),
            [vec!["a"], vec!["a"], vec![], vec!["b"]]
        );
    }

    #[test]
    fn the_end_is_a_status_or_for_unknown_ones_a_time() {
        let ended = |status: &str, finish: Option<&str>| {
            let page = serde_json::json!({ "buildStatus": status, "finishTime": finish });
            FinishedBuild::of(&serde_json::from_value(page).unwrap()).is_some()
        };
        for status in ["success", "failed", "stopped"] {
            assert!(ended(status, None), "{status}");
        }
        for status in ["building", "stopping", "queued"] {
            assert!(!ended(status, None), "{status}");
        }
        assert!(ended("cancelled", Some("2026-11-21T08:30:42.500Z")));
    }
}
