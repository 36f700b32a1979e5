//! Running builds, in the order in which they were asked for, a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peak_registry_server::Store;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::builder::{self, BuildError, BuildRequest, BuiltImage, EngineLink, Limits};
use crate::error::chain;
use crate::queue::{BuildJob, Queue};
use crate::shared::Shared;
use crate::state::{LogLine, Outcome, StateError};

/// How many lines of a build's log may wait to be written before the build has to wait.
const UNWRITTEN_LINES: usize = 1024;

/// How many lines are written at once.
const LINES_AT_ONCE: usize = 256;

/// A longer line is cut, bytes.
const LINE_LENGTH: usize = 8 * 1024;

/// What turns a request into an image: [`builder::build`], except in tests of the runner.
type Build = Arc<
    dyn Fn(
            &BuildRequest,
            &Store,
            &mut dyn FnMut(&str),
            &AtomicBool,
        ) -> Result<BuiltImage, BuildError>
        + Send
        + Sync,
>;

/// What is behind the queue.
pub(crate) struct Runner {
    build: Build,
    shared: Arc<Shared>,
    waiting: mpsc::Receiver<BuildJob>,
    at_once: usize,
    stop: CancellationToken,
    /// Seen by the builder, which runs on a thread that cannot be cancelled otherwise.
    stopping: Arc<AtomicBool>,
    engine: Option<EngineLink>,
    #[cfg(feature = "faults")]
    faults: crate::faults::Faults,
}

impl Runner {
    /// A runner of `at_once` builds at a time, with its queue. Cancelling `stop` together with setting
    /// `stopping` ends it.
    pub(crate) fn new(
        shared: Arc<Shared>,
        at_once: usize,
        stop: CancellationToken,
        stopping: Arc<AtomicBool>,
    ) -> (Queue, Self) {
        Self::with_build(Arc::new(builder::build), shared, at_once, stop, stopping)
    }

    fn with_build(
        build: Build,
        shared: Arc<Shared>,
        at_once: usize,
        stop: CancellationToken,
        stopping: Arc<AtomicBool>,
    ) -> (Queue, Self) {
        let (queue, waiting) = Queue::new();
        (
            queue,
            Self {
                build,
                shared,
                waiting,
                at_once,
                stop,
                stopping,
                engine: None,
                #[cfg(feature = "faults")]
                faults: crate::faults::Faults::new(),
            },
        )
    }

    /// Lets builds that need it use a Docker Engine.
    pub(crate) fn with_engine(mut self, engine: Option<EngineLink>) -> Self {
        self.engine = engine;
        self
    }

    /// Lets builds wait while the script holds them.
    #[cfg(feature = "faults")]
    pub(crate) fn with_faults(mut self, faults: crate::faults::Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Runs builds until `stop` is cancelled, then waits for those that run.
    pub(crate) async fn run(mut self) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(_) = running.join_next(), if !running.is_empty() => {}
                job = self.waiting.recv(), if running.len() < self.at_once => match job {
                    Some(job) => {
                        let means = Means {
                            build: Arc::clone(&self.build),
                            engine: self.engine.clone(),
                            stopping: Arc::clone(&self.stopping),
                        };
                        let run = run_build(means, Arc::clone(&self.shared), job);
                        #[cfg(feature = "faults")]
                        let run = held(self.faults.clone(), self.stop.clone(), run);
                        running.spawn(run);
                    }
                    None => break,
                },
            }
        }
        while running.join_next().await.is_some() {}
    }
}

/// Runs a build once the script lets it, unless the platform ends first.
#[cfg(feature = "faults")]
async fn held(
    faults: crate::faults::Faults,
    stop: CancellationToken,
    run: impl Future<Output = ()>,
) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = faults.builds_go_on() => run.await,
    }
}

/// What every build is done with.
struct Means {
    build: Build,
    engine: Option<EngineLink>,
    stopping: Arc<AtomicBool>,
}

/// Runs one build from its start to its end in the state.
async fn run_build(means: Means, shared: Arc<Shared>, job: BuildJob) {
    let (image, build) = (job.image, job.build);
    let started = shared
        .blocking(move |shared| shared.state.start_build(image, build))
        .await;
    if !succeeded(build, "be started", started) {
        return;
    }
    let (sender, receiver) = mpsc::channel(UNWRITTEN_LINES);
    let stopping = Arc::clone(&means.stopping);
    let work = shared.blocking(move |shared| work(means, shared, job, &sender));
    let (worked, written) = tokio::join!(work, write_log(&shared, build, receiver));
    let (outcome, line) = conclude(worked, written, stopping.load(Ordering::Relaxed));
    let finished = shared
        .blocking(move |shared| {
            shared
                .state
                .finish_build(image, build, outcome, &log_lines(&line))
        })
        .await;
    succeeded(build, "be ended", finished);
}

/// Whether a step of a build's book-keeping was done; where not, only the program's own log can say so.
fn succeeded(
    build: u64,
    step: &'static str,
    result: Result<Result<(), StateError>, JoinError>,
) -> bool {
    match result {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(build, error = %chain(&error), "the build could not {step}");
            false
        }
        Err(error) => {
            tracing::error!(build, %error, "the build could not {step}");
            false
        }
    }
}

/// Why a build made no image.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error("no directory for the build could be made")]
    Scratch(#[source] std::io::Error),
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Builds, on a blocking thread.
fn work(
    means: Means,
    shared: &Shared,
    job: BuildJob,
    lines: &mpsc::Sender<LogLine>,
) -> Result<BuiltImage, WorkError> {
    // Nobody listens any more only if the lines cannot be written, which ends the build as failed.
    let mut log = |text: &str| {
        for line in log_lines(text) {
            let _ = lines.blocking_send(line);
        }
    };
    for note in &job.notes {
        log(note);
    }
    let scratch = tempfile::Builder::new()
        .prefix(&format!("build-{}-", job.build))
        .tempdir_in(shared.directory.builds())
        .map_err(WorkError::Scratch)?;
    let request = BuildRequest {
        archive: job.archive,
        dockerfile: job.dockerfile,
        context: job.context,
        build_arguments: job.build_arguments,
        repository: job.repository,
        tag: job.tag,
        scratch: scratch.path().to_owned(),
        registry_hosts: shared.registry_hosts(),
        engine: means.engine,
        limits: Limits::default(),
    };
    Ok((means.build)(
        &request,
        &shared.registry,
        &mut log,
        &means.stopping,
    )?)
}

/// Writes lines as they come. What comes while a batch is written makes the next batch, so a line is
/// on the disk after at most two writes.
async fn write_log(
    shared: &Arc<Shared>,
    build: u64,
    mut lines: mpsc::Receiver<LogLine>,
) -> Result<(), ()> {
    loop {
        let mut batch = Vec::new();
        if lines.recv_many(&mut batch, LINES_AT_ONCE).await == 0 {
            return Ok(());
        }
        let appended = shared
            .blocking(move |shared| shared.state.append_log(build, &batch))
            .await;
        if !succeeded(build, "have its log written", appended) {
            return Err(());
        }
    }
}

/// How a build ended, and the last line of its log where the builder did not write that itself.
fn conclude(
    worked: Result<Result<BuiltImage, WorkError>, JoinError>,
    written: Result<(), ()>,
    stopping: bool,
) -> (Outcome, String) {
    let failed = |line: String| (Outcome::Failed, line);
    match worked {
        Ok(Ok(_)) if written.is_err() => {
            failed("the build failed: its log could not be written".to_owned())
        }
        Ok(Ok(built)) => (Outcome::success(built.digest, built.size), String::new()),
        Ok(Err(_)) if stopping => {
            failed("the build was cancelled: the platform was shut down".to_owned())
        }
        Ok(Err(error)) => failed(format!("the build failed: {}", chain(&error))),
        Err(error) => {
            tracing::error!(%error, "the builder panicked");
            failed("the build failed: the builder broke down, which is a mistake in it and not in the image".to_owned())
        }
    }
}

/// A text as lines of a log: no line breaks, no control characters that would act on a terminal, no
/// line of unbounded length.
fn log_lines(text: &str) -> Vec<LogLine> {
    text.lines()
        .map(|line| {
            let end = (0..=LINE_LENGTH)
                .rev()
                .find(|end| line.is_char_boundary(*end))
                .unwrap_or_default();
            let line = if line.len() > LINE_LENGTH {
                line.get(..end).unwrap_or_default()
            } else {
                line
            };
            let visible = |character: char| {
                if character.is_control() && character != '\t' {
                    char::REPLACEMENT_CHARACTER
                } else {
                    character
                }
            };
            LogLine::now(line.chars().map(visible).collect::<String>())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use peak_oci::Digest;
    use tokio::task::JoinHandle;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::model::{BuildDetails, BuildStatus, ImageType};
    use crate::state::{Changed, LogPage, NewImage, NewVersion};

    #[test]
    fn log_lines_are_single_harmless_and_bounded() {
        let messages = |text: &str| {
            log_lines(text)
                .into_iter()
                .map(|line| line.message)
                .collect::<Vec<_>>()
        };
        assert_eq!(messages("one\ntwo\r\n\tthree"), ["one", "two", "\tthree"]);
        assert_eq!(messages("\u{1b}[2Jgone"), ["\u{fffd}[2Jgone"]);
        let long = "é".repeat(LINE_LENGTH);
        assert_eq!(messages(&long), ["é".repeat(LINE_LENGTH / 2)]);
    }

    /// A runner over a new state directory.
    struct Bench {
        shared: Arc<Shared>,
        queue: Queue,
        stop: CancellationToken,
        stopping: Arc<AtomicBool>,
        task: JoinHandle<()>,
        _directory: tempfile::TempDir,
    }

    impl Bench {
        fn new(
            at_once: usize,
            build: impl Fn(
                &BuildRequest,
                &mut dyn FnMut(&str),
                &AtomicBool,
            ) -> Result<BuiltImage, BuildError>
            + Send
            + Sync
            + 'static,
        ) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let shared = Arc::new(
                Shared::open(
                    directory.path(),
                    "127.0.0.1:4000".parse().unwrap(),
                    &TaskTracker::new(),
                )
                .unwrap(),
            );
            let stop = CancellationToken::new();
            let stopping = Arc::new(AtomicBool::new(false));
            let build: Build =
                Arc::new(move |request, _, log, cancelled| build(request, log, cancelled));
            let (queue, runner) = Runner::with_build(
                build,
                Arc::clone(&shared),
                at_once,
                stop.clone(),
                Arc::clone(&stopping),
            );
            Self {
                shared,
                queue,
                stop,
                stopping,
                task: tokio::spawn(runner.run()),
                _directory: directory,
            }
        }

        /// Puts a build of a new image into the queue.
        fn enqueue(&self, name: &str) -> Changed {
            let details = BuildDetails::default();
            let first = NewVersion {
                version: None,
                description: None,
                details: details.clone(),
                artifact: None,
            };
            let new = NewImage {
                name: name.parse().unwrap(),
                kind: ImageType::Workflow,
                first,
            };
            let changed = self.shared.state.create_image(&new).unwrap();
            let job = BuildJob::new(
                &changed,
                changed.build.unwrap(),
                &details,
                None,
                vec!["a note".to_owned()],
            );
            self.queue.place().unwrap().fill(job);
            changed
        }

        /// The log's pages from the first to the last, once the build has ended.
        async fn ended(&self, changed: &Changed) -> Vec<LogPage> {
            let (image, build) = (changed.image, changed.build.unwrap());
            while self.shared.state.log_page(image, build, 0).unwrap().status
                == BuildStatus::Building
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let mut pages = Vec::new();
            let mut next = Some(0);
            while let Some(from) = next {
                let page = self.shared.state.log_page(image, build, from).unwrap();
                next = page.has_more.then_some(page.position);
                pages.push(page);
            }
            pages
        }

        async fn stop(self) {
            self.stopping.store(true, Ordering::Relaxed);
            self.stop.cancel();
            self.task.await.unwrap();
            self.shared.close().await;
        }
    }

    fn built() -> BuiltImage {
        BuiltImage {
            digest: Digest::sha256_of(b"image"),
            size: 7,
        }
    }

    fn messages(pages: &[LogPage]) -> Vec<&str> {
        pages
            .iter()
            .flat_map(|page| &page.lines)
            .map(|line| line.message.as_str())
            .collect()
    }

    #[tokio::test]
    async fn every_line_is_kept_in_order_and_the_version_is_ready() {
        let bench = Bench::new(1, |_, log, _| {
            (0..2000).for_each(|number| log(&format!("line {number}")));
            Ok(built())
        });
        let changed = bench.enqueue("web");
        let pages = bench.ended(&changed).await;
        assert!(pages.len() > 1, "the log has pages");
        let expected: Vec<_> = ["a note".to_owned()]
            .into_iter()
            .chain((0..2000).map(|number| format!("line {number}")))
            .collect();
        assert_eq!(messages(&pages), expected);
        let version = bench
            .shared
            .state
            .version(changed.image, changed.version)
            .unwrap();
        assert_eq!(version.record.built.unwrap().size, 7);
        assert_eq!(version.latest_build.status, BuildStatus::Success);
        bench.stop().await;
    }

    #[tokio::test]
    async fn lines_are_there_while_the_build_runs() {
        let go_on = Arc::new(AtomicBool::new(false));
        let wait = Arc::clone(&go_on);
        let bench = Bench::new(1, move |_, log, _| {
            log("before");
            while !wait.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            log("after");
            Ok(built())
        });
        let changed = bench.enqueue("web");
        let (image, build) = (changed.image, changed.build.unwrap());
        let page = loop {
            let page = bench.shared.state.log_page(image, build, 0).unwrap();
            if page.lines.len() == 2 {
                break page;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        assert_eq!(
            (page.status, page.position, page.has_more),
            (BuildStatus::Building, 2, true)
        );
        assert!(page.started_at.is_some() && page.finished_at.is_none());
        let nothing_new = bench.shared.state.log_page(image, build, 2).unwrap();
        assert_eq!((nothing_new.lines.len(), nothing_new.position), (0, 2));
        go_on.store(true, Ordering::Relaxed);
        let pages = bench.ended(&changed).await;
        assert_eq!(
            messages(&pages).get(..3).unwrap(),
            ["a note", "before", "after"]
        );
        bench.stop().await;
    }

    #[tokio::test]
    async fn errors_and_panics_end_the_build_as_failed() {
        let bench = Bench::new(1, |request, log, _| {
            log("begun");
            assert!(
                request.repository.as_str() != "panic",
                "a mistake in the builder"
            );
            let path = "Dockerfile".to_owned();
            Err(BuildError::NoContext { path })
        });
        let (panicked, refused) = (bench.enqueue("panic"), bench.enqueue("refused"));
        for (changed, words) in [(panicked, "broke down"), (refused, "context")] {
            let pages = bench.ended(&changed).await;
            let last = *messages(&pages).last().unwrap();
            assert!(
                last.starts_with("the build failed") && last.contains(words),
                "{last}"
            );
            assert!(messages(&pages).contains(&"begun"));
            let version = bench
                .shared
                .state
                .version(changed.image, changed.version)
                .unwrap();
            assert_eq!(version.latest_build.status, BuildStatus::Failed);
            assert!(version.record.built.is_none());
        }
        bench.stop().await;
    }

    #[tokio::test]
    async fn no_more_builds_run_at_once_than_allowed_and_they_begin_in_order() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (counted, seen, begun) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&order));
        let bench = Bench::new(1, move |request, _, _| {
            begun.lock().unwrap().push(request.repository.to_string());
            seen.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            counted.fetch_sub(1, Ordering::SeqCst);
            Ok(built())
        });
        let names = ["one", "two", "three", "four"];
        let builds: Vec<_> = names.iter().map(|name| bench.enqueue(name)).collect();
        for changed in &builds {
            bench.ended(changed).await;
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(*order.lock().unwrap(), names);
        bench.stop().await;
    }

    #[tokio::test]
    async fn the_end_of_the_platform_ends_builds_that_run_and_those_that_wait() {
        let bench = Bench::new(1, |_, log, cancelled| {
            log("begun");
            while !cancelled.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            Err(BuildError::Cancelled)
        });
        let (runs, waits) = (bench.enqueue("runs"), bench.enqueue("waits"));
        while bench
            .shared
            .state
            .log_page(runs.image, runs.build.unwrap(), 0)
            .unwrap()
            .lines
            .len()
            < 2
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let shared = Arc::clone(&bench.shared);
        bench.stop().await;
        for (changed, words) in [(runs, "shut down"), (waits, "platform ended")] {
            let page = shared
                .state
                .log_page(changed.image, changed.build.unwrap(), 0)
                .unwrap();
            assert_eq!((page.status, page.has_more), (BuildStatus::Failed, false));
            assert!(
                page.lines.last().unwrap().message.contains(words),
                "{:?}",
                page.lines
            );
        }
    }

    #[tokio::test]
    async fn no_build_is_taken_once_nobody_runs_them() {
        let bench = Bench::new(1, |_, _, _| Ok(built()));
        bench.stop.cancel();
        bench.task.await.unwrap();
        assert!(bench.queue.place().is_none(), "nobody runs builds any more");
    }
}
